"""What tasks of an operation print is found where people look for it: in the operation's log, and in files of jobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agentd.api import connect
from tests.conftest import ROOT, StartAgent, agent_environment
from tests.integration.cut_rig import CutLine
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, door_of, star, until

PROGRAM = ROOT / "tests" / "integration" / "apps" / "talking_tasks.py"


def written(state: Path, operation: str) -> dict[str, list[str]]:
    """Read an operation's log to its end."""
    with connect(state) as client:
        found = {"stdout": "", "stderr": ""}
        for piece in client.logs(operation, follow=True):
            found[piece.stream] += piece.text
    return {stream: text.splitlines() for stream, text in found.items()}


def test_the_log_of_an_operation_has_what_its_tasks_print(start_agent: StartAgent) -> None:
    """Also of those that ran on another agent, and of theirs; each line once, also when it is read again."""
    home = star(start_agent, home=1, other=2)["home"]
    door = door_of(home)
    operation = door.submit("talking_tasks:talk", 3)["id"]
    found = written(home.state, operation)
    assert door.wait(operation)["result"] == [1, 2, 3]
    first, *lines = found["stdout"]
    assert first == "talk begins"
    printed = [f"{which} {each}" for which in ("inner", "outer") for each in range(3)]
    assert sorted(lines) == [*printed, "talk ends with [1, 2, 3]"]
    assert sorted(found["stderr"]) == [f"trouble {each}" for each in range(3)]
    assert written(home.state, operation) == found


def test_a_program_of_its_own_agent_shows_what_its_tasks_print(tmp_path: Path) -> None:
    """`agentd run` is not to hide what a plain run of the same file shows."""
    ended = subprocess.run(
        [sys.executable, "-m", "agentd", "run", "--cpu", "1", str(PROGRAM)],
        env=agent_environment(TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert sorted(ended.stdout.splitlines()) == ["here 3", "value: 1", "value: 2"], ended.stderr


def test_the_log_is_whole_though_the_link_is_cut_while_tasks_end(start_agent: StartAgent) -> None:
    """What was written where they ran comes over the next link: each line once."""
    count, cuts = 60, 8
    far = start_agent(*WITH_APPS, "--hostname", "far", "--cpu", "2")
    host, _, port = far.comm.rpartition(":")
    with CutLine(("127.0.0.1", 0), (host, int(port))) as line:
        home = start_agent(*WITH_APPS, "--hostname", "home", "--cpu", "1", "--neighbour", line.address)
        until(lambda: "connected" in {row["state"] for row in door_of(home).get("/v1/neighbours")["neighbours"]})
        door, ran = door_of(home), door_of(far)
        operation = door.submit("talking_tasks:chatter", count)["id"]
        for number in range(cuts):
            until(lambda number=number: ran.figure("ended_total") > number * count / cuts)
            line.cut()
        assert door.wait(operation)["result"] == count
        until(lambda: min(map(len, written(home.state, operation).values())) >= count)
        found = written(home.state, operation)
    assert sorted(found["stdout"]) == sorted(f"said {each}" for each in range(count))
    assert sorted(found["stderr"]) == sorted(f"cried {each}" for each in range(count))

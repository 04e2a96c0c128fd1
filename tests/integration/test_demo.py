"""`agentd demo`: what it shows, and that nothing of it is left, however it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

for needed in ("numpy", "sklearn", "matplotlib", "PIL"):
    if find_spec(needed) is None:  # loaded they would take seconds of each test process
        pytest.skip("the extra `demo` is not installed", allow_module_level=True)

import cli.demo  # noqa: E402 - only where it can run
from agentd.model.errors import AgentdError, ConfigError  # noqa: E402
from cli import processes  # noqa: E402
from cli.demo import agents  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 110
"""Above anything that is waited for, on a busy machine."""


@pytest.fixture
def room() -> Iterator[Path]:
    """Give a place that the demo's processes have in their command lines, by which they can be told from others.

    Its name is short, since an agent's Unix socket has its path from here.
    """
    with tempfile.TemporaryDirectory(prefix="demo-test-") as name:
        (Path(name) / "temporary").mkdir()
        yield Path(name)


def _start(room: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(room / "temporary"), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    environment |= {"AGENTD_REST_PORT": "1", "AGENTD_PARENT": "nobody:1"}  # of another agent: not the demo's business
    return subprocess.Popen(
        [sys.executable, "-m", "agentd", "demo", *options],
        cwd=room,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # who runs tests in the background has them ignore it, and a process passes that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


def _processes(room: Path) -> Iterator[int]:
    """Find the agents of this room by their command lines."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str(room).encode() in (entry / "cmdline").read_bytes():
                yield int(entry.name)


def _until_said(demo: subprocess.Popen[str], words: str) -> None:
    assert demo.stdout is not None
    heard = []
    for line in demo.stdout:
        heard.append(line)
        if words in line:
            return
    assert demo.stderr is not None
    raise AssertionError(f"it never said {words!r} but {heard} and {demo.stderr.read()}")


def test_a_photograph_is_drawn_by_all_three(room: Path) -> None:
    """Every piece is drawn once, each agent has a part, the figures agree, and nothing but the picture is left."""
    demo = _start(room, "--json", "--output", "drawn.png")
    out, err = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0, err
    figures = json.loads(out)
    assert figures["pieces"] == sum(share["pieces"] for share in figures["agents"]) == 48
    assert [share["agent"] for share in figures["agents"]] == ["phone", "rPi", "server"]
    assert all(share["pieces"] > 0 for share in figures["agents"])
    assert figures["alone_s"] == pytest.approx(sum(share["core_seconds"] for share in figures["agents"]))
    assert figures["elapsed_s"] > 0
    phone, rpi, server = (share["moved_bytes"] / share["pieces"] for share in figures["agents"])
    assert phone == 0
    assert server == pytest.approx(2 * rpi, rel=0.05)  # twice as many links; pieces differ by a row of pixels
    assert figures["photograph"] == [640, 427]
    assert sum(share for _, share in figures["colours"]) <= 1
    assert Path(figures["picture"]) == room / "drawn.png"
    assert (room / "drawn.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert list((room / "temporary").iterdir()) == []
    assert list(_processes(room)) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_broken_off_leaves_nothing(room: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and a polite request to end stop the agents and remove their folders."""
    demo = _start(room)
    _until_said(demo, "Sending")
    assert len(list(_processes(room))) >= 3
    demo.send_signal(number)
    demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == code
    assert list(_processes(room)) == []
    assert list((room / "temporary").iterdir()) == []
    assert not (room / "agentd-demo.png").exists()


def test_kept_folders_are_left_and_named(room: Path) -> None:
    """With --keep what the agents wrote stays, also when the terminal is closed midway, and it is said where."""
    demo = _start(room, "--keep")
    _until_said(demo, "Sending")
    demo.send_signal(signal.SIGHUP)
    _, err = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 129
    (kept,) = (room / "temporary").iterdir()
    assert str(kept) in err
    assert {"phone", "rPi", "server", "code"} <= {entry.name for entry in kept.iterdir()}
    assert list(_processes(room)) == []


def test_a_demo_that_is_killed_takes_its_agents_along(room: Path) -> None:
    """Not even a kill that cannot be caught leaves an agent behind."""
    demo = _start(room)
    _until_said(demo, "Sending")
    ends = [os.pidfd_open(number) for number in _processes(room)]
    demo.kill()
    demo.communicate(timeout=PATIENCE_S)
    for end in ends:
        assert select.select([end], [], [], PATIENCE_S)[0], "an agent outlived its demo"
        os.close(end)
    assert list(_processes(room)) == []


def test_an_agent_that_does_not_start_is_shown_with_its_last_words(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure names the agent and what it said, and the others are stopped."""
    monkeypatch.setattr(processes, "_START", "import sys; sys.exit('no such luck')")
    with pytest.raises(AgentdError, match=r"phone .*\n.*no such luck"), agents.Chain(room, room) as chain:
        chain.link()
    assert list(_processes(room)) == []


def test_an_agent_that_ends_on_its_way_is_named(room: Path) -> None:
    """When an agent dies, the error is not only that it cannot be reached but that it has ended."""
    with pytest.raises(AgentdError, match="the agent phone"):
        _lose_the_phone(room)
    assert list(_processes(room)) == []


def _lose_the_phone(room: Path) -> None:
    with agents.Chain(room, room) as chain:
        chain.link()
        victim = chain.agents["phone"].agent().pid
        end = os.pidfd_open(victim)
        os.kill(victim, signal.SIGABRT)
        assert select.select([end], [], [], PATIENCE_S)[0]
        os.close(end)
        chain.agents["phone"].agent()


@pytest.mark.parametrize(
    ("processors", "dealt"),
    [
        ([3], {"phone": [3], "rPi": [3], "server": [3, 3]}),
        ([0, 1], {"phone": [0], "rPi": [1], "server": [0, 1]}),
        ([0, 1, 2, 3, 8], {"phone": [0], "rPi": [1], "server": [2, 3]}),
    ],
)
def test_agents_share_the_machine_evenly(processors: list[int], dealt: dict[str, list[int]]) -> None:
    """Each agent has cores of its own where the machine has enough, and else as few in common as can be."""
    assert agents.spread(processors) == dealt


def test_what_is_missing_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the message says how to get it, and no process is started."""
    monkeypatch.setattr(cli.demo, "find_spec", lambda name: None if name == "sklearn" else object())
    with pytest.raises(ConfigError, match=r"needs scikit-learn: .*pip install scikit-learn`"):
        cli.demo.run()


def test_a_picture_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A wrong --output costs no work, and an old picture is not touched by finding out."""
    with pytest.raises(ConfigError, match="nowhere"):
        cli.demo.run(output=tmp_path / "nowhere" / "a.png")
    with pytest.raises(ConfigError, match="Is a directory"):
        cli.demo.run(output=tmp_path)

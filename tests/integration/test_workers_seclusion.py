"""Users' code is kept from the agent's keys, tokens and journal, in every way that this kernel has; from nothing else.

The ways out are those of `apps/escapes.py`. As root a process of its own becomes another user first, in a folder that
this user cannot write into, where that is what is to be tried.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from agentd.api import connect
from agentd.workers.inside.seclusion import LANDLOCK, MOUNTS, seclude
from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment

APPS = ROOT / "tests" / "integration" / "apps"
sys.path.insert(0, str(APPS))
import escapes  # noqa: E402 - what users' code runs in the workers below

IS_ROOT = os.geteuid() == 0
NOBODY = 65_534
PRCTL, PR_SET_DUMPABLE = ctypes.CDLL(None).prctl, 4
SERVICES = Path("/var/lib")
"""Where only root makes folders, which then are those of services."""
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: for folders that are another user's, and to mount")
SECRET = "canary"
PATIENCE_S = 60.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may pass through; not one of pytest's, which other runs of it close at any moment."""
    with TemporaryDirectory(prefix="agentd-place-") as folder:
        if any(not above.stat().st_mode & 0o001 for above in Path(folder).parents):
            pytest.skip(f"other users cannot pass to {folder}")
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()


def kept(place: Path, *, owner: int) -> Path:
    """Make a state folder with a secret and a folder that is shown; nobody but root may write beside it."""
    state = place / "beside" / "state"
    (state / "shown").mkdir(parents=True)
    (state / "key").write_text(SECRET)
    (state / "shown" / "news").write_text("news")
    for path in (state, state / "key", state / "shown", state / "shown" / "news"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if IS_ROOT:
            os.chown(path, owner, owner)
    return state


def in_process(act: Callable[[], Any], *, user: int | None = None) -> Any:
    """Give what a process of its own finds, which becomes another user first if one is named."""
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: the child needs none of them
        pid = os.fork()
    if pid == 0:
        try:
            if IS_ROOT and user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                PRCTL(PR_SET_DUMPABLE, 1)  # as if it had always been that user's
            found = act()
        except BaseException:  # noqa: BLE001 - the outermost door of a process
            found = traceback.format_exc()
        os.write(into, json.dumps(found).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as file:
        found = json.load(file)
    os.waitpid(pid, 0)
    assert "Traceback" not in found, found
    return found


def tried(state: Path, mode: str, room: Path) -> dict[str, Any]:
    """Seclude this process, then try all ways out, and all that programs do."""
    outside = os.getppid()
    how, why = seclude(str(state), [str(state / "shown")], mode)
    found: dict[str, Any] = {"how": how, "why": why, "news": Path(state, "shown", "news").read_text()}
    found["wrong"] = escapes.work(str(room))
    found["stolen"] = escapes.by_processes(f"{state}/key", [outside]) | escapes.by_path(f"{state}/key")
    return found


@needs_root
def test_root_is_kept_out_by_mounts_of_its_own(place: Path) -> None:
    """Not even root gets behind the cover, and the agent's own view stays as it was."""
    state = kept(place, owner=0)
    found = in_process(lambda: tried(state, "auto", place))
    assert found == {"how": MOUNTS, "why": found["why"], "news": "news", "wrong": [], "stolen": {}}
    assert (state / "key").read_text() == SECRET
    assert str(state) not in Path("/proc/self/mounts").read_text()


@needs_root
def test_a_service_is_kept_out_by_landlock(place: Path) -> None:
    """A user that can make nothing beside the folder needs no right to mount; all else of the device is open."""
    os.chown(place, NOBODY, NOBODY)
    with TemporaryDirectory(dir=SERVICES) as services:
        Path(services).chmod(0o755)
        state = kept(Path(services), owner=NOBODY)
        found = in_process(lambda: tried(state, "auto", place), user=NOBODY)
    assert found == {"how": LANDLOCK, "why": found["why"], "news": "news", "wrong": [], "stolen": {}}


def _can_have_namespaces() -> bool:
    return subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_have_namespaces(), reason="this kernel gives plain users no namespaces")
def test_a_person_is_kept_out_if_they_insist(place: Path) -> None:
    """In a folder of one's own `auto` leaves it open, and says why, rather than bar what is new; `strict` does not."""
    state = kept(place, owner=NOBODY)
    if IS_ROOT:
        os.chown(place, NOBODY, NOBODY)
        os.chown(state.parent, NOBODY, NOBODY)
    found = in_process(lambda: tried(state, "auto", place), user=NOBODY)
    assert found["how"] == ""
    assert f"can make files in {state.parent}" in found["why"]
    assert SECRET in found["stolen"]["_read"], "these ways lead somewhere, where nothing is in the way"
    assert SECRET in found["stolen"]["_by_moving"]
    state = kept(place / "strict", owner=NOBODY)
    found = in_process(lambda: tried(state, "strict", place), user=NOBODY)
    assert found == {"how": MOUNTS, "why": found["why"], "news": "news", "wrong": [], "stolen": {}}


def test_whoever_is_in_the_folder_does_not_stay_there(place: Path) -> None:
    """A working folder below the cover would be a way round it."""
    state = kept(place, owner=NOBODY)

    def inside() -> list[str]:
        os.chdir(state)
        seclude(str(state), [str(state / "shown")], "strict")
        return sorted(os.listdir())

    if not IS_ROOT and not _can_have_namespaces():
        pytest.skip("this kernel gives plain users no namespaces")
    assert in_process(inside) == ["shown"]


# --- on real agents ---------------------------------------------------------------------------------------------


def called(agent: RunningAgent, function: str, *arguments: object) -> Any:
    """Run a function in a worker of an agent; gives its value."""
    with connect(agent.state) as client:
        return client.result(client.submit(f"escapes:{function}", arguments), PATIENCE_S)


@needs_root
def test_nothing_of_the_agent_is_to_be_had_from_its_workers(place: Path, start_agent: StartAgent) -> None:
    """Key, token, hashes, journal: by no path and through no process; and programs do what they do."""
    agent = start_agent("--pythonpath", str(APPS))
    for name in ("identity.pem", "token", "tokens.json", "journal.db"):
        assert (agent.state / name).is_file(), "it is there to be stolen"
        assert called(agent, "by_path", str(agent.state / name)) == {}
    assert called(agent, "by_processes", str(agent.state / "token"), [agent.pid, os.getpid(), 1]) == {}
    assert called(agent, "work", str(place)) == []
    doctor = command("doctor", "--state", agent.state)
    assert f"users' code cannot read {agent.state}" in doctor.stdout


@pytest.mark.skipif(not IS_ROOT and not _can_have_namespaces(), reason="this kernel gives plain users no namespaces")
def test_a_task_calls_its_own_agent(start_agent: StartAgent) -> None:
    """Over the socket that is announced to it, with the rights that programs of this user have, and no more."""
    agent = start_agent("--pythonpath", str(APPS), "--confine", "strict")
    code = (
        "import sys; from agentd.api import AgentExecutor, connect\n"
        "with AgentExecutor(sys.argv[1]) as agents: print(agents.submit(sum, (1, 2)).result(60))\n"
        "with connect(sys.argv[1]) as client: print(client.call('escapes:program', sys.executable, '', 'print(4)'))\n"
        "try: connect(sys.argv[1]).shutdown()\n"
        "except Exception as error: print('admin' in str(error))\n"
    )
    assert called(agent, "program", sys.executable, str(ROOT), code, str(agent.state)) == "3\n4\n\nTrue\n"


def test_users_code_in_the_state_folder_goes_on_running(tmp_path: Path, start_agent: StartAgent) -> None:
    """Where the modules are, nothing can be kept from them: `auto` leaves it, `strict` does not start."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "escapes.py").write_text((APPS / "escapes.py").read_text())
    agent = start_agent("--pythonpath", str(state), state=state)
    assert called(agent, "size", str(state / "token")) > 0
    refused = command("start", "--state", tmp_path / "other", "--pythonpath", tmp_path / "other", "--confine", "strict")
    assert refused.returncode == 2
    assert "users' code" in refused.stderr
    assert "choose another --state" in refused.stderr


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", "agentd", *map(str, words)],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

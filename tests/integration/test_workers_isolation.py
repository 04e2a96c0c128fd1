"""What surrounds users' code: their names win, the daemon's environment stays out, its death is theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agentd.model.task import Status
from tests.integration.workers_room import Room, arguments

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = """
import os, resource, sys, time

def names():
    import cli, resources_xml, schedulers, tests
    return [module.MINE for module in (cli, resources_xml, schedulers, tests)]
def folders():
    import agentd
    return sys.path, agentd.__file__, sys.modules["__main__"].__dict__.get("__file__"), "msgspec" in sys.modules
def variables(): return dict(os.environ), os.popen("env").read()
def limits():
    status = open("/proc/self/status").read()
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE), "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0], "score": int(open("/proc/self/oom_score_adj").read()),
        "privileges": [line for line in status.splitlines() if line.startswith("NoNewPrivs")],
        "session": os.getsid(0) == os.getpid(), "stdin": os.readlink("/proc/self/fd/0"),
        "fds": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in range(64) if os.path.islink(f"/proc/self/fd/{fd}")),
    }
def chance():
    import random
    return random.random()
"""


def test_a_users_module_of_our_name_is_the_one_that_users_code_gets(tmp_path: Path) -> None:
    """Users' folders come first, ours last, so cli, schedulers, resources_xml and tests are the user's own."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "cli.py").write_text("MINE = 'cli'")
    (code / "tests.py").write_text("MINE = 'tests'")
    for name in ("schedulers", "resources_xml"):
        (code / name).mkdir()
        (code / name / "__init__.py").write_text(f"MINE = {name!r}")

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            await room.start_worker()
            assert await room.call("names") == ["cli", "resources_xml", "schedulers", "tests"]
            path, own, main_file, has_msgspec = await room.call("folders")
            assert (path[0], path[-2:]) == (str(room.code), [str(REPOSITORY), str(REPOSITORY / "agentd" / "pycompss")])
            assert Path(own).parent.parent == REPOSITORY
            assert main_file is None
            assert not has_msgspec

    asyncio.run(main())


def test_only_named_variables_reach_users_code(tmp_path: Path) -> None:
    """The environment is picked by name: no secret of the daemon, no PYTHONPATH, in Python and in what it starts."""
    outside = {"PATH": os.environ["PATH"], "LC_ALL": "C", "ComputingUnitsX": "2", "MINE": "yes", "OTHER": "canary"}
    secrets = {"AGENTD_TOKEN": "canary", "AGENTD_KEY": "canary", "PYTHONPATH": "/canary", "LD_PRELOAD": "canary"}

    async def main() -> None:
        picked = frozenset({"MINE", "AGENTD_KEY"})
        async with Room(tmp_path, CODE, environ=outside | secrets, pass_names=picked, variables={"SET": "so"}) as room:
            await room.start_worker()
            inside, program = await room.call("variables")
            for name in ("PATH", "LC_ALL", "ComputingUnitsX", "MINE"):
                assert inside[name] == outside[name]
            assert inside["SET"] == "so"
            assert "canary" not in str(inside) + program
            pids = room.supervisor.pids().values()
            assert not any("canary" in _file_of(pid, name) for pid in pids for name in ("environ", "cmdline"))

    asyncio.run(main())


def test_workers_are_confined(tmp_path: Path) -> None:
    """No core dumps, no new privileges, the operator's limits, a session of its own, and nothing open but its own."""

    async def main() -> None:
        async with Room(tmp_path, CODE, open_files=100, file_bytes=1 << 30) as room:
            await room.start_worker()
            found = await room.call("limits")
            assert (found["core"], found["files"], found["file"]) == ((0, 0), 100, 1 << 30)
            assert found["score"] >= 500
            assert found["privileges"] == ["NoNewPrivs:\t1"]
            assert found["session"]
            assert found["stdin"] == "/dev/null"
            kinds = [name.partition(":")[0].partition("/log/")[0] for name in found["fds"]]
            assert len(kinds) <= 7, kinds

    asyncio.run(main())


def test_workers_do_not_share_their_chance(tmp_path: Path) -> None:
    """Forked from one process, each has random numbers of its own."""

    async def main() -> None:
        async with Room(tmp_path, CODE) as room:
            for worker in (1, 2, 3):
                await room.start_worker(worker)
            assert len({await room.call("chance", worker=worker) for worker in (1, 2, 3)}) == 3

    asyncio.run(main())


GRACE_S = 90.0
"""Of a supervisor that closes; what is to be cut off goes on for longer."""
DEAD_S = 5.0
"""Until processes must have ended: five times the promise, as the machine may be busy."""
DAEMON = """
import asyncio, sys, threading
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.integration.workers_room import Room, arguments
async def main():
    room = Room(Path({folder!r}), "import time\\ndef busy():\\n    while True: pass\\ndef nap(): time.sleep(99)\\n")
    async with room:
        for worker, function in ((1, "busy"), (2, "nap"), (3, None)):
            await room.start_worker(worker)
            if function:
                (task,) = room.give([room.task(function)], worker)
                await room.running(task, worker)
        pids = room.supervisor.pids()
        print(pids.pop(0), *pids.values(), flush=True)
        await asyncio.sleep(99)
asyncio.run(main())
"""


def test_a_killed_daemon_takes_its_workers_with_it(tmp_path: Path) -> None:
    """After SIGKILL of the daemon the spawner and all workers, busy or idle, are dead at once (promised: in 1 s)."""
    program = DAEMON.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    }
    daemon = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True)
    assert daemon.stdout is not None
    try:
        pids = [int(pid) for pid in daemon.stdout.readline().split()]
        assert len(pids) == 4
        os.kill(pids[0], signal.SIGSTOP)  # the spawner: it can do nothing for us, the kernel does it all
    finally:
        daemon.kill()
        daemon.wait()
        daemon.stdout.close()
    killed = time.monotonic()
    while any(map(_lives, pids)):
        assert time.monotonic() - killed < DEAD_S
        time.sleep(0.005)


def test_closing_ends_every_process_and_removes_what_workers_wrote(tmp_path: Path) -> None:
    """A close with a grace lets what runs end; nothing of it is left then, no process and no file."""

    async def main() -> None:
        room = Room(tmp_path, CODE + "def nap(s): time.sleep(s); return 'slept'\n")
        await room.__aenter__()
        pids = [await room.start_worker(1), await room.start_worker(2), room.supervisor.pids()[0]]
        short = room.task("nap", arguments(0.1))
        long = room.task("nap", arguments(99))
        room.give([short], 1)
        room.give([long], 2)
        await room.running(short, 1)
        await room.running(long, 2)
        closing = asyncio.create_task(room.supervisor.close(GRACE_S))
        await room.result(short)
        loop = asyncio.get_running_loop()
        time_s = loop.time
        loop.time = lambda: time_s() + GRACE_S  # the grace is over
        await closing
        assert room.results()[short.id].status == Status.DONE
        assert long.id not in room.results()
        assert (await room.lost(2)).running == long.id
        assert not any(map(_lives, pids))

    asyncio.run(main())
    assert [file.name for file in (tmp_path / "log" / "workers").iterdir()] == ["spawner.err"]


def _file_of(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

"""Agents that a command starts as processes of its own.

Law: whatever happens, what was started here is ended here, by the number of its process.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import agentd
from agentd.daemon.settings import PREFIX, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

STOP_S = 5.0
"""How long an agent may take to stop before it is killed."""

_START = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: should who started it be killed, it stops too
if sys.argv[2]:
    os.sched_setaffinity(0, map(int, sys.argv[2].split(",")))
sys.path.insert(0, sys.argv[1])
sys.argv[:3] = ["agentd"]
from agentd.__main__ import main
sys.exit(main())
"""
"""Does what the installed command `agentd` does, with the packages beside this one, on some of the machine's cores."""


def spawn(
    words: Sequence[str], stdout: int | IO[bytes], stderr: IO[bytes], processors: Iterable[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `agentd` with these words, on these processors, or on all; settings of our environment do not reach it."""
    root = str(Path(agentd.__file__).resolve().parents[1])
    own = {name: value for name, value in process_environment().items() if not name.startswith(PREFIX)}
    return subprocess.Popen(
        [sys.executable, "-c", _START, root, ",".join(map(str, processors)), *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=own,
        start_new_session=True,  # Ctrl-C reaches who started it alone, which then stops them in order
    )


def end(processes: Mapping[str, subprocess.Popen[bytes]], patience_s: float = STOP_S) -> None:
    """Ask all to stop, and end by force those that do not."""
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Turn a polite request to end into an exception, so that what was started is ended as after Ctrl-C.

    What whoever started us has ignored stays so: SIGHUP after nohup(1). A second request changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    polite = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in polite}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)

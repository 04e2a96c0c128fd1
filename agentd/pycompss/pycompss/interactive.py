"""Notebooks: start an agent for a notebook's tasks, or take the one of this device; and stop it.

The functions of cells travel to the agent by value. A variable that tasks write has its value after `compss_wait_on`.
"""

from __future__ import annotations

import atexit
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentd
from agentd.api.tasks.runtime import PORT
from agentd.model.errors import AgentdError
from pycompss.util.exceptions import PyCOMPSsException

if TYPE_CHECKING:
    from agentd.api.tasks.session import Session

READY_S = 60.0
"""How long an agent may take to be ready; chosen: far above what it takes."""
LOOK_S = 0.02
STOP_S = 10.0
"""How long it may take to end."""


_PACKAGES = Path(agentd.__file__).resolve().parents[1]
_START = """
import ctypes, signal, sys
if sys.argv[2] == "1":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: should the kernel be killed, it stops too
sys.path.insert(0, sys.argv[1])
sys.argv[:3] = ["agentd"]
from agentd.__main__ import main
sys.exit(main())
"""
"""Starts the agent of a notebook, which ends with it."""


def _is_main_thread() -> bool:
    """Tell whether the thread that starts the agent lives as long as the notebook: its end is what the agent sees."""
    return threading.current_thread() is threading.main_thread()


class _Notebook:
    """What `start` began: a session, and the agent where it is this notebook's own."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None


_notebook = _Notebook()


def start(log_level: str = "off", **options: Any) -> None:
    """Have tasks from now on run by the agent of this device; without one, by one that is started for this notebook.

    Options are those of PyCOMPSs; what an agent has no need of is left alone.

    Raises:
        PyCOMPSsException: an agent is there and refuses, or none can be started; the message says why.
    """
    if _notebook.session is not None or PORT in sys.modules:  # in a worker the tasks are the agent's already
        return
    try:
        _notebook.session = _attached(None)
    except AgentdError:
        _notebook.session = _attached(_own_agent())
    atexit.register(stop)
    whose = "an agent of this notebook" if _notebook.process else "the agent of this device"
    sys.stderr.write(f"pycompss: tasks run on {whose}\n")


def _attached(address: Path | None) -> Session:
    from agentd.api.tasks.session import attach

    return attach(address)


def _own_agent() -> Path:
    """Start an agent in a folder of its own; gives its state folder.

    Raises:
        PyCOMPSsException: it ended, or was not ready in time.
    """
    _notebook.folder = tempfile.TemporaryDirectory(prefix="agentd-notebook-", ignore_cleanup_errors=True)
    folder = Path(_notebook.folder.name)
    ready, log = folder / "ready.json", folder / "log"
    command = [sys.executable, "-c", _START, str(_PACKAGES), str(int(_is_main_thread()))]
    command += ["start", "--state", str(folder / "state"), "--ready-file", str(ready)]
    command += ["--rest-port", "auto", "--comm-port", "0", "--grace-s", "0", "--allow-binary", "*"]
    command += ["--pythonpath", str(Path.cwd())]
    with log.open("wb") as errors:
        _notebook.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True)
    deadline = time.monotonic() + READY_S
    while not ready.exists():
        if _notebook.process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text("utf-8", "replace")[-2000:]
            _end_agent()
            raise PyCOMPSsException(f"no agent could be started for this notebook: {said}")
        time.sleep(LOOK_S)
    return folder / "state"


def stop(sync: bool = False, _hard_stop: bool = False) -> None:
    """Wait for all tasks, unless `_hard_stop`; end what `start` began.

    With `sync`, futures among the notebook's variables become their values.
    """
    session, _notebook.session = _notebook.session, None
    if session is None:
        return
    atexit.unregister(stop)
    try:
        if sync:
            _bring_variables()
        if _hard_stop:
            session.abandon()
        else:
            session.close()
    finally:
        _end_agent()


def _bring_variables() -> None:
    """Put values in the place of futures among the variables of the notebook."""
    from agentd.api.tasks.data import Future
    from pycompss.api.api import compss_wait_on

    names = vars(sys.modules["__main__"])
    for name, value in list(names.items()):
        if isinstance(value, Future) and not name.startswith("_"):
            names[name] = compss_wait_on(value)


def _end_agent() -> None:
    process, _notebook.process = _notebook.process, None
    folder, _notebook.folder = _notebook.folder, None
    if process is not None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if folder is not None:
        folder.cleanup()


def is_running() -> bool:
    """Tell whether tasks run on an agent by `start`."""
    return _notebook.session is not None


def current_task_graph(*_: Any, **__: Any) -> None:
    """Say how to get the graph of tasks: an agent draws it for each operation."""
    sys.stderr.write("pycompss: agentd show ID --graph out.svg draws the tasks of an operation\n")


def complete_task_graph(*_: Any, **__: Any) -> None:
    """As `current_task_graph`."""
    current_task_graph()


__all__ = ["complete_task_graph", "current_task_graph", "is_running", "start", "stop"]

"""Notebooks: start an agent for a notebook's tasks, or take the one of this device; and stop it.

The functions of cells travel to the agent by value. A variable that tasks write has its value after `compss_wait_on`.
"""

from __future__ import annotations

import atexit
import html
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agentd
from agentd.api.tasks.runtime import PORT
from agentd.model.errors import AgentdError
from pycompss.util.exceptions import PyCOMPSsException

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.api.tasks.session import Session
    from agentd.model.views import TaskView

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
        self.address: Path | None = None
        """State folder of the agent; None: that of this device."""
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
        _notebook.session, _notebook.address = _attached(None), None
    except AgentdError:
        _notebook.address = _own_agent()
        _notebook.session = _attached(_notebook.address)
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


class Picture:
    """A drawing that a notebook shows in the cell; `data` is its SVG."""

    def __init__(self, data: str) -> None:
        self.data = data

    def _repr_svg_(self) -> str:
        return self.data

    def __repr__(self) -> str:
        return f"<picture of {len(self.data)} bytes of SVG: show it in a notebook, or write .data to a file>"


class Table(list[tuple[str, ...]]):
    """Rows under the names of their columns, which a notebook shows as a table."""

    def __init__(self, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        super().__init__(rows)
        self.head = head

    def __repr__(self) -> str:
        rows = [self.head, *self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def _repr_html_(self) -> str:
        def line(row: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

        return f"<table>{line(self.head, 'th')}{''.join(line(row, 'td') for row in self)}</table>"


def _tasks() -> Sequence[TaskView]:
    """Ask the agent for the tasks of this notebook so far.

    Raises:
        PyCOMPSsException: `start` was not called.
    """
    from agentd.api.routes.client import connect

    session = _notebook.session
    if session is None:
        raise PyCOMPSsException("tasks run in place, and are not recorded, before start() of pycompss.interactive")
    with connect(_notebook.address) as agent:
        return [task for task in agent.tasks(session.operation) if task.id != session.operation]


def current_task_graph(fit: bool = False, refresh_rate: int = 1, timeout: int = 0) -> Picture:
    """Draw the tasks that have not ended, as they are now; `complete_task_graph` draws all.

    The arguments are those of PyCOMPSs; a picture always fits its cell, and shows the moment of its call.
    """
    del fit, refresh_rate, timeout
    return _drawn([task for task in _tasks() if task.ended_at is None])


def complete_task_graph(fit: bool = False, refresh_rate: int = 1, timeout: int = 0) -> Picture:
    """Draw all tasks of this notebook so far, coloured by state and agent."""
    del fit, refresh_rate, timeout
    return _drawn(_tasks())


def _drawn(tasks: Sequence[TaskView]) -> Picture:
    from agentd.api.looks import pictures

    return Picture(pictures.svg(tasks))


def tasks_info() -> Table:
    """Sum the tasks of this notebook up by function: how many, how long they ran and waited, bytes in and out."""
    from agentd.api.looks import traces

    return Table(traces.SUMMARY_HEAD, traces.summary(_tasks()))


def tasks_status() -> Table:
    """Count the tasks of this notebook by state."""
    counts = Counter(task.state for task in _tasks())
    return Table(("state", "tasks"), [(state, str(count)) for state, count in sorted(counts.items())])


def statistics() -> Table:
    """Count the tasks of this notebook by agent, with how long they ran there in seconds."""
    counts: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    for task in _tasks():
        if task.host:
            counts[task.host] += 1
            seconds[task.host] += task.seconds or 0.0
    return Table(("agent", "tasks", "seconds"), [(name, str(counts[name]), f"{seconds[name]:.3f}") for name in counts])


def resource_status(refresh_rate: int = 1) -> Any:
    """List the agents that can take tasks, with what is free; shows the moment of its call.

    Raises:
        PyCOMPSsException: `start` was not called.
    """
    from agentd.api.routes.client import connect

    del refresh_rate
    if _notebook.session is None:
        raise PyCOMPSsException("tasks run in place: no agent was started by start() of pycompss.interactive")
    with connect(_notebook.address) as agent:
        return agent.resources()


__all__ = [
    "complete_task_graph",
    "current_task_graph",
    "is_running",
    "resource_status",
    "start",
    "statistics",
    "stop",
    "tasks_info",
    "tasks_status",
]

"""Sessions: a plain program, or a notebook, has its tasks run by an agent.

The program's end asks through a task of its own that waits in a worker of the agent; so whatever holds for tasks inside
of operations holds for the program.
"""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import sys
import tempfile
import threading
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from agentd import __version__
from agentd.api.memory.own_memory import views, written
from agentd.api.tasks import storage
from agentd.api.tasks.nested import Nested
from agentd.api.tasks.prints import Prints
from agentd.api.tasks.relay import DISCARD, END, HOSTS, PLACE_FILE, POUR, SEND, TALK, WAIT, Line
from agentd.api.tasks.runtime import IN_PLACE, PORT, current, use
from agentd.api.tasks.templates import ALIAS, source_of_main
from agentd.model.errors import AgentdError
from agentd.socket_path import fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from agentd.api.calls.executor import AgentExecutor
    from agentd.api.places import Place
    from agentd.api.tasks.messages import Encoded, Parts

_TELL_S = 5.0
"""How long an agent may take to tell why a session has ended; chosen."""
_LOOK_S = 0.2
"""How often it is looked whether the agent has refused what it is waited for; chosen."""


class _SessionPort:
    """The port of a program: it asks the worker that asks for it."""

    def __init__(self, line: Line, told: dict[str, Any], prints: Prints | None, relay: Future[None]) -> None:
        self._prints = prints
        self._relay = relay
        self.number: int = told["number"]
        self.threshold: int = told["threshold"]
        self.folder: str = told["folder"] if os.access(told["folder"], os.W_OK) else ""
        self.shared: str = told["shared"]
        self._lacks_source = not source_of_main()
        self._task: int = told["task"]
        self._line = line
        self._lock = threading.Lock()

    def task(self) -> int:
        return self._task

    def enter(self, family: Any) -> None:
        """Nobody needs to be told: the program ends its family itself."""

    def hosts(self) -> int:
        found: int = self._asked(HOSTS)
        return found

    def send(self, kind: int, body: bytes) -> None:
        with self._lock, _alive(self._relay):
            self._line.send((SEND, kind, body))
        if self._prints is not None:
            self._prints.expect()

    def wait(self, token: int) -> list[tuple[int, int, int, Any, Any]]:
        found: list[tuple[int, int, int, Any, Any]]
        found, brought = self._asked(WAIT, token)
        if self._prints is not None:
            self._prints.settle(brought)
        return found

    def _asked(self, *question: Any, files: tuple[int, ...] = ()) -> Any:
        with self._lock, _alive(self._relay):
            self._line.send(question, *files)
            try:
                return self._line.receive()
            except KeyboardInterrupt:
                self._line.close()  # half an answer may be on its way: nothing can be asked any more
                raise

    def encode(self, value: Any) -> Encoded:
        buffers: list[pickle.PickleBuffer] = []
        try:
            data = pickle.dumps(value, 5, buffer_callback=buffers.append)
            has_name = not self._lacks_source or b"__main__" not in data
        except (pickle.PicklingError, TypeError, AttributeError):
            has_name = False
        if not has_name:
            import cloudpickle  # what no worker can import: functions and classes of a notebook

            buffers.clear()
            data = cloudpickle.dumps(value, 5, buffer_callback=buffers.append)
        parts: Parts = []
        for buffer in buffers:
            parts += self.place(buffer.raw())
        return 1, data, parts or None

    def place(self, view: memoryview) -> Parts:
        if view.nbytes < self.threshold:
            return [(view.nbytes, bytes(view), 0, 0)]
        fd = written(view)
        try:
            return self.place_file(fd, view.nbytes)
        finally:
            os.close(fd)

    def place_file(self, fd: int, size: int) -> Parts:
        parts: Parts = self._with_file(fd, PLACE_FILE, size)
        return parts

    def pour(self, parts: Any, to: int) -> None:
        self._with_file(to, POUR, *parts)

    def _with_file(self, file: int, *question: Any) -> Any:
        """Have the worker read or write a file of ours: its bytes do not come through here."""
        found, trouble = self._asked(*question, files=(file,))
        if trouble:
            raise OSError(f"the agent could not have, or give, a file: {trouble}")
        return found

    def link(self, parts: Any, path: str) -> bool:
        del parts, path  # what a program gets is its own
        return False

    def look(self, segment: int, offset: int, size: int) -> memoryview:
        del segment, offset, size  # it lies in the memory of another process
        return memoryview(b"")

    def buffers(self, parts: Any, *, writable: bool) -> list[memoryview]:
        if parts and type(parts[0]) is int:
            return self._mapped(*parts, writable=writable)
        return [memoryview(bytearray(part) if writable else part) for part in parts]

    def _mapped(self, number: int, *sizes: int, writable: bool) -> list[memoryview]:
        """Have the worker write a large value into memory of ours; gives views of its parts."""
        fd = os.memfd_create("agentd-value", os.MFD_CLOEXEC)
        try:
            self.pour([number], fd)
            return views(fd, sizes, writable=writable)
        finally:
            os.close(fd)

    def discard(self, parts: Any) -> None:
        """Let a file go that was not fetched."""
        with self._lock, _alive(self._relay):
            self._line.send((DISCARD, *parts))


@contextmanager
def _alive(relay: Future[None]) -> Iterator[None]:
    """Say in words when the worker is gone.

    Raises:
        AgentdError: it is; the message has what became of it, where the agent says so soon.
    """
    try:
        yield
    except (OSError, EOFError) as error:
        try:
            found = relay.exception(_TELL_S)
        except (TimeoutError, CancelledError):
            found = None
        raise AgentdError(f"the session with the agent has ended: {found or error}") from error


class Session:
    """Tasks of this program are run by an agent, until it is closed; use it as a context, or call `close`."""

    def __init__(self, executor: AgentExecutor, place: Place | None = None) -> None:
        """Begin it; what tasks print is shown where `place` says where the agent is.

        Raises:
            AgentdError: the agent cannot be reached, or refuses; the message says why.
        """
        self._executor = executor
        with ExitStack() as undone:
            undone.callback(executor.shutdown, wait=False, cancel_futures=True)
            with tempfile.TemporaryDirectory(prefix="agentd-session-", ignore_cleanup_errors=True) as folder:
                self._line = Line(self._called_back(os.path.join(folder, "socket")))
            undone.callback(self._line.close)
            told = _greeted(self._line, self._relay)
            self.operation = str(told["task"])
            """Identifies it: `agentd show` tells of the session's tasks by this."""
            self._prints = None if place is None else Prints(place, told["task"])
            self._runtime = Nested(_SessionPort(self._line, told, self._prints, self._relay), IN_PLACE)
            self._runtime.start_at(told["first"])
            storage.choose(*told["storage"])
            undone.pop_all()
        self._is_open = True
        sys.modules[ALIAS] = sys.modules["__main__"]  # where workers have the classes of the program
        use(self._runtime)
        atexit.register(self._end_with_the_program)

    def _called_back(self, path: str) -> socket.socket:
        """Ask for a task that connects to this path, and wait for it."""
        with socket.socket(socket.AF_UNIX) as listener:
            with fitting(path) as name:
                listener.bind(name)
            listener.listen(1)
            listener.settimeout(_LOOK_S)
            self._relay: Future[None] = self._executor.submit(_serving(path))
            return self._accepted(listener)

    def _accepted(self, listener: socket.socket) -> socket.socket:
        """Wait for the worker, or for why there is none."""
        while True:
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                if self._relay.done():
                    self._relay.result()
                    raise AgentdError("the agent ended the session at once") from None
            else:
                sock.settimeout(None)
                return sock

    def close(self) -> None:
        """Bring files that tasks write to their places, wait for all tasks, and end.

        Raises:
            BaseException: what a task raised that nobody waited for.
        """
        if not self._is_open:
            return
        self._is_open = False
        try:
            family = self._runtime.family()
            if family is not None:
                family.end(None)
                family.leave()
            self._line.send((END,))
            self._relay.result()
        finally:
            self._let_go()

    def abandon(self) -> None:
        """End it at once: tasks that still run are cancelled."""
        if self._is_open:
            self._is_open = False
            self._relay.cancel()
            self._let_go()

    def _end_with_the_program(self) -> None:
        """End what nobody has closed; a program that failed has its tasks cancelled."""
        if getattr(sys, "last_value", None) is None:
            self.close()
        else:
            self.abandon()

    def _let_go(self) -> None:
        atexit.unregister(self._end_with_the_program)
        if self._prints is not None:
            self._prints.close()
        if current() is self._runtime:
            use(None)
        self._line.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()


def _greeted(line: Line, relay: Future[None]) -> dict[str, Any]:
    """Give what the worker says first.

    Raises:
        AgentdError: it is gone, or its agentd is another that does not understand ours.
    """
    with _alive(relay):
        told: dict[str, Any] = line.receive()
    if told.get("talk") != TALK:
        theirs = told.get("agentd", "an older one")
        raise AgentdError(
            f"the agent runs another agentd ({theirs}) than this program ({__version__}), and they do not understand "
            "each other: install the same version for both, and start the agent again"
        )
    return told


_RELAY = "agentd.api.tasks.relay"


def _serving(path: str) -> Callable[[], None]:
    """Make what runs in the worker; it travels by value, under a name that people are shown."""

    def session() -> None:
        __import__(_RELAY, fromlist=["serve"]).serve(path)

    session.__module__, session.__qualname__ = _program(), "session"
    return session


def _program() -> str:
    return os.path.basename(sys.argv[0] or "") or "python"


def attach(address: str | os.PathLike[str] | None = None, *, prints: bool = True) -> Session:
    """Have the tasks of this program run by the agent on this device (or the one whose state folder is `address`).

    What they write to stdout and stderr is written by this program too, unless `prints` is false.

    Raises:
        AgentdError: there is none, or it refuses; or this is a task of an agent already, or a session is open.
    """
    from agentd.api.calls.executor import AgentExecutor
    from agentd.api.places import find

    if PORT in sys.modules:
        raise AgentdError("this is a task of an agent: the tasks that it calls are the agent's already")
    if current() is not IN_PLACE:
        raise AgentdError("a session is open already: close it first")
    wants = {"computing_units": 0, "is_local": True}
    name = f"session of {_program()}, process {os.getpid()}"
    executor = AgentExecutor(address, constraints=wants, max_attempts=1, idempotent=False, durable=True, name=name)
    return Session(executor, find(address) if prints else None)

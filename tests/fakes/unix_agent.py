"""An agent as far as its Unix socket goes: speaks Comm to one user after another and runs calls as they come.

Calls run in the agent's own thread, one after the other, so what is observed is deterministic. Unpickling here is
what a worker would do.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import pickle
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from agentd.api.memory.segment_map import SegmentMap
from agentd.api.memory.segments import SegmentPool
from agentd.model.exchange import Settled, Submission
from agentd.model.task import Failure, Form, Outcome, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from agentd.wire.messages import (
    CancelCalls,
    Declare,
    Hello,
    HelloAck,
    Message,
    Segment,
    SegmentFree,
    SegmentRelease,
    SettledCalls,
    Submit,
)
from agentd.wire.session import Session
from agentd.wire.terms import Side, Terms

PYTHON = (sys.version_info[0], sys.version_info[1])


class UnixAgent:
    """Listens on `agent.sock` in a state folder and leaves a ready file there.

    `callable_modules` may be called by name. `hold` keeps calls instead of running them until `let_go`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        callable_modules: tuple[str, ...] = (),
        scope: str = "code",
        python: tuple[int, int] = PYTHON,
        window: int = 65_536,
        refusal: tuple[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.callable_modules = callable_modules
        self.scope = scope
        self.python = python
        self.window = window
        self.refusal = refusal
        self.hold = threading.Event()
        self.ran: list[str] = []
        """Name and form of each call that ran."""
        self.frames: list[int] = []
        """How many calls each SUBMIT brought."""
        self.declared: list[Template] = []
        self.cancelled: list[int] = []
        self.greetings = 0
        self.hello: Hello | None = None
        self.waits_for: Callable[[Submission], bool] = lambda _: False
        self.users: list[User] = []
        """Programs that are connected."""
        self._members = threading.Lock()
        self._stop, self._stopped = os.pipe()
        self._thread: threading.Thread | None = None

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "agent.sock"
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._stop, self._stopped = os.pipe()
        ready = {"name": "fake", "pid": os.getpid(), "rest": None, "comm": None, "boot": "1"}
        (self.folder / "agent.json").write_text(json.dumps(ready))
        self._thread = threading.Thread(target=self._run, name="fake-agent")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Die: whoever is connected sees the end of the file."""
        if self._thread is None:
            return
        os.close(self._stopped)
        self._thread.join()
        self._thread = None
        self._listener.close()
        os.close(self._stop)
        (self.folder / "agent.sock").unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def let_go(self) -> None:
        """Run what was held, for every program that is connected, and hold nothing any more."""
        self.hold.clear()
        with self._members:
            for user in self.users:
                os.eventfd_write(user.bell, 1)

    @property
    def user(self) -> User:
        """The program that connected last."""
        return self.users[-1]

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN | select.POLLHUP)
        poll.register(self._listener, select.POLLIN)
        by_descriptor: dict[int, User] = {}
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._stop:
                    while self.users:
                        self.users.pop().close()
                    return
                if descriptor == self._listener.fileno():
                    sock, _address = self._listener.accept()
                    user = User(self, sock)
                    self.users.append(user)
                    by_descriptor[sock.fileno()] = by_descriptor[user.bell] = user
                    poll.register(sock, select.POLLIN)
                    poll.register(user.bell, select.POLLIN)
                elif descriptor in by_descriptor:
                    user = by_descriptor[descriptor]
                    if not user.turn():
                        for key in (user.sock.fileno(), user.bell):
                            poll.unregister(key)
                            del by_descriptor[key]
                        with self._members:
                            self.users.remove(user)
                            user.close()


class User:
    """One connected program."""

    def __init__(self, agent: UnixAgent, sock: socket.socket) -> None:
        self.agent = agent
        self.sock = sock
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.session = Session(Side.ACCEPTOR, Terms(local=True), time.monotonic())
        self.templates: dict[int, Template] = {}
        self.functions: dict[int, Any] = {}
        self.held: list[Submission] = []
        self.descriptors: list[int] = []
        self.news: list[tuple[Message, tuple[int, ...]]] = []
        self.released: list[int] = []
        self.map = SegmentMap(self.released.append)
        self.pool = SegmentPool(
            lambda number, fd, size: self.news.append((Segment(number, size), (fd,))),
            lambda number: self.news.append((SegmentFree((number,)), ())),
        )

    def close(self) -> None:
        self.sock.close()
        self.pool.close()
        os.close(self.bell)
        for descriptor in self.descriptors:
            os.close(descriptor)

    def turn(self) -> bool:
        """Read, act and answer; false when the program is gone."""
        try:
            return self._turn()
        except (ConnectionResetError, BrokenPipeError):
            return False

    def _turn(self) -> bool:
        try:
            data, ancillary, _, _ = self.sock.recvmsg(262_144, 4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            os.eventfd_read(self.bell)
            self.work()
            return True
        for _, _, raw in ancillary:
            self.descriptors.extend(array.array("i", raw))
        if not data:
            return False
        for message in self.session.receive(data, time.monotonic()):
            self.take(message)
        self.work()
        return True

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        for frame in self.session.send(message, time.monotonic()):
            data = b"".join(frame)
            if descriptors:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
                data = data[self.sock.sendmsg([data], rights) :]
            self.sock.sendall(data)

    def take(self, message: Message) -> None:
        agent = self.agent
        if isinstance(message, Hello):
            agent.hello = message
            agent.greetings += 1
            if agent.refusal is not None:
                self.send(HelloAck(code=agent.refusal[0], reason=agent.refusal[1]))
                return
            ack = HelloAck(ok=True, name="fake", boot="1", scope=agent.scope, python=agent.python, credits=agent.window)
            self.send(self.session.welcome(ack))
        elif isinstance(message, Declare):
            self.templates.update(message.templates)
            agent.declared.extend(template for _, template in message.templates)
        elif isinstance(message, Submit):
            agent.frames.append(len(message.calls))
            self.held.extend(message.calls)
        elif isinstance(message, CancelCalls):
            agent.cancelled.extend(message.refs)
        elif isinstance(message, Segment):
            descriptor = self.descriptors.pop(0)
            self.map.add(message.number, descriptor, message.size)
            os.close(descriptor)
        elif isinstance(message, SegmentFree):
            for number in message.segments:
                self.map.drop(number)
        elif isinstance(message, SegmentRelease):
            for number in message.segments:
                self.pool.free(number)

    def work(self) -> None:
        cancelled = set(self.agent.cancelled)
        held, self.held = self.held, []
        ready = []
        for call in held:
            waits = self.agent.hold.is_set() and call.ref not in cancelled
            (self.held if waits else ready).append(call)
        settled = [
            Settled(call.ref, Outcome(Status.CANCELLED) if call.ref in cancelled else self.run(call)) for call in ready
        ]
        for message, descriptors in self.news:
            self.send(message, descriptors)
        self.news.clear()
        if settled:
            self.send(SettledCalls(settled))
        if self.released:
            self.send(SegmentRelease(tuple(self.released)))
            self.released.clear()

    def run(self, call: Submission) -> Outcome:
        template = self.templates[call.template]
        is_by_name = not template.code
        module = template.function.partition(":")[0]
        if is_by_name and module not in self.agent.callable_modules:
            return self.failed(Reason.NOT_CALLABLE, "NotCallable", f"{template.function} may not be called")
        try:
            value = self.read(call.payload)
        except Exception as error:  # noqa: BLE001 - as a worker does
            return self.failed(Reason.NOT_DECODABLE, type(error).__name__, str(error))
        self.agent.ran.append(f"{template.function} {'by name' if is_by_name else 'by value'}")
        try:
            result = self.call(template, call.template, value)
        except Exception as error:  # noqa: BLE001 - as a worker does
            return self.failed(
                Reason.EXCEPTION, type(error).__name__, str(error), traceback.format_exc(), _pickled(error)
            )
        return Outcome(value=self.encode(result), agent="fake")

    def call(self, template: Template, number: int, value: Any) -> Any:
        function = self.functions.get(number)
        if function is None:
            if template.code:
                function = pickle.loads(template.code)
            else:
                module, _, name = template.function.partition(":")
                function = getattr(importlib.import_module(module), name)
            self.functions[number] = function
        if template.form == Form.CHUNK:
            return [function(*args) for args in value]
        args, kwargs = value
        return function(*args, **kwargs)

    def read(self, payload: Payload) -> Any:
        if payload.codec == Codec.NONE:
            return (), {}
        spans: dict[int, list[tuple[int, int]]] = {}
        for part in payload.parts:
            if part.segment:
                spans.setdefault(part.segment, []).append((part.offset, part.size))
        lent = {number: iter(self.map.lend(number, rows)) for number, rows in spans.items()}
        buffers = [next(lent[part.segment]) if part.segment else part.data for part in payload.parts]
        return pickle.loads(payload.data, buffers=buffers)

    def encode(self, value: Any) -> Payload:
        if value is None:
            return Payload()
        views: list[memoryview] = []
        data = pickle.dumps(value, 5, buffer_callback=lambda buffer: views.append(buffer.raw()))
        placed = self.pool.put(views) if views else None
        if placed is None:
            return Payload(Codec.PICKLE, data)
        number, offsets = placed
        parts = [Part(view.nbytes, segment=number, offset=at) for view, at in zip(views, offsets, strict=True)]
        return Payload(Codec.PICKLE, data, tuple(parts))

    @staticmethod
    def failed(reason: Reason, type_: str, message: str, text: str = "", exception: bytes = b"") -> Outcome:
        failure = Failure(reason, type_, message, text, agent="fake", attempt=1, exception=exception)
        return Outcome(Status.FAILED, failure=failure)


def _pickled(error: Exception) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - as a worker does
        return b""

"""What the runtime needs of the process that it runs in: its way to the agent, and the encoding of large values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from agentd.api.tasks.messages import Encoded, Parts

NONE, PICKLE, JSON, BYTES, BOTH, FILE, DIRECTORY = range(7)
"""As `agentd.model.values.Codec`, which this side cannot import."""
THERE, FAILED, CANCELLED = range(3)
"""As `agentd.model.graph.Standing`."""


class Kind:
    """Frames that ask; as in `agentd/workers/protocol.py`."""

    DECLARE, SPAWN, PUT, AWAIT, BARRIER, RELEASE, CANCEL, LIMIT = range(28, 36)


class Received(NamedTuple):
    """A version as it came: how it stands, and its value or why there is none."""

    version: int
    standing: int
    codec: int
    data: Any
    parts: Any
    """What `buffers` takes; falsy for none."""


class Port(Protocol):
    """One end of a worker's, or a session's, connection to its agent."""

    number: int
    """Of the worker; it is in the upper half of each version's number."""
    threshold: int
    """From this size on, in bytes, buffers go into shared memory."""
    shared: str
    """Where files are that tasks of this agent share; empty: there is no place for them."""

    @property
    def folder(self) -> str:
        """Where folders of tasks are made; empty: where the system keeps temporary ones."""
        ...

    def task(self) -> int:
        """Give the task whose code runs on top; 0 between tasks."""
        ...

    def enter(self, family: Any) -> None:
        """Note that the task on top has a family: its `end` is called when the task's code has ended."""
        ...

    def send(self, kind: int, body: bytes) -> None:
        """Send one frame, wholly or not at all."""
        ...

    def wait(self, token: int) -> list[tuple[int, int, int, Any, Any]]:
        """Wait for the answer with this token: the fields of `Received`, for each version.

        Raises:
            KeyboardInterrupt: the task that waits is to end.
        """
        ...

    def encode(self, value: Any) -> Encoded:
        """Write a value; large buffers go into shared memory, which is the agent's as soon as a frame names it.

        Raises:
            Exception: it cannot be pickled; the message names the element.
        """
        ...

    def look(self, segment: int, offset: int, size: int) -> memoryview:
        """Give what was written into shared memory."""
        ...

    def place(self, view: memoryview) -> Parts:
        """Copy bytes to where the agent can have them.

        Raises:
            MemoryError: there is no memory for them.
        """
        ...

    def place_file(self, fd: int, size: int) -> Parts:
        """Let the agent have a file that nobody writes any more; the descriptor stays the caller's.

        Raises:
            OSError: it cannot be read.
            MemoryError: there is no memory for it.
        """
        ...

    def pour(self, parts: Any, to: int) -> None:
        """Write the buffers of a value that came into a file, to where it stands.

        Raises:
            OSError: it cannot be written.
            Exception: they are not there.
        """
        ...

    def link(self, parts: Any, path: str) -> bool:
        """Give a file that came a path without a copy of its bytes; False: it can only be copied.

        It is not to be written, and may be the agent's own, which this user cannot write.
        """
        ...

    def hosts(self) -> int:
        """Tell how many agents can take tasks."""
        ...

    def buffers(self, parts: Any, *, writable: bool) -> list[memoryview]:
        """Give the buffers of a value that came.

        Raises:
            Exception: they cannot be mapped.
        """
        ...

    def discard(self, parts: Any) -> None:
        """Let the buffers of a value go that nobody will read."""
        ...

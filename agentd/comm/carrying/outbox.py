"""What waits to be written on one link: urgent frames pass the others, and no frame is interrupted.

Law: what of it is kept in memory does not exceed its limit by more than one frame; the rest waits on the disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from agentd.comm.carrying.overflow import Overflow
from agentd.wire.framing import Buffer

_Waiting = tuple[list[Buffer], tuple[int, ...]]
"""Pieces of a frame, and the descriptors that go with its first byte."""


class Outbox:
    """Frames in order of urgency, then of arrival; above `most_bytes` in memory they wait in files of `folder`.

    Attributes:
        pending_bytes: what waits here.
        fault: why the disk did not take a frame, or gave one back no more: that one is lost and none is taken any
            more, so the connection has to end; empty while all is well.
    """

    __slots__ = ("_begun", "_bulk", "_folder", "_most_bytes", "_overflow", "_urgent", "fault", "pending_bytes")

    def __init__(self, most_bytes: int | None = None, folder: Path | None = None) -> None:
        self.pending_bytes = 0
        self.fault = ""
        self._most_bytes = most_bytes
        self._folder = folder
        self._overflow: Overflow | None = None
        """What waits behind all else; there is one while anything does."""
        self._urgent: deque[_Waiting] = deque()
        self._bulk: deque[_Waiting] = deque()
        self._begun: deque[Buffer] = deque()
        """What is left of a frame of which a part was taken."""

    def put(self, pieces: list[Buffer], *, urgent: bool = False, fds: Sequence[int] = ()) -> None:
        """Append one frame; descriptors belong to its first byte, and to the caller until that was taken."""
        if self.fault:
            return
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        most = self._most_bytes
        is_much = self._overflow is not None or (most is not None and self.pending_bytes + size > most)
        if not is_much or urgent or not self.pending_bytes:
            (self._urgent if urgent else self._bulk).append((pieces, tuple(fds)))
        elif not self._is_aside(pieces, tuple(fds)):
            return
        self.pending_bytes += size

    def _is_aside(self, pieces: list[Buffer], fds: tuple[int, ...]) -> bool:
        """Let a frame wait on the disk, and tell whether it took it."""
        if self._overflow is None:
            self._overflow = Overflow(self._folder)
        try:
            self._overflow.put(pieces, fds)
        except OSError as error:
            self.fault = f"the disk takes no more of it: {error.strerror or error}"
            if not len(self._overflow):
                self._overflow.discard()
                self._overflow = None
        return not self.fault

    def take(self, most_bytes: int) -> tuple[list[Buffer], tuple[int, ...]]:
        """Give the next pieces, at most `most_bytes` of them, with the descriptors that go with the first byte.

        Pieces that carry no descriptors never follow, in one answer, pieces that do.
        """
        is_alone = len(self._bulk) == 1 and not self._begun and not self._urgent and self._overflow is None
        if is_alone and self.pending_bytes <= most_bytes:
            self.pending_bytes = 0
            return self._bulk.popleft()
        taken: list[Buffer] = []
        room = most_bytes
        fds: tuple[int, ...] = ()
        while room and not fds:
            if not self._begun:
                waiting = self._next()
                if waiting is None:
                    break
                if waiting[1] and taken:
                    self._bulk.appendleft(waiting)
                    break
                self._begun.extend(waiting[0])
                fds = waiting[1]
            room -= self._take_begun(taken, room)
        self.pending_bytes -= most_bytes - room
        return taken, fds

    @property
    def held_bytes(self) -> int:
        """What waits here in memory."""
        return self.pending_bytes - (self._overflow.bytes if self._overflow is not None else 0)

    def discard(self) -> None:
        """Forget all frames of which nothing was taken yet."""
        self.fault = ""
        self._urgent.clear()
        self._bulk.clear()
        if self._overflow is not None:
            self._overflow.discard()
            self._overflow = None
        self.pending_bytes = sum(map(len, self._begun))

    def _next(self) -> _Waiting | None:
        if self._urgent:
            return self._urgent.popleft()
        if self._bulk:
            return self._bulk.popleft()
        return self._brought_back() if self._overflow is not None else None

    def _brought_back(self) -> _Waiting | None:
        """Take the oldest of what waits on the disk."""
        overflow = self._overflow
        assert overflow is not None
        try:
            return overflow.take()
        except OSError as error:
            self.fault = f"the disk does not give it back: {error.strerror or error}"
            self.pending_bytes -= overflow.bytes
            overflow.discard()
            return None
        finally:
            if not len(overflow):
                self._overflow = None

    def _take_begun(self, taken: list[Buffer], room: int) -> int:
        """Move pieces of the begun frame to `taken`; tell how many bytes that was."""
        used = 0
        while self._begun and used < room:
            piece = self._begun.popleft()
            if len(piece) > room - used:
                view = memoryview(piece)
                self._begun.appendleft(view[room - used :])
                piece = view[: room - used]
            used += len(piece)
            taken.append(piece)
        return used

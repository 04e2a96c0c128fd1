"""What waits to be written on one link: urgent frames pass the others, and no frame is interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from agentd.wire.framing import Buffer

_Waiting = tuple[list[Buffer], tuple[int, ...]]
"""Pieces of a frame, and the descriptors that go with its first byte."""


class Outbox:
    """Frames in order of urgency, then of arrival.

    Attributes:
        pending_bytes: what waits here.
    """

    __slots__ = ("_begun", "_bulk", "_urgent", "pending_bytes")

    def __init__(self) -> None:
        self.pending_bytes = 0
        self._urgent: deque[_Waiting] = deque()
        self._bulk: deque[_Waiting] = deque()
        self._begun: deque[Buffer] = deque()
        """What is left of a frame of which a part was taken."""

    def put(self, pieces: list[Buffer], *, urgent: bool = False, fds: Sequence[int] = ()) -> None:
        """Append one frame; descriptors belong to its first byte and to the caller."""
        (self._urgent if urgent else self._bulk).append((pieces, tuple(fds)))
        self.pending_bytes += len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))

    def take(self, most_bytes: int) -> tuple[list[Buffer], tuple[int, ...]]:
        """Give the next pieces, at most `most_bytes` of them, with the descriptors that go with the first byte.

        Pieces that carry no descriptors never follow, in one answer, pieces that do.
        """
        if len(self._bulk) == 1 and not self._begun and not self._urgent and self.pending_bytes <= most_bytes:
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

    def discard(self) -> None:
        """Forget all frames of which nothing was taken yet."""
        self._urgent.clear()
        self._bulk.clear()
        self.pending_bytes = sum(map(len, self._begun))

    def _next(self) -> _Waiting | None:
        if self._urgent:
            return self._urgent.popleft()
        return self._bulk.popleft() if self._bulk else None

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

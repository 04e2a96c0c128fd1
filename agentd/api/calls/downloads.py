"""Results that are too large for a message, on their way here in chunks: where memory is not shared with the agent.

Law: a call is settled when all bytes of its value are here and were checked; what is asked for and has not come is
bounded, whatever the size and number of the results.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from agentd.model.errors import AgentdError, PeerError
from agentd.wire.messages import DataChunk, DataRelease, DataRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.model.exchange import Settled
    from agentd.model.values import ObjectKey, Remote
    from agentd.wire.messages import HelloAck, Message

PIECE_BYTES = 4 << 20
"""What one request asks for."""
WINDOW_BYTES = 2 * PIECE_BYTES
"""What is asked for and has not come of one value, as between agents."""
ACTIVE_MOST = 8
"""Values that come at a time; others wait (chosen)."""


class _Coming:
    """Bytes of one object, for one result."""

    def __init__(self, result: Result, remote: Remote) -> None:
        self.result = result
        self.remote = remote
        self.bytes = bytearray()
        self.asked = 0
        self.taken = 0

    def is_of(self, agent: HelloAck) -> bool:
        """Tell whether the agent may still have it, for a program that was cut off."""
        is_same = (self.remote.home, self.remote.boot) == (agent.agent_id, agent.boot)
        return is_same and bool(agent.capabilities.get("sessions"))


class Result:
    """A result that is not all here.

    Attributes:
        settled: how the call ended.
        failure: why it cannot be had; None while it may.
        was_cut: the connection was lost in the middle of it.
    """

    def __init__(self, settled: Settled) -> None:
        self.settled = settled
        self.failure: AgentdError | None = None
        self.was_cut = False
        self.missing = 0
        self.whole: dict[ObjectKey, memoryview] = {}

    @property
    def buffers(self) -> list[memoryview]:
        """The buffers of its value, when all of it is here."""
        return [
            memoryview(part.data or b"")
            if part.remote is None
            else self.whole[part.remote.key][part.offset : part.offset + part.size]
            for part in self.settled.outcome.value.parts
        ]


class Downloads:
    """What is on its way over one connection. `tell` has the agent told something."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self._streams = count(1)
        self._coming: dict[int, _Coming] = {}
        self._waiting: deque[_Coming] = deque()

    def reconnect(self, agent: HelloAck) -> set[int]:
        """Go on over another connection, from where each value stopped, if the agent is the same.

        Returns:
            The calls of which results come; nothing is known here any more of the others.
        """
        cut = [coming for coming in (*self._coming.values(), *self._waiting) if coming.is_of(agent)]
        self._coming.clear()
        self._waiting = deque(cut)
        for coming in cut:
            coming.asked = coming.taken
            coming.result.was_cut = True
        self._begin_waiting()
        return {coming.result.settled.ref for coming in cut}

    @staticmethod
    def is_elsewhere(settled: Settled) -> bool:
        """Tell whether anything of a result is to be fetched."""
        return any(part.remote is not None for part in settled.outcome.value.parts)

    def begin(self, settled: Settled) -> None:
        """Fetch what a result names."""
        result = Result(settled)
        for remote in _named(settled):
            result.missing += 1
            self._waiting.append(_Coming(result, remote))
        self._begin_waiting()

    def refuse(self, settled: Settled) -> None:
        """Let go of what a result names: nobody waits for it."""
        self._tell(DataRelease(tuple((remote.key, 1) for remote in _named(settled))))

    def take(self, chunk: DataChunk) -> Result | None:
        """Take a chunk, and give the result that it completes, or that cannot be had because of it.

        Raises:
            PeerError: it is not what was asked for, or was damaged on its way.
        """
        coming = self._coming.get(chunk.stream)
        if coming is None:
            return None  # asked for before the last of a result failed
        if chunk.error:
            return self._failed(coming.result, chunk.error)
        self._check(coming, chunk)
        for piece in chunk.pieces:
            coming.bytes += piece
        coming.taken = len(coming.bytes)
        if coming.taken < coming.remote.size:
            self._ask(chunk.stream, coming)
            return None
        del self._coming[chunk.stream]
        self._tell(DataRelease(((coming.remote.key, 1),)))
        self._begin_waiting()
        return self._completed(coming)

    @staticmethod
    def _completed(coming: _Coming) -> Result | None:
        result = coming.result
        result.whole[coming.remote.key] = memoryview(coming.bytes).toreadonly()
        result.missing -= 1
        return result if not result.missing else None

    @staticmethod
    def _check(coming: _Coming, chunk: DataChunk) -> None:
        from agentd.wire.checksum import checksum  # large results only: it loads a library of ciphers

        size = sum(map(len, chunk.pieces))
        if chunk.offset != coming.taken or not 0 < size <= coming.asked - coming.taken:
            raise PeerError("the agent sent what was not asked for")
        if chunk.hash and checksum(chunk.pieces) != chunk.hash:  # without one TLS has seen to it
            raise PeerError("a part of a result was damaged on its way")

    def _failed(self, result: Result, reason: str) -> Result:
        """Give up what else was to come of a result."""
        for stream in [stream for stream, coming in self._coming.items() if coming.result is result]:
            del self._coming[stream]
        self._waiting = deque(coming for coming in self._waiting if coming.result is not result)
        self.refuse(result.settled)
        result.failure = AgentdError(f"the call ended well, and its result could not be fetched: {reason}")
        self._begin_waiting()
        return result

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._coming) < ACTIVE_MOST:
            coming, stream = self._waiting.popleft(), next(self._streams)
            self._coming[stream] = coming
            self._ask(stream, coming)

    def _ask(self, stream: int, coming: _Coming) -> None:
        remote = coming.remote
        while coming.asked < remote.size and coming.asked - coming.taken <= WINDOW_BYTES - PIECE_BYTES:
            size = min(PIECE_BYTES, remote.size - coming.asked)
            self._tell(DataRequest(remote.number, coming.asked, size, remote.home, remote.boot, stream))
            coming.asked += size


def _named(settled: Settled) -> list[Remote]:
    """Give the objects that a result names, each once."""
    parts = settled.outcome.value.parts
    return list({part.remote.key: part.remote for part in parts if part.remote is not None}.values())

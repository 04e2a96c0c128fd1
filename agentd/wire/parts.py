"""Buffers of payloads: the large ones leave the body of a message and travel raw behind it.

Law: a part that says nothing but its size stands for the next `size` bytes of the frame's raw buffers, in the order
in which such parts appear in the message; all raw bytes are claimed, none twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec.structs import force_setattr, replace

from agentd.model.errors import PeerError
from agentd.model.values import Part, Payload, Remote
from agentd.wire.faults import LocalError, NotPortable
from agentd.wire.framing import Buffer

INLINE_BYTES = 4_096
"""A part up to this size stays in the body (chosen: copying a page costs less than another piece to write)."""

MOST_HOLDERS = 16
"""Holders that one reference may name (chosen: enough to find one that is near)."""
NAME_MOST = 256
"""Characters of a name, as everywhere in the protocol."""


def detach(payload: Payload, buffers: list[Buffer], *, local: bool) -> Payload:
    """Move the payload's large parts to `buffers` and give what remains; the payload itself is left as it is.

    Raises:
        NotPortable: a part lies outside of the message, and the other end is not on this device.
        LocalError: a part has none of its forms, or its size is wrong.
    """
    if not payload.parts:
        return payload
    return replace(payload, parts=tuple(_detached(part, buffers, local) for part in payload.parts))


def _detached(part: Part, buffers: list[Buffer], local: bool) -> Part:
    if part.data is None:
        if part.remote is not None and not part.segment and not part.stored:
            return part
        if not part.segment and not part.stored:
            raise LocalError(f"a part of {part.size} bytes has no data, no segment and no stored object")
        if not local:
            raise NotPortable("a value lies in this device's memory or store: bring its bytes into the message first")
        return part
    if len(part.data) != part.size:
        raise LocalError(f"a part says {part.size} bytes and holds {len(part.data)}")
    if part.size <= INLINE_BYTES:
        return part
    buffers.append(part.data)
    return Part(part.size)


class RawBytes:
    """The raw buffers of one frame, given out in order."""

    def __init__(self, pieces: Sequence[Buffer]) -> None:
        self._pieces = deque(pieces)
        self._left = sum(map(len, pieces))

    def take(self, size: int) -> bytes:
        """Give the next `size` bytes, copied once.

        Raises:
            PeerError: there are not as many.
        """
        if size > self._left:
            raise PeerError(f"a part claims {size} raw bytes where {self._left} are left")
        self._left -= size
        taken: list[Buffer] = []
        while size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                view = memoryview(piece)
                self._pieces.appendleft(view[size:])
                piece = view[:size]
            taken.append(piece)
            size -= len(piece)
        return b"".join(taken)

    def finish(self) -> None:
        """Check that nothing is left over.

        Raises:
            PeerError: raw bytes that no part claims.
        """
        if self._left:
            raise PeerError(f"{self._left} raw bytes belong to no part of the message")


def attach(payload: Payload, raw: RawBytes, *, local: bool) -> None:
    """Give the parts of a payload that was just decoded their raw bytes, and check the others.

    Raises:
        PeerError: sizes that do not match, or a part that only makes sense on one device.
    """
    for part in payload.parts:
        if part.size < 0 or part.offset < 0 or part.segment < 0 or part.stored < 0:
            raise PeerError("a part with a negative size, offset or number")
        if part.data is not None:
            if len(part.data) != part.size:
                raise PeerError(f"a part says {part.size} bytes and holds {len(part.data)}")
            if part.remote is not None:
                raise PeerError("a part holds its bytes and names an object")
        elif part.remote is not None:
            _check_remote(part, part.remote)
        elif not part.segment and not part.stored:
            force_setattr(part, "data", raw.take(part.size))
        elif not local:
            raise PeerError("a part names shared memory or a stored object over a connection between devices")
        elif part.segment and part.stored:
            raise PeerError("a part names both shared memory and a stored object")


def _check_remote(part: Part, remote: Remote) -> None:
    """Check a part that names an object.

    Raises:
        PeerError: it lies outside of the object, is in two places, or the reference is none.
    """
    if part.segment or part.stored:
        raise PeerError("a part names an object and a place beside it")
    if remote.number <= 0 or part.offset + part.size > remote.size:
        raise PeerError(f"a part of {part.size} bytes lies outside of its object of {remote.size}")
    if len(remote.holders) > MOST_HOLDERS or max(map(len, (remote.home, remote.boot, *remote.holders))) > NAME_MOST:
        raise PeerError("a reference to an object with too many or too long names")

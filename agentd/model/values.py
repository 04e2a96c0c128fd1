"""Values on their way: how they are encoded and where their bytes are; opaque to the daemon.

Law: the daemon never decodes a value. It is written by the process that has it and read by the one that needs it.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class Codec(IntEnum):
    """How the bytes of a value are to be read."""

    NONE = 0
    """The value None, in no bytes."""
    PICKLE = 1
    """A pickle, protocol 5; its out-of-band buffers are the payload's parts, in order."""
    JSON = 2
    """UTF-8 JSON that gives back an equal value."""
    BYTES = 3
    """A bytes object as it is."""
    BOTH = 4
    """JSON for people, then the pickle: a big-endian u32 length of the JSON, the JSON, the pickle."""
    FILE = 5
    """A file: its content is the payload's parts, joined."""
    DIRECTORY = 6
    """A folder: a tar archive of it is the payload's parts, joined."""


class Part(Struct, frozen=True, array_like=True, gc=False):
    """A buffer that travels beside the encoded bytes.

    Exactly one of three forms: `data` holds it inline; `segment` names shared memory of this device with `offset`
    and `size` in bytes; `stored` names an object of this agent's store on the disk.
    """

    size: int
    data: bytes | None = None
    segment: int = 0
    offset: int = 0
    stored: int = 0


class Payload(Struct, frozen=True, array_like=True, gc=False):
    """An encoded value. Where there are parts and no data, the bytes of the value are those of its parts, joined."""

    codec: int = 0
    data: bytes = b""
    parts: tuple[Part, ...] = ()

    @property
    def size_bytes(self) -> int:
        """All bytes of it, wherever they are."""
        if not self.parts:
            return len(self.data)
        return len(self.data) + sum(part.size for part in self.parts)

    @property
    def is_portable(self) -> bool:
        """Tell whether every byte is inline, so that it can leave the device in one message."""
        return all(part.data is not None for part in self.parts)


NO_VALUE = Payload()

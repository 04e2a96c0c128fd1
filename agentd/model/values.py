"""Values on their way: how they are encoded and where their bytes are; opaque to the daemon.

Law: the daemon never decodes a value. It is written by the process that has it and read by the one that needs it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

PARTS_MOST = 65_535
"""Of one value, and inputs of one task (specified: what a frame to a worker can count)."""


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


class Remote(Struct, frozen=True, array_like=True, gc=False):
    """A reference to an object: bytes that stay with the agents that have them until somebody needs them."""

    home: str
    """Agent that gave the object its number, by its id."""
    boot: str
    """Of the home, when it did."""
    number: int
    """Unique at that home and boot; hard to guess, since who knows it may ask for the bytes."""
    size: int
    """Of the whole object in bytes; a part is a range of it."""
    holders: tuple[str, ...] = ()
    """Agents that had all of it when this was said, by their ids."""
    is_file: bool = False
    """It is the content of a file or folder: who fetches it needs it on a disk."""

    @property
    def key(self) -> ObjectKey:
        """What tells the object from all others."""
        return self.home, self.boot, self.number


ObjectKey = tuple[str, str, int]
"""Home, boot, number."""


class Part(Struct, frozen=True, array_like=True, gc=False):
    """A buffer that travels beside the encoded bytes.

    Exactly one of four forms: `data` holds it inline; `segment` names shared memory of this device with `offset`
    and `size` in bytes; `stored` names an object of this agent's store on the disk; `remote` names an object of which
    it is `size` bytes from `offset`. Inside of one agent a part may be `remote` and have its place here besides, of
    which `offset` then speaks.
    """

    size: int
    data: bytes | None = None
    segment: int = 0
    offset: int = 0
    stored: int = 0
    remote: Remote | None = None

    @property
    def is_here(self) -> bool:
        """Tell whether its bytes are on this agent."""
        return self.remote is None or self.segment != 0 or self.stored != 0


class Payload(Struct, frozen=True, array_like=True, gc=False):
    """An encoded value. Where there are parts and no data, the bytes of the value are those of its parts, joined."""

    codec: Annotated[int, Meta(ge=0, le=255)] = 0
    data: bytes = b""
    parts: Annotated[tuple[Part, ...], Meta(max_length=PARTS_MOST)] = ()

    @property
    def size_bytes(self) -> int:
        """All bytes of it, wherever they are."""
        if not self.parts:
            return len(self.data)
        return len(self.data) + sum(part.size for part in self.parts)

    @property
    def inline_bytes(self) -> int:
        """Those that are in memory with it."""
        if not self.parts:
            return len(self.data)
        return len(self.data) + sum([part.size for part in self.parts if part.data is not None])

    @property
    def is_portable(self) -> bool:
        """Tell whether every byte is inline or elsewhere, so that it can leave the device in one message."""
        return all(part.data is not None or not (part.segment or part.stored) for part in self.parts)

    @property
    def carried_bytes(self) -> int:
        """How many bytes a message carries for it; what is named by reference weighs nothing."""
        return len(self.data) + sum(part.size for part in self.parts if part.remote is None)


NO_VALUE = Payload()


class Kept(Payload, frozen=True, array_like=True, gc=False):
    """Stands for a value that a worker will have made itself before it needs it; never leaves the agent."""

    task: int = 0
    """Whose result it is; it stands before the one that reads it in the line of the same worker."""
    place: int = 0
    """The how-manieth of what that task makes, from 0."""

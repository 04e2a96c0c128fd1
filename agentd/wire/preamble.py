"""The first bytes of a connection that is to be a line between a session and a worker of a neighbour.

Law: no frame and no TLS record begins so, and what is no preamble is known as such by its first wrong byte.

| offset | size | meaning |
|---|---|---|
| 0 | 2 | `a8 4c` |
| 2 | 1 | version, 1 |
| 3 | 32 | ticket |

Who accepted the connection answers with the one byte `TAKEN`, when it has found what the ticket is for.
"""

from __future__ import annotations

MAGIC = b"\xa8\x4c\x01"
FIRST = MAGIC[:1]
"""By which a port tells such a connection from any other."""
TICKET_BYTES = 32
PREAMBLE_BYTES = len(MAGIC) + TICKET_BYTES
TAKEN = b"\x06"


def preamble(ticket: bytes) -> bytes:
    """Give what the dialler says first."""
    return MAGIC + ticket


def may_begin(data: bytes | bytearray) -> bool:
    """Tell whether these bytes, the first of a connection, may be those of a preamble."""
    return data[: len(MAGIC)] == MAGIC[: len(data)] and len(data) <= PREAMBLE_BYTES


def ticket_in(data: bytes | bytearray) -> bytes | None:
    """Give the ticket of a preamble that is whole; None where it is not, or is none."""
    return bytes(data[len(MAGIC) :]) if may_begin(data) and len(data) == PREAMBLE_BYTES else None

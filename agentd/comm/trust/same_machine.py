"""Whether the other end runs on this very machine: then what goes between the two stays in the memory of one kernel.

Law: who is believed to be here says what names the running kernel, which it can only know here.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.wire.messages import Hello, HelloAck

BARE = "bare"
"""The capability: chunks are taken without a hash where nothing can change them unseen."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A random number of each run of a kernel (random(4)), the same in all its containers."""


@cache
def kernel() -> str:
    """Name the running kernel, without telling its number; empty where there is none to be had."""
    try:
        number = _BOOT_ID.read_bytes().strip()
    except OSError:
        return ""
    return blake2s(number, digest_size=16, person=b"agentd").hexdigest() if number else ""


def bare() -> bool | str:
    """Give what is said of the capability: where chunks from this machine are known by their kernel, its name."""
    return kernel() or True


def may_be_bare(them: Hello | HelloAck | None, *, is_secret: bool) -> bool:
    """Tell whether chunks may go between us and them without a hash.

    They may over TLS, whose records are sealed, and within one machine, where nothing but memory is between the two.
    """
    said = them.capabilities.get(BARE, False) if them is not None else False
    return bool(said) and (is_secret or said == kernel())

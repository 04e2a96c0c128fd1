"""Memory of this process alone that another one wrote, or is to read, by its descriptor.

Standard library only. Law: it is given back to the kernel when the last view of it is gone; it needs no descriptor
meanwhile, so that a program may hold any number of values.
"""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import weakref
from pickle import PickleBuffer
from typing import TYPE_CHECKING

from agentd.api.memory.segment_map import FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, libc

if TYPE_CHECKING:
    from collections.abc import Sequence


def written(view: memoryview) -> int:
    """Copy bytes into memory that nobody can change any more; gives its descriptor, which is the caller's to close.

    Raises:
        OSError: there is no memory for it.
    """
    fd = os.memfd_create("agentd-value", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = view.cast("B")
        while left:
            left = left[os.write(fd, left) :]
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    except BaseException:
        os.close(fd)
        raise
    return fd


def views(fd: int, sizes: Sequence[int], *, writable: bool) -> list[memoryview]:
    """Map what was written behind a descriptor, one part behind the other; the descriptor may be closed.

    Raises:
        OSError: it cannot be mapped, or is shorter.
    """
    total = sum(sizes)
    if os.fstat(fd).st_size < total:
        raise OSError(f"a value of {total} bytes came as {os.fstat(fd).st_size}")
    address = libc.mmap(None, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if address is None or address == FAILED:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot map {total} bytes: {os.strerror(error)}")
    base = (ctypes.c_ubyte * total).from_address(address)
    weakref.finalize(base, libc.munmap, address, total).atexit = False
    whole = PickleBuffer(base).raw()
    starts = itertools.accumulate(sizes, initial=0)
    found = [whole[start : start + size] for start, size in zip(starts, sizes, strict=False)]
    return found if writable else [view.toreadonly() for view in found]

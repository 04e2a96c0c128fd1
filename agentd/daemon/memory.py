"""What this process keeps of memory that it uses no more: cycles of objects, and free space among what is in use."""

from __future__ import annotations

import ctypes
import gc

THRESHOLDS = 10_000, 20, 50
"""Of gc.set_threshold: chosen, ten times above what a batch of calls makes and lets go."""
FREE_LEAST_BYTES = 16 << 20
"""So much of malloc(3) may lie free (chosen: what a busy agent takes and lets go all the time)."""


class _Heap(ctypes.Structure):
    """What mallinfo2(3) gives: ten figures, in bytes but for some counts."""

    _fields_ = tuple((f"figure_{number}", ctypes.c_size_t) for number in range(10))

    @property
    def free_bytes(self) -> int:
        """Its `fordblks`."""
        return int(self.figure_8)


def collect_seldom() -> None:
    """Leave cycles, which are rare and each take time from some call to find, out of the search for what is here now.

    To be called once all is loaded; from then on they are searched for less often.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def give_back() -> None:
    """Give the kernel what lies free between what is in use, if it is much.

    After a flood of calls small things that stay lie between arguments that are gone, and malloc(3) gives nothing back
    but what is above the last of them: of 100 MiB, 30 would stay for good (measured). Done in 2 ms for these. A C
    library that cannot is left alone; musl gives back by itself.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2") or not hasattr(library, "malloc_trim"):
        return
    library.mallinfo2.restype = _Heap
    if library.mallinfo2().free_bytes >= FREE_LEAST_BYTES:
        library.malloc_trim(ctypes.c_size_t(0))

"""Copies of large memory: by several threads at once, and without the interpreter's lock.

Standard library only: loaded by the client library and, by path, by workers.

One core moves 7 to 14 GB/s, two of them 22 to 26 (measured, 100 MB into shared memory that is mapped); and a copy that
holds the lock keeps every other thread of the program waiting for as long as it takes.
Law: when a copy has returned or raised, nothing of it goes on.
"""

from __future__ import annotations

import _thread
import ctypes
import os
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED_BYTES = 8 * 1024 * 1024
"""From here on it is worth more threads than one (chosen: to start one takes as long as copying 0.5 MB)."""
LOCKED_BYTES = 256 * 1024
"""Up to here the lock is kept (chosen: some 30 us; to get it back from a busy thread may take 5 ms)."""
THREADS_MOST = 4
"""Chosen: memory is no faster with more."""
_PIECES_EACH = 2
"""Chosen: a thread whose core is busy leaves the rest to others, and the lock is not taken often."""


class _Buffer(ctypes.Structure):
    """Py_buffer, as PEP 3118 and the stable ABI have it."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_python = ctypes.PyDLL(None)  # as ctypes.pythonapi, whose functions others may declare in their own way
_get = _python.PyObject_GetBuffer
_get.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release = _python.PyBuffer_Release
_release.argtypes = [ctypes.POINTER(_Buffer)]
_release.restype = None
_libc = ctypes.CDLL(None)  # its functions are called without the lock
_move = _libc.memmove
_move.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_move.restype = None
_compare = _libc.memcmp
_compare.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def copy(target: memoryview, source: memoryview) -> None:
    """Copy bytes into memory of the same size; the two do not overlap.

    Raises:
        ValueError: their sizes differ.
        BufferError: one of them is not contiguous.
    """
    size = source.nbytes
    if target.nbytes != size or target.readonly:
        raise ValueError(f"{size} bytes cannot be copied to memory of {target.nbytes}, or it is only to be read")
    if size <= LOCKED_BYTES:
        target[:] = source
        return
    threads = min(THREADS_MOST, _cores()) if size >= SHARED_BYTES else 1
    with _address(target) as to, _address(source) as start:
        if threads == 1:
            _move(to, start, size)
        else:
            _Copy(to, start, size, threads).run()


def are_equal(left: memoryview, right: memoryview) -> bool:
    """Compare the bytes of two contiguous views, as fast as memory is read."""
    if left.nbytes != right.nbytes:
        return False
    with _address(left) as here, _address(right) as there:
        return not left.nbytes or not _compare(here, there, left.nbytes)


class _Copy:
    """One copy by several threads; each takes the next piece when it has done one."""

    def __init__(self, to: int, start: int, size: int, threads: int) -> None:
        step = -(-size // (threads * _PIECES_EACH) // 4096) * 4096
        self._pieces = deque([(to + at, start + at, min(step, size - at)) for at in range(0, size, step)])
        self._gates = [_thread.allocate_lock() for _ in range(threads - 1)]

    def run(self) -> None:
        """Do it, here and in threads of its own."""
        try:
            for gate in tuple(self._gates):
                try:
                    _thread.start_new_thread(self._help, (gate,))
                except RuntimeError:  # this process may have no more threads
                    break
            self._work()
        finally:
            self._finish()

    def _help(self, gate: _thread.LockType) -> None:
        with gate:
            self._work()

    def _work(self) -> None:
        pieces = self._pieces
        while pieces:
            try:
                piece = pieces.popleft()
            except IndexError:  # another thread was faster
                return
            _move(*piece)

    def _finish(self) -> None:
        """Wait for who works, whatever interrupts us; who begins after this finds nothing to do."""
        self._pieces.clear()
        gates = self._gates
        try:
            while gates:
                with gates[-1]:
                    pass
                gates.pop()
        finally:
            if gates:  # interrupted: the memory is not ours alone yet
                self._finish()


@contextmanager
def _address(view: memoryview) -> Iterator[int]:
    """Give where the memory of a view begins, and keep it there meanwhile."""
    buffer = _Buffer()
    _get(view, ctypes.byref(buffer), 0)
    try:
        yield buffer.buf or 0
    finally:
        _release(ctypes.byref(buffer))


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

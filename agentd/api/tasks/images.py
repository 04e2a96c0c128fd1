"""What an object held when it was given to the agent: to tell, without a copy, whether it has changed since."""

from __future__ import annotations

import ctypes
import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentd.api.tasks.messages import Encoded
    from agentd.api.tasks.port import Port

_BUILTIN = frozenset({list, dict, set, frozenset, tuple, bytearray})


class _Buffer(ctypes.Structure):
    """Py_buffer of the C interface (https://docs.python.org/3/c-api/buffer.html)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
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


_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def address_of(view: memoryview) -> int:
    """Tell where the bytes of a contiguous view are in memory."""
    found = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(found), 0)
    try:
        return found.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(found))


def are_equal(left: memoryview, right: memoryview) -> bool:
    """Compare the bytes of two contiguous views, as fast as memory is read."""
    if left.nbytes != right.nbytes:
        return False
    return not left.nbytes or not _libc.memcmp(address_of(left), address_of(right), left.nbytes)


class Image:
    """The bytes of a version, where they lie in shared memory of this process."""

    __slots__ = ("_data", "_views")

    def __init__(self, port: Port, encoded: Encoded) -> None:
        self._data = encoded[1]
        self._views = [
            port.look(segment, offset, size) if segment else memoryview(inline)
            for size, inline, segment, offset in encoded[2] or ()
        ]

    def shows(self, value: Any) -> bool:
        """Tell whether a value would be written as these bytes again."""
        buffers: list[pickle.PickleBuffer] = []
        try:
            data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        except Exception:  # noqa: BLE001 - users' code runs here; what cannot be compared has changed
            return False
        if data != self._data or len(buffers) != len(self._views):
            return False
        return all(are_equal(buffer.raw(), view) for buffer, view in zip(buffers, self._views))  # noqa: B905 - as long


def is_large(value: Any, threshold: int) -> bool:
    """Tell whether a value consists of a buffer of at least so many bytes, as far as it says so itself."""
    if type(value) in _BUILTIN:
        return False
    size = getattr(value, "nbytes", 0)
    return isinstance(size, int) and size >= threshold


class _Empty:
    """Stands for an array whose content does not matter."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __reduce__(self) -> tuple[Any, ...]:
        array = self._array
        return empty, (type(array).__module__.partition(".")[0], array.shape, array.dtype)


def empty(module: str, shape: Any, kind: Any) -> Any:
    """Make an array with nothing in particular in it; named in pickles."""
    import importlib

    return importlib.import_module(module).empty(shape, kind)


def outline(value: Any, threshold: int) -> Any:
    """Give what stands for an object whose content is not read: a large array travels without its content."""
    if type(value).__name__ == "ndarray" and is_large(value, threshold):
        return _Empty(value)
    return value

"""What an object held when it was given to the agent: to tell, without a copy, whether it has changed since."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from agentd.api.memory.copies import are_equal

if TYPE_CHECKING:
    from agentd.api.tasks.messages import Encoded
    from agentd.api.tasks.port import Port

_BUILTIN = frozenset({list, dict, set, frozenset, tuple, bytearray})


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

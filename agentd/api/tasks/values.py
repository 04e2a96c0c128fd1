"""Values that came from the agent: read from their bytes, and put into the objects that stand for them."""

from __future__ import annotations

import json
import pickle
from typing import Any

from agentd.api.tasks.port import BOTH, BYTES, JSON, NONE, PICKLE

_IMMUTABLE_BASES = (int, float, complex, str, bytes, tuple, frozenset)


def decoded(codec: int, data: Any, buffers: list[memoryview]) -> Any:
    """Read a value.

    Raises:
        ValueError: the codec is none of a value.
        Exception: whatever the value's own unpickling raises.
    """
    if codec == PICKLE:
        return pickle.loads(data, buffers=buffers)
    if codec == NONE:
        return None
    if codec == BYTES:
        return bytes(data) or (bytes(buffers[0]) if buffers else b"")
    if codec == JSON:
        return json.loads(bytes(data) or (bytes(buffers[0]) if buffers else b"null"))
    if codec == BOTH:
        both = memoryview(data) if len(data) else buffers[0]
        return pickle.loads(both[4 + int.from_bytes(both[:4], "big") :], buffers=buffers)
    raise ValueError(f"a value is in codec {codec}, which is not known here")


def renewed(old: Any, new: Any) -> bool:
    """Make an object what another one is, in place; tells whether that can be done.

    So a name that the program still has for an object shows what tasks made of it, as if they had run in place.
    """
    kind = type(old)
    if kind is not type(new) or isinstance(old, _IMMUTABLE_BASES):
        return False
    if kind is list or kind is bytearray:
        old[:] = new
    elif kind is dict or kind is set:
        old.clear()
        old.update(new)
    elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return _array_renewed(old, new)
    elif hasattr(old, "__dict__") and kind.__basicsize__ == _PLAIN_SIZE:
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)
    else:
        return False
    return True


class _Plain:
    """An object that holds its attributes and nothing else."""


_PLAIN_SIZE = _Plain.__basicsize__


def _array_renewed(old: Any, new: Any) -> bool:
    if old.shape != new.shape or old.dtype != new.dtype or not old.flags.writeable:
        return False
    old[...] = new
    return True

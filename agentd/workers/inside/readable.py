"""Results for people: JSON that gives back an equal value, or JSON that shows a value which JSON cannot hold."""

from __future__ import annotations

import json
import math
from typing import Any

JSON_LIMIT = 16 * 1024 * 1024
"""Bytes of JSON kept beside a value; chosen: what is larger is read as a pickle."""
_SHOWN_ELEMENTS = 100_000
"""Elements of an array that are written out for people; chosen."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_TEXTS = frozenset({"datetime", "date", "time", "UUID", "Decimal"})


class _NoJson(Exception):
    """The value has no JSON."""


def is_plain(value: Any) -> bool:
    """Tell whether JSON gives back an equal value of the same types."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if kind is list:
        return all(map(is_plain, value))
    if kind is float:
        return math.isfinite(value)
    return value is None or kind in {bool, int, str}


def to_json(value: Any) -> tuple[bytes | None, bool]:
    """Write a value as UTF-8 JSON, and say whether the JSON is all of it; None where there is no JSON for it."""
    try:
        plain = is_plain(value)
        text = _ENCODER.encode(value if plain else _shown(value)).encode()
    except (_NoJson, ValueError, RecursionError, TypeError, UnicodeEncodeError):
        return None, False
    return (text, plain) if len(text) <= JSON_LIMIT else (None, False)


def _shown(value: Any) -> Any:
    """Put plain values in the place of others that have an obvious reading."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _NoJson
    kind = type(value)
    if value is None or kind in {bool, int, float, str}:
        return value
    if isinstance(value, dict):
        return {_key(key): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_shown(item) for item in sorted(value, key=lambda item: (type(item).__name__, repr(item)))]
    return _shown_object(value)


def _key(key: Any) -> str:
    shown = _shown(key)
    if isinstance(shown, str):
        return shown
    if shown is None or isinstance(shown, (bool, int, float)):
        return json.dumps(shown)
    raise _NoJson


def _shown_object(value: Any) -> Any:
    import dataclasses
    import enum
    import os

    kind = type(value)
    if isinstance(value, enum.Enum):
        return _shown(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _shown(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return _shown(os.fspath(value))
    if kind.__name__ in _TEXTS and kind.__module__ in {"datetime", "uuid", "decimal"}:
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, (int, str, float)):  # subclasses, numpy's float64 among them
        return next(base(value) for base in (bool, int, float, str) if isinstance(value, base))
    if kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        if getattr(value, "size", 1) > _SHOWN_ELEMENTS:
            raise _NoJson
        return _shown(value.tolist())
    raise _NoJson

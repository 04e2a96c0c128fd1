"""Which part of a value cannot be pickled, for the message to who wrote the program; workers use it for results."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_STEPS = 2000
"""How many elements are tried; chosen: well under a second."""
_MOST_CHARS = 120
"""How much is said of the way to the element: of lists in lists in lists it would fill the screen. Chosen."""


def culprit(named: Iterable[tuple[str, Any]], can_encode: Callable[[Any], bool]) -> str:
    """Name the argument, and in it the innermost element, that cannot be pickled."""
    for name, value in named:
        if not can_encode(value):
            return innermost(f"argument {name}", value, can_encode)
    return "the call"


def innermost(place: str, value: Any, can_encode: Callable[[Any], bool]) -> str:
    """Name the innermost element of a value that cannot be pickled, and its type."""
    steps = _STEPS
    while True:
        for name, element in _elements(value):
            steps -= 1
            if steps < 0:
                break
            if not can_encode(element):
                place, value = place + name, element
                break
        else:
            break
        if steps < 0:
            break
    if len(place) > _MOST_CHARS:
        place = f"{place[:_MOST_CHARS]}…"
    return f"{place} (a {type(value).__qualname__})"


def _elements(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not callable(value):
        return [(f".{name}", item) for name, item in attributes.items()]
    return []


def can_pickle(value: Any) -> bool:
    """Tell whether a value can be pickled by name."""
    try:
        pickle.dumps(value, 5, buffer_callback=lambda _: False)
    except Exception:  # noqa: BLE001 - users' code runs here
        return False
    return True

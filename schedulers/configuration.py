"""A scheduler's configuration file: text in, keyword arguments of its class out.

Two forms are read: a JSON object, and Java properties (`key = value`, `#` and `!` begin comments), which the field's
files are in. What belongs to the field's own planners is known by name, has no effect here, and is said so.
"""

from __future__ import annotations

import json
from typing import NamedTuple

LIMIT_CHARACTERS = 64 * 1024
"""Of a configuration file (chosen: a thousandfold what any scheduler takes)."""
FOREIGN = frozenset(
    {
        *("optimization.parameter", "time.boundary", "power.boundary", "price.boundary", "energy.boundary"),
        "monetary.boundary",
    }
)
"""Keys of the field's multi-objective planner, which plans whole graphs by time, cost and energy."""

Value = str | float | int | bool


class Configuration(NamedTuple):
    """What a file says."""

    values: dict[str, Value]
    """Keyword arguments, with underscores in their names."""
    notes: tuple[str, ...] = ()
    """What was read and has no effect."""


class ConfigurationError(ValueError):
    """The file cannot be used; the message says where and what is expected."""


def read(text: str) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: it is in neither form, or too long.
    """
    if len(text) > LIMIT_CHARACTERS:
        raise ConfigurationError(f"it has more than {LIMIT_CHARACTERS} characters")
    if text.lstrip()[:1] in {"{", "["}:
        return _from_json(text)
    return _from_properties(text)


def _from_json(text: str) -> Configuration:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is no JSON: {error}") from error
    if isinstance(found, list):
        return Configuration({}, ("a list of predefined placements: tasks are placed by what is free, not by a list",))
    rows = []
    for key, value in found.items():
        if not isinstance(value, (str, int, float, bool)):
            raise ConfigurationError(f"{key[:60]}: write a number or a text, not {type(value).__name__}")
        rows.append((key, value))
    return _sorted_out(rows)


def _from_properties(text: str) -> Configuration:
    rows: list[tuple[str, Value]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words[0] in "#!":
            continue
        key, sign, value = words.partition("=") if "=" in words else words.partition(":")
        if not sign or not key.strip():
            raise ConfigurationError(f"line {number}: write key = value")
        rows.append((key.strip(), _value(value.strip())))
    return _sorted_out(rows)


def _value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _sorted_out(rows: list[tuple[str, Value]]) -> Configuration:
    values = {key.replace("-", "_"): value for key, value in rows if key not in FOREIGN}
    notes = tuple(f"{key}: there is no planner of whole graphs here" for key, _ in rows if key in FOREIGN)
    return Configuration(values, notes)

"""From the text of an element or attribute to a value, within its range."""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final

from resources_xml.errors import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable

INT_MAX: Final = 2**31 - 1  # specified: xsd:int
LONG_MAX: Final = 2**63 - 1  # specified: xsd:long
PORT_MAX: Final = 65535
_UNASSIGNED: Final = "[unassigned]"  # how the field writes a text that is not known
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")  # 20 digits hold a xsd:long
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")


class UnfitValueError(ValueError):
    """A text that is no value of its kind: what was expected, and what to do."""

    def __init__(self, expected: str, remedy: str) -> None:
        self.expected = expected
        self.remedy = remedy
        super().__init__(expected)


def text(raw: str) -> str:
    """Take a text that must say something."""
    if not raw:
        raise UnfitValueError("a text that is not empty", "Write the value, or remove what may be left out.")
    return raw


def known_text(raw: str) -> str | None:
    """Take a text that may be unknown: None for an empty or an unassigned one."""
    return None if raw in {"", _UNASSIGNED} else raw


def any_text(raw: str) -> str:
    """Take a text as it is, empty or not."""
    return raw


def integer(least: int = 0, most: int = INT_MAX) -> Callable[[str], int]:
    """Make the converter for whole numbers of a range, both ends allowed."""
    bounds = f"of at least {least}" if most in {INT_MAX, LONG_MAX} else f"from {least} to {most}"
    expected = f"a whole number {bounds}"

    def convert(raw: str) -> int:
        value = int(raw) if _INTEGER.fullmatch(raw) else None
        if value is None or not least <= value <= most:
            raise UnfitValueError(expected, "Write it in digits, without a unit.")
        return value

    return convert


def number(*, zero: bool = False) -> Callable[[str], float]:
    """Make the converter for finite numbers above zero, or from zero on."""
    expected = "a number of at least 0" if zero else "a number above 0"

    def convert(raw: str) -> float:
        value = float(raw) if _NUMBER.fullmatch(raw) else -1.0
        if not isfinite(value) or value < 0 or (value == 0 and not zero):
            raise UnfitValueError(expected, "Write it in digits, without a unit; leave it out when it is not known.")
        return value

    return convert


def choice(*names: str, any_case: bool = False) -> Callable[[str], str]:
    """Make the converter for one of a few words, given back as they are spelt here."""
    spelt = {name.casefold() if any_case else name: name for name in names}

    def convert(raw: str) -> str:
        found = spelt.get(raw.casefold() if any_case else raw)
        if found is None:
            raise UnfitValueError(f"one of {', '.join(names)}", suggestion(raw, names))
        return found

    return convert

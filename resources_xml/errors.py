"""What is said of a file that cannot be understood: where, what was found, what was expected, what to do."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHOWN_CHARS = 60  # chosen: a message stays one readable line, however long the value in the file is

_SHOWN_NAMES = 8  # chosen: as _SHOWN_CHARS


class Position(NamedTuple):
    """A place in a file; lines and columns count from 1."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


class ResourcesXmlError(ValueError):
    """The text is not what it should be; whoever wrote the file can mend it.

    Attributes:
        source: the name of the file, as the caller gave it.
        line: from 1.
        column: from 1, in characters.
        element: the tag at fault, or the nearest one that encloses the fault; empty before the first.
        expected: what would have been accepted.
    """

    def __init__(self, found: str, *, at: Position, element: str, expected: str, remedy: str, path: str = "") -> None:
        self.source, self.line, self.column = at
        self.element = element
        self.expected = expected
        where = f"{path or element}: " if path or element else ""
        super().__init__(_printable(f"{at}: {where}{found}; expected {expected}. {remedy}"))


def _printable(words: str) -> str:
    """Escape what a terminal would obey, or what turns letters round: names of elements and types may have it."""
    if words.isprintable():
        return words
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in words)


def quoted(value: str) -> str:
    """Show a value of the file: escaped, and cut when it is long."""
    return repr(value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…")


def listed(names: Iterable[str]) -> str:
    """Show names of the file, the first few of many, or that there are none."""
    shown = [quoted(name) for name in islice(names, _SHOWN_NAMES + 1)]
    if len(shown) > _SHOWN_NAMES:
        shown[-1] = "…"
    return ", ".join(shown) or "none"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Name what may have been meant by `name`, or all that is known when nothing is near."""
    by_folded = {one.casefold(): one for one in known}
    near = get_close_matches(name[:_SHOWN_CHARS].casefold(), by_folded, n=2)
    if near:
        return f"Did you mean {' or '.join(quoted(by_folded[one]) for one in near)}? Names are case-sensitive."
    return "Remove it, or see the documentation of the format for what may stand here."

"""What is noticed while two files are combined."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, TypeVar

from resources_xml.errors import Position, quoted
from resources_xml.specs import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class _Placed(Protocol):
    @property
    def at(self) -> Position: ...


SelectedT = TypeVar("SelectedT", bound=_Placed)
OfferedT = TypeVar("OfferedT")


class Findings:
    """Collects the notes and the warnings of one combination."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.warnings: list[Note] = []

    def note(self, entry: str, text: str, at: Position) -> None:
        """Tell that something is kept and has no effect."""
        self.notes.append(Note(entry=entry, text=text, at=at))

    def warn(self, entry: str, text: str, at: Position) -> None:
        """Tell that something was skipped or changed."""
        self.warnings.append(Note(entry=entry, text=text, at=at))

    def kept(self, entry: str, things: Mapping[str, object], at: Position) -> None:
        """Note, all in one, those of the things that the files do say something about."""
        given = [thing for thing, value in things.items() if value]
        if given:
            self.note(entry, f"{', '.join(given)}: kept, without effect in an agent", at)

    def matched(
        self,
        kind: str,
        selected: Iterable[SelectedT],
        offered: Iterable[OfferedT],
        *,
        keys: tuple[str, str] = ("name", "name"),
    ) -> Iterator[tuple[SelectedT, OfferedT]]:
        """Pair what is selected with what is offered under the same key; warn of what is not, and skip it."""
        selected_key, offered_key = map(attrgetter, keys)
        by_key = {offered_key(entry): entry for entry in offered}
        for entry in selected:
            name = selected_key(entry)
            counterpart = by_key.get(name)
            if counterpart is None:
                self.warn(called(kind, name), "is not in the resources file: skipped", entry.at)
            else:
                yield entry, counterpart


def called(kind: str, name: str) -> str:
    """Name an entry as the files do."""
    return f"{kind} {quoted(name)}"

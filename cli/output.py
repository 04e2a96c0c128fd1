"""What is printed: JSON for programs, tables for people, rows in a pipe; nothing that a terminal would obey."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from agentd.api.routes.tables import printable

if TYPE_CHECKING:
    from rich.text import Text


def is_terminal() -> bool:
    """Tell whether a person reads what is printed."""
    return sys.stdout.isatty()


def silence(stream: TextIO) -> None:
    """Let what is still written to a stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def tell(words: str) -> None:
    """Say something beside what was asked for: on stderr, in our name."""
    rows = words.splitlines() or [""]
    print("agentd: " + "\n".join(printable(row) for row in rows), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as indented JSON; what cannot be printed is escaped as JSON does it."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    print(_escaped(text))


def print_json_line(value: Any) -> None:
    """Print a value as JSON on a line of its own, for who reads line by line."""
    print(_escaped(msgspec.json.encode(value).decode()), flush=True)


def _escaped(text: str) -> str:
    """Give JSON that says the same in printable signs and line ends alone."""
    return "".join(sign if sign == "\n" or sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", empty: str = "none") -> None:
    """Print rows of text: a table on a terminal, otherwise one line each with tabs between the fields, no head."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if not is_terminal():
        for row in shown:
            print("\t".join(row))
        return
    if not shown:
        print(f"{title}: {empty}" if title else empty)
        return
    _print_grid(head, shown, title)


def _print_grid(head: Sequence[str], rows: list[list[str]], title: str) -> None:
    screen = console()
    for line in drawn(head, rows, title, screen.width):
        screen.print(line, soft_wrap=True)


def drawn(head: Sequence[str], rows: list[list[str]], title: str, width: int) -> Iterator[Text]:
    """Yield the lines of a table, for a screen that is so wide; `rows` hold nothing that a terminal would obey."""
    from rich.cells import cell_len
    from rich.text import Text

    from cli.grid import INDENT, laid_out

    grid = laid_out(head, rows, width)

    def trimmed(line: Text) -> Text:
        line.rstrip()
        return line

    def joined(cells: Sequence[str], *, style: str = "") -> Text:
        line = Text(" ")
        for cell, wide in zip(cells, grid.widths, strict=True):
            line.append(cell, style or _STYLES.get(cell, "")).append(" " * (wide - cell_len(cell) + grid.gap))
        return line

    if title:
        yield from (Text(""), Text(title, "italic"))
    yield trimmed(joined(grid.head, style="bold"))
    yield Text(" " + "─" * (sum(grid.widths) + grid.gap * (len(grid.widths) - 1)))
    for lines, words in zip(grid.rows, grid.below, strict=True):
        yield from (trimmed(joined(cells)) for cells in lines)
        yield from (trimmed(Text(" " * INDENT + each, "dim")) for each in words)
    if grid.missing:
        yield Text(f" (too narrow for: {', '.join(grid.missing)}; --json has all)", "dim")


_STYLES = {
    "done": "green",
    "ok": "green",
    "running": "cyan",
    "failed": "red",
    "bad": "red",
    "lost": "red",
    "warn": "yellow",
    "queued": "yellow",
}


def console(*, on_stderr: bool = False) -> Any:
    """Make the console that tables are printed to; it honours NO_COLOR itself."""
    from rich.console import Console

    return Console(stderr=on_stderr, highlight=False, no_color=bool(os.environ.get("NO_COLOR")) or None)


def print_fields(fields: Mapping[str, str], *, on_stderr: bool = False) -> None:
    """Print names and values, one to a line; multi-line values are indented."""
    stream = sys.stderr if on_stderr else sys.stdout
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        lines = [printable(line) for line in value.splitlines()] or [""]
        print(f"{name.ljust(width)}  {lines[0]}".rstrip(), file=stream)
        for line in lines[1:]:
            print(f"{'':{width}}  {line}", file=stream)


def print_text(text: str, *, on_stderr: bool = False) -> None:
    """Print text that users' code made: as it is into a pipe, made harmless on a terminal; without a line end."""
    stream = sys.stderr if on_stderr else sys.stdout
    if stream.isatty():
        lines = text.split("\n")
        text = "\n".join("\t".join(printable(cell) for cell in line.split("\t")) for line in lines)
    stream.write(text)
    stream.flush()


def print_value(value: Any) -> None:
    """Print an operation's value: text as it is, bytes raw into a pipe, anything else as JSON."""
    if isinstance(value, bytes):
        if is_terminal():
            print(f"({len(value)} bytes; redirect them to a file)")
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(value)
            sys.stdout.buffer.flush()
    elif isinstance(value, str):
        print_text(value if value.endswith("\n") else value + "\n")
    else:
        print(_escaped(msgspec.json.encode(value).decode()))


def moment(at: float | None) -> str:
    """Say a moment, given in seconds since 1970, in local time."""
    return "" if not at else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def units(amounts: Mapping[str, int]) -> str:
    """Say units by kind."""
    return " ".join(f"{count} {kind}" for kind, count in amounts.items() if count)

"""What the demo says while it runs and at its end: live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.demo import report
from cli.demo.agents import CHAIN
from cli.demo.pieces import COLUMNS, ROWS
from cli.demo.report import COLOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from agentd.api import Agent
    from cli.demo.figures import Figures
    from cli.demo.pieces import Piece

    Agents = Mapping[str, Agent]
    Look = Callable[[], None]

REPORTS = 4
"""How often progress is told where there is no terminal."""


class Screen(Protocol):
    """Where the demo tells its story."""

    def say(self, words: str) -> None:
        """Tell one line."""
        ...

    def following(self, agents: Agents, pieces: list[Piece]) -> AbstractContextManager[Look]:
        """Give what is to be called whenever something may have changed."""
        ...

    def sum_up(self, figures: Figures) -> None:
        """Tell the end."""
        ...


class Silent:
    """Says nothing: its reader is a program."""

    def say(self, words: str) -> None:
        """Keep it."""

    @contextmanager
    def following(self, agents: Agents, pieces: list[Piece]) -> Iterator[Look]:
        """Follow without a word."""
        del agents, pieces
        yield lambda: None

    def sum_up(self, figures: Figures) -> None:
        """Keep it."""


class Plain:
    """Lines, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, words: str) -> None:
        """Tell one line."""
        self._console.print(Text(words), soft_wrap=True)

    @contextmanager
    def following(self, agents: Agents, pieces: list[Piece]) -> Iterator[Look]:
        """Tell now and then how far it is."""
        del agents
        told = 0

        def look() -> None:
            nonlocal told
            done = [piece.host for piece in pieces if piece.is_done]
            if len(done) * REPORTS // len(pieces) > told:
                told = len(done) * REPORTS // len(pieces)
                counts = ", ".join(f"{name} {done.count(name)}" for name in COLOUR)
                self.say(f"  {len(done)} of {len(pieces)} done: {counts}")

        yield look

    def sum_up(self, figures: Figures) -> None:
        """Tell the end."""
        self._console.print()
        self._console.print(report.table(figures))
        self._console.print()
        for line in report.lines(figures):
            self._console.print(line, soft_wrap=bool(line.no_wrap))


class Lively(Plain):
    """Shows, while it happens, which agent has which piece."""

    @contextmanager
    def following(self, agents: Agents, pieces: list[Piece]) -> Iterator[Look]:
        """Show the photograph's pieces, each in the colour of its agent, and what the agents are doing."""
        with Live(_scene(agents, pieces), console=self._console, auto_refresh=False) as live:
            yield lambda: live.update(_scene(agents, pieces), refresh=True)


def screen() -> Screen:
    """Choose by where the output goes."""
    console = Console()
    return Lively(console) if console.is_terminal else Plain(console)


def _scene(agents: Agents, pieces: list[Piece]) -> Table:
    scene = Table.grid(padding=(0, 3))
    scene.add_row(_mosaic(pieces), _doings(agents, pieces))
    return scene


def _mosaic(pieces: list[Piece]) -> Text:
    """Draw each piece: a dot waits, a letter is with its agent, a block is done."""
    rows = [Text("  ") for _ in range(ROWS)]
    for piece in sorted(pieces, key=lambda piece: piece.column):
        colour = COLOUR.get(piece.host, "")
        letter = f" {piece.host[:1] or '·'} "
        rows[piece.row].append(letter, f"black on {colour}" if piece.is_done else colour or "dim")
    assert all(len(row) == 2 + 3 * COLUMNS for row in rows)
    return Text("\n").join(rows)


def _doings(agents: Agents, pieces: list[Piece]) -> Table:
    """List what each agent does this moment, by its own account."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("agent", "cores", "running", "waiting", "done"):
        shown.add_column(title, justify="left" if title == "agent" else "right")
    for member in CHAIN:
        state = agents[member.name].agent()
        done = sum(piece.is_done and piece.host == member.name for piece in pieces)
        cells = (member.cores, state.running, state.waiting, done)
        shown.add_row(Text(f"█ {member.name}", COLOUR[member.name]), *map(str, cells))
    return shown

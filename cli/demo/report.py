"""The end of the demo in words: what ran where, how long it took, and what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cli.demo.agents import CHAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.demo.figures import Figures, Share

COLOUR = dict(zip([member.name for member in CHAIN], ["#56b4e9", "#cc79a7", "#e69f00"], strict=True))
"""Of each agent; from the palette of M. Okabe and K. Ito, which colour-blind people can tell apart."""

NOTICEABLE = 1.05
"""Less than this times faster is not worth a word."""

NEXT = (
    ("agentd start --allow math", "an agent of your own, in this terminal"),
    ("agentd call math:factorial 30", "its first operation, from another one"),
    ("agentd status", "who it is and how it stands"),
)


def table(figures: Figures) -> Table:
    """Show which agent did how much."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_footer=True)
    total = [
        sum(share.cores for share in figures.agents),
        figures.pieces,
        f"{figures.alone_s:.1f}",
        megabytes(sum(share.moved_bytes for share in figures.agents)),
    ]
    shown.add_column("agent", footer="together")
    for title, footer in zip(("cores", "pieces", "core seconds", "MB moved"), total, strict=True):
        shown.add_column(title, footer=str(footer), justify="right")
    for share in figures.agents:
        shown.add_row(*_row(share))
    return shown


def _row(share: Share) -> tuple[Text, ...]:
    cells = (str(share.cores), str(share.pieces), f"{share.core_seconds:.1f}", megabytes(share.moved_bytes))
    return (Text(f"█ {share.agent}", COLOUR[share.agent]), *map(Text, cells))


def megabytes(count: int) -> str:
    """Say so many bytes."""
    return f"{count / 1e6:.1f}" if count else "-"


def lines(figures: Figures) -> Iterator[Text]:
    """Tell what the table does not; a line that must not be broken says so by `no_wrap`."""
    width, height = figures.photograph
    yield Text(_verdict(figures))
    yield Text(_caveat(figures), "dim")
    yield Text()
    yield Text(
        f"A photograph of {width} x {height} pixels became a drawing of {2 * width} x {2 * height}, "
        f"{figures.ink_share:.0%} of it ink."
    )
    colours = Text("Colours: ")
    for code, share in figures.colours:
        colours.append("██", code).append(f" {code} {share:.0%}  ")
    yield colours
    yield Text("Picture: ", no_wrap=True).append(figures.picture, "bold")
    yield Text()
    yield Text("What to try next:")
    widest = max(len(command) for command, _ in NEXT)
    for command, meaning in NEXT:
        yield Text("  ").append(command.ljust(widest), "bold").append(f"  {meaning}", "dim")


def _verdict(figures: Figures) -> str:
    times = figures.alone_s / figures.elapsed_s
    alone = f"the phone's one core alone would have taken {figures.alone_s:.1f} s"
    if times >= NOTICEABLE:
        return f"In all {figures.elapsed_s:.1f} s; {alone}, {times:.1f} times as long."
    why = "this machine has one core" if figures.machine_cores == 1 else "this machine's cores were busy otherwise"
    return f"In all {figures.elapsed_s:.1f} s; {alone}: nothing was won, as {why}."


def _caveat(figures: Figures) -> str:
    granted = sum(share.cores for share in figures.agents)
    measured = "Alone is the sum of the core seconds that were measured."
    if figures.machine_cores >= granted:
        return f"({measured})"
    have = "one core" if figures.machine_cores == 1 else f"{figures.machine_cores} cores"
    return (
        f"({measured} The agents grant {granted} cores but share the {have} "
        "of this machine, which is the most that can be won here; devices of their own do not share.)"
    )

"""The figures of one run of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentd.daemon.machine import machine_cores
from cli.demo.agents import CHAIN

if TYPE_CHECKING:
    from pathlib import Path

    from cli.demo.pieces import Drawing, Piece

COLOURS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one agent did."""

    agent: str
    cores: int
    pieces: int
    core_seconds: float
    moved_bytes: int
    """Pixels of its pieces, there and back, each time that they crossed a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of it."""

    agents: list[Share]
    pieces: int
    elapsed_s: float
    """From the first submission to the last end."""
    alone_s: float
    """Seconds of one core that all pieces took together: so long the asked agent would have taken alone."""
    machine_cores: int
    """Cores that all agents shared."""
    ink_share: float
    colours: list[tuple[str, float]]
    """The commonest colours of the drawing, with the share that has them."""
    photograph: tuple[int, int]
    """Width and height in pixels."""
    picture: str


def figures_of(pieces: list[Piece], drawing: Drawing, picture: Path) -> Figures:
    """Add up what was measured."""
    height, width = drawing.pixels.shape[:2]
    shares = [_share(name, cores, [piece for piece in pieces if piece.host == name]) for name, cores in CHAIN]
    return Figures(
        agents=shares,
        pieces=len(pieces),
        elapsed_s=drawing.elapsed_s,
        alone_s=sum(piece.seconds for piece in pieces),
        machine_cores=machine_cores(),
        ink_share=drawing.ink_share,
        colours=drawing.colours(COLOURS),
        photograph=(width // 2, height // 2),
        picture=str(picture),
    )


def _share(name: str, cores: int, pieces: list[Piece]) -> Share:
    return Share(
        agent=name,
        cores=cores,
        pieces=len(pieces),
        core_seconds=sum(piece.seconds for piece in pieces),
        moved_bytes=sum(piece.moved_bytes for piece in pieces),
    )

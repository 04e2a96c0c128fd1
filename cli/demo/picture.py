"""The picture of one run: the photograph, who drew which piece, and the drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from cli.demo.report import COLOUR

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from cli.demo.photograph import Pixels
    from cli.demo.pieces import Piece

DOTS_PER_INCH = 130
TINT = 0.45
"""How much of an agent's colour lies over its pieces."""


def paint(path: Path, photograph: Pixels, drawing: Pixels, pieces: list[Piece]) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(14, 6.9), dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplot_mosaic([["photograph", "drawing"], ["agents", "drawing"]], width_ratios=[1, 2.08])
    for name, pixels in (("photograph", photograph), ("agents", photograph), ("drawing", drawing)):
        places[name].imshow(pixels)
        places[name].set_axis_off()
    places["photograph"].set_title("the photograph", fontsize=11)
    places["drawing"].set_title("the drawing, put together where it was asked for", fontsize=11)
    _tint(places["agents"], pieces)
    figure.savefig(path, format="png")


def _tint(axes: Axes, pieces: list[Piece]) -> None:
    """Lay the colour of its agent over each piece."""
    for piece in pieces:
        corner = (piece.columns.start - 0.5, piece.rows.start - 0.5)
        width, height = piece.columns.stop - piece.columns.start, piece.rows.stop - piece.rows.start
        axes.add_patch(Rectangle(corner, width, height, facecolor=COLOUR[piece.host], alpha=TINT, linewidth=0))
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=0.8))
    counts = {name: sum(piece.host == name for piece in pieces) for name in COLOUR}
    keys = [Patch(color=COLOUR[name], label=f"{name}: {count}") for name, count in counts.items()]
    axes.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(keys), frameon=False)
    axes.set_title("who drew which piece", fontsize=11)

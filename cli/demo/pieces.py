"""The photograph in pieces: cut, sent through one agent, followed, and put together again."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from agentd.api.routes import requests
from agentd.model.errors import TaskFailed
from agentd.model.views import TERMINAL, ErrorView
from cli.demo.photograph import MARGIN, SHADES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from agentd.api import Agent
    from agentd.model.views import OperationView
    from cli.demo.photograph import Pixels

ROWS, COLUMNS = 6, 8
"""48 pieces of 80 by 71 pixels, each some 0.2 s of work."""
FUNCTION = "photograph:draw"
TICK_S = 0.1
"""How often it is looked who does what."""


@dataclass(slots=True)
class Piece:
    """One piece on its way."""

    row: int
    column: int
    rows: slice
    columns: slice
    """Of the photograph, without the margin."""
    pixels: Pixels
    """With the margin."""
    operation: str = ""
    host: str = ""
    """Whom the asked agent gave it to, and at last who drew it; empty while it waits."""
    is_done: bool = False
    hops: int = 0
    seconds: float = 0.0
    moved_bytes: int = 0
    """Pixels that crossed a link, each time that they did."""


@dataclass(slots=True)
class Drawing:
    """What comes of the pieces."""

    pixels: Pixels
    shades: NDArray[np.int64] = field(default_factory=lambda: np.zeros((SHADES**3, 4), np.int64))
    ink: int = 0
    elapsed_s: float = 0.0
    """From the first submission to the last end, by the clock of the asked agent."""

    @property
    def ink_share(self) -> float:
        """Share of the drawing that is ink."""
        return self.ink / (self.pixels.size // 3)

    def colours(self, most: int) -> list[tuple[str, float]]:
        """Give the commonest colours, as `#rrggbb` and the share of the drawing that has them."""
        total = self.shades[:, 0].sum()
        best = self.shades[np.argsort(-self.shades[:, 0], kind="stable")[:most]]
        return [
            ("#" + "".join(f"{round(part / row[0]):02x}" for part in row[1:]), float(row[0] / total))
            for row in best
            if row[0]
        ]


def cut(photograph: Pixels) -> list[Piece]:
    """Cut a photograph into pieces, each with its margin; beyond the photograph its border goes on."""
    padded = np.pad(photograph, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    rows = list(pairwise(np.linspace(0, photograph.shape[0], ROWS + 1).astype(int).tolist()))
    columns = list(pairwise(np.linspace(0, photograph.shape[1], COLUMNS + 1).astype(int).tolist()))
    return [
        Piece(row, column, slice(top, bottom), slice(left, right), _with_margin(padded, top, bottom, left, right))
        for (row, (top, bottom)), (column, (left, right)) in product(enumerate(rows), enumerate(columns))
    ]


def _with_margin(padded: Pixels, top: int, bottom: int, left: int, right: int) -> Pixels:
    return np.ascontiguousarray(padded[top : bottom + 2 * MARGIN, left : right + 2 * MARGIN])


def send(agent: Agent, pieces: list[Piece]) -> None:
    """Submit every piece to one agent, as a user would."""
    for piece in pieces:
        name = f"piece {piece.row + 1}/{piece.column + 1}"
        piece.operation = agent.submit(FUNCTION, (piece.pixels,), name=name).id


def gather(agent: Agent, pieces: list[Piece], look: Callable[[], None]) -> Drawing:
    """Take results as they come and put them together; `look` is called whenever something may have changed.

    Raises:
        TaskFailed: a piece could not be drawn.
    """
    height, width = pieces[-1].rows.stop, pieces[-1].columns.stop
    drawing = Drawing(np.zeros((2 * height, 2 * width, 3), np.uint8))
    begins, ends = [], []
    while waiting := [piece for piece in pieces if not piece.is_done]:
        agent.get(waiting[0].operation, wait_s=TICK_S)
        views = {view.id: view for view in agent.operations(limit=len(pieces))}
        for piece in waiting:
            view = views[piece.operation]
            if view.state not in TERMINAL:
                piece.host = _host(view)
                continue
            _take(agent, piece, view, drawing)
            begins.append(view.submitted_at)
            ends.append(view.ended_at or view.submitted_at)
        look()
    drawing.elapsed_s = max(ends) - min(begins)
    return drawing


def _host(view: OperationView) -> str:
    return view.ran_on or "" if view.state in {"running", "forwarded"} else ""


def _take(agent: Agent, piece: Piece, view: OperationView, drawing: Drawing) -> None:
    """Put one finished piece into the drawing."""
    if view.state != "done":
        error = view.error or ErrorView(view.state, view.reason)
        raise TaskFailed(error.message, kind=error.type, traceback=error.traceback)
    result: dict[str, Any] = agent.send(requests.result(view, accept=requests.PICKLE))
    pixels = np.frombuffer(result["pixels"], np.uint8).reshape(result["shape"])
    drawing.pixels[_doubled(piece.rows), _doubled(piece.columns)] = pixels
    drawing.shades += np.array(result["shades"], np.int64)
    drawing.ink += result["ink"]
    piece.is_done, piece.host, piece.hops = True, view.ran_on or "", view.hops
    piece.seconds = result["seconds"]
    piece.moved_bytes = (piece.pixels.nbytes + pixels.nbytes) * view.hops


def _doubled(part: slice) -> slice:
    return slice(2 * part.start, 2 * part.stop)

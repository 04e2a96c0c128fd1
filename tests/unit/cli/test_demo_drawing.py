"""The demo's drawing: pieces fit together, and the same photograph gives the same drawing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="the extra `demo` is not installed")

from cli.demo import photograph, pieces  # noqa: E402 - they need NumPy


def _photograph(height: int, width: int) -> Any:
    """Make a picture with smooth parts, edges, and a texture."""
    down, right = np.mgrid[0:height, 0:width]
    red = 128 + 100 * np.sin(down / 5)
    green = np.where(down + right > (height + width) // 2, 200, 40)
    blue = (down * 7 + right * 13) % 256
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def _whole(image: Any) -> Any:
    margin = photograph.MARGIN
    return photograph.draw(np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))


def _pixels(result: dict[str, Any]) -> Any:
    return np.frombuffer(result["pixels"], np.uint8).reshape(result["shape"])


def test_pieces_fit_together_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the photograph is cut, the pieces' drawings are those of the whole, to the last bit."""
    monkeypatch.setattr(pieces, "ROWS", 2)
    monkeypatch.setattr(pieces, "COLUMNS", 3)
    image = _photograph(17, 23)
    expected = _whole(image)
    drawing = np.zeros((34, 46, 3), np.uint8)
    shades, ink = 0, 0
    for piece in pieces.cut(image):
        result = photograph.draw(piece.pixels)
        rows, columns = piece.rows, piece.columns
        drawing[2 * rows.start : 2 * rows.stop, 2 * columns.start : 2 * columns.stop] = _pixels(result)
        shades, ink = shades + np.array(result["shades"]), ink + result["ink"]
    assert np.array_equal(drawing, _pixels(expected))
    assert np.array_equal(shades, np.array(expected["shades"]))
    assert ink == expected["ink"]


def test_pieces_cover_the_photograph_once() -> None:
    """Each pixel of the photograph is in exactly one piece, margins aside."""
    image = _photograph(427, 640)
    covered = np.zeros(image.shape[:2], int)
    for piece in pieces.cut(image):
        covered[piece.rows, piece.columns] += 1
    assert covered.min() == covered.max() == 1
    assert len(pieces.cut(image)) == pieces.ROWS * pieces.COLUMNS


def test_the_drawing_has_ink_where_the_light_falls_and_none_where_it_is_even() -> None:
    """An even surface stays free of ink; an edge between dark and light gets some."""
    even = np.full((12, 12, 3), 180, np.uint8)
    edged = even.copy()
    edged[:, 6:] = 20
    assert _whole(even)["ink"] == 0
    assert _whole(edged)["ink"] > 0


def test_the_shades_count_every_pixel() -> None:
    """The counts of the shades add up to the pixels, and their sums to the pixels' colours."""
    result = _whole(_photograph(9, 14))
    shades, pixels = np.array(result["shades"]), _pixels(result)
    assert shades[:, 0].sum() == 18 * 28
    assert shades[:, 1:].sum(axis=0).tolist() == pixels.reshape(-1, 3).astype(int).sum(axis=0).tolist()


def test_the_commonest_colours_come_first() -> None:
    """Colours are named by the mean of their shade, the commonest first, with their share."""
    shades = np.zeros((photograph.SHADES**3, 4), np.int64)
    shades[0] = (1, 10, 20, 30)
    shades[7] = (3, 3 * 255, 0, 3 * 128)
    drawing = pieces.Drawing(np.zeros((2, 2, 3), np.uint8), shades, ink=1)
    assert drawing.colours(5) == [("#ff0080", 0.75), ("#0a141e", 0.25)]
    assert drawing.colours(1) == [("#ff0080", 0.75)]
    assert drawing.ink_share == 0.25


def test_the_function_that_agents_run_stands_alone() -> None:
    """The module that is given to the agents imports nothing but NumPy and the standard library."""
    tree = ast.parse(Path(photograph.__file__).read_text("utf-8"))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert {name.partition(".")[0] for name in imported} == {"__future__", "itertools", "numpy", "time", "typing"}
    assert f"{Path(photograph.__file__).stem}:{photograph.draw.__name__}" == pieces.FUNCTION

"""A photograph becomes a drawing of twice its size: surfaces turn smooth and flat, and edges are drawn in ink.

Law: a piece that is cut with `MARGIN` pixels around it gives exactly the pixels that the whole photograph gives there,
so that pieces drawn on different agents fit together without a seam. Nothing is random.

This module runs on agents and needs nothing but NumPy. Smoothing: A. Buades, B. Coll, J.-M. Morel, "A non-local
algorithm for image denoising" (CVPR 2005). Flat light and ink: H. Winnemöller, S. Olsen, B. Gooch, "Real-time video
abstraction" (SIGGRAPH 2006), sections 3.3 and 3.4.
"""

from __future__ import annotations

from itertools import product
from time import process_time
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""Rows, columns and the colours red, green, blue."""
Light: TypeAlias = NDArray[np.floating[Any]]
"""From 0 to 1; one number for a pixel or three."""

SEARCH = 11
"""How far around a pixel others like it are sought, in pixels of the drawing."""
PATCH = 1
"""Two pixels are alike when their surroundings are, so far around."""
INK = 7
"""How far around a pixel its edges are sought."""
MARGIN = (SEARCH + PATCH + INK + 1) // 2 + 1
"""Pixels of the photograph that a piece needs on each side: half of what the drawing needs, and one to enlarge."""

ALIKE = 0.09
"""Difference at which a pixel counts for e^-1/2 of its like. Chosen by eye, as are those that follow."""
NEAR = 5.0
"""Distance at which it does."""
LEVELS = 9
"""Steps of brightness in the drawing."""
WIDTHS = (0.9, 1.5)
"""Thin and thick ink, in pixels."""
SHADES = 4
"""Colours are counted in so many shades of red, green and blue each."""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of red, green and blue (ITU-R BT.601)."""
_EVEN: Light = np.full(2 * PATCH + 1, 1 / (2 * PATCH + 1), np.float32)


def draw(piece: Pixels) -> dict[str, Any]:
    """Draw one piece, which comes with its margin.

    Gives `pixels`, as bytes of an array of the given `shape`, twice as high and wide as the piece without its margin;
    `shades`, how often each shade occurs and the sums of its red, green and blue; `ink`, how many pixels are black; and
    `seconds` of a core that this took.
    """
    began = process_time()
    smoothed = _smooth(_enlarge(piece.astype(np.float32) / np.float32(255)))
    ink = _ink(smoothed @ _GREY)
    drawing = _flat(smoothed[INK:-INK, INK:-INK]) * ink[..., None]
    pixels = (drawing * 255 + 0.5).astype(np.uint8)
    return {
        "pixels": pixels.tobytes(),
        "shape": pixels.shape,
        "shades": _shades(pixels).tolist(),
        "ink": int((ink < 0.5).sum()),
        "seconds": process_time() - began,
    }


def _enlarge(image: Light) -> Light:
    """Double the size, mixing each pixel from its neighbours 3 : 1; takes one pixel off each side."""
    for axis in (0, 1):
        image = np.moveaxis(image, axis, 0)
        middle = 0.75 * image[1:-1]
        doubled = np.stack([middle + 0.25 * image[:-2], middle + 0.25 * image[2:]], axis=1)
        image = np.moveaxis(doubled.reshape(-1, *image.shape[1:]), 0, axis)
    return np.ascontiguousarray(image[1:-1, 1:-1] if (SEARCH + PATCH + INK) % 2 else image)


def _smooth(image: Light) -> Light:
    """Mix each pixel from those near it whose surroundings look alike; takes `SEARCH + PATCH` pixels off each side."""
    height, width = (side - 2 * SEARCH for side in image.shape[:2])
    here = image[SEARCH : SEARCH + height, SEARCH : SEARCH + width]
    total: Light = np.zeros((height - 2 * PATCH, width - 2 * PATCH, 3), np.float32)
    weights: Light = np.zeros((*total.shape[:2], 1), np.float32)
    for down, right in product(range(-SEARCH, SEARCH + 1), repeat=2):
        distance = down * down + right * right
        if distance > SEARCH * SEARCH:
            continue
        there = image[SEARCH + down : SEARCH + down + height, SEARCH + right : SEARCH + right + width]
        difference = there - here
        unlike = _mean_around(np.einsum("ijk,ijk->ij", difference, difference))
        weight = np.exp(unlike / (-2 * ALIKE * ALIKE) - distance / (2 * NEAR * NEAR))[..., None]
        total += weight * there[PATCH:-PATCH, PATCH:-PATCH]
        weights += weight
    return total / weights


def _mean_around(values: Light) -> Light:
    """Average over each pixel's surroundings; takes `PATCH` pixels off each side."""
    return _added(_added(values, _EVEN, 0), _EVEN, 1)


def _added(values: Light, shares: Light, axis: int) -> Light:
    """Add each value and those beside it along an axis, by shares; takes what has too few beside it off."""
    length = values.shape[axis] - len(shares) + 1
    along = np.moveaxis(values, axis, 0)
    total = shares[0] * along[:length]
    for start, share in enumerate(shares[1:], 1):
        total += share * along[start : start + length]
    return np.moveaxis(total, 0, axis)


def _flat(image: Light) -> Light:
    """Bring the light to few levels, and the colours out."""
    grey = image @ _GREY
    level = np.round(grey * LEVELS) / LEVELS
    soft = level + np.tanh(14 * (grey - level)) / (2 * LEVELS)
    image = np.clip(image * (soft / np.maximum(grey, 0.001))[..., None], 0, 1)
    mean = image.mean(axis=2, keepdims=True)
    bright: Light = np.clip(mean + 1.25 * (image - mean), 0, 1)
    return bright


def _ink(grey: Light) -> Light:
    """Give 0 where the light falls off steeply, and 1 where it does not; takes `INK` pixels off each side."""
    ink: Light = np.ones((grey.shape[0] - 2 * INK, grey.shape[1] - 2 * INK), np.float32)
    for width in WIDTHS:
        edge = _blur(grey, width) - 0.98 * _blur(grey, 1.6 * width)
        ink = np.minimum(ink, 1 + np.tanh(60 * np.minimum(edge, 0)))
    return ink


def _blur(grey: Light, width: float) -> Light:
    """Spread each pixel as a normal distribution does; takes `INK` pixels off each side."""
    steps = np.arange(-INK, INK + 1)
    shares = np.exp(-steps * steps / (2 * width * width)).astype(np.float32)
    shares /= shares.sum()
    return _added(_added(grey, shares, 0), shares, 1)


def _shades(pixels: Pixels) -> NDArray[np.int64]:
    """Count the pixels of each shade and add up their colours; a table of `SHADES` cubed rows."""
    flat = pixels.reshape(-1, 3).astype(np.int64)
    shade = (flat * SHADES // 256) @ np.array([SHADES * SHADES, SHADES, 1])
    columns = (np.ones(len(flat)), *flat.T)
    return np.stack([np.bincount(shade, column, SHADES**3).astype(np.int64) for column in columns], axis=1)

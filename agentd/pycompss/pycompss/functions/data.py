"""Random data, made by tasks where it will be used, and lists cut in pieces."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from pycompss.api.api import compss_wait_on
from pycompss.api.task import task


def chunks(lst: list[Any], n: int, balanced: bool = False) -> Iterator[list[Any]]:
    """Cut a list in pieces of `n`; balanced: the rest is spread over the first pieces, one more for each.

    Raises:
        ValueError: pieces of less than one element.
    """
    if n < 1:
        raise ValueError(f"a piece has 1 element or more, not {n}")
    rest = len(lst) % n if balanced and len(lst) >= n else 0
    start = 0
    while start < len(lst):
        size = n + (1 if rest > 0 else 0)
        rest -= 1
        yield lst[start : start + size]
        start += size


_DRAW: dict[str, Callable[[random.Random], float]] = {
    "random": lambda source: source.random(),
    "normal": lambda source: source.gauss(0.0, 1.0),
    "uniform": lambda source: source.uniform(-1.0, 1.0),
}


@task(returns=1)
def _fragment(rows: int, columns: int, distribution: str, seed: Any) -> list[list[float]]:
    source, draw = random.Random(seed), _DRAW[distribution]  # noqa: S311 - sample data
    return [[draw(source) for _ in range(columns)] for _ in range(rows)]


def generator(
    size: tuple[int, int],
    num_frag: int,
    seed: int | None = None,
    distribution: str = "random",
    wait: bool = False,
) -> list[Any]:
    """Make `size` = (elements, dimensions) random numbers in `num_frag` pieces, each by a task; a seed repeats them.

    Raises:
        ValueError: there is no such distribution, or the elements do not fit into so many pieces.
    """
    if distribution not in _DRAW:
        raise ValueError(f"distribution is one of {', '.join(_DRAW)}, not {distribution!r}")
    if num_frag < 1 or size[0] < num_frag:
        raise ValueError(f"{size[0]} elements make no {num_frag} pieces")
    rows = size[0] // num_frag
    data = [
        _fragment(rows, size[1], distribution, None if seed is None else f"{seed}/{number}")
        for number in range(num_frag)
    ]
    return compss_wait_on(data) if wait else data


__all__ = ["chunks", "generator"]

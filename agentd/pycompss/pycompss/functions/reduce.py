"""Reductions as trees, so that calls of a task on one level run side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


def merge_reduce(f: Callable[[Any, Any], Any], data: list[Any]) -> Any:
    """Merge pairs, and the results in pairs again, until one is left; an empty list gives None.

    `f(a, b)` may also change `a` in place and return None: then `a` stands for both.
    """
    left = deque(data)
    while len(left) > 1:
        first, second = left.popleft(), left.popleft()
        merged = f(first, second)
        left.append(first if merged is None else merged)
    return left[0] if left else None


def merge_n_reduce(f: Callable[..., Any], arity: int, data: list[Any]) -> Any:
    """As `merge_reduce`, `arity` elements at a time.

    Raises:
        ValueError: fewer than two at a time never come to an end.
    """
    if arity < 2:
        raise ValueError(f"arity is 2 or more, not {arity}")
    left = deque(data)
    while len(left) > 1:
        some = [left.popleft() for _ in range(min(arity, len(left)))]
        merged = f(*some)
        left.append(some[0] if merged is None else merged)
    return left[0] if left else None


mergeReduce = merge_reduce
mergeNReduce = merge_n_reduce

__all__ = ["mergeNReduce", "mergeReduce", "merge_n_reduce", "merge_reduce"]

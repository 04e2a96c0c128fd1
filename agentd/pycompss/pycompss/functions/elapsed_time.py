"""How long a function takes."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


class TimeIt:
    """`@timeit()` above a function: it gives a list of its result and the seconds that it took."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __call__(self, f: Callable[..., Any]) -> Callable[..., list[Any]]:
        """Measure a function."""

        @functools.wraps(f)
        def measured(*args: Any, **kwargs: Any) -> list[Any]:
            started = time.perf_counter()
            result = f(*args, **kwargs)
            return [result, time.perf_counter() - started]

        return measured


timeit = TimeIT = TIMEIT = TimeIt

__all__ = ["TIMEIT", "TimeIT", "TimeIt", "timeit"]

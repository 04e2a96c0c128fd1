"""How much memory the lines of a function take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agentd.api.decorators.commands import agent
from agentd.api.decorators.errors import Unavailable


class Profile:
    """`@profile()` below `@task`: prints the memory that each line takes, measured by memory_profiler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Profile a function.

        Raises:
            Unavailable: when it is called, and memory_profiler is not installed there.
        """

        @functools.wraps(f)
        def profiled(*args: Any, **kwargs: Any) -> Any:
            try:
                from memory_profiler import profile as measure
            except ImportError as error:
                raise Unavailable(f"memory_profiler is not installed on {agent()}, and @profile needs it") from error
            return measure(f)(*args, **kwargs)

        return profiled


profile = Profile

__all__ = ["Profile", "profile"]

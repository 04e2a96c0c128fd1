"""What PyCOMPSs has and this does not: it can be imported, and says so when it is used."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agentd.api.decorators.errors import Unavailable


def missing(name: str, what: str, instead: str) -> Callable[..., Any]:
    """Give a decorator whose tasks fail when they are called, with what to do instead.

    A module that defines such tasks can be imported: others of its tasks may be all that is wanted.
    """

    def complain(*_args: Any, **_given: Any) -> Any:
        raise Unavailable(f"@{name} ({what}) is not offered here: {instead}")

    def decorator(*args: Any, **given: Any) -> Any:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            return functools.wraps(function)(lambda *_a, **_k: complain())

        return decorate(args[0]) if len(args) == 1 and not given and callable(args[0]) else decorate

    decorator.__name__ = name
    decorator.__doc__ = f"Not offered here ({what}): {instead}."
    return decorator

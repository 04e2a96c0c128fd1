"""A decorator that leaves functions as they are."""

from __future__ import annotations

from typing import Any


class Dummy:
    """Takes whatever a decorator is given, and gives the function back."""

    def __new__(cls, *args: Any, **given: Any) -> Any:
        """Decorate at once where there is nothing but the function."""
        is_bare = len(args) == 1 and not given and callable(args[0])
        return args[0] if is_bare else super().__new__(cls)

    def __init__(self, *args: Any, **given: Any) -> None:
        self.args = args
        self.kwargs = given

    def __call__(self, function: Any) -> Any:
        """Give the function back."""
        return function

"""Maps over lists."""

from __future__ import annotations

import builtins
from typing import Any


def map(*args: Any) -> list[Any]:  # noqa: A001 - the name that its users know
    """Call a function, usually a task, with each element of one or several sequences; gives a list of the results."""
    return list(builtins.map(*args))


__all__ = ["map"]

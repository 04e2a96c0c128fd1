"""Users' modules as their files were when they were loaded: what was edited since is loaded anew.

Law: a worker that had nothing to do runs its next task with the files as they are then; while none of users' files has
changed, no module is loaded twice.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_S = 0.05
"""How seldom the files are looked at; chosen: nobody edits and calls faster, and of calls in a row it costs nothing."""


class _Source(NamedTuple):
    file: str
    stamp: tuple[int, int]
    """When it was changed, in nanoseconds, and its size."""
    cached: str
    """Where its bytecode is."""


class Sources:
    """The files of the modules of users that this process has loaded; `is_users` tells whose a file is."""

    __slots__ = ("_count", "_is_users", "_looked_s", "_modules", "_seen")

    def __init__(self, is_users: Callable[[str], bool]) -> None:
        self._is_users = is_users
        self._modules: dict[str, _Source] = {}
        self._seen: set[str] = set()
        self._count = 0
        self._looked_s = 0.0

    def note(self) -> None:
        """Take note of what was loaded since the last time; costs nothing where that is nothing."""
        if len(sys.modules) == self._count:
            return
        for name in sys.modules.keys() - self._seen:
            self._seen.add(name)
            spec = getattr(sys.modules.get(name), "__spec__", None)  # a program that was sent has none
            file = getattr(spec, "origin", None)
            if not isinstance(file, str) or not file.endswith(".py") or not self._is_users(file):
                continue
            stamp = _stamp(file)
            if stamp is not None:
                self._modules[name] = _Source(file, stamp, getattr(spec, "cached", None) or "")
        self._count = len(sys.modules)

    def have_changed(self) -> bool:
        """Tell whether a file is another one than was loaded; one that is gone may be in the midst of being written."""
        now = monotonic()
        if now - self._looked_s < LOOK_S:
            return False
        self._looked_s = now
        return any(map(_is_other, self._modules.values()))

    def forget(self) -> None:
        """Have all modules of users loaded anew when they are next asked for: one that changed is in others, too."""
        for name, source in self._modules.items():
            sys.modules.pop(name, None)
            if source.cached and _is_other(source):
                with suppress(OSError):  # it counts as good for whatever has the same size and second (PEP 3147)
                    os.unlink(source.cached)
        importlib.invalidate_caches()
        self._seen.difference_update(self._modules)
        self._modules.clear()
        self._count = 0


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _is_other(source: _Source) -> bool:
    return _stamp(source.file) not in {source.stamp, None}

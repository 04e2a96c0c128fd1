"""What is kept of programs whose connection was cut: they go on with it when they come back as the same session.

Law: what is kept is bounded in bytes and in time, it goes first where there is no room for what is wanted now, and
nobody has it but the session that it was kept for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

KEPT_S = 120.0
"""Chosen: a device is moved to another network, or started anew, in that time; who died leaves no more for longer."""
KEPT_BYTES = 1 << 30
"""Of all programs together, or one value whatever its size (chosen: a value of a gigabyte is what needs it most)."""
KEPT_MOST = 4_096
"""Values (chosen: far above what programs have on their way at a time)."""

_Key = tuple[str, "Hashable"]


class _Kept(NamedTuple):
    what: Any
    size: int
    drop: Callable[[], None]
    expiry: asyncio.TimerHandle


class Returns:
    """Values that are here, wholly or in part, for sessions that are away; those that have waited longest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        """Those that have waited longest first."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, program: str, name: Hashable, what: Any, size: int, drop: Callable[[], None]) -> None:
        """Keep something for a session under a name of its own; `drop` lets go of it when it is kept no longer."""
        key = program, name
        self._forget(key)
        expiry = asyncio.get_running_loop().call_later(KEPT_S, self._forget, key)
        self._kept[key] = _Kept(what, size, drop, expiry)
        self.bytes += size
        while (self.bytes > KEPT_BYTES and len(self._kept) > 1) or len(self._kept) > KEPT_MOST:
            self.spare()

    def take(self, program: str, name: Hashable) -> Any:
        """Give what was kept for a session, which is its own again; None: there is nothing."""
        found = self._taken((program, name))
        return found.what if found is not None else None

    def spare(self) -> bool:
        """Let go of what has waited longest; False: there is nothing."""
        if not self._kept:
            return False
        self._forget(next(iter(self._kept)))
        return True

    def close(self) -> None:
        """Let go of everything."""
        while self.spare():
            pass

    def _taken(self, key: _Key) -> _Kept | None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= found.size
            found.expiry.cancel()
        return found

    def _forget(self, key: _Key) -> None:
        found = self._taken(key)
        if found is not None:
            found.drop()

"""What the last tasks of a worker made: the tasks behind them in its line read it without asking the agent.

Law: what is kept is the last of it, within bounds; a task that reads something else is passed over, not started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..protocol import INLINE, KEPT, KEPT_INPUT

if TYPE_CHECKING:
    from .values import Encoded, Part

    Input = tuple[int, bytes | memoryview, list[Part]]

EACH_BYTES = 32 << 10
"""Of one task; chosen: what is larger goes by shared memory, or is worth the way to the agent."""
ALL_BYTES = 1 << 20
"""Of all that is kept; chosen: a line of the most tasks with 4 KiB each."""
ALL_MOST = 1024
"""Tasks of which something is kept; chosen: four lines."""


class Kept:
    """Values by the task that made them, encoded; those of the oldest go first."""

    __slots__ = ("_bytes", "_made")

    def __init__(self) -> None:
        self._made: dict[int, tuple[int, list[Encoded]]] = {}
        self._bytes = 0

    def keep(self, task: int, made: list[Encoded]) -> None:
        """Keep what a task has made, if it is small."""
        size = 0
        for _, data, parts in made:
            size += len(data)
            if parts:
                for length, _, segment, _ in parts:
                    size += length if not segment else EACH_BYTES
        if size >= EACH_BYTES:
            return
        self._made[task] = size, made
        self._bytes += size
        while self._bytes > ALL_BYTES or len(self._made) > ALL_MOST:
            oldest, _ = self._made.pop(next(iter(self._made)))
            self._bytes -= oldest

    def fill(self, inputs: list[Input]) -> bool:
        """Put values in the place of those that are to be here; False, and nothing was changed, where one is not."""
        found: list[tuple[int, Input]] = []
        for position, (codec, data, _) in enumerate(inputs):
            if codec == KEPT:
                task, place = KEPT_INPUT.unpack(data)
                kept = self._made.get(task)
                if kept is None or place >= len(kept[1]):
                    return False
                found.append((position, _as_input(kept[1][place])))
        for position, value in found:
            inputs[position] = value
        return True


def _as_input(encoded: Encoded) -> Input:
    codec, data, parts = encoded
    return codec, data, [(INLINE, 0, 0, size, memoryview(inline)) for size, inline, _, _ in parts or ()]

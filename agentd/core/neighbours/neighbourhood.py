"""All agents next to this one, by name, and those of them that work may be handed to.

Law: work is handed to those alone that are in the pool and connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.neighbours.candidates import Candidates
from agentd.core.neighbours.neighbour import Asked, LinkState, Neighbour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.tasks.task import Task


class Neighbourhood:
    """All neighbours by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Neighbour] = {}
        self.rows: list[Neighbour] = []
        """Those that work may be handed to, in the order in which they were added."""
        self._candidates = Candidates()
        self.asked = Asked()
        self.asked.by_name = self.by_name

    def get(self, name: str) -> Neighbour | None:
        """Find a neighbour."""
        return self.by_name.get(name)

    def ensure(self, name: str, hop_limit: int) -> Neighbour:
        """Find a neighbour, or note a new one."""
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name[name] = Neighbour(name, hop_limit, self._candidates, self.asked)
        return found

    def arrange(self) -> None:
        """Work out anew whom a policy sees."""
        self.rows = [row for row in self.by_name.values() if row.is_pooled and row.state is LinkState.CONNECTED]
        self._candidates.arrange(self.rows)

    def candidates(self, task: Task) -> Sequence[Neighbour]:
        """Of many neighbours, give those that are worth a look for a task."""
        return self._candidates.choose(task)

    def remove(self, name: str) -> None:
        """Let a neighbour go."""
        self.by_name.pop(name, None)
        self.arrange()

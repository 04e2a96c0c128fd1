"""Which links carry news of what lies beyond them: a spanning tree, grown from what neighbours say of themselves.

In a graph with a cycle split horizon alone lets loads go round and grow without end. So the agents agree on a tree, as
bridges do (Perlman, "An algorithm for distributed computation of a spanning tree in an extended LAN", 1985):
the smallest agent id is the root, each agent goes towards it by its nearest neighbour, and all other links are only
used for work, and for what the two ends have themselves.

Law: all agents agree on one tree, knowing only what their neighbours say of themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentd.core.neighbours.neighbour import Neighbour

FARTHEST = 32
"""Links to the root beyond which news of it is not believed: a root that has gone is forgotten after so many rounds."""


class Tree:
    """This agent's place in the tree."""

    def __init__(self, agent_id: str) -> None:
        self._agent_id = agent_id
        self.root = agent_id
        self.distance = 0
        self.way = ""
        """Neighbour that lies towards the root; empty at the root itself."""

    def grow(self, connected: Iterable[Neighbour]) -> None:
        """Choose root and way anew, from the last reports."""
        best = (self._agent_id, 0, "", "")
        for row in connected:
            report = row.report
            if report.root and not report.is_way and 0 <= report.distance < FARTHEST:
                best = min(best, (report.root, report.distance + 1, row.agent_id, row.name))
        self.root, self.distance, _, self.way = best

    def is_branch(self, row: Neighbour) -> bool:
        """Tell whether a link belongs to the tree; one whose other end knows of no tree is taken for a leaf."""
        return row.name == self.way or row.report.is_way or not row.report.root

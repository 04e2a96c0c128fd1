"""One family: what a task has asked for and what became of it; the groups and chains of its children.

Law: of a chain one child runs at a time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agentd.core.data.versions import Child, Versions, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.lineage import Lineage
    from agentd.core.placing.spreading import Replicas
    from agentd.core.tasks.task import Shape, Task
    from agentd.core.tasks.tracks import Track
    from agentd.core.timers import Timer
    from agentd.model.task import Failure, Outcome


class Group:
    """Tasks of a family that are waited for, or given up, together."""

    __slots__ = ("children", "failure")

    def __init__(self) -> None:
        self.children: set[int] = set()
        """Those that have not ended."""
        self.failure: Failure | None = None
        """What one of them raised to end the group, until it is told."""


class Chain:
    """Tasks that run one at a time, in any order."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[Child] = deque()


class Family:
    """What one task has asked for and what became of it."""

    __slots__ = (
        "again",
        "chains",
        "children",
        "groups",
        "has_remade",
        "limit",
        "outcome",
        "over",
        "parent",
        "refusal",
        "replicas",
        "root",
        "shapes",
        "share",
        "since",
        "spawned",
        "timer",
        "track",
        "untold",
        "versions",
        "waits",
        "worker",
    )

    def __init__(
        self, parent: int, root: int, track: Track | None, worker: int, lineage: Lineage, share: int = 0
    ) -> None:
        self.parent = parent
        self.root = root
        """The task that a user or a neighbour asked for, of which this is all a part."""
        self.track = track
        """Where it is noted what became of the children; None where nobody can look at it."""
        self.worker = worker
        self.share = share
        """Number of whoever asked for the root, of whose share this is all a part."""
        self.since: float | None = None
        """Since when the parent has had cores, agent time in seconds; None: ever since it was placed."""
        self.children: dict[int, Child] = {}
        """Those that have not ended."""
        self.shapes: dict[int, Shape] = {}
        """Of the children that have not become tasks yet."""
        self.versions = Versions(parent, lineage)
        self.groups: dict[int, Group] = {}
        self.chains: dict[int, Chain] = {}
        self.waits: list[Wait] = []
        """Open waits for tasks."""
        self.over: list[Wait] = []
        """Waits that are over and were not answered yet: their task has no cores."""
        self.untold: list[Failure] = []
        """Failures that the parent was not told of."""
        self.replicas: dict[int, Replicas] = {}
        """Of children that run on several hosts, by each of the runs."""
        self.spawned = 0
        self.has_remade = False
        """Some of its children were asked for by nobody: they ran again, as what they had made was lost."""
        self.refusal: Failure | None = None
        """Why nothing more is taken: it was given up, or its time is over."""
        self.timer: Timer | None = None
        self.outcome: Outcome | None = None
        """How the parent's code ended, while children are yet to end."""
        self.again: Callable[[Task], None] | None = None
        """Lets the parent run again once all children have ended, if it is to."""

    @staticmethod
    def is_waited_for(child: Child, wait: Wait) -> bool:
        """Tell whether a wait for tasks is for a child, too."""
        return child.index <= wait.upto and (not wait.group or wait.group in child.spawned.groups)

    def takes_turn(self, child: Child) -> bool:
        """Let a child that is ready take its turn in its chain; otherwise it waits for that."""
        chain = self.chains.setdefault(child.spawned.chain, Chain())
        if chain.running and chain.running != child.id:
            chain.waiting.append(child)
            return False
        chain.running = child.id
        return True

    def passes_turn(self, child: Child) -> Child | None:
        """A child of a chain is over; gives the one whose turn it is."""
        chain = self.chains.get(child.spawned.chain)
        if chain is None or chain.running != child.id:
            return None
        chain.running = 0
        return self._next_of(chain, child.spawned.chain)

    def gives_up_turn(self, child: Child) -> Child | None:
        """A child of a chain cannot run yet after all; gives the one whose turn it is instead, if it had its own."""
        chain = self.chains.get(child.spawned.chain)
        if chain is None:
            return None
        if child in chain.waiting:
            chain.waiting.remove(child)
            return None
        return self.passes_turn(child)

    def _next_of(self, chain: Chain, number: int) -> Child | None:
        while chain.waiting:
            following = chain.waiting.popleft()
            if not following.is_over:
                return following
        del self.chains[number]
        return None

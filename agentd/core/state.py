"""All that the engine knows, shared by the parts that handle events; it decides nothing itself."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.core.data.fetches import Fetches
from agentd.core.data.lineage import Lineage
from agentd.core.data.objects import Objects
from agentd.core.journal.acceptances import Acceptances
from agentd.core.journal.ledger import Ledger, Operation, Retention
from agentd.core.neighbours.neighbourhood import Neighbourhood
from agentd.core.outbox import Outbox
from agentd.core.placing.pool import Pool
from agentd.core.placing.queue import Queue
from agentd.core.placing.senders import Senders
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, MOVES, WAITING, Path, Shape, State, Task
from agentd.core.timers import Timers
from agentd.core.workers.crew import Crew
from agentd.model.errors import BrokenInvariant
from agentd.model.task import Failure
from schedulers.capacity import Capacity
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.core.families.family import Family
    from agentd.core.tasks.census import Census
    from agentd.core.tasks.ride import Ride

PATHS_MOST = 10_000
"""Paths that are remembered (chosen: a neighbour cannot fill memory with invented ones)."""


class Identity(Struct, frozen=True):
    """Who this agent is."""

    name: str
    agent_id: str
    boot: str
    epoch: int
    """Grows with each boot: a lease granted by an earlier boot is recognised as old."""


class Rules(Struct, frozen=True):
    """Settings that the engine obeys; times in seconds."""

    hop_limit: int = 8
    lease_s: float = 5.0
    suspect_s: float = 3.0
    """Silence after which a neighbour is given nothing more until it is heard of."""
    most_waiting: int = 1_000_000
    """Tasks that may wait; above it users are told to come back later."""
    most_waiting_bytes: int = 512 << 20
    """Bytes of arguments that may wait."""
    unschedulable_after_s: float | None = None
    speed: float = 1.0
    """Of one own core, 1 being the reference."""
    flag_first_s: float = 0.2
    """Between the cancel flag and SIGINT (chosen: time for a loop to look at the flag)."""
    kill_after_s: float = 3.0
    """Between SIGINT and SIGKILL when cancelling."""
    kill_late_after_s: float = 1.0
    """The same when out of time, which must have ended within 2 s."""
    orphan_ttl_s: float = 600.0
    """How long work for a lost neighbour goes on."""
    retention: Retention = Retention()
    reuse_on_block: bool = True
    """A task that waits for its tasks gives its cores back meanwhile."""
    spares: int | None = None
    """Workers beyond the pool's while tasks wait; None: twice the cores, and 4 at least."""
    fair_share: bool = True
    """Whoever has tasks waiting is served in turn with the others."""
    refer_bytes: int = 256 << 10
    """From this size on a value stays where it is until somebody needs it."""


COUNTED = ["accepted", "ended", "late_ends", "lost_tasks", "refused", "forwarded", "worker_losses", "revoked", "remade"]
"""What is counted from the start of the daemon on."""


class AgentState:
    """The engine's memory."""

    def __init__(
        self,
        identity: Identity,
        capacity: Capacity,
        rules: Rules,
        ids: Iterator[int],
        object_ids: Iterator[int] | None = None,
    ) -> None:
        self.identity = identity
        self.rules = rules
        self.ids = ids
        self.tasks: dict[int, Task] = {}
        """Every task that has not ended, by number."""
        self.senders = Senders()
        self.queue = Queue(self.senders.of_sessions, is_fair=rules.fair_share)
        self.pool = Pool(capacity)
        self.crew = Crew(self.pool, rules.spares)
        self.neighbourhood = Neighbourhood()
        self.ledger = Ledger(rules.retention)
        self.shapes = Shapes()
        self.outbox = Outbox()
        self.timers = Timers()
        self.objects = Objects(identity.agent_id, identity.boot, self.outbox, object_ids or ids, rules.refer_bytes)
        self.fetches = Fetches(self.objects, self.neighbourhood, self.timers, self.outbox)
        self.lineage = Lineage(self.objects, self.fetches)
        self.acceptances = Acceptances(self)
        self.declared: dict[int, dict[int, Shape]] = {}
        """Shapes by caller and the caller's number for their template."""
        self.stopping: dict[int, Failure | None] = {}
        """Tasks that are being stopped: the failure they end with, None for a cancellation."""
        self.families: dict[int, Family] = {}
        """Of tasks that have asked for tasks, by the asking one."""
        self.rides: dict[tuple[int, int], Ride] = {}
        """Of each direct line, by caller and its number for it."""
        self.started: list[int] = []
        """Operations handed out in this drain, for one journal entry."""
        self.changes: set[Change] = set()
        self.wall_offset_s = 0.0
        self.modules: frozenset[str] = frozenset()
        """Modules with users' functions on this agent."""
        self.draining = False
        self.census: Census | None = None
        """Counts what ends by function, where the operator wants that."""
        self.disk_full = ""
        self.not_starting = ""
        """Why workers are not started at the moment; empty when they are."""
        self.counters: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.orders = count(1)
        """Ages of tasks: the next is the youngest."""
        self._paths: dict[Path, Path] = {HERE: HERE}

    def wall(self, now: float) -> float:
        """Say what the wall clock shows, for people."""
        return now + self.wall_offset_s

    def next_order(self) -> int:
        """Give the age of the next task."""
        return next(self.orders)

    def path(self, path: Path) -> Path:
        """Give the one object that stands for this path; equal ones are alike too, only slower."""
        if len(self._paths) > PATHS_MOST:
            self._paths = {HERE: HERE}
        return self._paths.setdefault(path, path)

    def move(self, task: Task, state: State) -> None:
        """Let a task change its state, by the table.

        Raises:
            BrokenInvariant: the table knows no such move.
        """
        if state not in MOVES[task.state]:
            raise BrokenInvariant(f"task {task.id} cannot go from {task.state.name} to {state.name}")
        task.state = state

    def wait(self, task: Task) -> None:
        """Put a task into the queue."""
        task.state = WAITING
        self.queue.add(task)
        self.changes.add(Change.READY)

    def operation_of(self, task: Task) -> Operation | None:
        """Find the operation that a task is the root of; None for a session's call."""
        return None if task.caller else self.ledger.get(task.id)

    @property
    def is_nearly_full(self) -> bool:
        """Tell whether three quarters of what may wait do, in tasks or in bytes."""
        rules, queue = self.rules, self.queue
        return 4 * queue.size >= 3 * rules.most_waiting or 4 * queue.bytes >= 3 * rules.most_waiting_bytes

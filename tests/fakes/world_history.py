"""What happened in a fake world, and what must never have happened.

Every breach is noted when it is seen, with the time; `breaches` is empty after a sound history.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import count
from typing import TYPE_CHECKING

from agentd.core.journal.entries import Started
from agentd.core.tasks.task import State
from agentd.model.task import Outcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.commands import Command
    from agentd.core.journal.entries import Entry
    from agentd.core.journal.recovery import Finished
    from agentd.core.tasks.task import Task
    from agentd.model.exchange import Offer
    from tests.fakes.world import World
    from tests.fakes.world_agent import Host
    from tests.fakes.world_workers import Process

QUARANTINE_RUNS = 3
HOLDING = State.HOLDING  # asked of each task as each begins: looking it up would take as long as asking


class History:
    """The observer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._nonces = count(1)
        self.breaches: list[str] = []
        self.runs: dict[int, list[tuple[float, str]]] = defaultdict(list)
        """Of each task: when and where its code was begun."""
        self.begun: list[Task] = []
        """Each task whose code was begun, as often as it was."""
        self.excused: Counter[int] = Counter()
        """Of each task: starts of which the disk knew nothing when the agent crashed."""
        self.seen: dict[int, set[tuple[int, bytes]]] = defaultdict(set)
        """Of each operation: the results that somebody has seen."""
        self.accepted: dict[int, str] = {}
        """Acknowledged operations: the agent that did."""
        self.cancelled: dict[int, tuple[float, str]] = {}
        self.watchers: list[Callable[[Host, list[Command]], None]] = []
        self.has_faults = False

    def broken(self, words: str) -> None:
        """Note a breach."""
        self.breaches.append(f"{self._world.now:.3f}: {words}")

    def nonce(self) -> int:
        """Give a number that was never given before."""
        return next(self._nonces)

    # --- what agents do ---------------------------------------------------------------------------------------

    def performed(self, host: Host, commands: list[Command]) -> None:
        """An agent wants these."""
        for watcher in self.watchers:
            watcher(host, commands)

    def started(self, host: Host, process: Process, task: Task) -> None:
        """Users' code begins: the promises about how often and where are looked after here."""
        runs = self.runs[task.id]
        runs.append((self._world.now, host.name))
        self.begun.append(task)
        template = task.shape.template
        most = 1 if not template.idempotent else template.max_attempts + self.excused[task.id]
        if template.on_failure != "RETRY" and len(runs) > most:
            self.broken(f"task {task.id} runs for the {len(runs)}th time, {most} are allowed: {runs}")
        cancelled = self.cancelled.get(task.id)
        if cancelled is not None and (cancelled[1] == host.name or not self.has_faults):
            self.broken(f"task {task.id} starts on {host.name} after it was told to be cancelled")
        self._check_units(host, process)

    def resumed(self, host: Host, process: Process, task: Task) -> None:
        """Users' code goes on that had waited and given its cores back."""
        self._check_units(host, process)
        if task.id not in host.engine.state.tasks:
            self.broken(f"task {task.id} goes on on {host.name} after it ended")

    def _check_units(self, host: Host, process: Process) -> None:
        """No unit is used twice."""
        others = [other for other in host.processes.values() if other is not process and other.running is not None]
        for other in others:
            if other.units & process.units:
                self.broken(f"workers {other.number} and {process.number} of {host.name} run on the same units")
        pool = host.engine.state.pool
        busy = sum([one.running.demand.units() for one in (process, *others) if one.running is not None])
        busy += sum([task.demand.units() for task in host.engine.state.tasks.values() if task.state is HOLDING])
        if busy > pool.total() + pool.owed():
            self.broken(f"{host.name} runs on {busy} units and has {pool.total()} and owes {pool.owed()}")

    def offered(self, host: Host, offer: Offer) -> None:
        """An offer arrives."""
        limit = host.rules.hop_limit
        if host.agent_id in offer.visited:
            self.broken(f"task {offer.task} was offered to {host.name}, where it has been: {offer.visited}")
        if len(set(offer.visited)) != len(offer.visited) or offer.hops != len(offer.visited) or offer.hops > limit:
            self.broken(f"task {offer.task} came over {offer.hops} hops by {offer.visited}, the limit is {limit}")

    def crashed(self, host: Host, lost: list[Entry]) -> None:
        """An agent dies, and these entries never came to the disk."""
        self.has_faults = True
        for entry in lost:
            if isinstance(entry, Started):
                self.excused.update(entry.operations)

    # --- what users see ---------------------------------------------------------------------------------------

    def acknowledged(self, host: Host, operation: int) -> None:
        """A user was told that an operation is accepted."""
        self.accepted[operation] = host.name

    def saw(self, host: Host, operation: int, outcome: Outcome) -> None:
        """A user has seen a result."""
        self._saw(operation, outcome.status, outcome.value.data)
        if outcome.status == Status.CANCELLED:
            self.cancelled.setdefault(operation, (self._world.now, host.name))

    def seen_again(self, host: Host, finished: Finished) -> None:
        """An agent has restarted and holds this end."""
        known = self.seen.get(finished.operation)
        if known is None or self.accepted.get(finished.operation) != host.name:
            return
        if finished.status not in {status for status, _ in known}:
            self.broken(f"operation {finished.operation} ended as {known}, and now as {finished.status}")

    def _saw(self, operation: int, status: int, data: bytes) -> None:
        seen = self.seen[operation]
        seen.add((status, data))
        if len(seen) > 1:
            self.broken(f"operation {operation} has two results: {sorted(seen)}")

    # --- at the end -------------------------------------------------------------------------------------------

    def close(self) -> list[str]:
        """Look at everything once it is quiet; gives all breaches."""
        for operation, name in self.accepted.items():
            host = self._world.hosts[name]
            if host.is_stopped:
                continue
            found = host.engine.state.ledger.get(operation)
            if found is None:
                self.broken(f"operation {operation} was accepted by {name} and is not known there")
            elif not found.is_terminal:
                self.broken(f"operation {operation} was accepted by {name} and has not ended")
        for host in self._world.hosts.values():
            if not host.is_stopped:
                self.breaches.extend(leftovers(host))
        return self.breaches


def leftovers(host: Host) -> list[str]:
    """Name what an agent keeps although nothing is wanted of it."""
    engine = host.engine
    state = engine.state
    pool = state.pool
    kept = {
        "tasks": [f"{task.id} {task.state.name} {task.payload.data!r}" for task in state.tasks.values()],
        "stopping": state.stopping,
        "started": state.started,
        "waiting": len(state.queue),
        "waiting bytes": state.queue.bytes,
        "families": [family.parent for family in state.families.values()],
        "winners": engine._waiting.winners,
        "blocked": state.crew._blocked,
        "held for others": len(engine._execution.holding),
        "gangs": [engine._gangs._by_holder, engine._gangs.running]
        if engine._gangs._by_holder
        else engine._gangs.running,
        "gated runs": engine._execution._gated,
        "gated offers": engine._exchange._gated,
        "held acts": engine.state.outbox._held,
        "lines": [line.worker for line in state.crew.lines.values() if line.tasks or line.revoking or line.asked],
        "busy units": pool.total() - pool.free(),
        "owed units": pool.owed(),
        "held by neighbours": [(row.name, list(row.held)) for row in state.neighbourhood.by_name.values() if row.held],
        "unseen": [len(row.unseen) for row in state.neighbourhood.by_name.values() if row.unseen],
        "booked": [row._booked for row in state.neighbourhood.by_name.values() if row._booked],
        "unfinished": [one.id for one in state.ledger.operations.values() if not one.is_terminal],
        "segments": host.memory.segments,
        "objects": [(found.remote, found.uses, list(found.leases)) for found in state.objects],
        "fetches": len(state.fetches),
        "records of what was made": len(state.lineage),
        "lost versions": state.lineage.lost,
        "pinned bytes": state.lineage.pinned_bytes,
        "tasks that want bytes": engine._supply._wants,
        "transfers": host.courier._under_way,
        "a wish of its scheduler that was refused": engine.placing.last_violation,
        "calls": [one.id for one in state.ledger.operations.values() if not one.durable and one.is_delivered],
    }
    return [f"{host.name} keeps {what}: {str(rest)[:200]}" for what, rest in kept.items() if rest]

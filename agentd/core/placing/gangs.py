"""Tasks of several nodes that no host has all of: their cores are held on several hosts before they start.

Law: such a task runs only while all that it asked for is held, here and at direct neighbours; who holds some and waits
for more gives all back after a while, so that no two wait for each other for ever.

Its main part runs on this agent. What it takes elsewhere, and here until it starts, is held by *holders*: tasks that
run nothing, and are placed, offered, lost and cancelled as any other. A gang takes its hosts one after the other by
name, as all agents do, and at each agent one gang at a time gathers; so mostly nobody has to give anything back.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.core.neighbours.neighbour import LinkState
from agentd.core.placing.pool import simultaneous
from agentd.core.placing.ways import could_fit
from agentd.core.tasks.demands import demand_of_nodes
from agentd.core.tasks.task import HERE, State, Task
from agentd.model.figures import counted
from agentd.model.task import Failure, Reason, Template
from agentd.model.values import NO_VALUE
from schedulers.capacity import shortfalls
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.supply import Supply
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Shape
    from agentd.core.workers.execution import Execution
    from agentd.model.task import Outcome
    from schedulers.capacity import Capacity

PATIENCE_S = 1.0
"""How long what is held waits for the rest the first time; twice as long each time that this was not enough."""
PATIENCE_MOST_S = 60.0
"""Its cap: so long may two agents stand in each other's way at the most (chosen)."""
REST_S = 0.1
"""Pause after that, about so long; it grows likewise (chosen: some round trips)."""
REST_MOST_S = 10.0
"""Its cap (chosen: what is freed meanwhile waits so long at the most)."""
HOPELESS_S = 60.0
"""How long one waits that the hosts cannot hold, all being there, until it fails as if asked for then (chosen)."""
LOOK_MOST = 16
"""Waiting gangs that are looked at in one drain (chosen)."""
HELD = frozenset({State.HOLDING, State.FORWARDED})
COMING = frozenset({State.WAITING, State.OFFERED})
_NEVER = (0, 0.0, "")
PUT_OFF = frozenset({State.FETCHING, State.LACKING})


class Gang:
    """One task of several nodes, and what is held for it."""

    __slots__ = ("holders", "is_over", "main", "plan", "until")

    def __init__(self, main: Task, plan: list[tuple[str, int]]) -> None:
        self.main = main
        self.plan = plan
        """How many nodes on which host, by name; this agent is among them."""
        self.holders: list[Task] = []
        """Of the hosts of the plan, as far as it has come."""
        self.until: float | None = None
        """When all is given back if it is not complete; None while nothing is held."""
        self.is_over = False


class Gangs:
    """Gathers what tasks of several nodes need, and gives it back."""

    def __init__(
        self,
        state: AgentState,
        endings: Endings,
        execution: Execution,
        supply: Supply,
        stop: Callable[[Task, float], None],
        stack: Callable[[float, Task], None],
    ) -> None:
        self._state = state
        self._endings = endings
        self._execution = execution
        self._supply = supply
        self._stop = stop
        self._stack = stack
        self._random = Random(f"{state.identity.agent_id} {state.identity.boot}")  # noqa: S311 - no secret
        self._waiting: deque[Task] = deque()
        self._known: set[int] = set()
        """The same by number."""
        self._failed: dict[int, tuple[int, float, str]] = {}
        """Of waiting ones: how often they did not get all, until when they rest, and for whom they waited in vain."""
        self._hopeless: dict[int, float] = {}
        """Since when waiting ones are known that the hosts cannot hold."""
        self._gathering: Gang | None = None
        self.running: dict[int, Gang] = {}
        """Gangs at work, by main part."""
        self._by_holder: dict[int, Gang] = {}
        self._left: list[Gang] = []
        """Those of which the main part is to run again, with what they still hold."""
        self._lost: dict[int, Failure] = {}
        """Main parts that are being stopped since a node of theirs was lost, to run again."""

    @property
    def is_busy(self) -> bool:
        """Tell whether one waits, or gathers."""
        return bool(self._waiting) or self._gathering is not None or bool(self._left)

    # --- what it takes ----------------------------------------------------------------------------------------

    def wait(self, task: Task) -> None:
        """Look after a task of several nodes that waits for a host, or will."""
        if task.id not in self._known:
            self._known.add(task.id)
            self._waiting.append(task)

    def again(self, task: Task) -> None:
        """A task of several nodes is to run again: what is held for it is given back in this drain."""
        gang = self.running.pop(task.id, None)
        if gang is not None:
            self._left.append(gang)
        self.wait(task)

    def _fits_whole(self, shape: Shape) -> bool:
        return could_fit(self._state.pool, shape) or any(
            row.could_take(shape) for row in self._state.neighbourhood.rows
        )

    def _counts(self, shape: Shape, late: str = "") -> list[tuple[str, int]]:
        """Say how many nodes each host could give, this agent first, those behind it that seem to be idle.

        `late`: the host that was waited for in vain the last time.
        """
        state = self._state
        one = state.shapes.intern(_holder(shape.template, 1))
        rows = [(row, self._count_at(row, shape)) for row in state.neighbourhood.rows if row.could_take(one)]

        def promise(found: tuple[Neighbour, int]) -> tuple[bool, bool, bool, str]:
            row = found[0]
            return row.room(one) <= 0, row.name == late, sum(tier.free for tier in row.tiers) < 1, row.name

        own = state.identity.name, _count(state.pool.capacity, shape)
        return [own, *[(row.name, count) for row, count in sorted(rows, key=promise) if count]]

    def _count_at(self, row: Neighbour, shape: Shape) -> int:
        """Count the nodes that a neighbour could give together, as far as it has not said otherwise."""
        count, shapes = _count(row.granted, shape), self._state.shapes
        while count:
            asked = shapes.bound(shapes.intern(_holder(shape.template, count)), row.name)
            if not row.refusals.get(asked.number, ("", False))[1]:
                break
            count //= 2
        return count

    def _plan(self, shape: Shape, late: str = "") -> list[tuple[str, int]] | None:
        """Share the nodes out over hosts; None where they do not suffice, this agent being one of them."""
        plan: list[tuple[str, int]] = []
        left = shape.template.nodes
        for name, most in self._counts(shape, late):
            count = min(most, left)
            if not count:
                return None  # it is this agent: of the others only those are named that could give one
            plan.append((name, count))
            left -= count
            if not left:
                return sorted(plan)
        return None

    def could_run(self, shape: Shape) -> bool:
        """Tell whether a task of several nodes could run on the hosts that there are."""
        return self._fits_whole(shape) or self._plan(shape) is not None

    def objection(self, shape: Shape) -> Failure | None:
        """Say why a task of several nodes can run nowhere; None where some host has them all, or several together."""
        if self.could_run(shape):
            return None
        state, template = self._state, shape.template
        own, rows = state.identity.name, state.neighbourhood.rows
        counts = dict(self._counts(shape))
        one = demand_of_nodes(replace(template, nodes=1))
        lacks = [(own, state.pool.capacity), *[(row.name, row.granted) for row in rows]]
        told = "; ".join(
            f"{name}: {counts[name]}" if counts.get(name) else f"{name}: {', '.join(shortfalls(had, one)) or 'none'}"
            for name, had in lacks
        )
        words = (
            f"{template.name or template.function} wants {counted(template.nodes, 'node')} of "
            f"{counted(one.units(), 'core')} at once, one of them on {own}; the nodes that there could be: {told}: "
            "ask for fewer, or for fewer computing_units on each"
        )
        return Failure(Reason.UNSCHEDULABLE, "Unschedulable", words, agent=own)

    # --- gathering --------------------------------------------------------------------------------------------

    def step(self, now: float) -> bool:
        """Do what can be done; tells whether something is to be placed by that."""
        while self._left:
            self._release(self._left.pop(), now)
        if not self._state.draining:
            self._gathering = self._gathering or self._begin(now)
            if self._gathering is not None:
                self._go_on(self._gathering, now)
        return bool(self._state.changes)

    def _begin(self, now: float) -> Gang | None:
        for _ in range(min(len(self._waiting), LOOK_MOST)):
            task = self._waiting.popleft()
            if task.state is not State.WAITING and task.state not in PUT_OFF:
                self._known.discard(task.id)  # it comes again when it waits again
                self._failed.pop(task.id, None)
                self._hopeless.pop(task.id, None)
                continue
            if task.state is State.WAITING and self._is_rested(task, now) and not self._fits_whole(task.shape):
                plan = self._plan(task.shape, self._failed.get(task.id, _NEVER)[2])
                if plan is not None:
                    self._hopeless.pop(task.id, None)
                if plan is not None and (not task.missing_bytes or self._supply.has_bytes(task, now)):
                    return Gang(task, plan)
                if plan is None and self._gives_up(task, now):
                    continue
                task.kept = "" if plan is not None else "its nodes are not to be had on the hosts that there are"
            self._waiting.append(task)
        return None

    def _gives_up(self, task: Task, now: float) -> bool:
        """Fail a task that hosts seemed to have room for when it was asked for; while one of them is away, it waits."""
        rows = self._state.neighbourhood.by_name.values()
        if any(row.is_pooled and row.state is not LinkState.CONNECTED for row in rows):
            self._hopeless.pop(task.id, None)
            return False
        if task.id not in self._hopeless:
            self._hopeless[task.id] = now
            self._state.timers.at(now + HOPELESS_S, lambda _: None)
        failure = self.objection(task.shape) if now >= self._hopeless[task.id] + HOPELESS_S else None
        if failure is None:
            return False
        self._known.discard(task.id)
        self._failed.pop(task.id, None)
        del self._hopeless[task.id]
        self._state.queue.drop(task)
        self._endings.fail(task, failure, now)
        return True

    def _is_rested(self, task: Task, now: float) -> bool:
        return now >= self._failed.get(task.id, _NEVER)[1]

    def _go_on(self, gang: Gang, now: float) -> None:
        if gang.main.state is not State.WAITING:
            self._give_up(gang, now)
            return
        last = gang.holders[-1] if gang.holders else None
        if last is not None and last.state not in HELD:
            is_late = gang.until is not None and now >= gang.until
            if is_late or last.state not in COMING:
                self._failed_once(gang, now)
            return
        if last is not None and gang.until is None:
            times = self._failed.get(gang.main.id, _NEVER)[0]
            gang.until = now + min(PATIENCE_S * 2.0**times, PATIENCE_MOST_S) * self._random.uniform(0.75, 1.25)
            self._state.timers.at(gang.until, lambda _: None)
        if len(gang.holders) < len(gang.plan):
            self._hold_next(gang, now)
        else:
            self._start(gang, now)

    def _hold_next(self, gang: Gang, now: float) -> None:
        """Let a holder wait for its host."""
        state, main = self._state, gang.main
        name, nodes = gang.plan[len(gang.holders)]
        host = "" if name == state.identity.name else name
        shape = state.shapes.bound(state.shapes.intern(_holder(main.shape.template, nodes)), host)
        holder = Task(next(state.ids), shape, NO_VALUE, HERE, main.order)
        holder.submitted_at, holder.share = now, main.caller or main.share
        state.tasks[holder.id] = holder
        gang.holders.append(holder)
        self._by_holder[holder.id] = gang
        main.kept = f"its nodes are being gathered: {len(gang.holders) - 1} of {len(gang.plan)} hosts are held for it"
        state.wait(holder)

    def _start(self, gang: Gang, now: float) -> None:
        """All is held: what is held here passes to the main part."""
        state, main = self._state, gang.main
        own = state.identity.name
        place = next(index for index, (name, _) in enumerate(gang.plan) if name == own)
        holder = gang.holders.pop(place)
        self._by_holder.pop(holder.id)
        self._stop(holder, now)
        first = sorted(gang.plan, key=lambda one: one[0] != own)
        hosts = tuple([name for name, nodes in first for _ in range(nodes)])
        state.queue.take(main)
        whole, main.shape = main.shape, state.shapes.over(main.shape, hosts, gang.plan[place][1])
        main.kept = ""
        state.queue.add(main)
        if not (state.crew.is_idle(main) and self._execution.run(main, now)):
            self._stack(now, main)
        if main.state is not State.WAITING:
            self._gathering = None
            self._known.discard(main.id)
            self._failed.pop(main.id, None)
            self.running[main.id] = gang
            return
        state.queue.take(main)
        main.shape = whole
        state.queue.add(main)
        self._failed_once(gang, now)

    def _failed_once(self, gang: Gang, now: float) -> None:
        """Not all of it could be had in time: give back what is held, and try again after a while."""
        times = self._failed.get(gang.main.id, _NEVER)[0]
        late = gang.plan[len(gang.holders) - 1][0] if gang.holders else ""
        pause_s = min(REST_S * 2.0**times, REST_MOST_S) * self._random.uniform(0.5, 1.5)
        self._failed[gang.main.id] = min(times + 1, 20), now + pause_s, late
        self._state.timers.at(now + pause_s, lambda _: None)
        gang.main.kept = "its nodes could not all be held at once: it tries again soon"
        self._give_up(gang, now)

    def _give_up(self, gang: Gang, now: float) -> None:
        self._gathering = None
        self._waiting.append(gang.main)
        self._release(gang, now)

    def _release(self, gang: Gang, now: float) -> None:
        """Give back what is held."""
        gang.is_over = True
        for holder in gang.holders:
            self._by_holder.pop(holder.id, None)
            if holder.state in HELD or holder.state in COMING:
                self._stop(holder, now)
        gang.holders.clear()
        self._state.changes.add(Change.ROOM)

    # --- ends -------------------------------------------------------------------------------------------------

    def over(self, main: int, now: float) -> None:
        """A main part has ended: nothing is held for it any more."""
        gang = self.running.pop(main, None)
        if gang is not None:
            self._release(gang, now)

    def holder_ended(self, holder: Task, outcome: Outcome, now: float) -> None:
        """Nothing is held there any more, though it is wanted: the attempt of the main part is lost with it."""
        gang = self._by_holder.pop(holder.id, None)
        if gang is None or gang.is_over:
            return
        if gang is self._gathering:
            self._failed_once(gang, now)
            return
        host, main = holder.shape.only or self._state.identity.name, gang.main
        why = outcome.failure.message if outcome.failure is not None else "it holds nothing any more"
        failure = Failure(Reason.SIGNAL, "NodeLost", f"a node of it on {host} was lost: {why}", agent=host)
        if main.state in {State.RUNNING, State.BLOCKED}:
            self._lost[main.id] = failure
            self._execution.stop(main, now, failure)
        self._release(gang, now)

    def lost(self, main: Task) -> Failure | None:
        """A task that was being stopped has ended; says why, if it lost a node and is to run again."""
        return self._lost.pop(main.id, None) if self._lost else None

    def forget(self, main: Task) -> None:
        """A task that is being stopped is not wanted any more: it does not run again."""
        if self._lost.pop(main.id, None) is not None:
            self._state.stopping[main.id] = None


def _holder(template: Template, nodes: int) -> Template:
    """Make the template of what holds so many nodes of a task on one host."""
    name = f"nodes of {template.name or template.function}"
    asked = replace(template.constraints, is_local=True)
    return Template(
        "", constraints=asked, nodes=nodes, name=name[:200], priority=template.priority, max_attempts=1, holds=True
    )


def _count(capacity: Capacity, shape: Shape) -> int:
    """Count the nodes of a task that a host of this capacity could give together."""
    template = shape.template
    most = min(simultaneous(capacity, demand_of_nodes(replace(template, nodes=1))), template.nodes)
    if most and not simultaneous(capacity, demand_of_nodes(replace(template, nodes=most))):
        return 1  # what there is lies in several entries
    return most

"""Tasks that stand in a worker's line behind those that make what they read: no way to the agent lies between them.

Law: a task that lacks something stands behind all that are to make it, in the line of one worker; it starts only if
that worker has what they made.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from agentd.core.data.versions import PENDING, Child
from agentd.core.tasks.task import HERE, State, Task
from agentd.model.errors import BrokenInvariant
from agentd.model.values import Kept, Payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.families.family import Family
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Shape
    from agentd.core.workers.line import Line
    from agentd.model.task import Failure

SMALL_BYTES = 16 << 10
"""Versions up to this size are kept by the worker that makes them (chosen: half of what it takes at the most)."""
LOOK_MOST = 4
"""Tasks that are looked at of those that wait for a version (chosen: of a chain there is one)."""
IN_LINE = frozenset({State.ASSIGNED, State.RUNNING})


class Following:
    """Looks for tasks that may stand behind those which make what they read."""

    def __init__(self, state: AgentState, endings: Endings, stop: Callable[[Task, float], None]) -> None:
        self._state = state
        self._endings = endings
        self._stop = stop

    def extend(self, now: float) -> None:
        """Let each line that has room go on with what reads what its last task makes, while nobody waits for cores."""
        state = self._state
        crew = state.crew
        if crew.is_promised or state.pool.in_debt:
            return
        for line in crew.lines.values():
            if not line.tasks or line.exclusive or line.revoking or line.depth:
                continue
            tail: Task | None = line.tasks[-1]
            while tail is not None and tail.family and tail.makes:
                child = self._next(line, tail)
                if child is None or self._is_contended():
                    break
                tail = self._seat(line, state.families[tail.family], child, now)

    def _is_contended(self) -> bool:
        """Tell whether something else waits that could run here: a line that never ends would be unfair to it."""
        state = self._state
        if not state.queue.size:
            return False
        could_fit = state.pool.could_fit
        return any(bucket.shape.is_here and could_fit(bucket.shape.demand) for bucket in state.queue.buckets())

    def complete(self, task: Task, inputs: tuple[Payload, ...]) -> None:
        """All that a task reads is there which stands in a line, or left one, without."""
        task.inputs, task.lacks = inputs, False
        if task.state is State.LACKING:
            self._endings.back(task)

    def drop(self, child: Child, task: Task, failure: Failure | None, now: float) -> None:
        """Give up a task that stands behind one which did not make what it reads."""
        if not task.lacks:
            raise BrokenInvariant(f"task {task.id} is lost for a version that it had")
        child.why = child.why or failure
        self._stop(task, now)

    # --- choosing ---------------------------------------------------------------------------------------------

    def _next(self, line: Line, tail: Task) -> Child | None:
        """Find a task that waits for what the last one of a line makes, and for nothing that is not made there."""
        family = self._state.families[tail.family]
        if family.refusal is not None or not self._will_keep(tail, line):
            return None
        for number in family.children[tail.id].spawned.makes:
            for who in islice(family.versions.get(number).waiting or (), LOOK_MOST):
                if type(who) is Child and self._may_follow(family, who, line):
                    return who
        return None

    def _will_keep(self, maker: Task | None, line: Line) -> bool:
        """Tell whether the worker of a line will have what a task makes, as far as is known."""
        return (
            maker is not None
            and maker.worker == line.worker
            and maker.state in IN_LINE
            and maker.id not in self._state.stopping
            and maker.shape.made_bytes <= SMALL_BYTES
            and not maker.shape.template.spread
        )

    def _may_follow(self, family: Family, child: Child, line: Line) -> bool:
        state, spawned = self._state, child.spawned
        if child.is_over or child.why is not None or spawned.chain:
            return False
        task = state.tasks.get(child.id)
        shape = family.shapes.get(child.id) if task is None else task.shape
        if shape is None or not shape.is_here or _is_placed_otherwise(shape) or not line.has_room(shape):
            return False
        if task is not None and task.state is not State.LACKING:
            return False
        get = family.versions.get
        for number in spawned.reads:
            version = get(number)
            if version.standing == PENDING:
                if not self._will_keep(state.tasks.get(version.maker), line):
                    return False
            elif version.standing or not _is_here(version.value):
                return False
        return all(get(number).standing != PENDING for number in spawned.after) and _is_here(spawned.payload)

    # --- seating ----------------------------------------------------------------------------------------------

    def _seat(self, line: Line, family: Family, child: Child, now: float) -> Task:
        state, spawned = self._state, child.spawned
        task = state.tasks.get(child.id)
        if task is None:
            shape = family.shapes.pop(child.id)
            task = state.tasks[child.id] = Task(child.id, shape, spawned.payload, HERE, state.next_order())
            task.family, task.submitted_at, task.makes = family.parent, now, len(spawned.makes)
            task.share = family.share
        task.inputs, task.lacks = tuple([self._input(family, number) for number in spawned.reads]), True
        line.append(task)
        task.state, task.host, task.placed_at = State.ASSIGNED, "", now
        state.outbox.run(line.worker, task, None)
        return task

    @staticmethod
    def _input(family: Family, number: int) -> Payload:
        """Give a version that is there, or what stands for one that a task of the same line makes."""
        version = family.versions.get(number)
        if version.standing != PENDING:
            return version.value
        return Kept(task=version.maker, place=family.children[version.maker].spawned.makes.index(number))


def _is_placed_otherwise(shape: Shape) -> bool:
    """Tell whether more than room in a line counts for where such a task runs, or how."""
    template = shape.template
    return bool(shape.ways) or shape.only is not None or bool(template.spread) or template.nodes > 1


def _is_here(value: Payload) -> bool:
    return not value.parts or all(part.is_here for part in value.parts)

"""Laws of children that end together: it comes out as if they had ended one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.state import Rules
from agentd.model.exchange import End
from agentd.model.graph import Spawned
from agentd.model.task import Failure, Form, Outcome, Reason, Status, Template
from agentd.model.values import NO_VALUE, Part, Payload
from tests.unit.core.engine_desk import PLAIN, Desk

FAR, NEAR, WORKER, PARENT = 0, 1, 1, 1
BRIEF_S = 0.0001
"""So brief are all: many are handed to a worker at a time."""
BROKEN = Failure(Reason.EXCEPTION, "ValueError", "no")
ENDS_GROUP = Failure(Reason.GROUP_EXCEPTION, "COMPSsException", "enough")
WAYS = ("plain",) * 6 + ("parts", "few", "many", "fails")
"""How a child may end: a few bytes inline, more, too few or too many values, a failure."""


class Asked(NamedTuple):
    """A child of a drawn family, and how it ends; versions by number."""

    makes: tuple[int, ...]
    reads: tuple[int, ...]
    groups: tuple[int, ...]
    chain: int
    way: str


@st.composite
def families(draw: st.DrawFn, ways: tuple[str, ...] = WAYS) -> list[Asked]:
    """Draw what a task asks for."""
    asked: list[Asked] = []
    known: list[int] = []
    for _ in range(draw(st.integers(1, 12))):
        reads = tuple(draw(st.lists(st.sampled_from(known), max_size=2, unique=True))) if known else ()
        makes = tuple(range(len(known) + 1, len(known) + 1 + draw(st.integers(0, 2))))
        groups = tuple(draw(st.lists(st.integers(1, 2), max_size=2, unique=True)))
        chain = 0 if reads else draw(st.sampled_from((0, 0, 0, 1)))  # so those of a chain are ready in one order
        asked.append(Asked(makes, reads, groups, chain, draw(st.sampled_from(ways))))
        known += makes
    return asked


def made_by(child: Asked) -> tuple[Payload, ...]:
    """Give what a child makes."""
    count = len(child.makes) + {"few": -1, "many": 1}.get(child.way, 0)
    parts = (Part(3, b"abc"),) if child.way == "parts" else ()
    return (Payload(1, b"made", parts),) * max(count, 0)


class Play:
    """A parent whose children run at a neighbour with many cores, or in the workers here."""

    def __init__(self, asked: list[Asked], wait: str, place: int) -> None:
        self.asked = asked
        self.resumed: list[tuple[int, list[tuple[int, int, Payload]]]] = []
        self.desk = desk = Desk(1 if place == FAR else 2, rules=Rules(reuse_on_block=place == NEAR))
        if place == FAR:
            desk.neighbour("n", 64)
            desk.turn(e.TemplatesDeclared(70, ((0, Template("m:root")),)))
        desk.submit(PLAIN)
        desk.turn(e.WorkerStarted(WORKER, 7))
        desk.turn(e.TemplatesDeclared(-WORKER, ((1, Template("m:child", Form.TASK)),)))
        spawned = [
            Spawned(ref + 1, 1, Payload(1, b"call"), child.reads, child.makes, (), child.groups, child.chain)
            for ref, child in enumerate(asked)
        ]
        self.first = PARENT + 1
        desk.turn(e.TasksSpawned(WORKER, PARENT, spawned))
        if wait == "versions":
            desk.turn(e.VersionsAwaited(WORKER, PARENT, 5, [number for child in asked for number in child.makes]))
        elif wait:
            desk.turn(e.TasksAwaited(WORKER, PARENT, 5, 1 if wait == "group" else 0))

    def _running(self) -> list[tuple[str | int, list[int]]]:
        """Give the children that run at the neighbour, and in each worker in the order in which they end."""
        state = self.desk.state
        running: list[tuple[str | int, list[int]]] = [(name, list(row.held)) for name, row in self._neighbours()]
        lines = [line for line in state.crew.lines.values() if line.tasks and not line.depth]
        return running + [(line.worker, [task.id for task in line.tasks if task.family]) for line in lines]

    def _neighbours(self) -> list[tuple[str, Any]]:
        return list(self.desk.state.neighbourhood.by_name.items())

    def end(self, *, together: bool) -> None:
        """End all that runs, in one event or in as many as there are of them."""
        for where, numbers in self._running():
            size = max(len(numbers), 1) if together else 1
            batches = [numbers[at : at + size] for at in range(0, len(numbers), size)]
            self.desk.turn(*[self._event(where, batch) for batch in batches])
            for told in self.desk.of(c.Resume):
                self.resumed.append((told.token, [(one.version, one.standing, one.value) for one in told.known]))
            if isinstance(where, str):
                named = [task for command in self.desk.of(c.AcknowledgeEnds) for task, _ in command.tasks]
                assert sorted(named) == sorted(numbers), "each end is acknowledged once"

    def _event(self, where: str | int, numbers: list[int]) -> e.Event:
        results = [self._result(number, is_here=isinstance(where, int)) for number in numbers]
        if isinstance(where, int):
            return e.TasksEnded(where, results)
        outcomes = [Outcome(one.status, NO_VALUE, one.failure, BRIEF_S, where, made=one.made) for one in results]
        return e.EndsReceived(where, [End(task, 1, 1, one) for task, one in zip(numbers, outcomes, strict=True)])

    def _result(self, number: int, *, is_here: bool) -> e.TaskResult:
        child = self.asked[number - self.first]
        if is_here and child.way in {"few", "fails"}:  # what reads of it may stand behind, and would not have begun
            child = child._replace(way="plain")
        if child.way == "ends its group":
            return e.TaskResult(number, Status.DONE, failure=ENDS_GROUP, seconds=BRIEF_S, made=made_by(child))
        if child.way == "fails":
            return e.TaskResult(number, Status.FAILED, failure=BROKEN, seconds=BRIEF_S)
        return e.TaskResult(number, Status.DONE, seconds=BRIEF_S, made=made_by(child))

    def standing(self) -> dict[str, Any]:
        """Say all that is known of the family, but which of two failures is told: that of whoever ended first."""
        state = self.desk.state
        family = state.families[PARENT]
        assert family.track is not None
        return {
            "children": set(family.children),
            "tasks": {task.id for task in state.tasks.values() if task.family},
            "versions": {
                number: (one.standing, one.value, one.readers)
                for number in range(1, 40)
                if (one := family.versions.find(number)) is not None
            },
            "groups": {number: (group.children, group.failure is None) for number, group in family.groups.items()},
            "chains": {number: (one.running, len(one.waiting)) for number, one in family.chains.items()},
            "waits": [(wait.token, wait.missing) for wait in family.waits],
            "counts": family.track.counts,
            "rows": sorted(row.id for row in family.track.rows),
            "ended": state.counters["ended"],
            "resumed": self.resumed,
        }


@given(families(), st.sampled_from(("", "versions", "tasks", "group")), st.sampled_from((FAR, NEAR)))
def test_children_that_end_together_leave_what_they_leave_one_by_one(asked: list[Asked], wait: str, place: int) -> None:
    """Versions, groups, chains, waits, rows and counts are the same in the end, and what the parent is told."""
    together, apart = Play(asked, wait, place), Play(asked, wait, place)
    assert together.standing() == apart.standing()
    for _ in range(len(asked)):  # in which order those go that are ready may differ, so the rounds may, too
        together.end(together=True)
        apart.end(together=False)
    assert not together.desk.state.families[PARENT].children, "all have ended"
    assert together.standing() == apart.standing()


@given(families((*WAYS, *("ends its group",) * 3)))
def test_one_that_ends_its_group_does_not_lose_those_that_ended_with_it(asked: list[Asked]) -> None:
    """Each child ends, whoever of those in the same message has it given up."""
    play = Play(asked, "", FAR)
    for _ in range(len(asked)):
        play.end(together=True)
    assert not play.desk.state.families[PARENT].children
    assert not play.desk.state.stopping
    assert not play.desk.state.neighbourhood.by_name["n"].held


def test_those_of_one_line_that_ended_with_one_that_ends_its_group_have_ended() -> None:
    """What a worker says in one message of tasks that have ended holds for all of them."""
    child = Asked((), (), (1,), 0, "plain")
    play = Play([child._replace(way="ends its group"), *[child] * 5], "", NEAR)
    for _ in range(6):
        play.end(together=True)
    assert not play.desk.state.families[PARENT].children
    assert not play.desk.state.stopping

"""Laws of decisions for many at once: they are only a shorter way to say the same, whatever waits."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.engine import Engine
from agentd.core.state import Identity
from agentd.core.tasks.estimates import learn, learn_all
from agentd.core.tasks.task import HERE, Shape, Task
from agentd.model.exchange import End, Submission
from agentd.model.task import Constraints, Outcome, Template
from agentd.model.values import Part, Payload
from schedulers.capacity import Capacity, cores
from schedulers.conformance import Host, PlainView, Row, violations
from schedulers.view import ALL, Forward, Run
from tests.unit.core.engine_desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schedulers.view import View

TEMPLATES = (
    Template("m:short"),
    Template("m:other"),
    Template("m:urgent", priority=1),
    Template("m:wide", constraints=Constraints(computing_units=2)),
    Template("m:timed", timeout_s=9.0),
    Template("m:kept", durable=True),
    Template("m:once", durable=True, idempotent=False),
)
PAYLOADS = (Payload(1, b"some"), Payload(1, b"x", (Part(3, b"abc"),)))


class Here:
    """Run all that has room here, so many with each decision."""

    def __init__(self, most: int) -> None:
        self.most = most

    def plan(self, view: View) -> Iterator[Run]:
        """Answer."""
        for task in view.oldest():
            if view.own.has_room(task):
                yield Run(task, self.most)


def played(most: int, steps: list[tuple[int, int, int]]) -> list[list[str]]:
    """Play a history with decisions for so many; gives what each turn wanted, in words."""
    engine = Engine(Identity("own", "id", "boot", 1), cores(2), Here(most), count(1))
    lines: dict[int, list[int]] = {}
    wanted: list[list[str]] = []
    refs = count(1)

    def turn(*events: e.Event) -> None:
        for event in events:
            engine.handle(event, len(wanted) * 0.001)
        commands = engine.drain(len(wanted) * 0.001)
        for command in commands:
            if type(command) is c.RunTasks:
                lines.setdefault(command.worker, []).extend(task.id for task in command.tasks)
        wanted.append([_said(command) for command in commands])

    turn(e.TemplatesDeclared(7, tuple(enumerate(TEMPLATES))))
    for kind, amount, payload in steps:
        if kind < len(TEMPLATES):
            turn(e.CallsSubmitted(7, [Submission(next(refs), kind, PAYLOADS[payload]) for _ in range(amount)]))
        else:
            ended = {worker: [line.pop(0) for _ in range(min(amount, len(line)))] for worker, line in lines.items()}
            turn(*(e.TasksEnded(worker, list(map(_done, tasks))) for worker, tasks in ended.items() if tasks))
        turn(e.Committed(engine.state.outbox.number))
    return wanted


def _done(task: int) -> e.TaskResult:
    return e.TaskResult(task, 0, seconds=2**-14)  # sums of it are exact, however they are added up


def _said(command: c.Command) -> str:
    if type(command) is c.RunTasks:
        return f"run {command.worker} {[task.id for task in command.tasks]} {command.binding}"
    if type(command) is c.SettleCalls:
        return f"settle {[one.ref for one in command.settled]}"
    return repr(command)


@given(st.lists(st.tuples(st.integers(0, len(TEMPLATES) + 4), st.integers(1, 30), st.integers(0, 1)), max_size=25))
def test_one_decision_for_many_does_what_as_many_decisions_do(steps: list[tuple[int, int, int]]) -> None:
    """In the same order, on the same workers: nothing is overtaken that would not have been."""
    each = played(1, steps)
    assert played(ALL, steps) == each
    assert played(3, steps) == each


class There:
    """Forward all that has room there, so many with each decision."""

    def __init__(self, most: int) -> None:
        self.most = most

    def plan(self, view: View) -> Iterator[Forward]:
        """Answer."""
        for task in view.oldest():
            if view.neighbours[0].admits(task) and view.neighbours[0].has_room(task):
                yield Forward(task, "n", self.most)


def lent(most: int, steps: list[tuple[int, int, int, bool]], *, together: bool) -> list[object]:
    """Play a history with a neighbour; gives what was offered, settled and acknowledged, turn by turn."""
    desk = Desk(0, scheduler=There(most))
    desk.neighbour("n", 2)
    caller = desk.open_session(*TEMPLATES)
    offered: list[tuple[int, int]] = []
    seen: list[object] = []
    refs = count(1)

    def note() -> None:
        new = [(one.task, one.attempt) for command in desk.of(c.SendOffers) for one in command.offers]
        offered.extend(new)
        seen.append((new, [sorted(one.tasks) for one in desk.of(c.AcknowledgeEnds)]))
        seen.append(sorted((one.ref, one.outcome.status) for sent in desk.of(c.SettleCalls) for one in sent.settled))

    for kind, amount, payload, is_late in steps:
        if kind < len(TEMPLATES):
            calls = [Submission(next(refs), kind, PAYLOADS[payload]) for _ in range(amount)]
            desk.turn(e.CallsSubmitted(caller, calls), after_s=0.001)
        else:
            ended, offered[:amount] = offered[:amount], []
            outcome = Outcome(kind % 2, PAYLOADS[payload], seconds=2**-12, agent="n")
            ends = [End(task, attempt + is_late, 0, outcome) for task, attempt in ended]
            desk.turn(*([e.EndsReceived("n", ends)] if together else [e.EndsReceived("n", [one]) for one in ends]))
        note()
        desk.commit()
        note()
    return seen


@given(
    st.lists(
        st.tuples(st.integers(0, len(TEMPLATES) + 4), st.integers(1, 30), st.integers(0, 1), st.booleans()),
        max_size=20,
    )
)
@example(
    [
        *((0, amount, 0, False) for amount in (1, 3, 16)),
        *((5, 1, 0, False), (7, 1, 0, False), (8, 1, 0, False), (7, 17, 0, False), (8, 2, 0, False)),
    ]
)
@example([*((0, 1, 0, False) for _ in range(10)), (0, 27, 0, False), (8, 2, 0, False)])
def test_what_is_lent_and_comes_back_in_one_go_is_as_if_one_by_one(steps: list[tuple[int, int, int, bool]]) -> None:
    """The same offers in the same order, and the same ends told and acknowledged."""
    each = lent(1, steps, together=False)
    assert lent(ALL, steps, together=False) == each
    assert lent(ALL, steps, together=True) == each


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 5), st.integers(0, 6))
def test_a_decision_for_many_places_those_right_behind_that_are_alike(kinds: list[int], units: int, most: int) -> None:
    """The conformance kit applies it as the engine does: as far as there is room, and none of another kind."""
    rows = [Row(number, f"f{kind}") for number, kind in enumerate(kinds)]
    view = PlainView(Host("own", units), [], rows)
    first = next(iter(view.oldest()), None)
    wrong = violations(view, [] if first is None else [Run(first, max(most, 1))])
    placed = [row.id for row in rows if row.is_placed]
    same = next((index for index, kind in enumerate(kinds) if kind != kinds[0]), len(kinds))
    assert wrong == []
    assert placed == list(range(min(units, max(most, 1), same)))


@given(st.floats(1e-5, 10), st.floats(1e-5, 10), st.integers(1, 300))
def test_runs_that_end_together_teach_what_they_would_one_by_one(before: float, seconds: float, runs: int) -> None:
    """As far as they are alike; of those that differ their mean counts."""
    one, many = (Shape(1, TEMPLATES[0], Capacity(), estimate_s=before) for _ in range(2))
    for _ in range(runs):
        learn(one, seconds, 4)
    tasks = [Task(number, many, Payload(), HERE, number) for number in range(runs)]
    learn_all(tasks, [Outcome(0, Payload(1, b"four"), seconds=seconds) for _ in tasks], 1.0)
    assert many.runs == one.runs == runs
    assert abs((many.estimate_s or 0) - (one.estimate_s or 0)) < 1e-9 + 1e-6 * seconds
    assert abs(many.result_bytes - one.result_bytes) < 1e-6

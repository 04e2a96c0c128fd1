"""Plan, then apply: wishes are checked, whatever a policy answers; and each kind of waiting has its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.commands import Alarm
from agentd.core.placing.plan import explain
from agentd.core.state import AgentState, Identity, Rules
from agentd.core.tasks.task import HERE, Path, State
from agentd.model.errors import BrokenInvariant, RequestError, TaskFailed
from agentd.model.exchange import Submission
from agentd.model.task import Constraints, Template
from agentd.model.values import NO_VALUE, Part, Payload
from agentd.model.views import STATES, TERMINAL, OperationView
from schedulers.capacity import cores
from schedulers.view import Change, Forward, Keep, Run
from tests.unit.core.engine_desk import CALL, LINK, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from schedulers.view import Decision, View


class Policy:
    """A policy that does what a test says."""

    def __init__(self, answer: Callable[[Any], Iterable[Any]]) -> None:
        self.answer = answer
        self.seen: list[tuple[float, frozenset[Change]]] = []

    def plan(self, view: View) -> Iterable[Decision]:
        """Answer."""
        self.seen.append((view.now_s, view.changes))
        return self.answer(view)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda view: [Run(task) for task in view.oldest()][:1] * 2, "it does not wait"),
        (lambda view: [Run("no task")], "it does not wait"),
        (lambda view: [Forward(task, "nobody") for task in view.oldest()], "unknown task or neighbour"),
        (lambda view: [Forward("no task", "n")], "unknown task or neighbour"),
        (lambda view: [Forward(task, "cut") for task in view.oldest()], "its link is connecting"),
        (lambda view: [Forward(task, "n") for task in view.oldest()], "no room there"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_and_told(answer: Any, words: str) -> None:
    """A bad policy can be slow or unfair; it cannot oversubscribe."""
    desk = Desk(1, scheduler=Policy(answer))
    desk.neighbour("n", 1)
    desk.turn(e.ResourceAdded(0, "cut", cores(1), "comm"))
    caller = desk.open_session(CALL, Template("m:g"))
    desk.turn(e.CallsSubmitted(caller, calls_of(0, 1)))
    assert words in desk.engine.placing.last_violation
    assert desk.one(Alarm).message == "the scheduler's wish was refused"
    assert desk.state.pool.free() >= 0


def calls_of(*templates: int) -> list[Any]:
    """Make calls."""
    return [Submission(ref, template, Payload()) for ref, template in enumerate(templates)]


def test_more_than_fits_is_not_run() -> None:
    """Room is the pool's to say."""
    desk = Desk(1, scheduler=Policy(lambda view: [Run(task) for task in view.oldest()]))
    caller = desk.open_session(CALL, Template("m:g"))
    desk.turn(e.CallsSubmitted(caller, calls_of(0, 1)))
    assert len(desk.of(c.RunTasks)) == 1
    assert "no room here" in desk.engine.placing.last_violation


def test_keeping_and_nonsense_change_nothing() -> None:
    """What is not named keeps waiting."""
    desk = Desk(1, scheduler=Policy(lambda view: [*(Keep(task, "later") for task in view.oldest()), "nonsense"]))
    desk.call(desk.open_session(CALL), 1)
    assert desk.of(c.RunTasks) == []
    assert desk.engine.placing.violations == 0


def test_the_owner_is_told_why_a_policy_keeps_a_task() -> None:
    """The reason that a policy gives is the first word on why the task waits."""
    desk = Desk(1, scheduler=Policy(lambda view: [Keep(task, "after midnight") for task in view.oldest()]))
    desk.call(desk.open_session(CALL), 1)
    (task,) = desk.state.tasks.values()
    words = explain(task, desk.engine.window, desk.state.neighbourhood, "", 1)
    assert words.startswith("after midnight")


def test_a_policy_that_raises_has_a_stand_in() -> None:
    """Whatever a plug-in raises, before its first wish or after, tasks are served and the operator is told."""

    def raises(view: View) -> Iterable[Decision]:
        yield Run(next(iter(view.oldest())))
        raise ZeroDivisionError

    for answer in (raises, lambda view: 1 / 0):
        desk = Desk(2, scheduler=Policy(answer))
        caller = desk.open_session(CALL, Template("m:g"))
        desk.turn(e.CallsSubmitted(caller, calls_of(0, 1)))
        assert desk.state.pool.free() == 0
        assert "ZeroDivisionError" in desk.engine.placing.last_violation


def test_a_policy_that_finds_a_broken_invariant_ends_the_engine() -> None:
    """An engine in unknown state is never carried on with, whoever notices."""

    def broken(view: View) -> Iterable[Decision]:
        raise BrokenInvariant("two and two is five")

    desk = Desk(1, scheduler=Policy(broken))
    with pytest.raises(BrokenInvariant):
        desk.call(desk.open_session(CALL), 1)


def test_a_policy_is_told_what_has_changed_and_asked_only_then() -> None:
    """Once per batch, and not when nothing waits."""
    policy = Policy(lambda view: [])
    desk = Desk(1, scheduler=policy)
    desk.turn(e.ResourceAdded(0, "own", cores(1)))
    assert policy.seen == []
    desk.call(desk.open_session(CALL), 1)
    desk.turn(e.Ticked(), after_s=1.0)
    desk.turn(e.ResourceAdded(0, "own", cores(1)), after_s=1.0)
    assert policy.seen == [(0.0, frozenset({Change.READY})), (2.0, frozenset({Change.ROOM}))]


def test_a_policy_that_keeps_its_walk_hides_no_task() -> None:
    """Each question ends the walks of the one before."""
    kept: list[Any] = []

    def answer(view: Any) -> Iterable[Any]:
        kept.append(view.oldest())
        next(kept[-1])
        return []

    desk = Desk(1, scheduler=Policy(answer))
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    desk.call(caller, 2)
    assert [task.id for task in desk.state.queue.oldest()] == [1]


def test_a_forwarded_task_shortens_the_wait_here() -> None:
    """Within one plan, so that not all go the same way."""
    waits: list[float] = []

    def answer(view: Any) -> Iterable[Any]:
        for task in view.oldest():
            waits.append(view.own.wait_s(task))
            yield Forward(task, "n")

    desk = Desk(1, scheduler=Policy(answer))
    desk.neighbour("n", 4)
    caller = desk.open_session(CALL)
    desk.state.pool.reserve(cores(1))
    desk.call(caller, 1, 2, 3)
    assert waits == pytest.approx([0.3, 0.2, 0.1])


def reason(desk: Desk, template: Template, *, shortfall: str = "", ahead: int = 3) -> str:
    """Say why a call of this template waits."""
    caller = desk.open_session(template, caller=99)
    desk.call(caller, 1)
    task = next(task for task in desk.state.tasks.values() if task.state is State.WAITING)
    return explain(task, desk.engine.window, desk.state.neighbourhood, shortfall, ahead)


def test_each_kind_of_waiting_has_its_words() -> None:
    """Own cores first, then each neighbour of the pool."""
    desk = Desk(1, scheduler=Policy(lambda view: []))
    assert reason(desk, CALL) == ""
    desk.state.pool.reserve(cores(1))
    assert explain_first(desk) == "this agent: all fitting cores are busy, 3 tasks wait"
    desk.neighbour("n", 1)
    assert "n: has room, the scheduler keeps the task here" in explain_first(desk)
    row = desk.state.neighbourhood.get("n")
    row._share = 1.0
    assert "n: all that it granted is in use: it has 0 of our tasks" in explain_first(desk)
    desk.turn(e.LinkClosed("n", LINK, "reset by peer"))
    assert "n: its link is cut: reset by peer" in explain_first(desk)
    task = next(iter(desk.state.tasks.values()))
    task.shape.is_here = False
    assert explain_first(desk).startswith("the function is not on this agent; n: ")
    task.shape.is_here = True
    assert explain_first(desk, "needs 4 CPU units").startswith("this agent: needs 4 CPU units; n: ")


def explain_first(desk: Desk, shortfall: str = "") -> str:
    """Say why the only task waits."""
    task = next(iter(desk.state.tasks.values()))
    return explain(task, desk.engine.window, desk.state.neighbourhood, shortfall, 3)


# --- nouns ------------------------------------------------------------------------------------------------------


def test_no_move_is_made_that_the_table_does_not_know() -> None:
    """An ended task stays ended."""
    desk = Desk(1)
    desk.call(desk.open_session(CALL), 1)
    task = desk.state.tasks[1]
    desk.state.move(task, State.STOPPING)
    desk.state.move(task, State.ENDED)
    with pytest.raises(BrokenInvariant, match="cannot go from ENDED to WAITING"):
        desk.state.move(task, State.WAITING)


def test_a_task_says_of_itself_what_a_policy_may_look_at() -> None:
    """The row is the record."""
    desk = Desk(0)
    desk.call(desk.open_session(Template("m:f", priority=4, constraints=Constraints(computing_units=2))), 1)
    task = desk.state.tasks[1]
    task.shape.result_bytes = 7.5
    assert (task.function, task.priority, task.demand.units(), task.estimate_s) == ("m:f", 4, 2, None)
    assert (task.sender, task.hops, task.transfer_bytes) == (None, 0, 7)


def test_invented_paths_do_not_fill_memory() -> None:
    """Those in use stay equal, if not identical."""
    state = AgentState(Identity("a", "id", "b", 1), cores(1), Rules(), iter(()))
    for number in range(25_000):
        state.path(Path(f"o{number}", "n", 1, ("x",)))
    assert len(state._paths) <= 10_001
    assert state.path(Path()) is HERE


def test_errors_carry_what_their_receiver_needs() -> None:
    """A status and when to come back; a kind and a traceback."""
    error = RequestError("come back", status=429, retry_after_s=3)
    assert (error.status, error.retry_after_s, str(error)) == (429, 3, "come back")
    failed = TaskFailed("no", kind="ValueError", traceback="…")
    assert (failed.kind, failed.traceback) == ("ValueError", "…")
    assert TaskFailed("no").kind == "Error"


def test_values_know_their_size_and_whether_they_can_travel() -> None:
    """Wherever their bytes are."""
    assert (NO_VALUE.size_bytes, NO_VALUE.is_portable) == (0, True)
    here = Payload(1, b"abc", (Part(4, b"defg"),))
    there = Payload(1, b"abc", (Part(4, None, 7),))
    assert (here.size_bytes, here.is_portable, there.size_bytes, there.is_portable) == (7, True, 7, False)


def test_views_name_the_states_of_the_contract() -> None:
    """The last five are terminal."""
    assert {"done", "failed", "cancelled", "lost_unknown", "quarantined"} == TERMINAL
    assert OperationView("1", "", "m:f", STATES[0], "", 1.0).tasks.waiting == 0

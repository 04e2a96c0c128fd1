"""What users ask of the engine: taken, refused with what to do, watched, read, cancelled, and forgotten."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.entries import Accepted, CalledBack, Cancelling, Ended
from agentd.core.state import Rules
from agentd.core.tasks.intake import READ_S
from agentd.core.workers.overruns import LOOK_S
from agentd.model.errors import RequestError
from agentd.model.exchange import Submission
from agentd.model.task import Constraints, Reason, Status, Template
from agentd.model.values import Part, Payload
from tests.unit.core.engine_desk import CALL, PLAIN, Desk


def test_nothing_is_answered_before_the_disk_has_it() -> None:
    """The reply to a submission leaves after the commit of its acceptance."""
    desk = Desk()
    desk.turn(e.OperationSubmitted(5, PLAIN, Payload()))
    assert desk.of(c.Reply) == []
    assert type(desk.of(c.Record)[0].entry) is Accepted
    desk.commit()
    assert desk.reply(5) == (1, True)


def test_many_are_answered_together_each_with_its_own() -> None:
    """A batch is one commit; what cannot be taken is refused alone."""
    desk = Desk(rules=Rules(most_waiting=2))
    ones = [e.OperationSubmitted(0, PLAIN, Payload(), f"k{number}", b"d") for number in range(3)]
    desk.turn(e.OperationsSubmitted(5, [*ones, e.OperationSubmitted(0, PLAIN, Payload(), "k0", b"other")]))
    desk.commit()
    first, second, full, clash = desk.reply(5)
    assert (first, second) == ((1, True), (2, True))
    assert (full.status, clash.status) == (429, 422)


def test_a_batch_that_is_wholly_refused_is_answered_at_once() -> None:
    """Nothing was recorded: nothing is waited for."""
    desk = Desk()
    desk.turn(e.DiskFilled("full"))
    desk.turn(e.OperationsSubmitted(5, [e.OperationSubmitted(0, PLAIN, Payload())]))
    assert desk.reply(5)[0].status == 507


def test_bytes_bound_the_queue_too() -> None:
    """Arguments that wait are counted, their buffers included."""
    desk = Desk(0, rules=Rules(most_waiting_bytes=100))
    large = Payload(1, b"x", (Part(100, b"y" * 100),))
    desk.turn(e.OperationSubmitted(5, PLAIN, large))
    desk.turn(e.OperationSubmitted(6, PLAIN, Payload()))
    assert desk.reply(6).status == 429


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_call_that_cannot_be_taken_is_settled_with_the_reason(*, is_declared: bool) -> None:
    """A program never waits for what was not taken."""
    desk = Desk(rules=Rules(most_waiting=0 if is_declared else 9))
    caller = desk.open_session(CALL)
    desk.call(caller, 9, template=0 if is_declared else 4)
    (settled,) = desk.one(c.SettleCalls).settled
    assert settled.outcome.status == Status.FAILED
    assert ("come back later" if is_declared else "was not declared") in settled.outcome.failure.message


def test_calls_of_several_templates_keep_their_order() -> None:
    """Age decides, whatever is alike."""
    desk = Desk()
    caller = desk.open_session(CALL, Template("m:g"))
    desk.turn(e.CallsSubmitted(caller, [Submission(ref, ref % 2, Payload()) for ref in range(4)]))
    assert [task.ref for task in desk.one(c.RunTasks).tasks] == [0]
    for ref in range(3):
        desk.end(1, ref + 1)
        assert [task.ref for task in desk.one(c.RunTasks).tasks] == [ref + 1]


def test_a_call_that_must_survive_is_journalled_settled_and_can_be_cancelled() -> None:
    """`durable` calls of a session are operations, settled to the session too."""
    desk = Desk()
    caller = desk.open_session(PLAIN)
    desk.call(caller, 1, 2)
    desk.turn(e.CallsCancelled(caller, (2, 77)))
    assert [type(one.entry) for one in desk.of(c.Record)] == [Accepted, Cancelling]
    assert [type(entry) for entry in desk.one(c.RecordCalls).entries] == [Ended]
    desk.commit()
    desk.end(1, 1)
    assert [type(entry) for entry in desk.one(c.RecordCalls).entries] == [Ended]
    desk.commit()
    assert [(one.ref, one.outcome.status) for one in desk.one(c.SettleCalls).settled] == [(1, Status.DONE)]
    assert desk.state.ledger.operations[1].read_at is not None


def test_cancelling_calls_is_looked_up_not_searched() -> None:
    """A program that cancels one by one is served from a table, which follows what it submits."""
    desk = Desk(0)
    caller = desk.open_session(CALL, PLAIN)
    desk.call(caller, *range(10))
    desk.turn(e.CallsCancelled(caller, (3,)))
    desk.call(caller, 20)
    desk.call(caller, 21, template=1)
    desk.turn(e.CallsCancelled(caller, (20, 21, 4)))
    assert sorted(task.ref for task in desk.state.tasks.values()) == [0, 1, 2, 5, 6, 7, 8, 9]
    desk.turn(e.CallerLeft(caller))
    assert desk.state.tasks == {}
    assert desk.engine._intake._by_ref == {}


def test_the_table_of_a_caller_does_not_grow_with_what_has_ended() -> None:
    """It is made anew when most of it is past."""
    desk = Desk(0)
    caller = desk.open_session(CALL)
    for ref in range(1500):
        desk.call(caller, ref)
        desk.turn(e.CallsCancelled(caller, (ref,)))
    assert len(desk.engine._intake._by_ref[caller]) < 1100


def test_a_session_that_leaves_takes_its_calls_along_and_nothing_else() -> None:
    """Durable operations go on; watches of the caller are dropped."""
    desk = Desk(0)
    caller = desk.open_session(CALL, PLAIN)
    desk.call(caller, 1)
    desk.call(caller, 2, template=1)
    number = desk.submit()
    desk.turn(e.OperationWatched(caller, number))
    desk.turn(e.CallerLeft(caller))
    assert sorted(desk.state.tasks) == [2, number]
    assert desk.state.ledger.operations[2].caller == 0
    assert desk.state.ledger.operations[number].watchers == ()


def test_a_watch_is_answered_once_when_the_end_is_on_the_disk() -> None:
    """And at once for what has ended, or is not known."""
    desk = Desk()
    number = desk.submit()
    desk.turn(e.OperationWatched(8, number), e.OperationWatched(9, number), e.WatchAbandoned(9, number))
    desk.turn(e.WatchAbandoned(9, number), e.WatchAbandoned(9, 12345))
    desk.end(1, number)
    assert desk.of(c.Reply) == []
    desk.commit()
    assert [(one.caller, one.value) for one in desk.of(c.Reply)] == [(8, number)]
    desk.turn(e.OperationWatched(10, number), e.OperationWatched(11, 12345))
    assert [one.caller for one in desk.of(c.Reply)] == [10, 11]


def test_a_result_is_read_once() -> None:
    """The first reading is written down; reading what has not ended is nothing."""
    desk = Desk()
    number = desk.submit()
    desk.turn(e.ResultRead(number), e.ResultRead(999))
    assert desk.of(c.Record) == []
    desk.end(1, number)
    desk.commit()
    desk.turn(e.ResultRead(number), e.ResultRead(number))
    assert desk.of(c.Record) == []
    desk.turn(after_s=READ_S)
    assert [one.entry.operations for one in desk.of(c.Record)] == [(number,)]


def test_a_callback_is_asked_for_after_the_commit_and_noted_when_done() -> None:
    """Given up, it is an alarm; of what is not known, nothing."""
    desk = Desk()
    desk.turn(e.OperationSubmitted(5, PLAIN, Payload(), callback="http://there"))
    desk.commit()
    desk.end(1, 1)
    assert desk.of(c.CallBack) == []
    desk.commit()
    assert desk.one(c.CallBack).url == "http://there"
    desk.turn(e.CallbackEnded(1, is_given_up=True), e.CallbackEnded(77))
    assert [type(one.entry) for one in desk.of(c.Record)] == [CalledBack]
    assert desk.one(c.Alarm).detail["operation"] == 1


def test_cancelling_what_is_not_known_is_404() -> None:
    """The answer says so."""
    desk = Desk()
    desk.turn(e.CancelRequested(5, 77))
    error = desk.reply(5)
    assert isinstance(error, RequestError)
    assert error.status == 404


def test_cancelling_twice_or_too_late_changes_nothing() -> None:
    """An end is never changed."""
    desk = Desk()
    number = desk.submit()
    desk.end(1, number)
    desk.commit()
    desk.turn(e.CancelRequested(5, number))
    assert desk.of(c.Record) == []
    assert desk.state.ledger.operations[number].status == Status.DONE


def test_what_no_host_fits_fails_after_a_while_where_wanted() -> None:
    """One timer for all; what fits somewhere goes on waiting, and is looked at again."""
    wide = Template("m:w", constraints=Constraints(computing_units=4))
    desk = Desk(rules=Rules(unschedulable_after_s=10.0))
    caller = desk.open_session(wide, CALL)
    desk.call(caller, 1)
    desk.call(caller, 2, 3, template=1)
    desk.turn(e.Ticked(), after_s=10.0)
    (settled,) = desk.one(c.SettleCalls).settled
    assert (settled.ref, settled.outcome.failure.reason) == (1, Reason.UNSCHEDULABLE)
    assert "this agent: needs 4 CPU units, the largest" in settled.outcome.failure.message
    assert len(desk.state.queue) == 1
    desk.turn(e.ResourceReduced(0, "own", desk.state.pool.capacity))
    desk.turn(e.Ticked(), after_s=2.5)
    assert [one.ref for one in desk.one(c.SettleCalls).settled] == [3]


def test_what_a_neighbour_could_host_is_not_unschedulable() -> None:
    """It may have room later."""
    wide = Template("m:w", constraints=Constraints(computing_units=4))
    desk = Desk(rules=Rules(unschedulable_after_s=10.0))
    desk.neighbour("n", 4)
    desk.state.neighbourhood.get("n")._booked[1] = 1
    desk.state.neighbourhood.get("n")._weigh()
    caller = desk.open_session(wide)
    desk.call(caller, 1)
    desk.turn(e.NeighbourHeard("n", 0.001, 0.0, 0.0), e.Ticked(), after_s=4.0)
    desk.turn(e.NeighbourHeard("n", 0.001, 0.0, 0.0), e.Ticked(), after_s=4.0)
    desk.turn(e.NeighbourHeard("n", 0.001, 0.0, 0.0), e.Ticked(), after_s=4.0)
    assert len(desk.state.queue) == 1


def test_a_function_that_is_elsewhere_is_not_run_here() -> None:
    """It waits for a neighbour that has it."""
    desk = Desk()
    desk.turn(e.OperationSubmitted(5, PLAIN, Payload(), is_here=False))
    assert desk.of(c.RunTasks) == []
    desk.turn(e.TemplatesDeclared(70, ((1, CALL),), frozenset({1})))
    desk.call(70, 1, template=1)
    assert desk.of(c.RunTasks) == []


def test_shared_segments_are_released_with_the_task() -> None:
    """Whoever made them may use them again."""
    desk = Desk()
    caller = desk.open_session(CALL)
    desk.call(caller, 1, payload=Payload(1, b"", (Part(5, None, 3), Part(5, None, 3, 5), Part(2, b"ab"))))
    desk.end(1, 1)
    assert desk.one(c.ReleaseSegments).segments == (3,)


def test_nothing_is_kept_of_ended_calls() -> None:
    """After ten thousand calls all tables are as before."""
    desk = Desk(2)
    caller = desk.open_session(CALL, Template("m:t", timeout_s=3600.0))
    for number in range(100):
        desk.call(caller, *range(number * 100, number * 100 + 99))
        desk.call(caller, number * 100 + 99, template=1)
        while desk.state.tasks:
            for line in list(desk.state.crew.lines.values()):
                if line.tasks:
                    desk.end(line.worker, *[task.id for task in line.tasks], seconds=0.00001)
            for command in desk.of(c.RevokeTasks):
                desk.turn(e.TasksRevoked(command.worker, 0), e.RevokeSettled(command.worker))
    state = desk.state
    desk.turn(e.Ticked(), after_s=LOOK_S)  # looks once more after tasks that run long
    assert (state.stopping, state.started, state.ledger.operations) == ({}, [], {})
    assert (len(state.queue), state.queue.bytes, len(state.timers)) == (0, 0, 0)
    assert len(state.timers._heap) <= 65
    assert not state.outbox._held
    assert state.pool.free() == 2
    assert sum(len(bucket.tasks) for bucket in state.queue._all()) == 0

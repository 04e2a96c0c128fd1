"""Durable calls over direct lines: announced by a session, ended by a worker, and never lost between the two."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.entries import Accepted, Cancelling, Ended, Started
from agentd.core.line_events import CallsAnnounced, LineCallsEnded
from agentd.core.tasks.task import State
from agentd.model.exchange import Submission
from agentd.model.task import Failure, Form, Reason, Status, Template
from agentd.model.values import Codec, Part, Payload
from tests.unit.core.engine_desk import PLAIN, Desk

LINE_REF, CALLER = 7, 70
LINE = Template("direct line", form=Form.DIRECT, max_attempts=1, idempotent=False)
VALUE = Payload(Codec.PICKLE, b"four")


class Riding(Desk):
    """An agent with one core, on which a line of a session is served."""

    def __init__(self, template: Template = PLAIN) -> None:
        super().__init__(1)
        self.open_session(template, caller=CALLER)
        self.turn(e.TemplatesDeclared(CALLER, ((-1, LINE),)))
        self.call(CALLER, LINE_REF, template=-1)
        run = self.one(c.RunTasks)
        self.worker, (self.line,) = run.worker, [task.id for task in run.tasks]

    def announce(self, ref: int, *, line: int = LINE_REF) -> None:
        """The session makes a call over its line."""
        self.turn(CallsAnnounced(CALLER, line, [Submission(ref, 0, Payload(Codec.PICKLE, b"x"))]))

    def made(self, ref: int, **result: object) -> None:
        """The worker has made a call."""
        row = e.TaskResult(ref, **{"status": 0, "value": VALUE, "seconds": 0.1, **result})
        self.turn(LineCallsEnded(self.line, [row]))

    def line_ends(self, **result: object) -> None:
        """The task that serves the line ends."""
        self.turn(e.TasksEnded(self.worker, [e.TaskResult(self.line, **{"status": 0, **result})]))

    def entries(self) -> list[object]:
        """Give what is to be written."""
        single = [command.entry for command in self.of(c.Record)]
        return single + [entry for command in self.of(c.RecordCalls) for entry in command.entries]

    def settled(self) -> list[tuple[int, int]]:
        """Give the calls of which the session is told, with their statuses."""
        return [(one.ref, one.outcome.status) for command in self.of(c.SettleCalls) for one in command.settled]

    @property
    def riding(self) -> list[int]:
        """Give the calls that are under way."""
        return [task.id for task in self.state.tasks.values() if task.state is State.RIDING]


@pytest.fixture
def desk() -> Riding:
    return Riding()


@pytest.mark.parametrize("is_early", [False, True])
def test_a_call_is_recorded_once_and_told_after_that(desk, is_early):
    """Whichever of the two ways is faster: one entry says how it was asked for and how it ended; then it is settled."""
    acts = [lambda: desk.announce(8), lambda: desk.made(8)]
    acts[is_early]()
    assert desk.entries() == []
    acts[not is_early]()
    (ended,) = desk.entries()
    assert isinstance(ended, Ended)
    assert ended.outcome.value == VALUE
    assert ended.asked.function == "m:f"
    assert desk.settled() == []
    desk.commit()
    assert desk.settled() == [(8, 0)]
    assert list(desk.state.tasks) == [desk.line]
    operation = desk.state.ledger.get(ended.operation)
    assert operation.status == Status.DONE
    assert operation.started_wall


@pytest.mark.parametrize(
    ("is_early", "after_s", "seconds", "waited_s", "took_s"),
    [
        (True, 0.0, 2.5, 0.0, 2.5),
        (False, 0.1, 2.5, 0.0, 2.5),
        (False, 0.1, 0.05, 0.05, 0.05),
        (False, 0.3, 2.5, 0.0, 0.3),
    ],
    ids=["its end was first", "told of late", "told of in time", "written before that is known"],
)
def test_an_operation_shows_how_long_its_call_took(desk, is_early, after_s, seconds, waited_s, took_s):
    """As its worker measured it, however late the agent was told of it, and never from before it was asked for."""
    desk.turn(e.Ticked(), after_s=1000.0)
    if is_early:
        desk.made(8, seconds=seconds)
        desk.announce(8)
    else:
        desk.announce(8)
        desk.turn(e.Ticked(), after_s=after_s)
        desk.commit()
        desk.made(8, seconds=seconds)
    (ended,) = [entry for entry in desk.entries() if isinstance(entry, Ended)]
    operation = desk.state.ledger.get(ended.operation)
    assert operation.ended_wall - operation.started_wall == pytest.approx(took_s)
    assert operation.started_wall - operation.submitted_wall == pytest.approx(waited_s)
    assert (ended.started_wall_s, ended.outcome.seconds) == (operation.started_wall, seconds)


def test_a_result_is_one_only(desk):
    """What a worker says of a call a second time, or of none, counts for nothing and is let go."""
    desk.announce(8)
    desk.made(8)
    desk.commit()
    segment = Payload(Codec.PICKLE, b"", (Part(9, None, 5),))
    for ref in range(20, 40):
        desk.made(ref, value=segment)
    assert sum(len(command.segments) for command in desk.of(c.ReleaseSegments)) == 1
    desk.line_ends()
    assert sum(len(command.segments) for command in desk.of(c.ReleaseSegments)) == 4
    assert desk.settled() == [(LINE_REF, 0)]
    assert desk.entries() == []


def test_what_fails_is_an_operation_that_failed(desk):
    """As by the daemon, with its reason."""
    desk.announce(8)
    desk.made(8, status=1, value=Payload(), failure=Failure(Reason.EXCEPTION, "ValueError", "no"))
    (ended,) = desk.entries()
    assert (ended.outcome.status, ended.outcome.failure.message) == (Status.FAILED, "no")


def test_a_call_that_takes_long_is_accepted_meanwhile(desk):
    """So a crash does not lose it; and then it has been started once."""
    desk.announce(8)
    desk.turn(e.Ticked(), after_s=0.3)
    (accepted,) = [entry for entry in desk.entries() if isinstance(entry, Accepted)]
    assert desk.riding == [accepted.operation]
    desk.commit()
    desk.made(8)
    (ended,) = desk.entries()
    assert (ended.operation, ended.asked) == (accepted.operation, None)


def test_a_call_that_was_not_begun_runs_as_any_other(desk):
    """The line is over: its call is placed, and nobody is to blame."""
    desk.announce(8)
    (call,) = desk.riding
    desk.line_ends(value=Payload(Codec.JSON, b"0"))
    run = desk.one(c.RunTasks)
    assert [task.id for task in run.tasks] == [call]
    assert desk.settled() == [(LINE_REF, 0)]
    desk.end(run.worker, call)
    desk.commit()
    assert desk.settled() == [(8, 0)]
    assert desk.state.ledger.get(call).attempts == 1


def test_a_call_over_a_line_that_is_over_runs_as_any_other(desk):
    """What the session said came behind the line's end."""
    desk.line_ends()
    desk.announce(8)
    assert desk.riding == []
    assert desk.of(c.RunTasks)


def test_a_worker_that_dies_is_an_attempt_of_the_call(desk):
    """It runs again, as its second attempt; the third time it is put aside."""
    desk.announce(8)
    (call,) = desk.riding
    died = Failure(Reason.SIGNAL, "WorkerLost", "killed")
    desk.turn(e.WorkerLost(desk.worker, died, desk.line))
    assert desk.settled() == [(LINE_REF, Status.LOST_UNKNOWN)]
    for attempt in (2, 3):
        run = desk.one(c.RunTasks)
        assert [(task.id, task.attempt) for task in run.tasks] == [(call, attempt)]
        desk.turn(e.WorkerLost(run.worker, died, call))
    desk.commit()
    assert desk.settled() == [(8, Status.QUARANTINED)]


def test_no_memory_is_told_and_not_tried_again(desk):
    """The operation failed with that reason."""
    desk.announce(8)
    desk.turn(e.WorkerLost(desk.worker, Failure(Reason.OUT_OF_MEMORY, "OutOfMemory", "killed"), desk.line))
    (ended,) = [entry for entry in desk.entries() if isinstance(entry, Ended)]
    assert ended.outcome.failure.reason == Reason.OUT_OF_MEMORY
    assert desk.of(c.RunTasks) == []


def test_the_end_of_the_line_is_that_of_its_last_call(desk):
    """Where the worker says so: it asked for tasks, or its result is large. The line itself gives nothing."""
    desk.announce(8)
    (call,) = desk.riding
    desk.turn(LineCallsEnded(desk.line, [], 8))
    large = Payload(Codec.PICKLE, b"", (Part(9, None, 5),))
    desk.line_ends(value=large)
    (ended,) = desk.entries()
    assert (ended.operation, ended.outcome.value) == (call, large)
    (line,) = [one for command in desk.of(c.SettleCalls) for one in command.settled]
    assert (line.ref, line.outcome.value) == (LINE_REF, Payload())
    desk.commit()
    assert desk.settled() == [(8, 0)]


def test_who_cancels_a_call_stops_the_line(desk):
    """It ends as cancelled, once, whatever its code does then; the worker is interrupted."""
    desk.announce(8)
    (call,) = desk.riding
    desk.turn(e.CancelRequested(90, call))
    kinds = [type(entry) for entry in desk.entries()]
    assert kinds == [Accepted, Cancelling, Started, Ended]
    assert desk.one(c.InterruptTask).task == desk.line
    desk.turn(LineCallsEnded(desk.line, [], 8))
    desk.line_ends(value=Payload(Codec.PICKLE, b"", (Part(9, None, 5),)))
    assert desk.one(c.ReleaseSegments).segments == (5,)
    desk.commit()
    assert desk.state.ledger.get(call).status == Status.CANCELLED


def test_a_session_that_leaves_leaves_its_call_to_the_agent(desk):
    """It is accepted at once, its code is not interrupted, and its end is recorded."""
    desk.announce(8)
    (call,) = desk.riding
    desk.turn(e.CallerLeft(CALLER))
    assert [type(entry) for entry in desk.entries()] == [Accepted, Started]
    assert desk.of(c.InterruptTask) == []
    desk.commit()
    desk.made(8)
    desk.commit()
    assert desk.state.ledger.get(call).status == Status.DONE


def test_a_session_that_leaves_without_a_call_ends_its_line(desk):
    """Its core is others'."""
    desk.turn(e.CallerLeft(CALLER))
    assert desk.one(c.InterruptTask).task == desk.line


@pytest.mark.parametrize("template", [Template("m:f"), Template("m:f", durable=True, idempotent=False)])
def test_what_may_not_go_so_goes_by_the_daemon(template):
    """A call that is not durable, or may run once only, is placed as it would be without a line."""
    desk = Riding(template)
    desk.announce(8)
    assert desk.riding == []
    assert len(desk.state.tasks) == 2


def test_an_agent_that_stops_takes_no_more(desk):
    """The call is refused with what to do."""
    desk.turn(e.DrainRequested(30.0))
    desk.announce(8)
    ((ref, status),) = desk.settled()
    assert (ref, status) == (8, Status.FAILED)


def test_a_line_without_durable_calls_is_told_as_it_ended():
    """What its last call gave, however large, is the session's: none of it is kept or let go here."""
    for value in (Payload(Codec.JSON, b"3"), Payload(Codec.PICKLE, b"", (Part(9, None, 5),))):
        desk = Riding()
        desk.line_ends(value=value)
        (line,) = [one for command in desk.of(c.SettleCalls) for one in command.settled]
        assert line.outcome.value == value
        assert desk.of(c.ReleaseSegments) == []

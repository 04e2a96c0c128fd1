"""Acceptances that are written with the end, or in a moment."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.acceptances import AGAIN_S, AT_ONCE_MOST, PUT_OFF_S
from agentd.core.journal.entries import Accepted, Asked, Cancelling, Ended, EndedAlike, Entry, Started
from agentd.model.task import Failure, Reason, Status, Template
from agentd.model.values import Part, Payload
from tests.unit.core.engine_desk import CALL, PLAIN, Desk

ONCE = Template("m:once", durable=True, idempotent=False)


def entries(desk: Desk) -> list[Entry]:
    """Give what the last turn wrote, in order."""
    found: list[Entry] = []
    for command in desk.commands:
        if type(command) is c.Record:
            found.append(command.entry)
        elif type(command) is c.RecordCalls:
            found += command.entries
    return found


def written(desk: Desk) -> list[type]:
    """Name what the last turn wrote."""
    return [type(entry) for entry in entries(desk)]


def patient(desk: Desk, **more: object) -> None:
    """Submit an operation whose caller waits for its end."""
    desk.turn(e.OperationSubmitted(50, PLAIN, Payload(), is_patient=True, **more))


def test_a_short_call_costs_one_commit() -> None:
    """The end of a call that must survive says how it was asked for too, and it is settled when that is safe."""
    desk = Desk()
    caller = desk.open_session(PLAIN)
    desk.call(caller, 1)
    assert written(desk) == []
    assert desk.one(c.RunTasks)
    desk.end(1, 1)
    assert written(desk) == [Ended]
    assert entries(desk)[0].asked == Asked("m:f", 0.0, 0.0)
    assert desk.of(c.SettleCalls) == []
    desk.commit()
    assert desk.one(c.SettleCalls).settled[0].outcome.status == Status.DONE


def test_calls_that_end_together_are_written_in_one_go() -> None:
    """Each is on the disk before its session is told, those among them too that were written when they came."""
    desk = Desk(2)
    short = Template("m:s", durable=True)
    caller = desk.open_session(short)
    desk.call(caller, 1)
    desk.end(1, 1, seconds=1e-5)
    desk.commit()
    desk.call(caller, 2, 3, 4)
    (operation,) = [one for one in desk.state.ledger.operations.values() if one.ref == 3]
    desk.state.acceptances.write(operation)
    operation.watchers = (60,)
    for run in desk.of(c.RunTasks):
        desk.end(run.worker, *(task.id for task in run.tasks), seconds=1e-5)
        ends = [entry for entry in entries(desk) if type(entry) is Ended]
        assert {entry.operation for entry in ends} == {task.id for task in run.tasks}
        assert all((entry.asked is None) == (entry.operation == operation.id) for entry in ends)
        assert desk.of(c.SettleCalls) == []
        desk.commit()
        assert {one.ref for one in desk.one(c.SettleCalls).settled} == {task.id for task in run.tasks}
        told = [number for command in desk.of(c.PublishEnds) for number, _ in command.ends]
        told += [int(command.subject) for command in desk.of(c.Publish)]
        assert sorted(told) == [task.id for task in run.tasks]
    assert all(one.is_terminal for one in desk.state.ledger.operations.values())
    assert desk.state.tasks == {}


def test_calls_that_were_asked_for_and_end_together_are_one_entry() -> None:
    """Those that were asked for at another time are another one; each is told, and kept, by itself."""
    desk = Desk()
    caller = desk.open_session(Template("m:s", durable=True))
    desk.call(caller, 1)
    desk.end(1, 1, seconds=1e-5)
    desk.commit()
    desk.call(caller, *range(2, 14))
    first_s = desk.now
    desk.now += 0.001
    desk.call(caller, *range(14, 24))
    tasks = [*desk.state.tasks]
    desk.end(1, *tasks, seconds=1e-5)
    ends = entries(desk)
    assert [type(entry) for entry in ends] == [EndedAlike, EndedAlike]
    assert [len(entry.operations) for entry in ends] == [12, 10]
    assert [entry.asked.at_s for entry in ends] == [first_s, first_s + 0.001]
    assert desk.of(c.SettleCalls) == []
    desk.commit()
    assert [one.ref for one in desk.one(c.SettleCalls).settled] == [*range(2, 24)]
    assert [desk.state.ledger.get(number).id for number in tasks] == tasks


def test_a_patient_caller_is_answered_once_the_end_is_safe() -> None:
    """Both are on the disk by then, so that the answer may show the result."""
    desk = Desk()
    patient(desk)
    desk.end(1, 1)
    assert desk.of(c.Reply) == []
    desk.commit()
    assert desk.reply(50) == (1, True)
    assert desk.state.ledger.operations[1].is_terminal


def test_what_lives_longer_is_written_and_a_patient_caller_answered() -> None:
    """As an acceptance at once, and the start with it; later ends come alone."""
    desk = Desk()
    patient(desk)
    desk.turn(e.Ticked(), after_s=PUT_OFF_S)
    assert written(desk) == [Accepted, Started]
    desk.commit()
    assert desk.reply(50) == (1, True)
    desk.end(1, 1)
    assert written(desk) == [Ended]


def test_what_waits_is_written_without_a_start() -> None:
    """One core: the second has not started."""
    desk = Desk()
    desk.call(desk.open_session(PLAIN), 1, 2)
    desk.turn(e.Ticked(), after_s=PUT_OFF_S)
    assert written(desk) == [Accepted, Accepted, Started]
    assert desk.of(c.Record)[-1].entry.operations == (1,)


def test_the_same_key_asked_for_again_has_it_written() -> None:
    """Whoever is told that an operation is accepted is told no earlier than the disk has it."""
    desk = Desk()
    patient(desk, key="k")
    desk.turn(e.OperationSubmitted(51, PLAIN, Payload(), key="k"))
    assert written(desk)[0] is Accepted
    assert desk.of(c.Reply) == []
    desk.commit()
    assert (desk.reply(50), desk.reply(51)) == ((1, True), (1, False))


@pytest.mark.parametrize(
    "event",
    [
        e.CallerLeft(70),
        e.DrainRequested(5.0),
        e.WorkerLost(1, Failure(Reason.SIGNAL, "Killed", "by signal 9"), 1),
    ],
)
def test_what_may_outlive_its_caller_or_a_start_is_written(event: e.Event) -> None:
    """A session that left cannot ask again; an attempt that was used up is to be counted after a crash."""
    desk = Desk()
    desk.call(desk.open_session(PLAIN), 1)
    desk.turn(event)
    assert written(desk)[:2] == [Accepted, Started]


def test_cancelling_is_written_after_the_acceptance() -> None:
    """A journal names nothing that it does not know."""
    desk = Desk()
    patient(desk)
    desk.turn(e.CancelRequested(60, 1))
    assert written(desk)[:2] == [Accepted, Cancelling]


def test_a_neighbour_is_given_only_what_is_written() -> None:
    """Its end would have to be acknowledged."""
    desk = Desk()
    desk.neighbour(units=2)
    desk.call(desk.open_session(PLAIN), 1, 2)
    kinds = [type(one.entry) for one in desk.of(c.Record)]
    assert desk.of(c.SendOffers)
    assert kinds == [Accepted, Started]


@pytest.mark.parametrize(("template", "payload"), [(ONCE, Payload()), (PLAIN, Payload(1, b"x", (Part(5, segment=3),)))])
def test_what_hangs_on_the_acceptance_is_written_at_once(template: Template, payload: Payload) -> None:
    """One start at most; or values that only the journal keeps."""
    desk = Desk()
    desk.call(desk.open_session(template), 1, payload=payload)
    assert written(desk)[:1] == [Accepted]


def test_very_many_are_written_in_portions() -> None:
    """However many have come at once, a turn stays short, and all are written in the end."""
    desk = Desk()
    desk.call(desk.open_session(PLAIN), *range(1, AT_ONCE_MOST + 11))
    desk.turn(e.Ticked(), after_s=PUT_OFF_S)
    assert written(desk).count(Accepted) == AT_ONCE_MOST
    desk.turn(e.Ticked(), after_s=AGAIN_S)
    assert written(desk).count(Accepted) == 10
    desk.turn(e.Ticked(), after_s=PUT_OFF_S)
    assert Accepted not in written(desk)


def test_plain_calls_are_not_concerned() -> None:
    """Nothing is written of them at all."""
    desk = Desk()
    desk.call(desk.open_session(CALL), 1)
    desk.turn(e.Ticked(), after_s=PUT_OFF_S)
    assert written(desk) == []

"""Lots: many plain tasks that are alike cross a link together, and leave what they would leave one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core import lot_events as le
from agentd.core.neighbours.lots import LOT_BYTES
from agentd.core.neighbours.taking import BRIEF_S
from agentd.core.neighbours.travelling import LIGHT_BYTES
from agentd.core.state import Rules
from agentd.core.tasks.task import State
from agentd.model.exchange import EndedLot, Lot, Submission
from agentd.model.task import Template
from agentd.model.values import Codec, Part, Payload
from schedulers.capacity import Capacity
from tests.unit.core.engine_desk import CALL, LINK, Desk

FIRST = 5_000_001
QUICK = BRIEF_S / 10
DONE_S = 0.00001


def giving(*, takes_lots: bool = True, template: Template = CALL) -> tuple[Desk, int]:
    """Give a desk without cores, a session at it, and a neighbour that may be given many: the first call is known."""
    desk = Desk(Capacity(), scheduler="load-balancing")
    desk.neighbour("n", 2, takes_lots=takes_lots)
    caller = desk.open_session(template)
    desk.call(caller, 1)
    (offer,) = desk.one(c.SendOffers).offers
    desk.turn(e.OffersAnswered("n", ((offer.task, 1, 1),)))
    lot = EndedLot(1, 1, "n", 1, 0, 0, [offer.task], [DONE_S], [b""])
    desk.turn(le.LotEnded("n", lot))
    desk.commit()
    return desk, caller


def ended(lot: Lot, **more: Any) -> EndedLot:
    """Say that all of a lot went well."""
    made = EndedLot(lot.attempt, lot.epoch, "n", 1, Codec.PICKLE, 0, lot.tasks, [DONE_S] * len(lot.tasks), [])
    return replace(made, **{"values": [b"v%d" % task for task in lot.tasks], **more})


def test_alike_calls_are_offered_as_one_lot_and_settled_from_one() -> None:
    """What they share is said once; each has its own arguments, and its own value."""
    desk, caller = giving()
    calls = [Submission(ref, 0, Payload(Codec.PICKLE, b"a%d" % ref)) for ref in range(2, 30)]
    desk.turn(e.CallsSubmitted(caller, calls))
    lot = desk.one(c.OfferLot).lot
    assert not desk.of(c.SendOffers)
    assert lot.arguments == [b"a%d" % ref for ref in range(2, 30)]
    assert (lot.attempt, lot.hops, lot.origin, lot.visited, lot.codec) == (1, 1, "id-own", ("id-own",), Codec.PICKLE)
    assert lot.sequence == desk.state.neighbourhood.by_name["n"].unseen.sequence
    desk.turn(le.LotAccepted("n", 1, 7, lot.tasks))
    assert {(task.state, task.epoch) for task in desk.state.tasks.values()} == {(State.FORWARDED, 7)}
    desk.turn(le.LotEnded("n", ended(lot)))
    settled = desk.one(c.SettleCalls).settled
    assert [one.ref for one in settled] == list(range(2, 30))
    assert [one.outcome.value.data for one in settled] == [b"v%d" % task for task in lot.tasks]
    assert {(one.outcome.agent, one.outcome.hops, one.outcome.attempts) for one in settled} == {("n", 1, 1)}
    assert desk.one(c.AcknowledgeLot) == c.AcknowledgeLot("n", 1, lot.tasks)
    assert not desk.state.tasks
    assert not desk.state.neighbourhood.by_name["n"].held


def test_who_does_not_know_lots_is_given_none() -> None:
    """An older agent would end the connection."""
    desk, caller = giving(takes_lots=False)
    desk.call(caller, *range(2, 10))
    assert len(desk.one(c.SendOffers).offers) == 8
    assert not desk.of(c.OfferLot)
    tasks = [offer.task for offer in desk.one(c.SendOffers).offers]
    desk.turn(le.LotEnded("n", EndedLot(1, 0, "n", 1, 0, 0, tasks, [DONE_S] * 8, [b""] * 8)))
    assert not desk.of(c.AcknowledgeLot)
    assert len(desk.one(c.AcknowledgeEnds).tasks) == 8


@pytest.mark.parametrize(
    "odd",
    [Payload(Codec.PICKLE, b"", (Part(3, b"abc"),)), Payload(Codec.JSON, b"{}"), Payload(1, b"x" * (LIGHT_BYTES + 1))],
    ids=["parts", "codec", "heavy"],
)
def test_what_is_not_alike_or_not_plain_is_offered_one_by_one(odd: Payload) -> None:
    """A lot says nothing of parts, has one codec, and weighs little."""
    desk, caller = giving()
    plain = Payload(Codec.PICKLE, b"a")
    desk.turn(e.CallsSubmitted(caller, [Submission(2 + at, 0, one) for at, one in enumerate((plain, odd, plain))]))
    offers = [offer for command in desk.of(c.SendOffers) for offer in command.offers]
    lots = [task for command in desk.of(c.OfferLot) for task in command.lot.tasks]
    assert len(offers) + len(lots) == 3
    assert odd in [offer.payload for offer in offers]


def test_a_lot_is_cut_before_it_is_a_large_frame() -> None:
    """A heartbeat may pass between two of them, and the numbers of offers go on."""
    desk, caller = giving()
    calls = [Submission(ref, 0, Payload(Codec.PICKLE, b"x" * LIGHT_BYTES)) for ref in range(2, 200)]
    desk.turn(e.CallsSubmitted(caller, calls))
    lots = [command.lot for command in desk.of(c.OfferLot)]
    assert len(lots) > 1
    assert all(sum(map(len, lot.arguments)) <= LOT_BYTES for lot in lots)
    assert [lot.sequence - before.sequence for before, lot in pairwise(lots)] == [len(lot.tasks) for lot in lots[1:]]
    assert sum(len(lot.tasks) for lot in lots) == len(desk.state.neighbourhood.by_name["n"].held)


def test_ends_of_which_one_is_late_or_superseded_count_one_by_one() -> None:
    """The others settle; the late one is acknowledged and dropped, as it would be alone."""
    desk, caller = giving()
    desk.call(caller, *range(2, 6))
    lot = desk.one(c.OfferLot).lot
    desk.turn(le.LotEnded("n", ended(lot, tasks=lot.tasks[:1], seconds=[DONE_S], values=[b""])))
    desk.turn(le.LotEnded("n", ended(lot)))
    assert [one.ref for one in desk.one(c.SettleCalls).settled] == [3, 4, 5]
    assert desk.state.counters["late_ends"] == 1
    desk.call(caller, *range(6, 9))
    lot = desk.one(c.OfferLot).lot
    desk.turn(le.LotEnded("n", ended(lot, attempt=9)))
    assert not desk.of(c.SettleCalls)
    assert len(desk.state.tasks) == 3


def test_one_of_a_lot_can_be_cancelled_and_ends_as_cancelled() -> None:
    """Whatever its end says; the others end as they did."""
    desk, caller = giving()
    desk.call(caller, 2, 3, 4)
    lot = desk.one(c.OfferLot).lot
    desk.turn(e.CallsCancelled(caller, (3,)))
    assert desk.one(c.CancelTasks).tasks == ((lot.tasks[1], 1),)
    desk.turn(le.LotEnded("n", ended(lot)))
    assert {one.ref: one.outcome.status for one in desk.one(c.SettleCalls).settled} == {2: 0, 3: 2, 4: 0}


def test_a_lot_is_lost_with_its_neighbour() -> None:
    """Each of its tasks waits again under a new attempt, and the end of the old one is dropped."""
    desk, caller = giving()
    desk.call(caller, 2, 3, 4)
    lot = desk.one(c.OfferLot).lot
    desk.turn(e.LinkClosed("n", LINK, "cut"))
    for _ in range(8):
        desk.turn(e.Ticked(), after_s=1.0)
    assert {task.attempt for task in desk.state.tasks.values()} == {2}
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1, takes_lots=True))
    desk.turn(le.LotEnded("n", ended(lot)))
    assert not desk.of(c.SettleCalls)


# --- taking -----------------------------------------------------------------------------------------------------


def taking(rules: Rules | None = None, *, takes_lots: bool = True, seconds: float = QUICK) -> Desk:
    """Give a desk with two cores and a neighbour, of whose function it knows how long it takes."""
    desk = Desk(2, rules=rules)
    desk.neighbour("n", 0, is_pooled=False, takes_lots=takes_lots)
    desk.offer(FIRST - 1, CALL)
    run = desk.one(c.RunTasks)
    desk.turn(e.WorkerStarted(run.worker, 1))
    desk.end(run.worker, FIRST - 1, seconds=seconds)
    desk.turn(e.EndsAcknowledged("n", ((FIRST - 1, 1),)))
    return desk


def lot_of(count: int, **more: Any) -> Lot:
    """Make what the neighbour offers."""
    numbers = list(range(FIRST, FIRST + count))
    made = Lot(
        1, 1, 3, "n", 1, ("id-n",), 40 + count, Codec.PICKLE, 0, numbers, [b"a%d" % number for number in numbers]
    )
    return replace(made, **more)


def run_all(desk: Desk) -> None:
    """Let the workers end what they have until nothing is left."""
    while running := [(line.worker, [task.id for task in line.tasks]) for line in desk.state.crew.lines.values()]:
        for worker, tasks in running:
            if tasks:
                results = [e.TaskResult(task, 0, Payload(Codec.PICKLE, b"r%d" % task), seconds=QUICK) for task in tasks]
                desk.turn(e.WorkerStarted(worker, 9), e.TasksEnded(worker, results))
                return


def test_a_lot_is_taken_accepted_run_and_told_as_one() -> None:
    """What is brief is accepted later, behind the end; an acknowledged end leaves nothing."""
    desk = taking()
    lot = lot_of(20)
    desk.turn(le.LotOffered("n", LINK, lot))
    assert desk.one(c.AcceptLot) == c.AcceptLot("n", LINK, 1, 3, lot.tasks, may_wait=True)
    assert not desk.of(c.AnswerOffers)
    assert {task.id: task.payload.data for task in desk.state.tasks.values()} == dict(
        zip(lot.tasks, lot.arguments, strict=True)
    )
    told: list[int] = []
    while desk.state.tasks:
        run_all(desk)
        for command in desk.of(c.EndLot):
            assert (command.lot.attempt, command.lot.epoch, command.lot.agent, command.lot.hops) == (1, 3, "own", 1)
            assert command.lot.values == [b"r%d" % task for task in command.lot.tasks]
            told += command.lot.tasks
    assert sorted(told) == lot.tasks
    assert len(desk.state.neighbourhood.by_name["n"].ends_unacknowledged) == 20
    desk.turn(le.LotAcknowledged("n", 1, lot.tasks))
    assert not desk.state.ledger.operations
    assert not desk.state.neighbourhood.by_name["n"].ends_unacknowledged


def test_what_takes_long_or_is_unknown_is_accepted_at_once() -> None:
    """Who gave it waits for nothing else that would tell."""
    desk = taking(seconds=10 * BRIEF_S)
    desk.turn(le.LotOffered("n", LINK, lot_of(3)))
    assert not desk.one(c.AcceptLot).may_wait


def test_where_something_stands_against_one_each_is_answered_by_itself() -> None:
    """A full queue takes what there is room for, and refuses the rest."""
    desk = taking(Rules(most_waiting=5))
    desk.turn(le.LotOffered("n", LINK, lot_of(20)))
    answer = desk.one(c.AnswerOffers)
    assert (len(answer.accepted), len(answer.refused)) == (5, 15)
    assert not desk.of(c.AcceptLot)


@pytest.mark.parametrize("more", [{"visited": ("id-own",)}, {"hops": 9}, {"template": 77}], ids=str)
def test_a_lot_that_may_not_come_here_is_refused_task_by_task(more: dict[str, Any]) -> None:
    """It was here, came too far, or nobody knows what it calls."""
    desk = taking()
    desk.turn(le.LotOffered("n", LINK, lot_of(3, **more)))
    assert len(desk.one(c.AnswerOffers).refused) == 3
    assert not desk.state.tasks


def test_a_lot_of_which_some_are_here_goes_on_with_them() -> None:
    """What is here already is not begun again, also under a newer attempt."""
    desk = taking()
    desk.turn(le.LotOffered("n", LINK, lot_of(3)))
    desk.turn(le.LotOffered("n", LINK, lot_of(5, attempt=2)))
    assert len(desk.one(c.AnswerOffers).accepted) == 5
    assert len(desk.state.tasks) == 5


def test_what_makes_one_version_each_is_told_in_one_too() -> None:
    """The values are those of the versions, and whatever else a worker gives is told task by task."""
    desk = taking()
    lot = lot_of(9, makes=1)
    desk.turn(le.LotOffered("n", LINK, lot))
    assert {task.makes for task in desk.state.tasks.values()} == {1}
    made = (Payload(Codec.PICKLE, b"m"),)
    told: list[EndedLot] = []
    alone = []
    while desk.state.tasks:
        for line in list(desk.state.crew.lines.values()):
            results = [
                e.TaskResult(task.id, 0, seconds=QUICK, made=made * (2 if task.id == FIRST else 1))
                for task in line.tasks
            ]
            if results:
                desk.turn(e.WorkerStarted(line.worker, 9), e.TasksEnded(line.worker, results))
                told += [command.lot for command in desk.of(c.EndLot)]
                alone += [end.task for command in desk.of(c.SendEnds) for end in command.ends]
    assert told, "those that end together are told together"
    assert FIRST in alone
    assert sorted(alone + [task for one in told for task in one.tasks]) == lot.tasks
    assert all(end.outcome.made == made for one in told for end in one.ends)
    desk.turn(le.LotAcknowledged("n", 1, lot.tasks))
    assert not desk.state.ledger.operations


def test_ends_are_told_again_over_a_new_link_until_they_are_acknowledged() -> None:
    """Whichever message told them first."""
    desk = taking()
    lot = lot_of(4)
    desk.turn(le.LotOffered("n", LINK, lot))
    while desk.state.tasks:
        run_all(desk)
    desk.turn(e.LinkClosed("n", LINK, "cut"))
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    assert sorted(end.task for end in desk.one(c.SendEnds).ends) == lot.tasks
    desk.turn(le.LotAcknowledged("n", 2, lot.tasks), le.LotAcknowledged("other", 1, lot.tasks))
    assert len(desk.state.ledger.operations) == 4
    desk.turn(le.LotAcknowledged("n", 1, [*lot.tasks, lot.tasks[0]]))
    assert not desk.state.ledger.operations


def test_what_has_not_ended_cannot_be_acknowledged() -> None:
    """A neighbour that says so all the same changes nothing."""
    desk = taking()
    lot = lot_of(4)
    desk.turn(le.LotOffered("n", LINK, lot), le.LotAcknowledged("n", 1, lot.tasks))
    assert len(desk.state.ledger.operations) == 4


@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    fails=st.sets(st.integers(0, 11)),
    cancelled=st.sets(st.integers(0, 11)),
)
def test_a_lot_leaves_what_its_tasks_leave_one_by_one(sizes: list[int], fails: set[int], cancelled: set[int]) -> None:
    """Whatever the neighbour cancels and however runs end: the same ends are told, the same is kept and counted."""
    stories = []
    for is_lot in (True, False):
        desk = taking(takes_lots=is_lot)
        lot = lot_of(12)
        desk.turn(le.LotOffered("n", LINK, lot) if is_lot else e.OffersReceived("n", LINK, lot.offers))
        told: dict[int, tuple[int, bytes, int, str]] = {}
        desk.turn(e.CancelReceived("n", tuple((FIRST + at, 1) for at in sorted(cancelled))))
        _note(desk, told)
        turns = [*sizes, *[12] * 12]
        for size in turns:
            _end_some(desk, size, fails)
            _note(desk, told)
        row = desk.state.neighbourhood.by_name["n"]
        stories.append((told, dict(row.ends_unacknowledged), row.unread.bytes, dict(desk.state.counters)))
        assert not desk.state.tasks
        assert row.received_sequence == lot.sequence
        everything = tuple((task, 1) for task in lot.tasks)
        desk.turn(le.LotAcknowledged("n", 1, lot.tasks) if is_lot else e.EndsAcknowledged("n", everything))
        assert not desk.state.ledger.operations
        assert not row.ends_unacknowledged
    assert stories[0] == stories[1]


def _end_some(desk: Desk, size: int, fails: set[int]) -> None:
    """Let the first worker that has something end so many of it, or give back what it is asked for."""
    for command in desk.of(c.RevokeTasks):
        desk.turn(e.TasksRevoked(command.worker, 0), e.RevokeSettled(command.worker))
    for line in list(desk.state.crew.lines.values()):
        tasks = [task.id for task in line.tasks][:size]
        if tasks:
            value = Payload(Codec.PICKLE, b"r")
            results = [e.TaskResult(task, 1 if task - FIRST in fails else 0, value, seconds=QUICK) for task in tasks]
            desk.turn(e.WorkerStarted(line.worker, 9), e.TasksEnded(line.worker, results))
            return


def _note(desk: Desk, told: dict[int, tuple[int, bytes, int, str]]) -> None:
    for end in [end for command in desk.of(c.SendEnds) for end in command.ends] + [
        end for command in desk.of(c.EndLot) for end in command.lot.ends
    ]:
        assert end.task not in told, "an end was told twice"
        outcome = end.outcome
        told[end.task] = outcome.status, outcome.value.data, outcome.hops, outcome.agent
    desk.commands = []

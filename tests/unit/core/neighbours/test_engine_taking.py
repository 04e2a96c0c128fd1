"""What neighbours give: taken, refused with the reason, adopted, cancelled, handed back, told until it is confirmed."""

from __future__ import annotations

import pytest

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.journal.entries import Accepted, Cancelling, Delivered, Forgotten, Started
from agentd.core.neighbours.taking import KEPT_BYTES, NOWHERE
from agentd.core.state import Rules
from agentd.core.tasks.task import State
from agentd.model.exchange import Offer, Refusal, Report
from agentd.model.task import Constraints, Failure, Reason, Status, Template
from agentd.model.values import Part, Payload
from schedulers.capacity import cores
from schedulers.view import Tier
from tests.unit.core.engine_desk import CALL, LINK, PLAIN, Desk

DEATH = Failure(Reason.SIGNAL, "WorkerDied", "signal 11")
TASK = 5_000_001


def refused(desk: Desk) -> list[str]:
    """Give the reasons of the refusals of the last turn."""
    return [refusal.reason for answer in desk.of(c.AnswerOffers) for refusal in answer.refused]


def accepted(desk: Desk) -> list[tuple[int, int, int]]:
    """Give what was accepted in the last turn."""
    return [one for answer in desk.of(c.AnswerOffers) for one in answer.accepted]


def taking(units: int = 1, rules: Rules | None = None) -> Desk:
    """Give a desk with a neighbour that gives it work."""
    desk = Desk(units, rules=rules)
    desk.neighbour("n", 0, is_pooled=False)
    return desk


def test_an_offer_is_accepted_when_it_is_on_the_disk_and_may_run_before() -> None:
    """The acceptor journals; the answer waits, the work does not."""
    desk = taking()
    desk.offer(TASK, attempt=2, epoch=7)
    assert [type(one.entry) for one in desk.of(c.Record)] == [Accepted, Started]
    assert desk.one(c.RunTasks).tasks[0].id == TASK
    assert accepted(desk) == []
    desk.commit()
    assert accepted(desk) == [(TASK, 2, 7)]


def test_what_need_not_survive_is_accepted_at_once() -> None:
    """A session's call is not journalled, anywhere."""
    desk = taking()
    desk.offer(TASK, CALL)
    assert accepted(desk) == [(TASK, 1, 0)]
    assert desk.of(c.Record) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"visited": ("id-x", "id-own")}, "was here before"),
        ({"hops": 9}, "9 hops, the limit is 8"),
        ({"hops": 1, "visited": tuple(f"id-{number}" for number in range(9))}, "9 hops"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason(more: dict[str, object], words: str) -> None:
    """A refusal is a value; a neighbour cannot understate how far a task has come."""
    desk = taking()
    desk.offer(TASK, **more)
    assert words in refused(desk)[0]
    assert desk.state.tasks == {}


def test_a_full_a_draining_and_a_diskless_agent_refuse() -> None:
    """Each says why."""
    desk = taking(rules=Rules(most_waiting=0))
    desk.offer(TASK)
    assert "tasks wait here already" in refused(desk)[0]
    desk = taking()
    desk.turn(e.DiskFilled("no space"))
    desk.offer(TASK)
    assert "disk is full: no space" in refused(desk)[0]
    desk.turn(e.DiskFreed(), e.DrainRequested(5.0))
    desk.offer(TASK)
    assert refused(desk) == ["this agent is stopping"]


def test_one_message_of_offers_is_taken_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of several kinds wait in the order of their offers; what is taken counts at once, in tasks and in bytes."""
    for rules in (Rules(most_waiting=5), Rules(most_waiting_bytes=50)):
        desk = taking(0, rules=rules)
        desk.neighbour("m", 1, link=LINK + 1)
        monkeypatch.setattr(desk.state.neighbourhood.by_name["m"], "room", lambda _: 0)
        desk.turn(e.TemplatesDeclared(LINK, ((1, CALL), (2, Template("m:other")))))
        offers = [
            Offer(TASK + at, kind, Payload(1, bytes(10)), hops=1, visited=("id-n",), origin="n")
            for at, kind in enumerate((1, 1, 2, 2, 1, 1, 2))
        ]
        desk.turn(e.OffersReceived("n", LINK, offers))
        (answer,) = desk.of(c.AnswerOffers)
        assert [task for task, _, _ in answer.accepted] == [offer.task for offer in offers[:5]]
        assert [(one.task, one.reason) for one in answer.refused] == [
            (offer.task, "5 tasks wait here already") for offer in offers[5:]
        ]
        kinds = [
            [(task.id, task.function) for task in bucket.tasks if task.shape is bucket.shape]
            for bucket in desk.state.queue.buckets()
        ]
        same, other = [(TASK + at, "m:f") for at in (0, 1, 4)], [(TASK + at, "m:other") for at in (2, 3)]
        assert kinds == [same, other]
        assert (desk.state.queue.size, desk.state.queue.bytes) == (5, 50)


def test_what_fits_nowhere_is_refused_for_good() -> None:
    """Neither here nor beyond."""
    desk = taking()
    desk.offer(TASK, Template("m:w", constraints=Constraints(computing_units=8)))
    (refusal,) = desk.one(c.AnswerOffers).refused
    assert refusal.final
    desk.neighbour("far", 8, link=LINK + 1)
    desk.offer(TASK, Template("m:w", constraints=Constraints(computing_units=8)))
    assert desk.one(c.SendOffers).neighbour == "far"


def test_what_fits_nowhere_any_more_goes_back_with_all_that_is_alike() -> None:
    """It was taken for a host beyond that has shrunk since: whoever gave it may know another."""
    desk, wide = taking(), Template("m:w", constraints=Constraints(computing_units=8))
    desk.neighbour("far", 8, link=LINK + 1)
    desk.offer(TASK, wide)
    desk.offer(TASK + 1, wide)
    desk.turn(e.OffersAnswered("far", (), (Refusal(TASK, 1, "busy"), Refusal(TASK + 1, 1, "busy"))))
    desk.turn(e.LoadReported("far", Report(1, 2, 0, (Tier(1.0, 4.0, 4.0, 4.0, 0.0),), cores(4))))
    assert refused(desk) == []
    desk.turn(e.Ticked(), after_s=2.0)
    assert refused(desk) == [NOWHERE] * 2
    assert not desk.state.tasks


def test_our_own_task_does_not_come_back_to_us() -> None:
    """Neither by its way nor by its number."""
    desk = taking(0)
    caller = desk.open_session(CALL)
    desk.call(caller, 1)
    number = next(iter(desk.state.tasks))
    desk.offer(number, CALL, visited=("id-n",))
    assert refused(desk) == ["a task of this agent has the same number"]
    durable = desk.submit()
    desk.offer(durable, visited=("id-n",))
    assert refused(desk) == ["the task is here already, on another way"]


def test_the_same_offer_over_a_new_link_goes_on() -> None:
    """Nothing healthy is started anew; it is accepted over the new link once the disk has it."""
    desk = taking()
    desk.offer(TASK)
    desk.turn(e.LinkOpened("n", "id-n", "b1", LINK + 1))
    desk.offer(TASK, link=LINK + 1)
    assert accepted(desk) == []
    assert desk.of(c.RunTasks) == []
    desk.commit()
    assert {answer.link for answer in desk.of(c.AnswerOffers)} == {LINK, LINK + 1}


def test_a_newer_attempt_takes_over_what_runs() -> None:
    """Its end bears the newer number."""
    desk = taking()
    desk.offer(TASK, attempt=1)
    desk.commit()
    desk.offer(TASK, attempt=2)
    assert accepted(desk) == [(TASK, 2, 0)]
    desk.end(1, TASK)
    desk.commit()
    assert [end.attempt for end in desk.one(c.SendEnds).ends] == [2]


def test_an_older_attempt_is_refused() -> None:
    """It was superseded by whoever sends it."""
    desk = taking()
    desk.offer(TASK, attempt=2)
    desk.offer(TASK, attempt=1)
    assert refused(desk) == ["attempt 2 of the task is here already"]


def test_a_newer_attempt_of_what_is_being_stopped_waits_for_that() -> None:
    """The end of the old one must not be taken for its own."""
    desk = taking()
    desk.offer(TASK, attempt=1)
    desk.commit()
    desk.turn(e.CancelReceived("n", ((TASK, 1),)))
    desk.offer(TASK, attempt=2)
    assert refused(desk) == ["attempt 1 of the task is ending here"]


def test_an_end_that_was_not_confirmed_is_told_under_the_newer_attempt() -> None:
    """Done is done."""
    desk = taking()
    desk.offer(TASK, attempt=1)
    desk.end(1, TASK)
    desk.commit()
    desk.offer(TASK, attempt=2)
    assert [(end.attempt, end.outcome.status) for end in desk.one(c.SendEnds).ends] == [(2, Status.DONE)]
    assert desk.state.tasks == {}


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_an_attempt_that_was_lost_is_made_again_as_a_new_one(*, is_confirmed: bool) -> None:
    """What ended without saying anything of the task itself is no answer to the next attempt."""
    desk = taking()
    desk.offer(TASK, attempt=1)
    desk.commit()
    desk.turn(e.WorkerLost(1, DEATH, running=TASK))
    desk.commit()
    assert desk.one(c.SendEnds).ends[0].outcome.status == Status.QUARANTINED
    if is_confirmed:
        desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    desk.offer(TASK, attempt=2)
    assert [type(one.entry) for one in desk.of(c.Record)][:2] == [Forgotten, Accepted]
    desk.commit()
    assert accepted(desk) == [(TASK, 2, 0)]
    assert desk.state.tasks[TASK].state is State.RUNNING


def test_a_confirmed_result_that_is_asked_for_again_is_made_again() -> None:
    """Nothing of it is left that could be told: it must not hang."""
    desk = taking()
    desk.offer(TASK)
    desk.end(1, TASK)
    desk.commit()
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    desk.offer(TASK, attempt=2)
    assert desk.one(c.RunTasks).tasks[0].id == TASK


def test_the_same_task_on_another_way_is_refused_while_it_is_here_and_taken_afterwards() -> None:
    """Two neighbours may know of it; each gets its own answer."""
    desk = taking(2)
    desk.neighbour("m", 0, link=LINK + 1, is_pooled=False)
    desk.offer(TASK)
    desk.commit()
    desk.offer(TASK, sender="m", link=LINK + 1)
    assert refused(desk) == ["the task is here already, on another way"]
    desk.end(1, TASK)
    desk.commit()
    desk.offer(TASK, sender="m", link=LINK + 1)
    assert desk.one(c.RunTasks).tasks[0].id == TASK
    assert desk.state.neighbourhood.get("n").ends_unacknowledged == {}


def test_ends_are_forgotten_when_their_own_neighbour_confirms_their_own_attempt() -> None:
    """Not for another's word, another attempt, or before they are there."""
    desk = taking(2)
    desk.neighbour("m", 0, link=LINK + 1, is_pooled=False)
    desk.offer(TASK)
    desk.offer(TASK + 1, CALL)
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1), (TASK + 1, 1), (77, 1))))
    desk.end(1, TASK)
    desk.end(2, TASK + 1)
    desk.commit()
    desk.turn(e.EndsAcknowledged("m", ((TASK, 1),)), e.EndsAcknowledged("n", ((TASK, 2),)))
    assert desk.of(c.Record) == []
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1), (TASK + 1, 1))))
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    assert desk.state.ledger.operations[TASK].is_delivered
    assert TASK + 1 not in desk.state.ledger.operations
    assert desk.state.neighbourhood.get("n").ends_unacknowledged == {}


def test_a_confirmed_end_is_written_down_and_lets_its_memory_go() -> None:
    """So that it is not told again after a crash."""
    desk = taking()
    desk.offer(TASK)
    desk.end(1, TASK, value=Payload(1, b"", (Part(4, None, 9),)))
    desk.commit()
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    assert type(desk.one(c.Record).entry) is Delivered
    assert desk.one(c.ReleaseSegments).segments == (9,)


def test_a_large_result_is_let_go_when_it_was_confirmed() -> None:
    """Whoever asked has it on its disk: here it would only take room."""
    desk = taking()
    desk.offer(TASK)
    desk.end(1, TASK, value=Payload(1, bytes(KEPT_BYTES + 1)))
    desk.commit()
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    assert desk.one(c.Record).entry == Forgotten((TASK,))
    assert desk.state.ledger.get(TASK) is None


def test_cancelling_what_is_not_here_is_answered() -> None:
    """Whoever cancels waits for an end: the offer may never have arrived."""
    desk = taking()
    desk.turn(e.CancelReceived("n", ((77, 3),)))
    (end,) = desk.one(c.SendEnds).ends
    assert (end.task, end.attempt, end.outcome.status) == (77, 3, Status.CANCELLED)


def test_cancelling_an_older_attempt_changes_nothing() -> None:
    """The newer one goes on."""
    desk = taking()
    desk.offer(TASK, attempt=2)
    desk.commit()
    desk.turn(e.CancelReceived("n", ((TASK, 1),)))
    assert desk.of(c.InterruptTask) == []
    desk.turn(e.CancelReceived("n", ((TASK, 2),)))
    assert desk.one(c.InterruptTask).task == TASK
    assert type(desk.one(c.Record).entry) is Cancelling
    desk.turn(e.CancelReceived("n", ((TASK, 2),)))
    assert desk.of(c.Record) == []


def test_cancelling_what_has_ended_is_left_to_the_end_that_is_under_way() -> None:
    """One end is enough."""
    desk = taking()
    desk.offer(TASK)
    desk.end(1, TASK)
    desk.commit()
    desk.turn(e.CancelReceived("n", ((TASK, 1),)))
    assert desk.of(c.SendEnds) == []


def test_offers_within_one_frame_are_answered_each_for_itself() -> None:
    """Some taken, some not."""
    desk = taking(1)
    desk.turn(e.TemplatesDeclared(LINK, ((1, CALL),)))
    offers = [
        Offer(TASK + number, template, Payload(), visited=("id-n",), hops=1) for number, template in ((0, 1), (1, 5))
    ]
    desk.turn(e.OffersReceived("n", LINK, offers))
    assert len(accepted(desk)) == 1
    assert len(refused(desk)) == 1
    assert PLAIN.durable


def test_a_task_is_handed_on_under_the_attempt_under_which_it_came() -> None:
    """Who ran the attempt before tells how that ended: under its number the next would never begin."""
    desk = Desk(1)
    desk.neighbour("n", 1)
    desk.neighbour("m", 1, link=LINK + 1)
    desk.submit()
    desk.offer(77, CALL, attempt=2)
    given = [offer for command in desk.of(c.SendOffers) for offer in command.offers]
    assert [(offer.task, offer.attempt) for offer in given] == [(77, 2)]

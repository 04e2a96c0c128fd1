"""Offers of something brief: their answer may come with others, behind the end; nothing needs it to come first."""

from __future__ import annotations

from agentd.core import commands as c
from agentd.core import events as e
from agentd.core.neighbours.taking import BRIEF_S, FEW
from agentd.model.exchange import End, Offer
from agentd.model.task import Outcome, Template
from agentd.model.values import Payload
from tests.unit.core.engine_desk import CALL, LINK, Desk

TASK = 5_000_001
QUICK = BRIEF_S / 2


def taking(*, seconds: float = QUICK, template: Template = CALL) -> Desk:
    """Give a desk with a neighbour that gave it one task, which took so long."""
    desk = Desk()
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK, template)
    run = desk.one(c.RunTasks)
    desk.turn(e.WorkerStarted(run.worker, 1))
    desk.end(run.worker, TASK, seconds=seconds)
    desk.turn(e.EndsAcknowledged("n", ((TASK, 1),)))
    return desk


def test_the_answer_to_what_is_known_to_be_brief_and_begins_at_once_may_wait() -> None:
    """Its end is about to come, and says more."""
    desk = taking()
    desk.offer(TASK + 1, CALL)
    assert desk.one(c.AnswerOffers) == c.AnswerOffers("n", LINK, ((TASK + 1, 1, 0),), (), may_wait=True)


def test_what_is_long_or_unknown_is_answered_at_once() -> None:
    """Who gave it waits for nothing else that would tell."""
    desk = Desk()
    desk.neighbour("n", 0, is_pooled=False)
    desk.offer(TASK, CALL)
    assert not desk.one(c.AnswerOffers).may_wait
    desk = taking(seconds=10 * BRIEF_S)
    desk.offer(TASK + 1, CALL)
    assert not desk.one(c.AnswerOffers).may_wait


def test_what_waits_for_a_host_and_what_comes_in_numbers_is_answered_at_once() -> None:
    """Their ends are not about to come."""
    desk = taking()
    offers = [Offer(TASK + number, 1, Payload(), hops=1, visited=("id-n",), origin="n") for number in range(1, FEW + 2)]
    desk.turn(e.OffersReceived("n", LINK, offers))
    assert len(desk.one(c.AnswerOffers).accepted) == FEW + 1
    assert not desk.one(c.AnswerOffers).may_wait
    assert len(desk.state.queue)
    desk.offer(TASK + 100, CALL)
    assert not desk.one(c.AnswerOffers).may_wait


def test_a_refusal_waits_for_nothing() -> None:
    """Who offered looks for another host."""
    desk = taking()
    brief = Offer(TASK + 1, 1, Payload(), hops=1, visited=("id-n",), origin="n")
    looping = Offer(TASK + 2, 1, Payload(), hops=1, visited=("id-own",), origin="n")
    desk.turn(e.OffersReceived("n", LINK, [brief, looping]))
    answer = desk.one(c.AnswerOffers)
    assert (len(answer.accepted), len(answer.refused), answer.may_wait) == (1, 1, False)


def test_what_must_survive_is_answered_as_soon_as_it_is_on_the_disk() -> None:
    """Its acceptance says that from now on it will not be lost."""
    durable = Template("m:f", durable=True)
    desk = taking(template=durable)
    desk.commit()
    desk.offer(TASK + 1, durable)
    assert not desk.of(c.AnswerOffers)
    desk.commit()
    assert not desk.one(c.AnswerOffers).may_wait


def giving() -> Desk:
    """Give a desk without cores, with a neighbour that it may offload to, and a session."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    desk.open_session()
    desk.commit()
    return desk


def ended(desk: Desk, offer: Offer, *, seconds: float = QUICK, after_s: float = 0.0) -> None:
    outcome = Outcome(seconds=seconds, agent="n")
    desk.turn(e.EndsReceived("n", [End(offer.task, offer.attempt, 0, outcome)]), after_s=after_s)


def test_an_end_counts_before_the_answer_and_the_answer_changes_nothing_more() -> None:
    """Whoever waits is told at once; the neighbour may forget the end."""
    desk = giving()
    desk.call(70, 1)
    (offer,) = desk.one(c.SendOffers).offers
    ended(desk, offer)
    assert [one.ref for one in desk.one(c.SettleCalls).settled] == [1]
    assert desk.one(c.AcknowledgeEnds).tasks == ((offer.task, 1),)
    desk.turn(e.OffersAnswered("n", ((offer.task, 1, 0),)))
    assert desk.commands == []


def test_an_end_before_its_answer_tells_how_far_the_neighbour_is() -> None:
    """The answer's own time would say how long it was held back; what ran is no way."""
    desk = giving()
    neighbour = desk.state.neighbourhood.by_name["n"]
    for ref in range(40):
        desk.call(70, ref)
        (offer,) = desk.one(c.SendOffers).offers
        ended(desk, offer, seconds=0.006, after_s=0.01)
    assert abs(neighbour.latency_s - 0.002) < 0.0001


def test_ends_of_what_stood_behind_others_say_nothing_of_the_way() -> None:
    """Their time has their neighbours' in it: lead that grew by it would make it longer still."""
    desk = giving()
    neighbour = desk.state.neighbourhood.by_name["n"]
    before = neighbour.latency_s
    desk.call(70, 1, 2)
    offers = desk.one(c.SendOffers).offers
    ended(desk, offers[0], after_s=0.9)
    assert neighbour.latency_s == before


def test_an_operation_that_ended_before_its_answer_has_begun_too() -> None:
    """People see when it ran."""
    desk = Desk(0)
    desk.neighbour("n", 2)
    number = desk.submit()
    (offer,) = desk.one(c.SendOffers).offers
    ended(desk, offer, seconds=0.25, after_s=1.0)
    operation = desk.state.ledger.get(number)
    assert operation is not None
    assert operation.ended_wall - operation.started_wall == 0.25

"""Lots over a link: what each command is at the other end, what older agents get instead, and what is no lot."""

from __future__ import annotations

import pytest

from agentd.comm.ends import parts
from agentd.comm.settings import CommSettings
from agentd.core import commands as c
from agentd.core import events as e
from agentd.core import lot_events as le
from agentd.model.exchange import EndedLot, Lot, Refusal
from agentd.model.task import Form, Template
from agentd.wire import lot_messages as lots
from tests.integration.comm_rig import Agent, run

TEMPLATE = Template("shop.prices:best")
TASKS = list(range(10, 110))
LOT = Lot(1, 1, 3, "alpha", 1, ("id-alpha",), 100, 2, 0, TASKS, [b"%d" % task for task in TASKS])
ENDED = EndedLot(1, 3, "beta", 1, 2, 0, TASKS, [0.5] * len(TASKS), [b"%d" % -task for task in TASKS])


async def linked(alpha: Agent, beta: Agent) -> int:
    """Let alpha dial beta and declare a template; give the number of the link at beta."""
    await beta.listen()
    alpha.dial(beta, "beta")
    await alpha.until(e.LinkOpened)
    (there,) = await beta.until(e.LinkOpened)
    alpha.do(c.DeclareTemplates("beta", ((1, TEMPLATE),)))
    return there.link


def test_a_lot_goes_there_and_its_end_comes_back() -> None:
    """Offer, accept, end, acknowledge: each is one event for all of its tasks."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            there = await linked(alpha, beta)
            alpha.do(c.OfferLot("beta", LOT))
            assert await beta.until(le.LotOffered) == [le.LotOffered("alpha", there, LOT)]
            beta.do(c.AcceptLot("alpha", there, 1, 3, TASKS))
            assert await alpha.until(le.LotAccepted) == [le.LotAccepted("beta", 1, 3, TASKS)]
            beta.do(c.EndLot("alpha", ENDED))
            assert await alpha.until(le.LotEnded) == [le.LotEnded("beta", ENDED)]
            alpha.do(c.AcknowledgeLot("beta", 1, TASKS))
            assert await beta.until(le.LotAcknowledged) == [le.LotAcknowledged("alpha", 1, TASKS)]

    run(main)


OTHERS = {"line": Template("", Form.DIRECT, name="direct line"), "refused": Template("os:system")}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_else_was_declared_on_the_link_keeps_no_lot_from_being_one(other: Template) -> None:
    """Such as lines of sessions, whose offers are looked at one by one, or what may not be called."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            there = await linked(alpha, beta)
            alpha.do(c.DeclareTemplates("beta", ((2, other),)))
            alpha.do(c.OfferLot("beta", LOT))
            assert await beta.until(le.LotOffered) == [le.LotOffered("alpha", there, LOT)]

    run(main)


def test_an_acceptance_that_may_wait_comes_behind_the_end_and_before_what_is_given_back() -> None:
    """It costs no frame of its own, and nothing is given back that was not accepted."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", CommSettings(patience_s=3600.0)) as beta:
            there = await linked(alpha, beta)
            alpha.do(c.OfferLot("beta", LOT))
            await beta.until(le.LotOffered)
            beta.do(c.AcceptLot("alpha", there, 1, 3, TASKS, may_wait=True))
            beta.do(c.EndLot("alpha", ENDED))
            await alpha.until(le.LotEnded)
            assert not alpha.of(le.LotAccepted)
            beta.do(c.AnswerOffers("alpha", there, (), (Refusal(10, 1, "it leaves"),)))
            (answered,) = await alpha.until(e.OffersAnswered)
            assert [one.task for one in answered.returned] == [10]
            assert alpha.of(le.LotAccepted) == [le.LotAccepted("beta", 1, 3, TASKS)]

    run(main)


def test_a_few_acknowledgements_wait_for_others() -> None:
    """They are told with those of single tasks."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            alpha.do(c.AcknowledgeLot("beta", 2, [5, 6]))
            assert await beta.until(e.EndsAcknowledged) == [e.EndsAcknowledged("alpha", ((5, 2), (6, 2)))]

    run(main)


def test_without_credits_for_all_of_it_a_lot_leaves_in_parts() -> None:
    """As many as there are credits for; the rest follows when those are answered, but for what is cancelled by then."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", CommSettings(offer_credits=60)) as beta:
            there = await linked(alpha, beta)
            alpha.do(c.OfferLot("beta", LOT))
            (received,) = await beta.until(le.LotOffered)
            first = received.lot
            assert (first.tasks, first.arguments, first.sequence) == (TASKS[:60], LOT.arguments[:60], 60)
            beta.do(c.AcceptLot("alpha", there, 1, 3, TASKS[:60]))
            (_, second) = await beta.until(le.LotOffered, 2)
            assert (second.lot.tasks, second.lot.sequence) == (TASKS[60:], 100)

    run(main)


def test_what_waits_for_credits_can_be_cancelled() -> None:
    """It never leaves; what is alike and still wanted does."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", CommSettings(offer_credits=60)) as beta:
            there = await linked(alpha, beta)
            alpha.do(c.OfferLot("beta", LOT))
            await beta.until(le.LotOffered)
            alpha.do(c.CancelTasks("beta", ((109, 1),)))
            (cancelled,) = alpha.of(e.OffersAnswered)
            assert [one.task for one in cancelled.refused] == [109]
            beta.do(c.AcceptLot("alpha", there, 1, 3, TASKS[:60]))
            (rest,) = await beta.until(e.OffersReceived)
            assert [one.task for one in rest.offers] == TASKS[60:-1]

    run(main)


def test_who_lends_nothing_refuses_each_task_of_a_lot() -> None:
    """Also where it is offered all the same."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", lends=False) as beta:
            await linked(alpha, beta)
            link = alpha.door.link_to("beta")
            assert link is not None
            alpha.door.send(link, lots.OfferLot(LOT))
            link.flush()
            (answered,) = await alpha.until(e.OffersAnswered)
            assert [one.task for one in answered.refused] == TASKS

    run(main)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (lots.OfferLot(Lot(1, tasks=[1, 2], arguments=[b""])), "a lot of 2 tasks has 1 values"),
        (lots.OfferLot(Lot(1, tasks=[1, 1], arguments=[b"", b""])), "offered again before it was answered"),
        (lots.EndedLotTold(EndedLot(tasks=[1, 2], seconds=[0.0], values=[b"", b""])), "a lot of 2 tasks has 2, 1"),
        (lots.EndedLotTold(EndedLot(tasks=[1, 1], seconds=[0.0] * 2, values=[b""] * 2)), "a lot names a task twice"),
        (lots.OfferLot(Lot(1, makes=2, tasks=[1], arguments=[b""])), "make 2 versions"),
        (lots.AcceptLot(1, 1, [1]), "more calls settled, or offers answered, than were sent"),
    ],
    ids=["short offer", "double offer", "short end", "double end", "two versions", "unasked acceptance"],
)
def test_what_is_no_lot_ends_the_connection(message: lots.Message, why: str) -> None:
    """Its columns differ in length, it names a task twice, or answers what nobody asked."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            link = alpha.door.link_to("beta")
            assert link is not None
            if isinstance(message, lots.AcceptLot):
                link.session.received_open = 1
            alpha.door.send(link, message)
            link.flush()
            (closed,) = await beta.until(e.LinkClosed)
            assert closed.code == "protocol"
            assert why in closed.reason

    run(main)


@pytest.mark.parametrize("speaks", [(True, True), (True, False), (False, True)], ids=["both", "dialler", "acceptor"])
def test_lots_are_for_two_who_know_them(speaks: tuple[bool, bool]) -> None:
    """An agent that does not name them among its capabilities is older, and given single tasks."""
    one, other = (frozenset({"lots"}) if knows else frozenset() for knows in speaks)

    async def main() -> None:
        async with Agent("alpha", services=one) as alpha, Agent("beta", services=other) as beta:
            await linked(alpha, beta)
            for agent in (alpha, beta):
                assert agent.of(e.LinkOpened)[0].takes_lots == all(speaks)

    run(main)


def test_ends_of_many_bytes_are_cut_into_frames_that_others_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them come, in order, in more messages than one."""
    monkeypatch.setattr(parts, "BULK_BYTES", 1000)

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            beta.do(c.EndLot("alpha", ENDED))
            await alpha.until_true(lambda: sum(len(event.lot.tasks) for event in alpha.of(le.LotEnded)) >= len(TASKS))
            told = alpha.of(le.LotEnded)
            assert len(told) > 1
            assert [end for event in told for end in event.lot.ends] == ENDED.ends

    run(main)

"""What nobody waits for is told with others: within a moment, before all that must come after it, and at the end."""

from __future__ import annotations

from agentd.comm.ends.answering import PATIENT_MOST
from agentd.comm.settings import CommSettings
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.exchange import End, Offer, Refusal
from agentd.model.task import Outcome
from agentd.model.values import Payload
from agentd.wire import messages as m
from tests.integration.comm_rig import Agent, Client, run

NEVER_S = 3_600.0
ALPHA = {"role": "peer", "name": "alpha", "agent_id": "id-alpha", "boot": "b"}


def offers(*tasks: int) -> list[Offer]:
    return [Offer(task, 1, Payload()) for task in tasks]


async def met(beta: Agent) -> Client:
    """Let a neighbour connect."""
    peer = await Client.tcp((await beta.listen()).address)
    assert (await peer.hello(**ALPHA)).ok
    return peer


async def offered(beta: Agent, peer: Client, *tasks: int) -> int:
    """Let it offer tasks; gives the link."""
    before = len(beta.of(e.OffersReceived))
    peer.say(m.Offers(offers(*tasks)))
    return (await beta.until(e.OffersReceived, before + 1))[-1].link


def test_what_may_wait_leaves_in_one_frame_within_a_moment() -> None:
    """Acceptances and acknowledgements of many turns cost the other end one turn, and come without anybody's doing."""

    async def main() -> None:
        async with Agent("beta") as beta:
            peer = await met(beta)
            link = await offered(beta, peer, 1, 2)
            performers = beta.door.performers()
            for task in (1, 2):
                performers[c.AnswerOffers](c.AnswerOffers("alpha", link, ((task, 1, 1),), may_wait=True))
                performers[c.AcknowledgeEnds](c.AcknowledgeEnds("alpha", ((task + 100, 1),)))
                beta.door.flush()
            assert await peer.hear(m.Answers) == m.Answers(((1, 1, 1), (2, 1, 1)))
            assert await peer.hear(m.EndsAck) == m.EndsAck(((101, 1), (102, 1)))

    run(main)


def test_an_end_does_not_wait_for_its_answer() -> None:
    """What somebody waits for passes what nobody waits for."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=NEVER_S)) as beta:
            peer = await met(beta)
            link = await offered(beta, peer, 1)
            beta.do(c.AnswerOffers("alpha", link, ((1, 1, 1),), may_wait=True))
            beta.do(c.SendEnds("alpha", [End(1, 1, 1, Outcome())]))
            await peer.hear(m.Ends)
            assert not [one for one in peer.heard if isinstance(one, m.Answers)]

    run(main)


def test_an_end_that_keeps_memory_there_is_acknowledged_at_once() -> None:
    """Its memory is for the next value; what waits is told along with it."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=NEVER_S)) as beta:
            peer = await met(beta)
            beta.do(c.AcknowledgeEnds("alpha", ((7, 1),)))
            beta.do(c.AcknowledgeEnds("alpha", ((8, 1),), may_wait=False))
            assert await peer.hear(m.EndsAck) == m.EndsAck(((7, 1), (8, 1)))

    run(main)


def test_nothing_is_given_back_before_it_was_accepted() -> None:
    """A refusal takes along the acceptances that wait: in the order in which the engine said them."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=NEVER_S)) as beta:
            peer = await met(beta)
            link = await offered(beta, peer, 1, 2)
            beta.do(c.AnswerOffers("alpha", link, ((1, 1, 1),), may_wait=True))
            beta.do(c.AnswerOffers("alpha", link, (), (Refusal(1, 1, "back"), Refusal(2, 1, "no"))))
            expected = m.Answers(((1, 1, 1),), (Refusal(2, 1, "no"),), (Refusal(1, 1, "back"),))
            assert await peer.hear(m.Answers) == expected

    run(main)


def test_what_waits_is_little() -> None:
    """Credits come back, and memory is let go, however long the wait is."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=NEVER_S)) as beta:
            peer = await met(beta)
            tasks = range(1, PATIENT_MOST + 1)
            link = await offered(beta, peer, *tasks)
            for task in tasks:
                beta.do(c.AnswerOffers("alpha", link, ((task, 1, 1),), may_wait=True))
            assert len((await peer.hear(m.Answers)).accepted) == PATIENT_MOST

    run(main)


def test_who_leaves_says_first_what_it_held_back() -> None:
    """An agent that stops does not let its neighbours keep ends that it has recorded."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=NEVER_S)) as beta:
            peer = await met(beta)
            link = await offered(beta, peer, 1)
            beta.do(c.AnswerOffers("alpha", link, ((1, 1, 1),), may_wait=True))
            beta.do(c.AcknowledgeEnds("alpha", ((7, 1),)))
            beta.door.close("the agent stops")
            assert await peer.hear(m.Answers) == m.Answers(((1, 1, 1),))
            assert await peer.hear(m.EndsAck) == m.EndsAck(((7, 1),))
            await peer.hear(m.Goodbye)

    run(main)


def test_what_waits_for_a_connection_that_broke_is_told_to_nobody() -> None:
    """Over the next one both ends begin with what they hold; an old answer would count for a new offer."""

    async def main() -> None:
        async with Agent("beta", CommSettings(patience_s=0.05)) as beta:
            first = await met(beta)
            link = await offered(beta, first, 1)
            beta.do(c.AnswerOffers("alpha", link, ((1, 1, 1),), may_wait=True))
            second = await Client.tcp(beta.address)
            await second.hello(**ALPHA)
            again = await offered(beta, second, 1)
            beta.do(c.AnswerOffers("alpha", again, ((1, 1, 7),), may_wait=True))
            assert await second.hear(m.Answers) == m.Answers(((1, 1, 7),))

    run(main)

"""Two agents' doors over loopback: work both ways, one connection per pair, what is refused and why."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agentd.comm.settings import CommSettings
from agentd.comm.trust.security import Security
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.exchange import End, Offer, Refusal, Report
from agentd.model.task import Outcome, Status, Template
from agentd.model.values import Part, Payload
from agentd.wire import messages as m
from tests.integration.comm_rig import PATIENCE_S, Agent, Client, run

TEMPLATE = Template("shop.prices:best")


def offer(task: int, **fields: object) -> Offer:
    return Offer(task, 1, Payload(2, b"{}"), **fields)


async def linked(alpha: Agent, beta: Agent) -> tuple[int, int]:
    """Let alpha dial beta; give the numbers of the link at both ends."""
    await beta.listen()
    alpha.dial(beta, "beta")
    (here,), (there,) = await alpha.until(e.LinkOpened), await beta.until(e.LinkOpened)
    return here.link, there.link


def test_two_agents_introduce_themselves():
    """The dialler knows the other by the name it was given, the other by the name it says."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            (opened,) = alpha.of(e.LinkOpened)
            assert (opened.neighbour, opened.agent_id, opened.boot) == ("beta", "id-beta", "boot-1")
            (opened,) = beta.of(e.LinkOpened)
            assert (opened.neighbour, opened.agent_id) == ("alpha", "id-alpha")

    run(main)


def test_work_goes_there_and_its_end_comes_back():
    """Declare, offer, accept and refuse, end, acknowledge, cancel, load: each command arrives as its event."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            _, there = await linked(alpha, beta)
            alpha.do(c.DeclareTemplates("beta", ((1, TEMPLATE),)))
            alpha.do(c.SendOffers("beta", [offer(10), offer(11)]))
            (received,) = await beta.until(e.OffersReceived)
            assert (received.neighbour, received.link) == ("alpha", there)
            assert [each.task for each in received.offers] == [10, 11]
            assert beta.of(e.TemplatesDeclared) == [e.TemplatesDeclared(there, ((1, TEMPLATE),))]
            beta.do(c.AnswerOffers("alpha", there, ((10, 1, 7),), (Refusal(11, 1, "full"),)))
            (answered,) = await alpha.until(e.OffersAnswered)
            assert answered == e.OffersAnswered("beta", ((10, 1, 7),), (Refusal(11, 1, "full"),))
            end = End(10, 1, 7, Outcome(value=Payload(1, b"v", (Part(6_000, b"x" * 6_000),))))
            beta.do(c.SendEnds("alpha", [end]))
            (ended,) = await alpha.until(e.EndsReceived)
            assert ended == e.EndsReceived("beta", [end])
            alpha.do(c.AcknowledgeEnds("beta", ((10, 1),)))
            alpha.do(c.CancelTasks("beta", ((12, 1),)))
            alpha.do(c.SendReport("beta", Report(epoch=3)))
            assert await beta.until(e.EndsAcknowledged) == [e.EndsAcknowledged("alpha", ((10, 1),))]
            assert await beta.until(e.CancelReceived) == [e.CancelReceived("alpha", ((12, 1),))]
            assert await beta.until(e.LoadReported) == [e.LoadReported("alpha", Report(epoch=3))]
            assert await beta.until(e.NeighbourHeard)

    run(main)


def test_work_also_goes_from_who_was_dialled():
    """A link carries work in both directions, whoever dialled."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            beta.do(c.DeclareTemplates("alpha", ((1, TEMPLATE),)))
            beta.do(c.SendOffers("alpha", [offer(20)]))
            (received,) = await alpha.until(e.OffersReceived)
            assert received.neighbour == "beta"

    run(main)


def test_offers_wait_for_credits():
    """No more offers are unanswered than were granted; the rest follow as answers come, in order."""

    async def main() -> None:
        settings = CommSettings(offer_credits=2)
        async with Agent("alpha") as alpha, Agent("beta", settings) as beta:
            _, there = await linked(alpha, beta)
            alpha.do(c.SendOffers("beta", [offer(task) for task in range(5)]))
            (first,) = await beta.until(e.OffersReceived)
            assert [each.task for each in first.offers] == [0, 1]
            beta.do(c.AnswerOffers("alpha", there, ((0, 1, 1), (1, 1, 1))))
            second = (await beta.until(e.OffersReceived, 2))[1]
            assert [each.task for each in second.offers] == [2, 3]
            alpha.do(c.CancelTasks("beta", ((4, 1),)))
            assert alpha.of(e.OffersAnswered)[-1].refused[0].task == 4
            beta.do(c.AnswerOffers("alpha", there, (), (Refusal(2, 1, "no"), Refusal(0, 1, "given back"))))
            last = (await alpha.until(e.OffersAnswered, 3))[-1]
            assert [each.task for each in last.refused] == [2]
            assert [each.task for each in last.returned] == [0]

    run(main)


def test_each_offer_is_answered_once_and_given_back_apart():
    """Accepting twice says nothing new; refusing what was accepted gives it back, which is no second answer."""

    async def main() -> None:
        async with Agent("beta") as beta:
            peer = await Client.tcp((await beta.listen()).address)
            assert (await peer.hello("peer", name="alpha", agent_id="id-alpha", boot="b")).ok
            peer.say(m.Offers([offer(1), offer(2)]))
            (received,) = await beta.until(e.OffersReceived)
            beta.do(c.AnswerOffers("alpha", received.link, ((1, 1, 7),)))
            beta.do(c.AnswerOffers("alpha", received.link, ((1, 1, 7),), (Refusal(1, 1, "back"), Refusal(2, 1, "no"))))
            assert await peer.hear(m.Answers) == m.Answers(((1, 1, 7),))
            assert await peer.hear(m.Answers) == m.Answers((), (Refusal(2, 1, "no"),), (Refusal(1, 1, "back"),))
            peer.say(m.Offers([offer(1)]))
            await beta.until(e.OffersReceived, 2)

    run(main)


def test_answers_to_a_former_connection_are_not_given_on_the_next():
    """What was offered on a link that is gone will be offered again; an old answer would count for the new offer."""

    async def main() -> None:
        async with Agent("beta") as beta:
            await beta.listen()
            who = {"role": "peer", "name": "alpha", "agent_id": "id-alpha", "boot": "b"}
            first, second = await Client.tcp(beta.address), await Client.tcp(beta.address)
            await first.hello(**who)
            first.say(m.Offers([offer(1)]))
            (received,) = await beta.until(e.OffersReceived)
            await second.hello(**who)
            second.say(m.Offers([offer(1)]))
            again = (await beta.until(e.OffersReceived, 2))[1]
            beta.do(c.AnswerOffers("alpha", received.link, (), (Refusal(1, 1, "for the former"),)))
            beta.do(c.AnswerOffers("alpha", again.link, ((1, 1, 7),)))
            assert await second.hear(m.Answers) == m.Answers(((1, 1, 7),))

    run(main)


def test_a_refused_template_refuses_its_offers_for_good():
    """What may not run here never reaches the engine, and the neighbour is told why."""

    async def main() -> None:
        def admit(template: Template) -> str | None:
            return "os:system may not be called" if template.function == "os:system" else None

        async with Agent("alpha") as alpha, Agent("beta", admit=admit) as beta:
            await linked(alpha, beta)
            alpha.do(c.DeclareTemplates("beta", ((1, TEMPLATE), (2, Template("os:system")))))
            alpha.do(c.SendOffers("beta", [offer(1), Offer(2, 2, Payload())]))
            (answered,) = await alpha.until(e.OffersAnswered)
            assert answered.refused == (Refusal(2, 1, "os:system may not be called", final=True),)
            assert [each.task for each in beta.of(e.OffersReceived)[0].offers] == [1]
            assert beta.of(e.TemplatesDeclared)[0].templates == ((1, TEMPLATE),)

    run(main)


@pytest.mark.parametrize("who", ["beta lends nothing to alpha", "alpha knows that"])
def test_an_agent_that_lends_nothing_is_offered_nothing(who):
    """It says so when it introduces itself, and it refuses whoever offers all the same."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", lends=False) as beta:
            await linked(alpha, beta)
            if who == "alpha knows that":
                alpha.do(c.SendOffers("beta", [offer(1)]))
            else:
                alpha.door.send(alpha.door.link_to("beta"), m.Offers([offer(1)]))
                alpha.door.flush()
            (answered,) = await alpha.until(e.OffersAnswered)
            assert answered.refused[0].final
            assert "lends nothing" in answered.refused[0].reason
            assert not beta.of(e.OffersReceived)

    run(main)


def test_what_cannot_travel_ends_as_an_outcome():
    """Oversized offers come back refused, oversized ends arrive as failures, and no link dies of it."""

    async def main() -> None:
        settings = CommSettings(frame_bytes=10_000)
        async with Agent("alpha", settings) as alpha, Agent("beta", settings) as beta:
            await linked(alpha, beta)
            large = Payload(3, b"x" * 20_000)
            alpha.do(c.DeclareTemplates("beta", ((1, TEMPLATE), (2, Template("f", code=b"x" * 20_000)))))
            alpha.do(c.SendOffers("beta", [Offer(1, 1, large), offer(2), Offer(3, 2, Payload())]))
            refused = [one for each in await alpha.until(e.OffersAnswered, 2) for one in each.refused]
            assert {one.task for one in refused} == {1, 3}
            assert all(one.final and "exceeds the cap" in one.reason for one in refused)
            assert [each.task for each in (await beta.until(e.OffersReceived))[0].offers] == [2]
            beta.do(c.SendEnds("alpha", [End(2, 1, 1, Outcome(value=large))]))
            (ended,) = await alpha.until(e.EndsReceived)
            assert ended.ends[0].outcome.status == Status.FAILED
            assert "exceeds the cap" in ended.ends[0].outcome.failure.message
            assert not alpha.of(e.LinkClosed)

    run(main)


def test_shared_memory_is_brought_into_the_message_for_another_device():
    """A part that lies in shared memory travels as bytes when it can be read, else the task fails clearly."""

    async def main() -> None:
        def inline(payload: Payload) -> Payload:
            return Payload(payload.codec, payload.data, tuple(Part(5, b"bytes") for _ in payload.parts))

        async with Agent("alpha", inline=inline) as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            elsewhere = Payload(1, b"", (Part(5, None, segment=3),))
            alpha.do(c.SendOffers("beta", [offer(1), Offer(2, 1, elsewhere)]))
            (received,) = await beta.until(e.OffersReceived)
            assert received.offers[1].payload.parts == (Part(5, b"bytes"),)
            beta.do(c.SendEnds("alpha", [End(1, 1, 1, Outcome(value=elsewhere))]))
            (ended,) = await alpha.until(e.EndsReceived)
            assert "device" in ended.ends[0].outcome.failure.message

    run(main)


# --- one connection per pair ------------------------------------------------------------------------------------


def test_a_new_connection_replaces_the_old():
    """The engine hears that the old link is closed before it hears of the new one; the old one is told why."""

    async def main() -> None:
        async with Agent("beta") as beta:
            await beta.listen()
            first, second = await Client.tcp(beta.address), await Client.tcp(beta.address)
            who = {"role": "peer", "name": "alpha", "agent_id": "id-alpha", "boot": "b1"}
            assert (await first.hello(**who)).ok
            assert (await second.hello(**who)).ok
            goodbye = await first.hear(m.Goodbye)
            assert goodbye.code == "replaced"
            kinds = [type(event).__name__ for event in beta.events if isinstance(event, (e.LinkOpened, e.LinkClosed))]
            assert kinds == ["LinkOpened", "LinkClosed", "LinkOpened"]
            numbers = [event.link for event in beta.of(e.LinkOpened)]
            assert beta.of(e.LinkClosed)[0].link == numbers[0] != numbers[1]
            await first.close()
            await second.close()

    run(main)


def test_two_agents_that_dial_each_other_end_with_one_connection():
    """Both choose the same of the two, and neither flaps."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await alpha.listen()
            await beta.listen()
            alpha.dial(beta, "beta")
            beta.dial(alpha, "alpha")
            await alpha.until(e.LinkOpened)
            await beta.until(e.LinkOpened)
            for agent in (alpha, beta):
                await agent.until_true(lambda agent=agent: open_links(agent) == 1)
            counts, seen, epochs = [0, 0], [], itertools.count(1)
            async with asyncio.timeout(PATIENCE_S):
                while counts != seen:  # until then the second connection was still on its way, to be chosen or not
                    seen = [len(agent.of(e.LinkOpened)) for agent in (alpha, beta)]
                    for epoch in itertools.islice(epochs, 20):
                        await reported(alpha, beta, epoch)
                        await reported(beta, alpha, epoch)
                    counts = [len(agent.of(e.LinkOpened)) for agent in (alpha, beta)]
            assert max(counts) <= 3

    run(main)


async def reported(here: Agent, there: Agent, epoch: int) -> None:
    """Have a report arrive; it is said again where the connection yields on which it was said."""
    name, said_on = there.door.identity.name, -1
    while not any(event.report.epoch == epoch for event in there.of(e.LoadReported)[-1:]):
        opened = len(here.of(e.LinkOpened))
        if opened != said_on and open_links(here) == 1:
            said_on = opened
            here.do(c.SendReport(name, Report(epoch=epoch)))
        await asyncio.sleep(0)


def open_links(agent: Agent) -> int:
    """Count them; a connection that was refused closes without having been one, at any time."""
    return len(agent.of(e.LinkOpened)) - sum(event.link > 0 for event in agent.of(e.LinkClosed))


def test_a_cut_link_is_dialled_again():
    """The dialler goes on until told not to; the other end forgets the link and takes the next."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            beta.door.link_to("alpha").abort()
            await alpha.until(e.LinkOpened, 2)
            await beta.until(e.LinkOpened, 2)
            alpha.do(c.CloseLink("beta", redial=True))
            await alpha.until(e.LinkOpened, 3)
            alpha.do(c.CloseLink("beta"))
            assert len(await alpha.until(e.LinkClosed, 3)) == 3
            await beta.until(e.LinkClosed, 3)
            assert alpha.door.link_to("beta") is None

    run(main)


@pytest.mark.parametrize(
    ("who", "code", "words"),
    [
        ({"name": "me", "agent_id": "id-beta"}, "identity", "reached itself"),
        ({"name": "beta", "agent_id": "other"}, "clash", "both agents are called beta"),
        ({"name": "alpha", "agent_id": "other"}, "clash", "another agent is connected as alpha"),
        ({"name": "a\x1b[31m", "agent_id": "other"}, "identity", "cannot be taken"),
        ({"name": "gamma", "agent_id": ""}, "identity", "cannot be taken"),
    ],
)
def test_who_cannot_be_a_neighbour_is_told_why(who, code, words):
    """Itself, a name that is taken, a name that is none."""

    async def main() -> None:
        async with Agent("beta") as beta:
            await beta.listen()
            alpha = await Client.tcp(beta.address)
            assert (await alpha.hello("peer", name="alpha", agent_id="id-alpha", boot="b")).ok
            other = await Client.tcp(beta.address)
            ack = await other.hello("peer", boot="b", **who)
            assert (ack.ok, ack.code) == (False, code)
            assert words in ack.reason
            assert await other.end() == b""
            assert len(beta.of(e.LinkOpened)) == 1
            await alpha.close()
            await other.close()

    run(main)


def test_a_failed_dial_says_why_once():
    """The engine hears of the same failure once, and the dialler goes on until somebody answers."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await beta.listen()
            gone = await Agent("gone").listen_and_close()
            alpha.door.open_link(c.OpenLink("beta", "comm", (("Host", "127.0.0.1"), ("Port", str(gone)))))
            (closed,) = await alpha.until(e.LinkClosed)
            assert (closed.neighbour, closed.link) == ("beta", 0)
            assert "cannot be reached" in closed.reason
            alpha.dial(beta, "beta")
            await alpha.until(e.LinkOpened)
            assert len(alpha.of(e.LinkClosed)) == 1

    run(main)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ((("Port", "x"),), "property Port is 'x'"),
        ((("Host", "192.0.2.1"), ("Port", "46102")), "without TLS is refused"),
    ],
)
def test_what_must_not_be_dialled_is_not(properties, words):
    """A wrong port, or another device without TLS: told to the engine, nothing is sent."""

    async def main() -> None:
        async with Agent("alpha") as alpha:
            alpha.door.open_link(c.OpenLink("far", "comm", properties))
            (closed,) = await alpha.until(e.LinkClosed)
            assert words in closed.reason

    run(main)


def test_a_port_beyond_this_device_needs_tls_or_the_operators_word():
    """The start stops with an error that says what to do."""

    async def main() -> None:
        from agentd.model.errors import ConfigError

        async with Agent("alpha") as alpha:
            with pytest.raises(ConfigError, match="without TLS is refused"):
                await alpha.door.open_tcp("0.0.0.0", 0)
        async with Agent("beta", security=Security(insecure=True)) as beta:
            assert (await beta.door.open_tcp("0.0.0.0", 0))[1] > 0

    run(main)


def test_a_taken_port_says_so():
    """Exit code 5 of the daemon comes from here."""

    async def main() -> None:
        from agentd.model.errors import StateInUse

        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await alpha.listen()
            with pytest.raises(StateInUse, match="is taken"):
                await beta.door.open_tcp(*alpha.address)

    run(main)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_peer_comes_in_the_moment_another_is_given_up(loop, monkeypatch):
    """A timer of which the time has come is no obstacle: uvloop's tells nothing about itself."""

    async def main() -> None:
        async with Agent("beta") as beta:
            await beta.listen()
            (first, second) = (await Client.tcp(beta.address), await Client.tcp(beta.address))
            await first.hello("peer", name="alpha", agent_id="id-alpha", boot="b")
            (link,) = beta.door._reception.links()
            monkeypatch.setattr(type(link), "lost_at", property(lambda link: asyncio.get_running_loop().time() + 1e-9))
            beta.door._watch()
            beta.door._watch()
            assert (await second.hello("peer", name="gamma", agent_id="id-gamma", boot="c")).ok

    run(main, asyncio.run if loop == "asyncio" else pytest.importorskip("uvloop").run)

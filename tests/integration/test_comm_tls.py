"""Paired agents over TLS, and everybody who is not one of them: each is shut out with a reason, the others go on."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.comm.settings import CommSettings
from agentd.comm.trust import joining
from agentd.comm.trust.security import Security, asking
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.errors import RequestError
from agentd.model.exchange import Offer
from agentd.model.peers import Limits, Peer, PinBook
from agentd.model.task import Template
from agentd.model.values import Codec, Payload
from agentd.store import identity, key_maker
from agentd.store.disk import LocalDisk
from agentd.wire import messages as m
from agentd.wire.invitation import Invitation
from tests.integration.comm_rig import PATIENCE_S, Agent, Client, passing_time, run

NAMES = ("alpha", "beta", "gamma", "mallory")
JSON = Payload(Codec.JSON, b'{"args":[1]}')
QUICK = CommSettings(hello_s=PATIENCE_S, backoff_first_s=0.01, backoff_most_s=0.1)


class Device:
    """One agent's key, and what others pin of it."""

    def __init__(self, name: str, path: Path, certificate: bytes) -> None:
        self.name = name
        self.path = path
        self.certificate = certificate

    def peer(self, **more: object) -> Peer:
        return Peer(name=self.name, agent_id=f"id-{self.name}", certificate=self.certificate, **more)

    def trusts(self, *others: Device | Peer) -> Security:
        """What protects this device when it knows these."""
        peers = tuple(other.peer() if isinstance(other, Device) else other for other in others)
        return Security(self.path, PinBook(peers))

    def showing(self) -> ssl.SSLContext:
        """The context of a program that shows this certificate and believes everybody."""
        context = asking()
        context.load_cert_chain(self.path)
        return context


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Device]:
    made = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        kept = identity.keep_identity(LocalDisk(), folder, key_maker.make(name, 2026))
        made[name] = Device(name, kept.path, kept.certificate)
    return made


@pytest.fixture
def three(devices: dict[str, Device]) -> tuple[Device, Device, Device]:
    return devices["alpha"], devices["beta"], devices["mallory"]


async def tls(agent: Agent, context: ssl.SSLContext) -> Client:
    """A bare program, over TLS."""
    return Client(*await asyncio.open_connection(*agent.address, ssl=context))


async def peer_of(agent: Agent, device: Device, **fields: object) -> tuple[Client, m.HelloAck]:
    """Somebody who shows a device's certificate and says to be that agent."""
    client = await tls(agent, device.showing())
    said = {
        "name": device.name,
        "agent_id": f"id-{device.name}",
        "boot": "b",
        "credits": 100,
        "capabilities": {"lends": True},
        **fields,
    }
    return client, await client.hello("peer", **{**said, "capabilities": {"lends": True}, **fields})


async def linked(agent: Agent, device: Device) -> Client:
    """A peer that is let in, to see that whatever happens to others does not happen to it."""
    client, ack = await peer_of(agent, device)
    assert ack.ok, ack
    return client


async def still_there(agent: Agent, client: Client) -> None:
    """Insist that a peer's link works."""
    before = len(agent.of(e.CancelReceived))
    client.say(m.CancelTasks(((before + 1, 1),)))
    await agent.until(e.CancelReceived, before + 1)


def refused_dial(agent: Agent) -> Callable[[], bool]:
    return lambda: bool(agent.of(e.LinkClosed))


# --- who belongs together ------------------------------------------------------------------------------------------


def test_paired_agents_know_each_other_by_their_certificates(three):
    """Each end calls the other by the name that its own book gives, whatever that one calls itself."""
    alpha, beta, _ = three
    phone = Peer(name="phone", agent_id="id-alpha", certificate=alpha.certificate)

    async def main() -> None:
        async with (
            Agent("alpha", security=alpha.trusts(beta)) as one,
            Agent("beta", security=beta.trusts(phone)) as other,
        ):
            await other.listen()
            one.dial(other, "beta")
            (there,) = await one.until(e.LinkOpened)
            (here,) = await other.until(e.LinkOpened)
            assert (there.neighbour, there.agent_id) == ("beta", "id-beta")
            assert (here.neighbour, here.agent_id) == ("phone", "id-alpha")
            assert one.door.link_to("beta").certificate == beta.certificate
            assert other.door.link_to("phone").certificate == alpha.certificate

    run(main)


def test_a_connection_is_tls_1_3_with_the_pinned_certificate(three):
    """Nothing older is spoken, and what is shown is what was pinned."""
    alpha, beta, _ = three

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(alpha)) as agent:
            client = await linked(await agent.listen(), alpha)
            shown = client.writer.get_extra_info("ssl_object")
            assert (shown.version(), shown.getpeercert(binary_form=True)) == ("TLSv1.3", beta.certificate)
            old = alpha.showing()
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await tls(agent, old)
            await still_there(agent, client)

    run(main)


# --- strangers, wrong keys, the revoked ------------------------------------------------------------------------------


def test_a_stranger_sees_success_and_is_told_by_its_own_side(three):
    """TLS 1.3 lets it believe that all is well; its agent then says that it is not known there, and what to run."""
    alpha, beta, mallory = three

    async def main() -> None:
        async with (
            Agent("beta", security=beta.trusts(alpha)) as agent,
            Agent("mallory", security=mallory.trusts(beta)) as stranger,
        ):
            friend = await linked(await agent.listen(), alpha)
            stranger.dial(agent, "beta")
            (closed,) = (await stranger.until(e.LinkClosed))[:1]
            assert "does not know this agent's certificate" in closed.reason
            assert "agentd invite, agentd join" in closed.reason
            assert [opened.neighbour for opened in agent.of(e.LinkOpened)] == ["alpha"]
            await still_there(agent, friend)

    run(main)


def test_who_shows_no_certificate_is_told_to_pair(three):
    """TLS without a certificate, and the name of an agent that is known by one: the door says what is missing."""
    alpha, beta, _ = three

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(alpha), owner_uid=12_345) as agent:
            friend = await linked(await agent.listen(), alpha)
            for name, words in (("alpha", "known by its certificate"), ("mallory", "agent of another user")):
                client = await tls(agent, asking())
                ack = await client.hello("peer", name=name, agent_id=f"id-{name}", boot="b")
                assert (ack.ok, ack.code) == (False, "forbidden")
                assert words in ack.reason
                assert "pair" in ack.remedy
            await still_there(agent, friend)

    run(main)


def test_another_key_in_the_place_of_a_peer_is_not_believed(three):
    """Name and id of a peer, listening at its address, with a key of its own: it is not sent a single byte."""
    alpha, beta, mallory = three

    async def main() -> None:
        heard: list[bytes] = []
        ended = asyncio.Event()

        async def imposter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                heard.append(await reader.read(65_536))
            except OSError:
                heard.append(b"")
            writer.close()
            ended.set()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(mallory.path)
        server = await asyncio.start_server(imposter, "127.0.0.1", 0, ssl=context)
        async with server, Agent("alpha", security=alpha.trusts(beta, mallory)) as agent:
            posing = Agent("beta")
            posing.address = server.sockets[0].getsockname()[:2]
            agent.dial(posing, "beta")
            (closed,) = (await agent.until(e.LinkClosed))[:1]
            assert "shows another certificate than the one that was pinned" in closed.reason
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()
            assert heard[0] == b""
            assert not agent.of(e.LinkOpened)

    run(main)


def test_a_peer_cannot_say_that_it_is_another_one(devices):
    """A certificate stands for one agent: with the id of another one it is refused, and that one's link stays."""
    alpha, beta, gamma = devices["alpha"], devices["beta"], devices["gamma"]

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(alpha, gamma)) as agent:
            friend = await linked(await agent.listen(), alpha)
            _, ack = await peer_of(agent, gamma, agent_id="id-alpha", name="alpha")
            assert (ack.ok, ack.code) == (False, "identity")
            assert "pinned for another agent id" in ack.reason
            await still_there(agent, friend)

    run(main)


def test_a_revoked_peer_is_out_at_once_and_told_why(devices):
    """Its live connection ends with the reason, and so does the next one; the link of the others is untouched."""
    alpha, beta, gamma = devices["alpha"], devices["beta"], devices["gamma"]

    async def main() -> None:
        security = beta.trusts(alpha, gamma)
        async with Agent("beta", security=security) as agent:
            friend = await linked(await agent.listen(), alpha)
            revoked = await linked(agent, gamma)
            agent.door.trust(security.book.revoke("gamma", "stolen"))
            goodbye = await revoked.hear(m.Goodbye)
            assert (goodbye.code, goodbye.reason) == ("revoked", "the pairing was revoked: stolen")
            (closed,) = await agent.until(e.LinkClosed)
            assert (closed.neighbour, closed.reason) == ("gamma", "the pairing was revoked: stolen")
            _, ack = await peer_of(agent, gamma)
            assert (ack.ok, ack.code) == (False, "forbidden")
            assert "revoked: stolen" in ack.reason
            await still_there(agent, friend)

    run(main)


def test_a_revoked_agent_is_not_dialled(three):
    """Who revoked another one sends it nothing any more, wherever it is."""
    alpha, beta, _ = three

    async def main() -> None:
        async with (
            Agent("alpha", security=alpha.trusts(beta.peer(revoked="stolen"))) as one,
            Agent("beta", security=beta.trusts(alpha)) as other,
        ):
            await other.listen()
            one.dial(other, "beta")
            await one.until(e.LinkClosed)
            assert not one.of(e.LinkOpened)
            assert not other.of(e.LinkOpened)

    run(main)


# --- the silent and the slow ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"\xa9"], ids=["nothing", "half a handshake", "half a frame"])
def test_who_says_too_little_is_gone_in_time(three, said):
    """Silent before, in and after the first bytes: the time for HELLO covers all of it."""
    alpha, beta, _ = three

    async def main() -> None:
        let_pass = passing_time()
        async with Agent("beta", QUICK, security=beta.trusts(alpha)) as agent:
            friend = await linked(await agent.listen(), alpha)
            silent = await Client.tcp(agent.address)
            silent.writer.write(said)
            await agent.until_strangers(1)
            let_pass(PATIENCE_S)
            told = await silent.end()
            assert (b"no HELLO within 60 s" in told) == (not said.startswith(b"\x16"))
            await agent.until_strangers(0)
            await still_there(agent, friend)

    run(main)


def test_who_is_silent_behind_tls_is_told_why(three):
    """A handshake alone is no identity."""
    alpha, beta, _ = three

    async def main() -> None:
        let_pass = passing_time()
        async with Agent("beta", QUICK, security=beta.trusts(alpha)) as agent:
            friend = await linked(await agent.listen(), alpha)
            silent = await tls(agent, alpha.showing())
            silent.session.send(m.Hello(), 0.0)  # only so that it listens to the answer
            let_pass(PATIENCE_S)
            ack = await silent.ack()
            assert (ack.ok, ack.code) == (False, "silent")
            await still_there(agent, friend)

    run(main)


def test_a_slow_reader_is_dropped_and_hurts_nobody_else(devices):
    """A peer that reads nothing holds a bounded buffer for a bounded time; another one is served meanwhile."""
    alpha, beta, gamma = devices["alpha"], devices["beta"], devices["gamma"]
    settings = CommSettings(
        write_buffer_bytes=1 << 20, stalled_s=0.2, heartbeat_s=0.05, lost_beats=10_000, linger_s=0.2
    )

    async def main() -> None:
        async with Agent("beta", settings, security=beta.trusts(alpha, gamma)) as agent:
            await agent.listen()
            slow = await linked(agent, gamma)
            slow.writer.transport.pause_reading()
            friend = await linked(agent, alpha)
            offers = [Offer(number, 1, Payload(Codec.PICKLE, bytes(1 << 20))) for number in range(1, 17)]
            agent.do(c.SendOffers("gamma", offers))
            agent.do(c.SendOffers("alpha", [Offer(99, 1, JSON)]))
            assert (await friend.hear(m.Offers)).offers[0].task == 99
            (closed,) = await agent.until(e.LinkClosed)
            assert closed.neighbour == "gamma"
            assert "it does not read" in closed.reason
            await still_there(agent, friend)

    run(main)


# --- limits --------------------------------------------------------------------------------------------------------


def offering(client: Client, templates: dict[int, Template], offers: list[tuple[int, int]]) -> None:
    client.say(m.Declare(tuple(templates.items())))
    client.say(m.Offers([Offer(task, template, JSON) for task, template in offers]))


TEMPLATES = {
    1: Template("shop.prices:total"),
    2: Template("shop.prices:drop"),
    3: Template("shop.prices:total", code=b"\x80"),
}


def test_a_peer_with_rights_for_one_function_has_that_one_run(three):
    """Another function, or the same name with code brought along, is refused for good; the one is let through."""
    alpha, beta, _ = three
    limited = alpha.peer(limits=Limits(functions=("shop.prices:total",)))

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(limited)) as agent:
            client = await linked(await agent.listen(), alpha)
            offering(client, TEMPLATES, [(11, 1), (12, 2), (13, 3)])
            answers = await client.hear(m.Answers)
            assert [(refusal.task, refusal.final) for refusal in answers.refused] == [(12, True), (13, True)]
            assert answers.refused[0].reason == "agent beta limits alpha: it may call only shop.prices:total"
            assert "bring no code along" in answers.refused[1].reason
            (received,) = await agent.until(e.OffersReceived)
            assert [offer.task for offer in received.offers] == [11]

    run(main)


def test_limits_hold_from_the_moment_that_they_are_set(three):
    """Also for a connection that is open, and for templates that were declared before."""
    alpha, beta, _ = three

    async def main() -> None:
        security = beta.trusts(alpha)
        async with Agent("beta", security=security) as agent:
            client = await linked(await agent.listen(), alpha)
            offering(client, TEMPLATES, [(11, 2)])
            await agent.until(e.OffersReceived)
            agent.door.trust(security.book.limit("alpha", Limits(submit_upward=False)))
            offering(client, {}, [(12, 1)])
            (refusal,) = (await client.hear(m.Answers)).refused
            assert "give it no work" in refusal.reason
            agent.door.trust(security.book.limit("alpha", Limits()))
            offering(client, {}, [(13, 1)])
            assert len(await agent.until(e.OffersReceived, 2)) == 2

    run(main)


def test_a_peer_has_no_more_tasks_here_than_it_may(three):
    """What is held and what is asked count together; a refusal is for now, and an end makes room."""
    alpha, beta, _ = three
    limited = alpha.peer(limits=Limits(max_tasks=2))

    async def main() -> None:
        async with Agent(
            "beta", security=beta.trusts(limited), held=lambda name: {1} if name == "alpha" else set()
        ) as agent:
            client = await linked(await agent.listen(), alpha)
            offering(client, TEMPLATES, [(11, 1), (12, 1)])
            (refusal,) = (await client.hear(m.Answers)).refused
            assert (refusal.task, refusal.final) == (12, False)
            assert "2 tasks at a time" in refusal.reason
            agent.do(c.AnswerOffers("alpha", agent.of(e.OffersReceived)[0].link, ((11, 1, 1),), ()))
            offering(client, {}, [(13, 1)])
            assert (await client.hear(m.Answers)).accepted
            assert [each.task for each in (await client.hear(m.Answers)).refused] == [13]

    run(main)


# --- guests --------------------------------------------------------------------------------------------------------


def invitation(device: Device, agent: Agent, **more: object) -> Invitation:
    return Invitation(
        **{
            "role": "peer",
            "addresses": (f"127.0.0.1:{agent.address[1]}",),
            "fingerprint": hashlib.sha256(device.certificate).digest(),
            "secret": b"s" * 20,
            "expires_at": 0,
            **more,
        }
    )


def guest(device: Device, secret: bytes = b"s" * 20) -> Callable[[str, str], m.Hello]:
    return lambda own, other: m.Hello(
        role="guest",
        agent_id=f"id-{device.name}",
        name=device.name,
        boot="b",
        secret=secret,
        certificate=device.certificate,
    )


def test_a_guest_shows_its_secret_to_nobody_but_the_host(three):
    """At an address where somebody else answers, nothing is sent; the right one is asked next."""
    alpha, beta, mallory = three
    seen: list[m.Hello] = []

    def take(hello: m.Hello, where: str, answer: Callable[[object], None]) -> None:
        seen.append(hello)
        answer(None)

    async def main() -> None:
        async with (
            Agent("mallory", security=mallory.trusts(), on_guest=take) as wrong,
            Agent("beta", security=beta.trusts(), on_guest=take) as right,
        ):
            await wrong.listen()
            await right.listen()
            with pytest.raises(RequestError, match=r"not the agent that made the invitation .* nothing was sent there"):
                await joining.join(invitation(beta, wrong), guest(alpha), QUICK)
            assert seen == []
            both = (f"127.0.0.1:{wrong.address[1]}", f"127.0.0.1:{right.address[1]}")
            host = await joining.join(invitation(beta, right, addresses=both), guest(alpha), QUICK)
            assert (host.ack.agent_id, host.certificate, host.address) == ("id-beta", beta.certificate, both[1])
            assert [hello.secret for hello in seen] == [b"s" * 20]

    run(main)


def test_an_invitation_does_not_travel_in_the_open(three):
    """A guest that comes without TLS is refused, and nobody looks at its secret."""
    alpha, beta, _ = three
    seen: list[m.Hello] = []

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(), on_guest=lambda hello, *_: seen.append(hello)) as agent:
            client = await Client.tcp((await agent.listen()).address)
            client.say(guest(alpha)("", ""))
            ack = await client.ack()
            assert (ack.ok, ack.code) == (False, "forbidden")
            assert "over TLS only" in ack.reason
            assert seen == []

    run(main)


def test_a_guest_that_was_let_in_may_say_nothing_else(three):
    """Its connection ends with the welcome: as a peer it comes again, with its certificate."""
    alpha, beta, _ = three

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(), on_guest=lambda _hello, _where, answer: answer(None)) as agent:
            await agent.listen()
            client = await tls(agent, asking())
            client.say(guest(alpha)("", ""))
            assert (await client.ack()).scope == "peer"
            assert (await client.hear(m.Goodbye)).code == "paired"
            assert agent.events == []

    run(main)


# --- what is left of it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_nothing_of_a_connection_waits_to_be_found(three, loops):
    """Its TLS, with what was half read and half written, goes with it: links that flap would pile that up."""
    alpha, beta, _ = three
    made = asyncio.new_event_loop if loops == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def main() -> None:
        async with Agent("beta", security=beta.trusts(alpha)) as agent:
            client = await linked(await agent.listen(), alpha)
            link = agent.door.link_to("alpha")
            assert link is not None
            kept = weakref.ref(link._carrier._sock)
            assert kept() is not None
            client.writer.transport.abort()
            await agent.until(e.LinkClosed)
            async with asyncio.timeout(PATIENCE_S):
                while kept() is not None:  # noqa: ASYNC110 - the loop lets go of its own in its next turns, unsaid
                    await asyncio.sleep(0)

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=made) as runner:
            runner.run(main())
    finally:
        gc.enable()

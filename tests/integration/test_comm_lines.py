"""Connections of their own between two agents: who makes them, who is sent away, what becomes of what nobody takes."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from typing import Any

import pytest

from agentd.comm.ends import lines
from agentd.comm.trust.security import Security
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.errors import ConfigError
from agentd.model.exchange import Offer
from agentd.model.peers import Limits, Peer, PinBook
from agentd.model.task import Constraints, Form, Template
from agentd.model.values import Codec, Part, Payload
from agentd.store import identity, key_maker
from agentd.store.disk import LocalDisk
from agentd.wire import messages as m
from agentd.wire.line_messages import LineAnswer, LineOpen
from agentd.wire.preamble import PREAMBLE_BYTES, TAKEN, TICKET_BYTES, preamble
from tests.fakes.descriptors import open_files
from tests.integration.comm_rig import PATIENCE_S, Agent, Client, passing_time, run

LINE = Template("direct line", form=Form.DIRECT, constraints=Constraints(is_local=True))
TICKET = bytes(range(TICKET_BYTES))


async def linked(alpha: Agent, beta: Agent) -> None:
    """Let alpha dial beta."""
    await beta.listen()
    await alpha.listen()
    alpha.dial(beta, "beta")
    await alpha.until(e.LinkOpened)
    await beta.until(e.LinkOpened)


def end_of(agent: Agent) -> Any:
    """Give the one neighbour."""
    (end,) = agent.door.peers()
    return end


async def opened(asker: Agent) -> tuple[socket.socket | None, bytes, str]:
    """Ask for a connection to the one neighbour; gives what came of it."""
    told: asyncio.Future[tuple[lines.Half | None, str]] = asyncio.get_running_loop().create_future()
    asker.door.lines.open(end_of(asker), lambda *what: told.set_result(what))
    async with asyncio.timeout(PATIENCE_S):
        half, why = await told
    return (None, b"", why) if half is None else (half.sock, half.ticket, why)


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nothing tells of what is waited for
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("asker", ["alpha", "beta"])
def test_the_agent_that_dialled_the_link_makes_the_connection(asker):
    """Also for one that could not reach it; both ends are the same connection, and its ticket names it once."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            asking, asked = (alpha, beta) if asker == "alpha" else (beta, alpha)
            port = beta.address[1]
            here, ticket, why = await opened(asking)
            assert why == ""
            assert here is not None
            taken = asked.door.lines.take(end_of(asked).link, ticket)
            assert taken is not None
            there = taken.sock
            assert asked.door.lines.take(end_of(asked).link, ticket) is None
            assert port in {here.getsockname()[1], here.getpeername()[1]}
            assert here.getsockname() == there.getpeername()
            there.setblocking(True)
            here.send(b"from here")
            assert there.recv(100) == b"from here"
            here.close()
            there.close()

    run(main)


def test_a_ticket_brings_a_connection_once_and_nobody_else_gets_in():
    """A wrong one, one that was used, one that comes in pieces: each is closed at once, but for the right one."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            for data in (preamble(TICKET), preamble(TICKET)[:2] + b"\x09" + TICKET, b"\xa8\x16\x03\x01"):
                client = await Client.tcp(beta.address)
                client.writer.write(data)
                assert await client.end() == b""
            came: list[socket.socket] = []
            beta.door._wiring.tickets.expect(TICKET, came.append)
            first, second = await Client.tcp(beta.address), await Client.tcp(beta.address)
            for byte in preamble(TICKET):
                first.writer.write(bytes([byte]))
                await first.writer.drain()
                await asyncio.sleep(0)
            await until(lambda: came)
            second.writer.write(preamble(TICKET))
            assert await second.end() == b""
            came[0].close()
            assert await first.end() == b""
            assert len(came) == 1
            await beta.until_strangers(0)

    run(main)


def test_who_brings_half_a_ticket_is_a_stranger_for_as_long_as_any():
    """It counts among those who have not said who they are, and is gone when their time is over."""

    async def main() -> None:
        let_pass = passing_time()
        async with Agent("beta", lines_settings(hello_s=PATIENCE_S)) as beta:
            await beta.listen()
            clients = [await Client.tcp(beta.address) for _ in range(10)]
            for client in clients:
                client.writer.write(preamble(TICKET)[: PREAMBLE_BYTES - 1])
            await beta.until_strangers(10)
            let_pass(PATIENCE_S)
            for client in clients:
                assert await client.end() == b""
            await beta.until_strangers(0)

    run(main)


def lines_settings(**more: Any) -> Any:
    from agentd.comm.settings import CommSettings

    return replace(CommSettings(backoff_first_s=0.01, backoff_most_s=0.1), **more)


def test_a_flood_of_tickets_shuts_out_nobody_for_longer_than_any_flood():
    """Hundreds come with tickets of their own making; the link works, and a line is made as soon as they are gone."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta", lines_settings(hello_s=PATIENCE_S)) as beta:
            await linked(alpha, beta)
            for _ in range(5):
                clients = [await Client.tcp(beta.address) for _ in range(60)]
                for client in clients:
                    client.writer.write(preamble(os.urandom(TICKET_BYTES)))
                for client in clients:
                    assert await client.end() == b""
            here, _, why = await opened(alpha)
            assert here is not None, why
            here.close()

    run(main)


def test_what_nobody_takes_is_closed():
    """Of a connection whose task is never offered nothing is left after a moment, at either end."""

    async def main() -> None:
        let_pass = passing_time()
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            here, ticket, why = await opened(alpha)
            assert here is not None, why
            here.setblocking(False)
            let_pass(lines.TICKET_S)
            async with asyncio.timeout(PATIENCE_S):
                assert await asyncio.get_running_loop().sock_recv(here, 1) == b""
            assert beta.door.lines.take(end_of(beta).link, ticket) is None
            here.close()

    run(main)


@pytest.mark.parametrize("why", ["limited", "lends nothing", "silent"])
def test_a_neighbour_that_gives_no_line_says_why(why):
    """Or it is found out within the time for it; the link is as good as before."""

    async def main() -> None:
        let_pass = passing_time()
        async with Agent("alpha") as alpha, Agent("beta", lends=why != "lends nothing") as beta:
            await linked(alpha, beta)
            if why == "limited":
                end_of(beta).limits = Limits(functions=("m:f",))
            elif why == "silent":
                beta.door.route(LineOpen, lambda *_: let_pass(lines.TICKET_S))
            here, _, words = await opened(alpha)
            assert here is None
            assert {"limited": "limits alpha", "lends nothing": "lends nothing", "silent": "does not answer"}[
                why
            ] in words
            assert not end_of(alpha).link.is_closed
            assert len(beta.door._wiring.tickets) == 0

    run(main)


def test_only_so_many_are_made_at_a_time(monkeypatch):
    """A neighbour that asks for more has an objection, and costs no more than those."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            answers: list[LineAnswer] = []
            alpha.door.route(LineAnswer, lambda _, message: answers.append(message))
            link = end_of(alpha).link
            for number in range(lines.LINES_MOST + 3):
                link.send(LineOpen(number, os.urandom(TICKET_BYTES)))
            link.send(LineOpen(90, b"short"))
            link.send(LineOpen(91, TICKET, True))  # beta has not dialled, so it knows no address
            link.send(LineOpen(92, TICKET, False, bytes(lines.SECRET_BYTES)))  # nothing is secret here
            link.flush()
            await until(lambda: len(answers) == lines.LINES_MOST + 6)
            good = [answer.number for answer in answers if not answer.objection]
            assert good == list(range(lines.LINES_MOST))

    run(main)


def test_the_offer_of_a_line_brings_its_connection_or_is_refused():
    """The engine is given the connection in the place of the ticket; without one, or under limits, it hears nothing."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            put: list[bytes] = []

            def with_socket(_: object, offer: Offer) -> Offer | str:
                put.append(offer.payload.data)
                if offer.payload.data != TICKET:
                    return "the connection is not here"
                return Offer(offer.task, offer.template, Payload(Codec.BYTES, b"", (Part(0, None, 5),)))

            beta.door.put_sockets(with_socket)
            alpha.do(c.DeclareTemplates("beta", ((1, LINE), (2, Template("m:f")))))
            offers = [
                Offer(10, 1, Payload(Codec.BYTES, TICKET)),
                Offer(11, 1, Payload(Codec.BYTES, b"another")),
                Offer(12, 2, Payload(Codec.BYTES, TICKET)),
                Offer(13, 1, Payload(Codec.BYTES, TICKET), makes=1),
            ]
            alpha.do(c.SendOffers("beta", offers))
            (received,) = await beta.until(e.OffersReceived)
            assert [(one.task, [part.segment for part in one.payload.parts]) for one in received.offers] == [
                (10, [5]),
                (12, []),
            ]
            (answered,) = await alpha.until(e.OffersAnswered)
            assert [(one.task, one.final) for one in answered.refused] == [(11, True), (13, True)]
            end_of(beta).limits = Limits(max_tasks=5)
            alpha.do(c.SendOffers("beta", [Offer(14, 1, Payload(Codec.BYTES, TICKET))]))
            answered = (await alpha.until(e.OffersAnswered, 2))[-1]
            assert "limits alpha" in answered.refused[0].reason
            assert put == [TICKET, b"another"]

    run(main)


def test_users_declare_no_lines():
    """A session asks for them by a message of its own."""

    async def main() -> None:
        async with Agent("beta") as beta:
            await beta.listen()
            client = await Client.tcp(beta.address)
            assert (await client.hello()).ok  # type: ignore[attr-defined]
            client.say(m.Declare(((1, LINE),)))
            client.say(m.Submit([m.Submission(1, 1, Payload())]))
            settled = await client.hear(m.SettledCalls)
            assert "message of its own" in settled.settled[0].outcome.failure.message  # type: ignore[attr-defined]

    run(main)


def test_a_dialler_takes_nothing_for_a_line_that_does_not_say_so(monkeypatch):
    """A port at which somebody else answers by now."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)

            async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                assert await reader.readexactly(PREAMBLE_BYTES)
                writer.write(b"H" if TAKEN != b"H" else b"I")
                writer.close()

            async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
                end_of(alpha).link.dialled = server.sockets[0].getsockname()
                here, _, why = await opened(alpha)
                assert (here, why) == (None, "the connection could not be made")

    run(main)


def test_a_connection_that_its_maker_takes_back_is_closed():
    """A neighbour that makes it and then objects, or whose link is gone by then, leaves nothing open here."""

    async def main() -> None:
        async with Agent("alpha") as alpha, Agent("beta") as beta:
            await linked(alpha, beta)
            say = alpha.door.lines._answer
            alpha.door.lines._answer = lambda link, number, _, *more: say(link, number, "no, after all", *more)
            before = open_files()
            here, _, why = await opened(beta)
            assert (here, why) == (None, "no, after all")
            ((key, waiting),) = alpha.door.lines._waiting.items()
            assert waiting.sock is not None
            async with asyncio.timeout(PATIENCE_S):
                assert await asyncio.get_running_loop().sock_recv(waiting.sock, 1) == b""
            alpha.door.lines._expire(key)
            assert open_files() <= before

    run(main)


# --- over TLS -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Security]:
    """What protects two agents that are paired."""
    kept = {
        name: identity.keep_identity(LocalDisk(), tmp_path_factory.mktemp(name), key_maker.make(name, 2026))
        for name in ("alpha", "beta")
    }
    book = PinBook(
        tuple(Peer(name=name, agent_id=f"id-{name}", certificate=one.certificate) for name, one in kept.items())
    )
    return {name: Security(one.path, book) for name, one in kept.items()}


CERTIFICATE = b"what beta's workers show"


async def shown() -> bytes:
    """Stand for the certificate that an agent's workers show."""
    return CERTIFICATE


@pytest.mark.parametrize("asker", ["alpha", "beta"])
def test_over_tls_both_ends_are_told_how_to_know_each_other(secure, asker):
    """One secret for both, one certificate for the session; the connection itself has carried nothing of them."""

    async def main() -> None:
        async with (
            Agent("alpha", security=secure["alpha"]) as alpha,
            Agent("beta", security=secure["beta"]) as beta,
        ):
            await linked(alpha, beta)
            asking, asked = (alpha, beta) if asker == "alpha" else (beta, alpha)
            asked.door.lines.certificate = shown
            made: asyncio.Future[tuple[lines.Half | None, str]] = asyncio.get_running_loop().create_future()
            asking.door.lines.open(end_of(asking), lambda *what: made.set_result(what))
            half, why = await made
            assert half is not None, why
            taken = asked.door.lines.take(end_of(asked).link, half.ticket)
            assert taken is not None
            assert len(half.secret) == lines.SECRET_BYTES
            assert (half.secret, half.certificate) == (taken.secret, CERTIFICATE)
            assert half.secret != half.ticket
            with half.sock, taken.sock:
                for sock in (half.sock, taken.sock):
                    with pytest.raises(BlockingIOError):
                        sock.recv(1)

    run(main)


def test_who_uses_a_ticket_that_it_has_overheard_has_a_connection_that_nobody_takes(secure):
    """The neighbour's own is sent away then, and the line is not made; what was used first is closed."""

    async def main() -> None:
        async with (
            Agent("alpha", security=secure["alpha"]) as alpha,
            Agent("beta", security=secure["beta"]) as beta,
        ):
            await linked(alpha, beta)
            beta.door.lines.certificate = shown
            overheard: list[bytes] = []
            dialled = alpha.door.lines._dialled

            async def late(link: Any, ticket: bytes) -> socket.socket | None:
                overheard.append(ticket)
                eve = await Client.tcp(beta.address)
                eve.writer.write(preamble(ticket))
                assert await eve.reader.readexactly(1) == TAKEN
                return await dialled(link, ticket)

            alpha.door.lines._dialled = late  # type: ignore[method-assign]
            here, _, why = await opened(alpha)
            assert (here, why) == (None, "the connection could not be made")
            assert len(overheard) == 1

    run(main)


@pytest.mark.parametrize("what", ["no key", "no secret", "no certificate"])
def test_over_tls_nothing_is_made_that_could_be_plain(secure, what):
    """An agent that has no key for it says so; one that does not ask for a secret, or shows nothing, has no line."""

    async def main() -> None:
        async with (
            Agent("alpha", security=secure["alpha"]) as alpha,
            Agent("beta", security=secure["beta"]) as beta,
        ):
            await linked(alpha, beta)
            if what == "no secret":
                answers: list[LineAnswer] = []
                alpha.door.route(LineAnswer, lambda _, message: answers.append(message))
                end_of(alpha).link.send(LineOpen(1, TICKET))
                end_of(alpha).link.flush()
                await until(lambda: answers)
                assert "secret" in answers[0].objection
                return
            if what == "no certificate":

                async def nothing() -> bytes:
                    return b""

                beta.door.lines.certificate = nothing
            here, _, why = await opened(alpha)
            assert here is None
            assert {"no key": "no key for lines", "no certificate": "by what its worker is known"}[what] in why

    run(main)


@pytest.mark.parametrize("is_there", [True, False])
def test_what_lines_over_tls_need_is_made_before_they_are_asked_for(is_there):
    """A neighbour that comes has it made, once; where it cannot be made nothing happens before somebody asks."""

    async def main() -> None:
        async with Agent("beta") as beta:
            asked = 0

            async def certificate() -> bytes:
                nonlocal asked
                asked += 1
                if not is_there:
                    raise ConfigError("no cryptography here")
                return CERTIFICATE

            beta.door.lines.certificate = certificate
            beta.door.lines.prepare()
            await until(lambda: asked == 1)

    run(main)

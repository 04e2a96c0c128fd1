"""Values and peers with few rights: each gets what it was given, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path

import pytest

from agentd.comm.trust.security import Security, asking
from agentd.core import events as e
from agentd.core.state import AgentState, Rules
from agentd.core.state import Identity as CoreIdentity
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Task
from agentd.daemon.data.serving import Serving
from agentd.daemon.data.windows import Windows
from agentd.model.exchange import End, Offer
from agentd.model.peers import Limits, Peer, PinBook
from agentd.model.task import Outcome, Status, Template
from agentd.model.values import NO_VALUE, Codec, Part, Payload, Remote
from agentd.store import identity, key_maker
from agentd.store.disk import LocalDisk
from agentd.wire import messages as m
from agentd.workers.segments import Segments
from schedulers.capacity import Capacity
from tests.integration.comm_rig import Agent, Client, run

JSON = Payload(Codec.JSON, b'{"args":[1]}')
TOTAL = Template("shop.prices:total")
LIMITED = Limits(functions=("shop.prices:total",))


class Pair:
    """Agent beta, which has alpha in its book, and what alpha shows of itself."""

    def __init__(self, folder: Path) -> None:
        kept = {}
        for name in ("alpha", "beta"):
            (folder / name).mkdir()
            kept[name] = identity.keep_identity(LocalDisk(), folder / name, key_maker.make(name, 2026))
        self.alpha = kept["alpha"]
        self.book = PinBook((Peer(name="alpha", agent_id="id-alpha", certificate=self.alpha.certificate),))
        self.security = Security(kept["beta"].path, self.book)

    async def linked(self, agent: Agent) -> Client:
        """Let alpha in, over TLS."""
        context = asking()
        context.load_cert_chain(self.alpha.path)
        client = Client(*await asyncio.open_connection(*(await agent.listen()).address, ssl=context))
        ack = await client.hello(
            "peer", name="alpha", agent_id="id-alpha", boot="b", credits=100, capabilities={"lends": True}
        )
        assert ack.ok, ack
        return client


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


class Store:
    """What an agent has for others: one value of its own in shared memory, and who was given it."""

    def __init__(self, agent: Agent, name: str) -> None:
        rules = Rules(refer_bytes=1)
        core = CoreIdentity(name, f"id-{name}", "boot-1", 1)
        self.state = AgentState(core, Capacity(), rules, itertools.count(1), itertools.count(77))
        self.segments = Segments()
        descriptor = os.memfd_create("value", os.MFD_ALLOW_SEALING)
        os.write(descriptor, b"secret")
        number = self.segments.adopt_own(descriptor, 6, lambda _: None)
        os.close(descriptor)
        self.segments.retain(number)
        self.serving = Serving(self.state, agent.door, self.segments, None, None, Windows(self.segments))
        agent.door.route(m.DataRequest, self.serving.requested)
        self.value = self.state.objects.share(Payload(Codec.PICKLE, b"", (Part(6, None, number),)))
        self.reference = self.state.objects.wire(self.value)
        self.key = self.value.parts[0].remote.key

    def close(self) -> None:
        self.segments.close()


async def asked(client: Client, store: Store, stream: int) -> m.DataChunk:
    """Ask for the value, and give what comes."""
    home, boot, number = store.key
    client.say(m.DataRequest(number, 0, 6, home, boot, stream))
    return await client.hear(m.DataChunk)


def test_a_limited_peer_gets_the_values_that_it_was_given_and_no_others(pair):
    """To know the number of a value is no right to it: an end that names it is one, or a task that reads it.

    The limit counts from the moment that it is set, and the peer is told why.
    """

    async def main() -> None:
        async with Agent("beta", security=pair.security) as agent:
            store = Store(agent, "beta")
            client = await pair.linked(agent)
            assert bytes((await asked(client, store, 1)).data) == b"secret"
            agent.door.trust(pair.book.limit("alpha", LIMITED))
            refused = await asked(client, store, 2)
            assert (refused.error, refused.gone) == ("beta limits alpha: it was not given that", True)
            store.state.objects.export(store.value, "alpha")
            assert bytes((await asked(client, store, 3)).data) == b"secret"
            store.state.objects.released("alpha", [(store.key, 1)])
            assert (await asked(client, store, 4)).error
            row = store.state.neighbourhood.ensure("alpha", 8)
            row.held[5] = Task(5, Shapes().intern(TOTAL), store.value, HERE, 0)
            assert bytes((await asked(client, store, 5)).data) == b"secret"
            del row.held[5]
            assert (await asked(client, store, 6)).error
            store.close()

    run(main)


def test_a_limited_peer_cannot_have_a_value_read_for_it(pair):
    """A task whose offer names a value that the peer was not given is refused for good; with its own it is let in."""
    own = Payload(Codec.PICKLE, b"", (Part(6, remote=Remote("id-alpha", "b", 9, 6, ("id-alpha",))),))

    async def main() -> None:
        async with Agent("beta", security=pair.security) as agent:
            store = Store(agent, "beta")
            client = await pair.linked(agent)
            store.state.neighbourhood.ensure("alpha", 8).agent_id = "id-alpha"
            agent.door.trust(pair.book.limit("alpha", LIMITED))
            client.say(m.Declare(((1, TOTAL),)))
            hidden = Offer(13, 1, JSON, inputs=(store.reference,))
            client.say(m.Offers([Offer(11, 1, own), Offer(12, 1, store.reference), hidden]))
            refused = (await client.hear(m.Answers)).refused
            assert [(refusal.task, refusal.final) for refusal in refused] == [(12, True), (13, True)]
            assert refused[0].reason == "agent beta limits alpha: the task reads a value that was not given to it"
            (received,) = await agent.until(e.OffersReceived)
            assert [offer.task for offer in received.offers] == [11]
            store.state.objects.take(received.offers[0].payload, "alpha")
            client.say(m.Offers([Offer(14, 1, own)]))
            assert len(await agent.until(e.OffersReceived, 2)) == 2
            store.state.objects.export(store.value, "alpha")
            client.say(m.Offers([Offer(15, 1, store.reference)]))
            assert len(await agent.until(e.OffersReceived, 3)) == 3
            store.close()

    run(main)


def test_a_limited_peer_cannot_have_a_value_given_to_it_by_an_end(pair):
    """Who names in an end what it was not given has a task that failed: what reads it next might be offered to it."""

    async def main() -> None:
        async with Agent("beta", security=pair.security) as agent:
            store = Store(agent, "beta")
            client = await pair.linked(agent)
            store.state.neighbourhood.ensure("alpha", 8).agent_id = "id-alpha"
            end = End(7, 1, 1, Outcome(made=(store.reference,)))
            client.say(m.Ends([end]))
            (believed,) = (await agent.until(e.EndsReceived))[0].ends
            assert believed.outcome.made == (store.reference,)
            agent.door.trust(pair.book.limit("alpha", LIMITED))
            client.say(m.Ends([end]))
            (told,) = (await agent.until(e.EndsReceived, 2))[1].ends
            assert (told.task, told.outcome.status, told.outcome.values) == (7, Status.FAILED, (NO_VALUE,))
            assert "was not given to it" in told.outcome.failure.message
            store.state.objects.export(store.value, "alpha")
            client.say(m.Ends([end]))
            (given,) = (await agent.until(e.EndsReceived, 3))[2].ends
            assert given.outcome.made == (store.reference,)
            store.close()

    run(main)

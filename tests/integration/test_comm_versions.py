"""Two versions of the protocol, and different Pythons, at the two ends of a link."""

from __future__ import annotations

import pytest

from agentd.comm.ends import parts
from agentd.comm.settings import CommSettings
from agentd.core import commands as c
from agentd.core import events as e
from agentd.model.exchange import Offer
from agentd.model.task import Template
from agentd.model.values import Payload
from tests.integration.comm_rig import Agent, run

QUICK = {"backoff_first_s": 0.01, "backoff_most_s": 0.1}
NEW, OLD = CommSettings(**QUICK), CommSettings(**QUICK, protocol_max=1)
PAIRS = ((3, 1), (4, 2))


async def linked(alpha: Agent, beta: Agent) -> tuple[e.LinkOpened, e.LinkOpened]:
    """Let alpha dial beta; give what each was told of the link."""
    await beta.listen()
    alpha.dial(beta, "beta")
    (here,), (there,) = await alpha.until(e.LinkOpened), await beta.until(e.LinkOpened)
    return here, there


@pytest.mark.parametrize(
    ("dialler", "acceptor"), [(OLD, NEW), (NEW, OLD), (OLD, OLD)], ids=["old-new", "new-old", "old"]
)
def test_an_older_version_is_spoken_with(dialler: CommSettings, acceptor: CommSettings) -> None:
    """Work goes both ways, and nobody waits for an inventory that an older end does not tell."""

    async def main() -> None:
        async with Agent("alpha", dialler) as alpha, Agent("beta", acceptor) as beta:
            here, there = await linked(alpha, beta)
            assert (here.compares, there.compares) == (False, False)
            alpha.do(c.SendInventory("beta", PAIRS, ()))
            for one, other in ((alpha, beta), (beta, alpha)):
                name = "beta" if other is beta else "alpha"
                one.do(c.DeclareTemplates(name, ((1, Template("m:f")),)))
                one.do(c.SendOffers(name, [Offer(10, 1, Payload())]))
                await other.until(e.OffersReceived)
            assert beta.of(e.InventoryReceived) == []

    run(main)


def test_the_newest_common_version_begins_with_inventories() -> None:
    """Both ends tell theirs first, in as many messages as they take; what leaves is told too."""

    async def main() -> None:
        async with Agent("alpha", NEW) as alpha, Agent("beta", NEW) as beta:
            alpha.tells = False
            here, there = await linked(alpha, beta)
            assert (here.compares, there.compares) == (True, True)
            alpha.do(c.SendInventory("beta", PAIRS, ((5, 1),)))
            held, finished = await beta.until(e.InventoryReceived, 2)
            assert (held.held, held.finished, held.is_complete, held.link) == (PAIRS, (), False, there.link)
            assert (finished.held, finished.finished, finished.is_complete) == ((), ((5, 1),), True)
            alpha.do(c.SendDrain("beta", 3.0, "the lid is shut"))
            (leaving,) = await beta.until(e.NeighbourDraining)
            assert (leaving.neighbour, leaving.link, leaving.reason) == ("alpha", there.link, "the lid is shut")

    run(main)


def test_a_large_inventory_is_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task is named once, and only the last message says that it is the last."""
    monkeypatch.setattr(parts, "NAMED_MOST", 3)

    async def main() -> None:
        async with Agent("alpha", NEW) as alpha, Agent("beta", NEW) as beta:
            alpha.tells = False
            await linked(alpha, beta)
            alpha.do(c.SendInventory("beta", tuple((task, 1) for task in range(1, 8)), ()))
            told = await beta.until(e.InventoryReceived, 3)
            assert [task for part in told for task, _ in part.held] == list(range(1, 8))
            assert [part.is_complete for part in told] == [False, False, True]

    run(main)


def test_who_offers_before_it_has_told_its_inventory_is_dropped() -> None:
    """It would be offered anew what it holds."""

    async def main() -> None:
        async with Agent("alpha", NEW) as alpha, Agent("beta", NEW) as beta:
            alpha.tells = False
            await linked(alpha, beta)
            alpha.do(c.SendOffers("beta", [Offer(10, 1, Payload())]))
            (closed,) = await beta.until(e.LinkClosed)
            assert closed.code == "protocol"
            assert "before INVENTORY" in closed.reason
            assert beta.of(e.OffersReceived) == []

    run(main)

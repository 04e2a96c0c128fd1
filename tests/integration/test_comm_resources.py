"""Pools reshaped over Comm: by a user of scope admin, and by a peer that speaks of itself."""

from __future__ import annotations

import pytest

from agentd.wire import messages as m
from schedulers.capacity import Capacity, cores
from tests.conftest import StartAgent
from tests.integration.comm_rig import Agent, Client, run
from tests.integration.daemon_rig import Door, until


@pytest.mark.parametrize(
    ("role", "access", "said", "words"),
    [
        ("user", "code", m.ResourceChange("added", "beta", cores(1)), "needs the scope admin"),
        ("peer", "code", m.ResourceChange("added", "beta", cores(1)), "each agent speaks of its own"),
        ("peer", "code", m.ResourceChange("lost", "alpha"), "says that its resources are 'lost'"),
    ],
)
def test_who_may_not_is_told_and_dropped(role: str, access: str, said: m.ResourceChange, words: str) -> None:
    """Users without the scope, peers that speak of others."""

    async def main() -> None:
        async with Agent("beta", local_access=access) as beta:
            taken: list[m.Message] = []
            beta.door.route(m.ResourceChange, lambda _, message: taken.append(message))
            client = await Client.tcp((await beta.listen()).address)
            assert (await client.hello(role, name="alpha", agent_id="id-alpha", boot="b")).ok
            client.say(said)
            goodbye = await client.hear(m.Goodbye)
            assert words in goodbye.reason
            assert taken == []

    run(main)


def test_a_peer_speaks_of_itself_and_names_no_adaptor() -> None:
    """What is passed on bears the name by which it is known here."""

    async def main() -> None:
        async with Agent("beta") as beta:
            taken: list[m.Message] = []
            beta.door.route(m.ResourceChange, lambda _, message: taken.append(message))
            client = await Client.tcp((await beta.listen()).address)
            assert (await client.hello("peer", name="alpha", agent_id="id-alpha", boot="b")).ok
            client.say(m.ResourceChange("reduced", "", cores(1), "comm", {"Port": "1"}))
            client.say(m.ResourceChange("lost", "alpha"))
            await client.hear(m.Goodbye)
            assert taken == [m.ResourceChange("reduced", "alpha", cores(1))]

    run(main)


def test_a_user_of_scope_admin_reshapes_the_pool(start_agent: StartAgent) -> None:
    """Own device and neighbours, every change; what cannot be changes nothing and is told in the log."""
    agent = start_agent("--hostname", "alpha", "--cpu", "1", "--local-access", "admin")
    door = Door(agent.rest, agent.state)

    def pool() -> dict[str, int]:
        return {row["name"]: row["total"]["CPU"] for row in door.get("/v1/resources")["resources"]}

    async def main() -> None:
        user = await Client.unix(agent.state / "agent.sock")
        assert (await user.hello()).scope == "admin"
        at = {"Host": "127.0.0.1", "Port": "9"}
        steps: list[tuple[m.ResourceChange, dict[str, int]]] = [
            (m.ResourceChange("added", "alpha", cores(2)), {"alpha": 3}),
            (m.ResourceChange("reduced", "alpha", cores(1)), {"alpha": 2}),
            (m.ResourceChange("added", "b", cores(4), "comm", at), {"alpha": 2, "b": 4}),
            (m.ResourceChange("added", "b", cores(1)), {"alpha": 2, "b": 5}),
            (m.ResourceChange("reduced", "b", cores(3)), {"alpha": 2, "b": 2}),
            (m.ResourceChange("lost", "b"), {"alpha": 2}),
            (m.ResourceChange("removed", "alpha", Capacity()), {"alpha": 0}),
        ]
        for message, expected in steps:
            user.say(message)
            until(lambda expected=expected: pool() == expected)
        wrong = (
            m.ResourceChange("reduced", "alpha", cores(9)),
            m.ResourceChange("removed", "nobody"),
            m.ResourceChange("added", "nobody", cores(1)),
            m.ResourceChange("added", "nobody", cores(1), "pigeon"),
            m.ResourceChange("melted", "alpha"),
        )
        for message in wrong:
            user.say(message)
        user.say(m.ResourceChange("added", "c", cores(1), "comm", at))
        until(lambda: pool() == {"alpha": 0, "c": 1})
        until(lambda: "a change of resources from unix uid" in agent.stderr)  # one of them; the others are counted

    run(main)


def test_a_peer_that_is_not_in_the_pool_does_not_come_into_it(start_agent: StartAgent) -> None:
    """Giving us work is no reason to be given some."""
    agent = start_agent("--hostname", "alpha", "--cpu", "1")
    door = Door(agent.rest, agent.state)

    async def main() -> None:
        host, _, port = agent.comm.rpartition(":")
        peer = await Client.tcp((host, int(port)))
        assert (await peer.hello("peer", name="beta", agent_id="id-beta", boot="b")).ok
        peer.say(m.ResourceChange("added", "beta", cores(4)))
        until(lambda: "no resource 'beta' in the pool" in agent.stderr)

    run(main)
    assert [row["name"] for row in door.get("/v1/resources")["resources"]] == ["alpha"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (m.ResourceChange("reduced", "alpha", cores(9)), "cannot take away that much"),
        (m.ResourceChange("removed", "nobody"), "no resource 'nobody'"),
        (m.ResourceChange("added", "nobody", cores(1)), "without an adaptor"),
        (m.ResourceChange("added", "nobody", cores(1), "pigeon"), "unknown adaptor 'pigeon'"),
        (m.ResourceChange("melted", "alpha"), "'melted' is no change"),
    ],
)
def test_what_cannot_be_is_told_in_words(start_agent: StartAgent, wrong: m.ResourceChange, words: str) -> None:
    """There is no answer, so the log has the reason: the first of a source is never among those that are counted."""
    agent = start_agent("--hostname", "alpha", "--cpu", "1", "--local-access", "admin")

    async def main() -> None:
        user = await Client.unix(agent.state / "agent.sock")
        assert (await user.hello()).scope == "admin"
        user.say(wrong)
        until(lambda: words in agent.stderr)

    run(main)
    rows = Door(agent.rest, agent.state).get("/v1/resources")["resources"]
    assert {row["name"]: row["total"]["CPU"] for row in rows} == {"alpha": 1}

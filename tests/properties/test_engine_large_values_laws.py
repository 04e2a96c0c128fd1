"""Laws of large values: whatever happens on their way, tasks read what was written, and nothing is kept in the end.

A chain of agents: the first has users and hardly a core, so arguments and results cross one or two links, in chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentd.core.state import Rules
from tests.fakes.world import World
from tests.fakes.world_data import Memory
from tests.fakes.world_users import DURABLE, TEMPLATES, Users

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = 6
PEACE_S = 90.0


class Chain:
    """Four agents in a row and tasks with large arguments and results."""

    def __init__(self, seed: int, *, template: int) -> None:
        self.world = World(seed)
        self.users = Users(self.world)
        for name, units in zip("abcd", (1, 1, 2, 2), strict=True):
            self.world.add(name, units, rules=Rules(orphan_ttl_s=15.0))
        for one, other in ("ab", "bc", "cd"):
            self.world.connect(one, other)
        self.world.run(1.0)
        first = self.world.hosts["a"]
        session = self.users.open_session(first)
        for number in range(TASKS):
            program = f"ok 0.3 big {number}"
            if template in DURABLE:
                self.users.submit(first, TEMPLATES[template], program)
            else:
                self.users.call(first, session, template, [program])

    def end(self) -> list[str]:
        """Heal everything, let all end; gives what must not have happened."""
        self.world.heal()
        is_quiet = self.world.run_until(lambda: self.world.is_quiet and not self.users.asking, PEACE_S, 0.5)
        self.world.run(1.0)
        if not is_quiet:
            self.world.history.broken("not everything has ended")
        self.world.history.breaches.extend(self.users.unsettled())
        return self.world.history.close()


def cut(near: str, far: str) -> Callable[[World], None]:
    """Cut a wire for good, until the end."""
    return lambda world: world.wire(near, far).cut()


def reset(name: str) -> Callable[[World], None]:
    """Break all connections of an agent at once."""

    def act(world: World) -> None:
        for end in list(world.hosts[name].ends.values()):
            end.other.close("reset")
            end.close("reset")

    return act


def crash(name: str) -> Callable[[World], None]:
    """Let an agent die; it starts again when everything is healed."""
    return lambda world: world.hosts[name].crash()


def nothing(_: World) -> None:
    """Let all go well."""


FAULTS = {
    "nothing": nothing,
    "first wire cut": cut("a", "b"),
    "second wire cut": cut("b", "c"),
    "last wire cut": cut("c", "d"),
    "relay reset": reset("b"),
    "end reset": reset("d"),
    "relay crash": crash("b"),
    "end crash": crash("c"),
    "home crash": crash("a"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("template", [0, 6])
def test_large_values_arrive_whole_whatever_happens(fault: str, template: int) -> None:
    """Operations and calls of a session, with a fault at several moments of the transfer."""
    for seed, moment in enumerate((0.01, 0.05, 0.12, 0.3, 0.5, 1.0)):
        chain = Chain(seed, template=template)
        chain.world.run(moment)
        if fault != "nothing":
            chain.world.history.has_faults = True
        FAULTS[fault](chain.world)
        chain.world.run(8.0 if seed % 2 else 0.4)
        assert chain.end() == [], f"{fault} after {moment} s"


def test_a_value_that_changes_on_its_way_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker can fail: a piece of another value is noticed by who reads it."""
    put = Memory.put
    monkeypatch.setattr(Memory, "put", lambda self, _content: put(self, "another"))
    chain = Chain(1, template=0)
    assert chain.end() != []

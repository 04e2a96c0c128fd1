"""Law of links that break while everybody is well: nothing healthy is restarted, and everything ends.

AGENTD_SEEDS sets how many histories are tried.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentd.core.neighbours.inventories import Inventories
from agentd.core.neighbours.links import Links
from agentd.core.neighbours.taking import Taking
from tests.fakes.world_storm import Flaps

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = int(os.environ.get("AGENTD_SEEDS", "500")) // 10
BLOCKS = 10
PLANTED_SEEDS = 60
"""Histories of which at least one must show a planted bug."""


def breaches(seed: int) -> list[str]:
    """Play one history; a broken invariant is a breach like any other."""
    try:
        return Flaps(seed).run()
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed must be told
        return [f"{type(error).__name__}: {error}"]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_broken_connection_costs_no_execution(block: int) -> None:
    """Resets and short cuts, in nets of both versions of the protocol: each task is begun once, and ends."""
    for seed in range(block * SEEDS // BLOCKS, (block + 1) * SEEDS // BLOCKS):
        found = breaches(seed)
        assert not found, "\n".join([f"seed {seed}", *found[:5]])


# --- the checker can fail ---------------------------------------------------------------------------------------


def names_nothing(patch: pytest.MonkeyPatch) -> None:
    """What an agent holds is left out of its inventory."""
    tell = Inventories.tell
    patch.setattr(Inventories, "tell", lambda self, row, given, **how: tell(self, row, [], **how))


def believes_no_inventory(patch: pytest.MonkeyPatch) -> None:
    """What a neighbour names is taken for lost all the same."""
    patch.setattr(Inventories, "_compare", lambda self, *named, has_ended: None)


def forgets_what_did_not_arrive(patch: pytest.MonkeyPatch) -> None:
    """What a neighbour does not name is believed to be there."""
    patch.setattr(Inventories, "_settle", lambda self, neighbour, now: None)


def takes_each_cut_for_a_crash(patch: pytest.MonkeyPatch) -> None:
    """The boot identifier is not looked at."""
    opened = Links.link_opened

    def other_boot(self, event, now):
        row = self._state.neighbourhood.get(event.neighbour)
        if row is not None and row.boot:
            row.boot = "another"
        opened(self, event, now)

    patch.setattr(Links, "link_opened", other_boot)


def takes_what_it_has_for_new(patch: pytest.MonkeyPatch) -> None:
    """A task that is offered again is run again."""
    patch.setattr(Taking, "_meet", lambda self, *known: self._state.ledger.forget(known[2]))


@pytest.mark.parametrize(
    "plant",
    [
        names_nothing,
        believes_no_inventory,
        forgets_what_did_not_arrive,
        takes_each_cut_for_a_crash,
        takes_what_it_has_for_new,
    ],
)
def test_a_planted_bug_is_seen(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that was never seen to fail proves nothing."""
    plant(monkeypatch)
    assert any(breaches(seed) for seed in range(PLANTED_SEEDS))

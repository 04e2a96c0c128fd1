"""What `agentd status` shows of neighbours."""

from __future__ import annotations

import pytest

from agentd.model.views import NeighbourView
from cli.status import neighbour_row


@pytest.mark.parametrize(
    ("advertised", "shown"),
    [
        ({}, ""),
        ({"cores": 4.0, "free": 3.0, "backlog_s": 0.0}, "3 of 4"),
        ({"cores": 4.0, "free": 3.0, "own_cores": 4.0, "own_free": 3.0}, "3 of 4"),
        ({"cores": 12.0, "free": 8.0, "own_cores": 4.0, "own_free": 3.0}, "3 of 4, 8 of 12 with those beyond"),
    ],
)
def test_a_neighbours_own_cores_are_told_from_those_beyond_it(advertised: dict[str, float], shown: str) -> None:
    """Its own first; all that can be reached through it only where that is more, and nothing where it has not said."""
    row = NeighbourView("n", "connected", False, "n:1", None, None, advertised, None, 0.0, 0)
    assert neighbour_row(row)[3] == shown

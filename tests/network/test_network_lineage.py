"""A neighbour that has the only copies of values is cut off, or loses its power: they are made again, and are the same.

python -m pytest tests/network/test_network_lineage.py
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from network.net_rig import Net
from network.site_rig import LOOK_S, Site

SIZE = 1 << 20
"""Of a value: far above what travels within messages."""
PATIENCE_S = 120.0

long = pytest.mark.skipif("AGENTD_FAULT_TASKS" not in os.environ, reason="as the other one: make faults")


def figure(site: Site, name: str, metric: str) -> float:
    """Read a metric of an agent."""
    found = re.search(rf"^agentd_{metric} (\S+)$", site.doors[name].client.get("/metrics").text, re.MULTILINE)
    assert found is not None, metric
    return float(found[1])


@pytest.mark.parametrize("how", ["cut", pytest.param("power", marks=long)])
def test_values_that_only_a_lost_neighbour_has_are_made_again(
    make_net: Callable[..., Net], start_agent: Callable[..., Any], tmp_path: Path, how: str
) -> None:
    """The program ends with the values of a run without any fault; what is lost is made again, and nothing else is."""
    site = Site(make_net("a", "b", "c"), start_agent)
    for name in "bc":
        site.start(name, 1)
    site.start("a", 1, dials=("b", "c"))
    site.connect(("a", "b"), ("a", "c"))
    word = tmp_path / "word"
    asked = site.doors["a"].submit("moved_values:left_with_each", SIZE, str(word), 3)["id"]
    ready, ends_at = Path(f"{word}.ready"), time.monotonic() + PATIENCE_S
    while not ready.exists():
        assert time.monotonic() < ends_at, "the values were never made"
        time.sleep(LOOK_S)
    assert figure(site, "a", "fetched_bytes") == 0, "its values are with those who made them"
    site.net.cut("a", "b")
    if how == "power":
        site.agents["b"].kill()
    Path(f"{word}.go").touch()
    ended = site.doors["a"].wait(asked, PATIENCE_S)
    assert ended["state"] == "done", ended
    assert ended["result"] == [[SIZE, 0], [SIZE, 1], [SIZE, 2]]
    assert figure(site, "a", "remade_total") == 1
    site.net.heal("a", "b")
    if how == "cut":
        site.connect(("a", "b"))
        assert site.doors["a"].wait(asked, 0)["result"] == ended["result"]

"""Agents on devices of a network of their own: who dials whom, and what people see of the links."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door
from network.net_rig import Inside, Net

COMM_PORT = 46102
LOOK_S = 0.02


class Site:
    """Agents by the names of their devices; `start_agent` is the fixture, which ends them."""

    def __init__(self, net: Net, start_agent: Callable[..., Any]) -> None:
        self.net = net
        self._start_agent = start_agent
        self.agents: dict[str, Any] = {}
        self.doors: dict[str, Door] = {}

    def start(
        self, name: str, cores: int, *options: str, dials: tuple[str, ...] = (), plain: bool = False, **more: Any
    ) -> Door:
        """Start an agent on its device; those that it `dials` become its neighbours.

        All goes over TLS, and the devices are paired for it; `plain` does without both.
        """
        neighbours = [f"--neighbour={other}={self.net.address(other)}:{COMM_PORT}" for other in dials if plain]
        before = self.agents.get(name)
        agent = self.agents[name] = self._start_agent(
            *WITH_APPS,
            *("--hostname", name, "--cpu", str(cores)),
            *(("--insecure",) if plain else ()),
            *("--comm-host", self.net.address(name), "--comm-port", str(COMM_PORT)),
            *neighbours,
            *options,
            state=before.state if before is not None else None,
            space=self.net.space(name),
            **more,
        )
        door = self.doors[name] = Door(agent.rest, agent.state, Inside(self.net, name))
        for other in dials if before is None and not plain else ():
            self.join(other, name)
        return door

    def join(self, inviting: str, joining: str, *, is_parent: bool = False) -> None:
        """Pair two devices as people do: from then on the one that joins lends from the other, and dials it."""
        made = self.doors[inviting].client.post("/v1/invitations", json={"role": "peer"})
        made.raise_for_status()
        asked = {"invitation": made.json()["invitation"], "is_parent": is_parent}
        self.doors[joining].client.post("/v1/peers", json=asked).raise_for_status()
        self.connect((inviting, joining))

    def pair(self, inviting: str, joining: str) -> None:
        """Pair two devices; from then on each lends from the other, and whichever can dials."""
        self.join(inviting, joining)
        self.doors[inviting].client.post("/v1/resources", json={"name": joining, "capacity": {}}).raise_for_status()

    def link(self, name: str, other: str) -> dict[str, Any]:
        """Show one agent's link to another; empty when it knows of none."""
        rows = self.doors[name].get("/v1/neighbours")["neighbours"]
        found: dict[str, Any] = next((row for row in rows if row["name"] == other), {})
        return found

    def until(self, name: str, other: str, *states: str, within_s: float = PATIENCE_S) -> float:
        """Wait until one agent says so of its link to another; gives how long that took."""
        begin = time.monotonic()
        while (state := self.link(name, other).get("state")) not in states:
            took_s = time.monotonic() - begin
            assert took_s < within_s, f"{name} says that {other} is {state}, not {states}, after {took_s:.1f} s"
            time.sleep(LOOK_S)
        return time.monotonic() - begin

    def connect(self, *pairs: tuple[str, str]) -> None:
        """Wait until both ends of each link say that it is there."""
        for one, other in pairs:
            self.until(one, other, "connected")
            self.until(other, one, "connected")


def runs(folder: Path) -> dict[str, int]:
    """Count how often each task was begun: by `sums:note`, one file for each."""
    return {path.name: path.read_text().count("begin") for path in folder.iterdir()}

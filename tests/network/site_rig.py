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
        self, name: str, cores: int, *options: str, dials: tuple[str, ...] = (), secure: bool = False, **more: Any
    ) -> Door:
        """Start an agent on its device; those that it `dials` become its neighbours.

        With `secure` all goes over TLS, and the devices have to be paired (`pair`).
        """
        neighbours = [f"--neighbour={other}={self.net.address(other)}:{COMM_PORT}" for other in dials]
        before = self.agents.get(name)
        agent = self.agents[name] = self._start_agent(
            *WITH_APPS,
            *("--hostname", name, "--cpu", str(cores)),
            *(() if secure else ("--insecure",)),
            *("--comm-host", self.net.address(name), "--comm-port", str(COMM_PORT)),
            *neighbours,
            *options,
            state=before.state if before is not None else None,
            prefix=self.net.inside(name),
            **more,
        )
        door = self.doors[name] = Door(agent.rest, agent.state, Inside(self.net, name))
        return door

    def pair(self, inviting: str, joining: str) -> None:
        """Pair two devices as people do; from then on each is the other's neighbour."""
        made = self.doors[inviting].client.post("/v1/invitations", json={"role": "peer"})
        made.raise_for_status()
        asked = {"invitation": made.json()["invitation"]}
        self.doors[joining].client.post("/v1/peers", json=asked).raise_for_status()
        self.doors[inviting].client.post("/v1/resources", json={"name": joining, "capacity": {}}).raise_for_status()
        self.connect((inviting, joining))

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

"""What tests of whole daemons share: requests to the user port, and chains of agents."""

from __future__ import annotations

import os
import ssl
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import RunningAgent, StartAgent, kept_port

APPS = Path(__file__).parent / "apps"
WITH_APPS = ("--pythonpath", str(APPS))
PATIENCE_S = 60.0
"""Above anything that is waited for, on a busy machine."""
LOOK_S = 0.01
"""How often `until` looks."""

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of no use on loopback; to make one that knows all authorities takes longer than a request."""


class Door:
    """The user port of one agent, with the owner's token."""

    def __init__(self, url: str, state: Path, transport: httpx.BaseTransport | None = None) -> None:
        token = (state / "token").read_text().strip()
        self.client = httpx.Client(
            base_url=url,
            timeout=2 * PATIENCE_S,
            headers={"authorization": f"Bearer {token}"},
            trust_env=False,
            verify=PLAIN,
            transport=transport,
        )
        weakref.finalize(self, self.client.close)

    def submit(self, function: str, *args: object, wait_s: float = 0, **options: object) -> dict[str, Any]:
        """Submit one operation that must be accepted."""
        answer = self.post(function, *args, wait_s=wait_s, **options)
        assert answer.status_code in {200, 202}, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def post(self, function: str, *args: object, wait_s: float = 0, **options: object) -> httpx.Response:
        """Submit one operation, whatever comes of it."""
        key = options.pop("key", None)
        headers = {"idempotency-key": str(key)} if key is not None else {}
        body = {"function": function, "args": list(args), **options}
        return self.client.post("/v1/operations", params={"wait_s": wait_s}, json=body, headers=headers)

    def batch(self, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Submit many."""
        answer = self.client.post("/v1/operations:batch", json={"operations": items})
        assert answer.status_code in {200, 202, 207}, answer.text
        found: list[dict[str, Any]] = answer.json()["operations"]
        return found

    def at_once(self, folder: Path, count: int) -> list[dict[str, Any]]:
        """Have so many tasks of one core run at the same time, wherever; gives how they ended."""
        own = Path(tempfile.mkdtemp(dir=folder))
        notes, gate = [str(own / str(number)) for number in range(count)], own / "gate"
        asked = self.batch([{"function": "sums:beside", "args": [note, str(gate)]} for note in notes])
        until(lambda: all(map(os.path.exists, notes)), f"{count} tasks at once")
        gate.touch()
        return [self.wait(one["operation"]["id"]) for one in asked]

    def wait(self, operation: str, wait_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for an end."""
        found: dict[str, Any] = self.client.get(f"/v1/operations/{operation}", params={"wait_s": wait_s}).json()
        return found

    def get(self, path: str) -> Any:
        """Get a JSON document."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def figure(self, name: str) -> float:
        """Read a metric, by its name without `agentd_`."""
        rows = (line.partition(" ") for line in self.client.get("/metrics").text.splitlines())
        return next(float(value) for key, _, value in rows if key == f"agentd_{name}")

    def lend_from(self, name: str, comm: str, cpu: int = 0, gpu: int = 0) -> None:
        """Add a neighbour with so many units of each kind, and wait until it is connected."""
        host, _, port = comm.rpartition(":")
        kinds = (("CPU", cpu), ("GPU", gpu))
        body = {
            "name": name,
            "properties": {"Host": host, "Port": port},
            "capacity": {"processors": [{"kind": kind, "units": units} for kind, units in kinds if units]},
        }
        answer = self.client.post("/v1/resources", json=body)
        assert answer.status_code in {200, 201}, answer.text
        self.until_connected(name)

    def until_connected(self, name: str) -> None:
        """Follow the agent's events until a neighbour is connected."""
        with self.client.stream("GET", "/v1/events") as events:
            if self.is_connected(name):
                return
            for line in events.iter_lines():
                if line.startswith("data:") and self.is_connected(name):
                    return
        raise AssertionError(f"{name} was never connected")

    def is_connected(self, name: str) -> bool:
        """Tell whether a neighbour is connected."""
        rows = self.get("/v1/neighbours")["neighbours"]
        return any(row["name"] == name and row["state"] == "connected" for row in rows)


def door_of(agent: RunningAgent) -> Door:
    """Give the user port of an agent."""
    return Door(agent.rest, agent.state)


def star(
    start_agent: StartAgent, *options: str, env: dict[str, str] | None = None, **cores: int
) -> dict[str, RunningAgent]:
    """Start agents by name with so many cores each, which all lend them to the first: `star(start, home=1, far=2)`.

    The options and the environment are those of each.
    """
    agents = {
        name: start_agent(*WITH_APPS, "--hostname", name, "--cpu", str(units), *options, env=env)
        for name, units in cores.items()
    }
    first, *others = agents.values()
    for other in others:
        door_of(first).lend_from(other.name, other.comm, cores[other.name])
    return agents


def until(holds: Callable[[], Any], what: str = "what is waited for") -> Any:
    """Wait for what nothing tells of; gives what `holds` gave in the end."""
    end_s = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < end_s, f"{what} did not come"
        time.sleep(LOOK_S)
    return found


def free_port() -> int:
    """Give a port at which nobody answers, unless the test starts somebody there: it is kept as long as tests run."""
    kept = kept_port()
    port = int(kept.getsockname()[1])
    kept.detach()
    return port

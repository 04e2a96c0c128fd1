"""What tests of whole daemons share: requests to the user port, and chains of agents."""

from __future__ import annotations

import ssl
import weakref
from pathlib import Path
from typing import Any

import httpx

APPS = Path(__file__).parent / "apps"
WITH_APPS = ("--pythonpath", str(APPS))
PATIENCE_S = 60.0
"""Above anything that is waited for, on a busy machine."""

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of no use on loopback; to make one that knows all authorities takes longer than a request."""


class Door:
    """The user port of one agent, with the owner's token."""

    def __init__(self, url: str, state: Path, transport: httpx.BaseTransport | None = None) -> None:
        token = (state / "token").read_text().strip()
        self.client = httpx.Client(
            base_url=url,
            timeout=PATIENCE_S,
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

    def wait(self, operation: str, wait_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for an end."""
        found: dict[str, Any] = self.client.get(f"/v1/operations/{operation}", params={"wait_s": wait_s}).json()
        return found

    def get(self, path: str) -> Any:
        """Get a JSON document."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def lend_from(self, name: str, comm: str, cores: int) -> None:
        """Add a neighbour."""
        host, _, port = comm.rpartition(":")
        body = {
            "name": name,
            "properties": {"Host": host, "Port": port},
            "capacity": {"processors": [{"units": cores}]},
        }
        answer = self.client.post("/v1/resources", json=body)
        assert answer.status_code in {200, 201}, answer.text

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

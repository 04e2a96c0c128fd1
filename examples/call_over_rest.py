"""Calls a function of an agent over plain HTTP: what any language can do, done here with httpx.

    agentd start --pythonpath examples        # in one terminal
    python examples/call_over_rest.py         # in another one

An argument is the agent's address, if it is not http://127.0.0.1:46101; on another device its token is needed in
AGENTD_TOKEN (`agentd token add NAME --scope submit` makes one).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import httpx

BLOCK = 25_000
LIMIT = 200_000


def main(url: str) -> None:
    """Count the primes below `LIMIT`, in blocks that the agent may run anywhere."""
    token = os.environ.get("AGENTD_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=url, headers=headers, timeout=90) as http:
        blocks = [
            {"function": "primes:count", "args": [start, start + BLOCK], "name": f"from {start}"}
            for start in range(0, LIMIT, BLOCK)
        ]
        answer = http.post("/v1/operations:batch", json={"operations": blocks})
        answer.raise_for_status()
        total = 0
        for item in answer.json()["operations"]:
            if item.get("problem"):
                sys.exit(f"refused: {item['problem']['detail']}")
            total += _ended(http, item["operation"]["id"])
    print(f"{total} primes below {LIMIT}")


def _ended(http: httpx.Client, operation: str) -> int:
    """Wait for an operation, a minute at a time, and give its result."""
    shown: dict[str, Any] = {"state": "queued"}
    while shown["state"] in {"queued", "running", "forwarded"}:
        shown = http.get(f"/v1/operations/{operation}", params={"wait_s": 60}).raise_for_status().json()
    if shown["state"] != "done":
        sys.exit(f"{shown['name']} ended as {shown['state']}: {shown['reason']}")
    print(f"{shown['name']:>12}: {shown['result']} on {shown['ran_on']}")
    return int(shown["result"])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:46101")

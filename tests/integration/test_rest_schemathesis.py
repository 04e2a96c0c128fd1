"""What Schemathesis, which reads OpenAPI documents, finds wrong with a real agent: nothing, for owner and strangers.

AGENTD_FUZZ_CASES says how many cases are made of each route, beside those that the document itself leads to.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartAgent, agent_environment
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door

pytest.importorskip("schemathesis", reason="make fuzz installs schemathesis")

CASES = os.environ.get("AGENTD_FUZZ_CASES", "300")
LIMIT_S = 3600
ENDLESS_OR_LAST = "^(/v1/shutdown|/COMPSs|/v1/events)$"
"""What ends the agent, and a stream that never ends; the first two are asked by strangers."""
CONFIGURATION = """
[parameters]
# nothing is waited for: what is asked for may never run
"query.wait_s" = 0
"query.follow" = false
"header.Prefer" = "wait=0"

[checks]
# names of functions and hosts are no matter of schemas
positive_data_acceptance.enabled = false

[[operations]]
include-path = "/v1/operations:batch"
# one that is wrong is refused in its place, in an answer of 200
checks.negative_data_rejection.enabled = false
"""

pytestmark = pytest.mark.timeout(0)


def _run(folder: Path, *arguments: str) -> None:
    """Let Schemathesis ask, with all of its checks but those."""
    (folder / "schemathesis.toml").write_text(CONFIGURATION)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "--no-color", "run"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", CASES, "--seed", "1"),
            *("--suppress-health-check", "all", "--request-timeout", str(PATIENCE_S), *arguments),
        ],
        cwd=folder,
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("is_owner", [True, False], ids=["owner", "stranger"])
def test_schemathesis_finds_nothing(start_agent: StartAgent, tmp_path: Path, is_owner: bool) -> None:
    """Statuses, content types and bodies are those of the document, what breaks a schema is refused, rights count."""
    agent = start_agent(*WITH_APPS, "--local-access", "none")
    door = Door(agent.rest, agent.state)
    token = (agent.state / "token").read_text().strip()
    known = ("--header", f"Authorization: Bearer {token}", "--exclude-path-regex", ENDLESS_OR_LAST)
    _run(tmp_path, f"{agent.rest}/openapi.json", *(known if is_owner else ()))
    assert door.client.get("/health").status_code == 200
    grown = {"name": agent.name, "capacity": {"processors": [{"units": 1}]}}
    assert door.client.post("/v1/resources", json=grown).status_code == 200, "its own cores may have been taken away"
    assert door.submit("sums:increment", 1, wait_s=PATIENCE_S)["result"] == 2
    assert "Traceback" not in agent.stderr

"""Agents whose users' code runs in different Pythons: work by value goes only where it can be read.

AGENTD_OTHER_PYTHON names another Python, with msgspec and cloudpickle; else one is looked for.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, door_of, until

from agentd.api import AgentExecutor
from tests.conftest import agent_environment

STAND_IN = """#!{python}
import json, os, sys
if sys.argv[1].endswith("versions.py"):
    print(json.dumps({{"python": [{major}, {minor}], "libraries": {{}}}}))
else:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""
"""Runs like this Python, and says to be another."""
MINOR = sys.version_info[1] + 1


def found() -> str:
    """Find a Python of another minor version that workers can run in; empty for none."""
    names = [os.environ.get("AGENTD_OTHER_PYTHON", ""), *(f"python3.{minor}" for minor in range(11, 16))]
    for path in filter(None, map(shutil.which, filter(None, names))):
        asked = [path, "-c", "import sys, msgspec, cloudpickle; print(sys.version_info[1])"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if said.returncode == 0 and int(said.stdout) != sys.version_info[1]:
            return path
    return ""


@pytest.fixture(params=["real", "said"])
def other_python(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give another Python: one that is, or one that only says so."""
    if request.param == "real":
        path = found()
        if not path:
            pytest.skip("no other Python here with msgspec and cloudpickle: AGENTD_OTHER_PYTHON names one")
        return path
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN.format(python=sys.executable, major=3, minor=MINOR))
    stand_in.chmod(0o700)
    return str(stand_in)


def why(state: Path, operation: str) -> str:
    """Type `agentd show` until it says why something waits."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "agentd", "show", operation, "--json"],
            env=agent_environment(AGENTD_STATE=str(state)),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        shown: dict[str, Any] = json.loads(done.stdout)
        if "Python" in str(shown["reason"]):
            return str(shown["reason"])
        assert time.monotonic() < end_s, shown


def test_work_by_value_stays_with_its_python(start_agent: Callable[..., Any], other_python: str) -> None:
    """A function by name runs at the neighbour; one by value waits at home, and `agentd show` says why."""
    helper = start_agent(*WITH_APPS, "--hostname", "helper", "--cpu", "2", "--python-interpreter", other_python)
    own = start_agent(*WITH_APPS, "--hostname", "own", "--cpu", "0")
    door = door_of(own)
    door.lend_from("helper", helper.comm, 2)
    named = door.submit("sums:increment", 4, wait_s=PATIENCE_S)
    assert (named["result"], named["ran_on"]) == (5, "helper")
    (row,) = door.get("/v1/neighbours")["neighbours"]
    assert row["python"].startswith("3.")
    assert row["python"] != f"3.{sys.version_info[1]}"
    with AgentExecutor(str(own.state), durable=True) as executor:
        future = executor.submit(lambda number: number + 1, 4)
        (waiting,) = (one for one in _operations(door, 2) if one["state"] == "queued")
        reason = why(own.state, waiting["id"])
        assert f"Python {row['python']}" in reason
        own_units = {"name": "own", "capacity": {"processors": [{"units": 1}]}}
        door.client.post("/v1/resources", json=own_units).raise_for_status()
        assert future.result(PATIENCE_S) == 5
    assert door.wait(waiting["id"])["ran_on"] == "own"


def _operations(door: Door, count: int) -> list[dict[str, Any]]:
    """Wait until an agent has so many operations."""
    until(lambda: len(door.get("/v1/operations")["operations"]) >= count)
    found: list[dict[str, Any]] = door.get("/v1/operations")["operations"]
    return found

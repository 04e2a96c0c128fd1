"""The examples do what they say, as they are, against a real agent."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.api import connect
from schedulers.capacity import cores
from schedulers.conformance import Host, PlainView, Row, check
from schedulers.loading import load
from schedulers.view import Keep, Run
from tests.conftest import ROOT, RunningAgent, StartAgent, agent_environment

EXAMPLES = ROOT / "examples"
PATIENCE_S = 110
"""Above anything that is waited for, on a busy machine."""

PRIMES_BELOW_200_000 = 17_984
"""https://oeis.org/A007504 counts by other means; any table of pi(x) has it."""


@pytest.fixture
def with_primes(start_agent: StartAgent) -> RunningAgent:
    """Give an agent that has the examples' functions."""
    return start_agent("--pythonpath", str(EXAMPLES))


def _run(agent: RunningAgent, example: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments],
        env=agent_environment(AGENTD_STATE=str(agent.state)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_are_called_over_plain_http(with_primes: RunningAgent) -> None:
    """A client that knows nothing but HTTP submits a batch, waits for each, and adds up."""
    said = _run(with_primes, "call_over_rest.py", with_primes.rest).splitlines()
    assert said[-1] == f"{PRIMES_BELOW_200_000} primes below 200000"
    assert len(said) == 9


def test_a_function_of_the_script_is_mapped_over_real_files(agent: RunningAgent) -> None:
    """The census agrees with counting here, though the agent has never heard of the script."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("census_example", EXAMPLES / "census.py")
    assert spec is not None
    assert spec.loader is not None
    census: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(census)
    library = Path(ast.__file__).parent
    files = [file for package in census.PACKAGES for file in (library / package).rglob("*.py")]
    measured = [census.measure(file.read_text("utf-8")) for file in files]
    functions, lines = sum(len(rest) for _, rest in measured), sum(count for count, _ in measured)
    said = _run(agent, "census.py").splitlines()
    assert said[0] == f"{len(files)} files, {functions} functions, {lines} lines"


def test_a_pipeline_started_again_does_nothing_twice(with_primes: RunningAgent) -> None:
    """The second run finds every step of the first, ends with the same words, and adds no operation."""
    first = _run(with_primes, "pipeline.py", "today").splitlines()
    with connect(with_primes.state) as client:
        before = len(client.operations(limit=100))
    second = _run(with_primes, "pipeline.py", "today").splitlines()
    with connect(with_primes.state) as client:
        assert len(client.operations(limit=100)) == before == 8
    assert first[-2:] == second[-2:]
    assert all(line.endswith(": done") for line in second[:8])


def test_what_is_watched_speaks_and_can_be_cancelled(with_primes: RunningAgent) -> None:
    """The function that takes its time prints as it goes, and ends when it is cancelled."""
    with connect(with_primes.state) as client:
        operation = client.submit("primes:watch", (100,))
        heard = next(line.text for line in client.logs(operation, follow=True))
        client.cancel(operation)
        assert heard.startswith("after 1 s: ")
        assert client.wait(operation, PATIENCE_S).state == "cancelled"


@pytest.fixture
def home_first(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the example's scheduler as an agent does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return load("own_scheduler:HomeFirst")


_hosts = st.builds(
    Host, name=st.just("own"), units=st.integers(0, 4), busy=st.integers(0, 4), latency_s=st.floats(0.0001, 1)
)
_tasks = st.lists(st.integers(1, 5), max_size=12)


@given(own=_hosts, others=st.lists(_hosts, max_size=4), demands=_tasks)
def test_the_own_scheduler_places_soundly(own: Host, others: list[Host], demands: list[int]) -> None:
    """However full the hosts are, none is given more than it has room for, and no task is placed twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        scheduler = load("own_scheduler:HomeFirst")
    own.busy = min(own.busy, own.units)
    for number, host in enumerate(others):
        host.name, host.busy = f"n{number}", min(host.busy, host.units)
    tasks = [Row(id=number, demand=cores(units)) for number, units in enumerate(demands)]
    assert check(scheduler, PlainView(own, others, tasks)) == []


def test_the_own_scheduler_keeps_work_at_home_while_the_wait_is_short(home_first: Any) -> None:
    """It runs here with room, waits here when room is near, and sends away, to the nearest, what would wait long."""
    task = Row(id=1)
    far, near = Host("far", 4, latency_s=0.2), Host("near", 4, latency_s=0.01)
    assert list(home_first.plan(PlainView(Host("own", 1), [far, near], [task]))) == [Run(task)]
    (kept,) = home_first.plan(PlainView(Host("own", 2, busy=2), [far, near], [Row(id=2)]))
    assert isinstance(kept, Keep)
    stuck = Row(id=3, demand=cores(3))  # never fits here: its wait is without end
    (sent,) = home_first.plan(PlainView(Host("own", 2), [far, near], [stuck]))
    assert sent.to == "near"
    (kept,) = home_first.plan(PlainView(Host("own", 2), [], [Row(id=4, demand=cores(3))]))
    assert "no neighbour" in kept.reason


def test_an_agent_runs_under_the_own_scheduler(start_agent: StartAgent) -> None:
    """An agent takes the scheduler by its name from the module path, says so, and works."""
    path = f"{ROOT}:{EXAMPLES}"
    options = ("--scheduler", "own_scheduler:HomeFirst", "--pythonpath", str(EXAMPLES))
    running = start_agent(*options, env={"PYTHONPATH": path})
    with connect(running.state) as client:
        assert client.agent().scheduler == "own_scheduler:HomeFirst"
        assert client.call("primes:count", 0, 100) == 25

"""What users are told of a failure: their own frames, down to the line that failed, and none of ours."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.api import AgentExecutor
from tests.conftest import ROOT, RunningAgent, StartAgent
from tests.integration.daemon_rig import APPS, PATIENCE_S, WITH_APPS, Door

OWN = f'File "{ROOT}/agentd/'
CALLS: list[tuple[str, tuple[Any, ...], str, tuple[str, ...]]] = [
    ("total", (1, 2), "TypeError: total() takes 1 positional argument but 2 were given", ()),
    ("total", (), "TypeError: total() missing 1 required positional argument: 'prices'", ()),
    ("ask_wrongly", (), "TypeError: failing_calls:half: too many positional arguments", ("wait_on(half(1, 2))",)),
    ("ask_for_odd", (), "ValueError: 3 is odd", ('raise ValueError(f"{number} is odd")', "wait_on(half(3))")),
    ("explain", (), "RuntimeError: no prices", ("return sum(prices)", "The above exception was the direct cause")),
    ("gather", (), "ExceptionGroup: both (2 sub-exceptions)", ("total(*given)", "return sum(prices)")),
]


@pytest.fixture(scope="module")
def apps() -> Iterator[Any]:
    """The functions, as a program has them."""
    sys.path.insert(0, str(APPS))
    import failing_calls  # only here is its folder on the path

    yield failing_calls
    sys.path.remove(str(APPS))


@pytest.fixture
def failing(start_agent: StartAgent) -> RunningAgent:
    return start_agent(*WITH_APPS, "--cpu", "2")


def test_a_failed_operation_shows_users_code_alone(failing: RunningAgent) -> None:
    """Arguments that do not fit, failed tasks, causes and groups: the last line says what, the frames are users'."""
    door = Door(failing.rest, failing.state)
    for function, args, last, shown in CALLS:
        text = door.submit(f"failing_calls:{function}", *args, wait_s=PATIENCE_S)["error"]["traceback"]
        assert last in text
        assert [line for line in shown if line not in text] == []
        assert OWN not in text


def test_an_executor_tells_the_same(failing: RunningAgent, apps: Any) -> None:
    """What the worker says, shown as the cause of what `result()` raises, has users' frames alone."""
    with AgentExecutor(failing.state) as agents:
        for function, args, last, shown in CALLS:
            error = agents.submit(getattr(apps, function), *args).exception(PATIENCE_S)
            assert error is not None
            text = "".join(traceback.format_exception(error))
            assert last.partition(" (")[0].partition(": ")[2] in text
            assert [line for line in shown if line not in text] == []
            assert OWN not in text

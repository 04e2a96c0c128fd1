"""Users' modules that are edited while the agent runs: the next call runs what the file says."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentd.api import connect
from agentd.model.errors import TaskFailed
from tests.conftest import READY_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentd.api.routes.client import Agent
    from tests.conftest import StartAgent

SHOP = """
import os
import prices
calls = []


def price():
    calls.append(1)
    return prices.PRICE


def lazily():
    import taxes
    return taxes.TAX


def counted():
    calls.append(1)
    return os.getpid(), len(calls)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a module that uses another at once, and a third one only when it is called."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "prices.py").write_text("PRICE = 10\n")
    (tmp_path / "taxes.py").write_text("TAX = 1\n")
    return tmp_path


@pytest.fixture
def agent(start_agent: StartAgent, folder: Path) -> Iterator[Agent]:
    """Give an agent with one worker that has the folder."""
    with connect(start_agent("--cpu", "1", "--pythonpath", folder).state) as made:
        yield made


def _call(agent: Agent, function: str) -> Any:
    return agent.result(agent.submit(function).id)


def _edit(path: Path, text: str) -> None:
    """Write a file as editors do, with a time of its own however coarse the clock of the disk is."""
    former = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(former + 1_000_000, former + 1_000_000))


def _until(agent: Agent, function: str, wanted: Any) -> None:
    """Call until the answer is the wanted one: files are looked at some times a second."""
    deadline = time.monotonic() + READY_S
    while (found := _answer(agent, function)) != wanted:
        assert time.monotonic() < deadline, f"{function} still gives {found}"


def _answer(agent: Agent, function: str) -> Any:
    """Call, and give the failure as text: a worker may not have looked at the file yet."""
    try:
        return _call(agent, function)
    except TaskFailed as error:
        return str(error)


@pytest.mark.parametrize(
    ("function", "file", "old", "new"),
    [
        ("shop:price", "prices.py", ("PRICE = 10\n", 10), ("PRICE = 12\n", 12)),
        ("shop:lazily", "taxes.py", ("TAX = 1\n", 1), ("TAX = 7\n", 7)),
        ("shop:price", "shop.py", (SHOP, 10), (SHOP.replace("prices.PRICE", "5"), 5)),
    ],
)
def test_what_is_edited_runs(
    agent: Agent, folder: Path, function: str, file: str, old: tuple[str, int], new: tuple[str, int]
) -> None:
    """The function itself, a module that it uses, one that is loaded as it runs; of the same size and second."""
    assert _call(agent, function) == old[1]
    _edit(folder / file, new[0])
    _until(agent, function, new[1])
    _edit(folder / file, old[0])
    _until(agent, function, old[1])


def test_a_function_that_is_added_can_be_called(agent: Agent, folder: Path) -> None:
    """The agent finds it in the file, and so does a worker that has loaded the module before it was there."""
    assert _call(agent, "shop:price") == 10
    _edit(folder / "shop.py", SHOP + "\n\ndef added():\n    return 'new'\n")
    _until(agent, "shop:added", "new")


def test_modules_stay_loaded_while_no_file_changes(agent: Agent) -> None:
    """A warm worker keeps what its modules have, such as a model that took long to load."""
    counts = defaultdict(list)
    for _ in range(9):
        worker, count = _call(agent, "shop:counted")
        counts[worker].append(count)
    assert all(found == list(range(1, len(found) + 1)) for found in counts.values())
    assert max(map(len, counts.values())) > 1

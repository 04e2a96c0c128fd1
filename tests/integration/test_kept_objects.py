"""Persistent objects: tasks get them from the store by their identifiers, and write them there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.api import connect
from tests.conftest import StartAgent, agent_environment
from tests.integration.daemon_rig import APPS, PATIENCE_S, WITH_APPS

STORE = APPS / "shelf"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """Give the folder of a store, with the file beside it that configures the store."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (tmp_path / "store.conf").write_text(str(folder))
    return folder


def _written(shelf: Path, what: str) -> int:
    return len(list(shelf.glob(f"{what}-*")))


def test_tasks_find_objects_in_the_store(start_agent: StartAgent, shelf: Path) -> None:
    """By a folder on the path and a configuration; each worker opens the store once, and closes it before it ends."""
    conf = shelf.parent / "store.conf"
    home = start_agent("--cpu", "2", *WITH_APPS, "--storage-impl", STORE, "--storage-conf", conf)
    with connect(home.state) as client:
        assert client.call("kept_objects:keep", str(shelf)) == [111, True, True, 7]
    opened = _written(shelf, "initWorker")
    assert 1 <= opened <= 4
    assert _written(shelf, "init") == 0
    home.stop()
    assert _written(shelf, "finishWorker") == opened


def test_a_program_has_the_store_of_its_agent(shelf: Path) -> None:
    """`agentd run` with the options under the names that users know."""
    words = ["run", "--cpu", "1", f"--storage_impl={STORE}", f"--storage_conf={shelf.parent / 'store.conf'}"]
    done = subprocess.run(
        [sys.executable, "-m", "agentd", *words, str(APPS / "kept_objects.py"), str(shelf)],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "111 True True 7\n"), done.stderr
    assert _written(shelf, "finishWorker") == _written(shelf, "initWorker") >= 1
    assert _written(shelf, "finish") == _written(shelf, "init")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--storage-impl", "not a module", "a module, as package.module, or a folder"),
        ("--storage-impl", "/no/such/folder", "it holds storage/api.py"),
        ("--storage-conf", "/no/such/file", "there is no such file"),
    ],
)
def test_a_store_that_is_not_there_stops_the_start(option: str, value: str, said: str, tmp_path: Path) -> None:
    """Before anything is made, with the name of the setting."""
    done = subprocess.run(
        [sys.executable, "-m", "agentd", "start", "--state", str(tmp_path / "state"), option, value],
        env=agent_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode not in {0, 1}
    assert said in done.stderr

"""Other systems are measured in processes of their own, of which none holds up the run or is left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.peers import Silent, told
from tests.integration.daemon_rig import until


def test_the_figures_are_the_last_line() -> None:
    """What a system prints before does not matter."""
    assert told([sys.executable, "-c", "print('welcome')\nprint('{\"W4 per s\": 2.5}')"]) == {"W4 per s": 2.5}


def test_one_that_fails_says_why() -> None:
    """Its last words are the reason."""
    with pytest.raises(Silent, match="no such system"):
        told([sys.executable, "-c", "import sys; sys.exit('no such system')"])


def test_one_that_is_too_slow_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """The run can go on, and the next is measured alone."""
    note = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 600 & echo $! > {note}; wait"]
    most_s = 0.1
    while not note.exists() or not note.read_text():  # a slow machine takes a while to come so far
        most_s *= 2
        with pytest.raises(Silent, match="took longer than"):
            told(command, most_s)
    until(lambda: is_gone(int(note.read_text())))


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, whoever has to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True

"""What an agent finds in the folder of its logs when it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agentd.daemon import logs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_former_log_moves_and_those_of_others_stay(tmp_path: Path) -> None:
    """Nothing is deleted, and in a folder that others use, such as /var/log, nothing of theirs is touched."""
    (tmp_path / "agent.log").write_text("of the last run")
    (tmp_path / "mail.log").write_text("of somebody else")
    logs.prepare(tmp_path)
    (moved,) = (tmp_path / "old").iterdir()
    assert moved.read_text() == "of the last run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mail.log", "old"]


def test_a_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a run the newest lines stay in a few files of bounded size, and the next run finds its folder empty."""
    monkeypatch.setattr(logs, "MOST_BYTES", 1000)
    logs.prepare(tmp_path)
    log = logs.begin(tmp_path, "info")
    try:
        for number in range(1000):
            log.info("line %d", number)
    finally:
        for handler in log.handlers[-2:]:
            log.removeHandler(handler)
            handler.close()
    files = sorted(tmp_path.glob("agent.log*"))
    assert [file.name for file in files] == ["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert files[0].read_text().endswith("line 999\n")
    assert capsys.readouterr().err.count("\n") == 1000
    logs.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert len(list((tmp_path / "old").iterdir())) == 4


def test_of_many_runs_the_newest_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that is started again and again fills no disk; what operations printed is nobody's to remove."""
    monkeypatch.setattr(logs, "OLD_KEPT", 2)
    for number in range(5):
        path = tmp_path / "agent.log"
        path.write_text(f"run {number}")
        os.utime(path, (number, number))
        (tmp_path / "jobs").mkdir()
        os.utime(tmp_path / "jobs", (number, number))
        logs.prepare(tmp_path)
    old = tmp_path / "old"
    assert {path.read_text() for path in old.glob("agent.*")} == {"run 3", "run 4"}
    assert len(list(old.glob("jobs.*"))) == 5

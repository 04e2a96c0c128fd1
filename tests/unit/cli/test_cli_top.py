"""The screen of `agentd top`: what is on it, and what is counted between two looks."""

from __future__ import annotations

import io
import os
import pty
import sys
from typing import Any

import pytest

from agentd.model.views import AgentView, OperationView
from cli import top
from cli.keys import Keys
from cli.parsing import UsageError, parse


def look(at: float = 0.0, boot: str = "b", queue: tuple[OperationView, ...] = (), **more: Any) -> top.Look:
    told: dict[str, Any] = {
        "name": "phone", "id": "a", "boot": boot, "version": "0", "protocol": 1, "python": "3", "pid": 1, "rest": None,
        "comm": None, "scheduler": "fifo", "state_folder": "/", "started_at": 0.0, "draining": False, "ready": True,
        "not_ready_reason": "", "cores": 4, "cores_free": 1, "workers": 1, "operations": {}, "waiting": 0,
        "running": 0, "journal_bytes": 0, "objects_bytes": 0,
    }  # fmt: skip
    return top.Look(at, AgentView(**(told | more)), [], [], list(queue))


def waits(number: int, why: str) -> OperationView:
    return OperationView(str(number), "", "m:f", "queued", why, 0.0)


def screen(seen: top.Look, trouble: str = "") -> str:
    return "\n".join(line.plain for line in top.screen_lines(seen, None, trouble, 80))


def test_ends_are_counted_between_two_looks_at_one_run_of_the_agent() -> None:
    """There is no figure at the first look, nor over a restart, whose counts begin anew."""
    assert look(2.0, ended=30).rate(look(0.0, ended=10)) == 10.0
    assert look(2.0, ended=30).rate(None) is None
    assert look(2.0, boot="c", ended=30).rate(look(0.0, ended=10)) is None
    assert look(2.0).rate(look(2.0)) is None


def test_a_line_of_figures_has_a_field_for_each() -> None:
    """Cores in use and in all, what runs, what waits, ends in a second."""
    assert top.figures(look(1.0, running=3, waiting=7, ended=5), look(0.0))[1:] == ("ready", "3", "4", "3", "7", "5")


def test_a_reason_that_many_share_is_told_once() -> None:
    """The others wait as those above them do."""
    told = screen(look(queue=(waits(1, "no core"), waits(2, "no core"), waits(3, "no disk")), operations={"queued": 9}))
    assert "waiting, the newest 3 of 9" in told
    assert (told.count("no core"), told.count("as above"), told.count("no disk")) == (1, 1, 1)


def test_calls_that_are_no_operations_say_why_they_wait() -> None:
    """Nothing else tells of those of executors."""
    told = screen(look(why_waiting={"m:g": "no core"}))
    assert "calls waiting" in told
    assert "m:g" in told
    assert "no core" in told


def test_what_is_wrong_is_at_the_top_and_harmless() -> None:
    """An agent that is gone, one that takes no work, and what others wrote."""
    told = screen(look(ready=False, not_ready_reason="disk\x1b[2J full", name="a\x1b]b"), "nobody listens").splitlines()
    assert "NOT READY" in told[0]
    assert told[1] == "nobody listens; trying again"
    assert "\x1b" not in "".join(told)


@pytest.mark.parametrize("words", [["--interval", "0"], ["--interval", "x"], ["--count", "0"], ["--count", "-1"]])
def test_wrong_figures_are_refused_before_anything_is_asked(words: list[str]) -> None:
    """They are named."""
    with pytest.raises(UsageError, match=words[0]):
        top.run(parse(words, command="top"))


def test_a_key_ends_the_wait_and_the_terminal_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line end is needed; without a key the time is over some time."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        import termios

        before = termios.tcgetattr(theirs)
        with Keys(is_wanted=True) as keys:
            assert keys.wait(0.0) == ""
            os.write(ours, b"q")
            assert keys.wait(60.0) == "q"
        assert termios.tcgetattr(theirs) == before
    os.close(ours)


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in a pipe is not read."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("q"))
    with Keys(is_wanted=False) as keys:
        assert keys.wait(0.0) == ""

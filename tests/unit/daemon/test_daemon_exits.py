"""What is said of an error that ends an agent, and the exit code that says the same."""

from __future__ import annotations

import errno
import os

import pytest

from agentd.daemon.exits import exit_code
from agentd.model.errors import BrokenInvariant, ConfigError, StateInUse


def failed(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_is_told_in_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it was noticed, also in a group of tasks: exit code 74, and no traceback."""
    assert exit_code(ExceptionGroup("tasks", [failed(number, "/state/agent.json")])) == 74
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert os.strerror(number) in told
    assert "/state/agent.json" in told


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("x"), 2), (StateInUse("x"), 5), (BrokenInvariant("x"), 70), (failed(errno.EBADF), 70)],
)
def test_other_errors_have_codes_of_their_own(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """As the page on the commands has them."""
    assert exit_code(error) == code

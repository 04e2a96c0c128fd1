"""How an agent ends: its exit codes, and what is said of an error that ended it."""

from __future__ import annotations

import sys
import traceback

from agentd.model.errors import ConfigError, DiskError, StateInUse

OK, USAGE, IN_USE, BROKEN, DISK = 0, 2, 5, 70, 74


def _cause(error: BaseException) -> BaseException:
    """Find what went wrong in what a group of tasks raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def exit_code(error: BaseException) -> int:
    """Say why the agent ended, and give the exit code that says the same."""
    cause = _cause(error)
    for kind, code in ((StateInUse, IN_USE), (ConfigError, USAGE), (DiskError, DISK)):
        if isinstance(cause, kind):
            sys.stderr.write(f"agentd: {cause}\n")
            return code
    traceback.print_exception(cause)
    return BROKEN

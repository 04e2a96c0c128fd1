"""How an agent ends: its exit codes, and what is said of an error that ended it."""

from __future__ import annotations

import errno
import sys
import traceback

from agentd.model.errors import ConfigError, DiskError, StateInUse

UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""Errors of a disk that a small file, such as that which says where the agent is, meets too."""
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
    if isinstance(cause, OSError) and cause.errno in UNWRITABLE:
        what = f" ({cause.filename})" if cause.filename else ""
        sys.stderr.write(f"agentd: the disk of the state folder or of the logs failed: {cause.strerror}{what}\n")
        return DISK
    traceback.print_exception(cause)
    return BROKEN

"""Logging: constant messages with fields, to stderr and to `agent.log`."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from typing import TYPE_CHECKING, TextIO

from agentd.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LEVELS = {
    "off": logging.CRITICAL + 1,
    "info": logging.INFO,
    "api": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
ALWAYS = logging.CRITICAL + 2
"""Level of what stands in the log also when it is off."""
AGENT_LOG = "agent.log"
JOBS = "jobs"
"""Folder, in that of the logs, of what was printed by operations of COMPSs' door."""
MOST_BYTES = 16 << 20
"""Of one file of the log; then it becomes `agent.log.1`, and that the next."""
KEPT = 3
"""Files before the one that is written, of this run."""
OLD_KEPT = 100
"""Logs of earlier runs that are kept, the newest; an agent that is started again and again fills no disk."""
FORM = "%(asctime)s %(levelname)s %(message)s"


class _Quiet(logging.Handler):
    """One place of two to which each line goes: a full disk or a closed terminal keeps nothing else from being said."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the base class's
        """Pass over what the place refused; a fault of ours is shown as ever."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Stream(_Quiet, logging.StreamHandler[TextIO]):
    pass


class _File(_Quiet, logging.handlers.RotatingFileHandler):
    pass


def prepare(folder: Path) -> None:
    """Make the log folder; files of earlier runs move to `old/` in it, where the newest logs are kept, and all output.

    Raises:
        ConfigError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        old = folder / "old"
        # the folder may have others' logs, too
        for path in [*folder.glob(AGENT_LOG), *folder.glob(f"{AGENT_LOG}.[0-9]"), *folder.glob(JOBS)]:
            old.mkdir(mode=0o700, exist_ok=True)
            stem, _, suffix = path.name.partition(".")
            path.rename(old / f"{stem}.{path.stat().st_mtime_ns // 1_000_000}{suffix and '.'}{suffix}")
        for path in sorted(old.glob("agent.*.log*"), key=lambda one: one.stat().st_mtime)[:-OLD_KEPT]:
            path.unlink()
    except OSError as error:
        words = f"log folder {folder}: {error.strerror}: choose another one with --log_dir"
        raise ConfigError(words) from error


def begin(folder: Path, level: str) -> logging.Logger:
    """Log from now on."""
    logging.addLevelName(ALWAYS, "NOTE")
    log = logging.getLogger("agentd")
    log.setLevel(LEVELS[level])
    log.propagate = False
    for handler in (
        _Stream(sys.stderr),
        _File(folder / AGENT_LOG, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8"),
    ):
        handler.setFormatter(logging.Formatter(FORM))
        log.addHandler(handler)
    return log

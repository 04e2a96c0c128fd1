"""Logging: constant messages with fields, to stderr and to `agent.log`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

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
JOBS = "jobs"
"""Folder, in that of the logs, of what was printed by operations of COMPSs' door."""
FORM = "%(asctime)s %(levelname)s %(message)s"


def prepare(folder: Path) -> None:
    """Make the log folder; files of earlier runs move to `old/` in it, nothing is deleted.

    Raises:
        ConfigError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        old = folder / "old"
        for path in [*sorted(folder.glob("*.log")), *folder.glob(JOBS)]:
            old.mkdir(mode=0o700, exist_ok=True)
            stamp = int(path.stat().st_mtime)
            path.rename(old / f"{path.stem}.{stamp}{path.suffix}")
    except OSError as error:
        words = f"log folder {folder}: {error.strerror}: choose another one with --log_dir"
        raise ConfigError(words) from error


def begin(folder: Path, level: str) -> logging.Logger:
    """Log from now on."""
    logging.addLevelName(ALWAYS, "NOTE")
    log = logging.getLogger("agentd")
    log.setLevel(LEVELS[level])
    log.propagate = False
    for handler in (logging.StreamHandler(sys.stderr), logging.FileHandler(folder / "agent.log", encoding="utf-8")):
        handler.setFormatter(logging.Formatter(FORM))
        log.addHandler(handler)
    return log

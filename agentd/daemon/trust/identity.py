"""The key and the certificate of this device: made at the first start, by a short-lived process."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from agentd.daemon.clock import this_year
from agentd.model.errors import ConfigError, DiskError
from agentd.store import key_maker
from agentd.store.identity import KeyFile, keep_identity, read_identity

if TYPE_CHECKING:
    from pathlib import Path

    from agentd.store.disk import Disk

PATIENCE_S = 60.0
"""Far above what making a key takes, also on a small device that is starting other things."""


async def ensure_identity(disk: Disk, folder: Path, name: str) -> KeyFile:
    """Give the identity of this state folder, made if there is none.

    Raises:
        ConfigError: it cannot be made or read; says what to do.
        DiskError: the disk failed.
    """
    try:
        found = read_identity(disk, folder)
        return found if found is not None else keep_identity(disk, folder, await made(name))
    except OSError as error:
        raise DiskError(f"the key of this device cannot be kept in {folder}: {error.strerror or error}") from error


async def made(name: str) -> bytes:
    """Have another process make a key and its certificate (PEM): what that loads would stay in this one's memory.

    Raises:
        ConfigError: it cannot be made; says what to do.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing beside that file is meant when it imports
        key_maker.__file__,
        name,
        str(this_year()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            made, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ConfigError(f"making the key of this device took longer than {PATIENCE_S:g} s: start again") from None
    if process.returncode:
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"the key of this device cannot be made: {last}; `pip install cryptography`, then start again"
        )
    return made

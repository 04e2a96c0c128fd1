"""Files that hold secrets: plain, this user's alone, small, and replaced as a whole.

Law: a link is never followed, and a reader sees what was there before or what was written, also after a crash.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from agentd.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

CAP_BYTES = 1 << 20
"""Of one such file. Chosen: a thousand tokens or a few hundred certificates."""


def open_private(path: Path, flags: int) -> int:
    """Open a file of ours, never through a link; one that is made is ours alone.

    Raises:
        FileNotFoundError: it is not there.
        ConfigError: a link, another user's, readable or writable by others, or out of reach.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {error.strerror}") from error
    found = os.fstat(descriptor)
    wrong = None
    if not stat.S_ISREG(found.st_mode):
        wrong = "it is no plain file"
    elif found.st_uid != os.geteuid():
        wrong = "it belongs to another user"
    elif found.st_mode & 0o077:
        wrong = f"others may read or write it: chmod 600 {path}"
    if wrong:
        os.close(descriptor)
        raise ConfigError(f"{path} cannot be used: {wrong}")
    return descriptor


def read_private(path: Path) -> bytes | None:
    """Read a file of ours; None when it is not there.

    Raises:
        ConfigError: it is not safe to use, or larger than any file of ours.
    """
    try:
        descriptor = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(CAP_BYTES + 1)
    if len(data) > CAP_BYTES:
        raise ConfigError(f"{path} is larger than {CAP_BYTES} bytes: it is not what agentd wrote")
    return data


def replace_private(path: Path, data: bytes) -> None:
    """Put a file in the place of another at once; it is on the disk when this returns.

    Raises:
        ConfigError: it cannot be written; what was there before still is.
    """
    draft = path.with_name(f".{path.name}.{token_hex(8)}")
    try:
        with os.fdopen(open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error

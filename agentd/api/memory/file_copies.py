"""Copies between files that do not pass through this process.

Standard library only: loaded by the client library and, by path, by workers.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

_PIECE_BYTES = 64 * 1024 * 1024
"""What is copied by one call (chosen: an interrupt waits for no more)."""
_CANNOT_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF})
"""Errors of copy_file_range where the two files are of kinds that it does not know."""


_FICLONE = 0x40049409
"""ioctl_ficlone(2)."""


def clone(source: int, path: str) -> bool:
    """Make a file that shares its bytes with another one until either is written; False: nothing was made.

    Few file systems can do that, among them Btrfs and XFS.
    """
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:
        return False
    try:
        fcntl.ioctl(made, _FICLONE, source)
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        return False
    finally:
        os.close(made)
    return True


def copy_range(source: int, offset: int, size: int, to: int) -> None:
    """Copy a range of a file to where another one stands; the kernel does it, without our memory where it can.

    Raises:
        OSError: it cannot be read or written, or ends too early.
    """
    is_known, end = True, offset + size
    while offset < end:
        count = min(end - offset, _PIECE_BYTES)
        try:
            count = (
                os.copy_file_range(source, to, count, offset) if is_known else os.sendfile(to, source, offset, count)
            )
        except OSError as error:
            if not is_known or error.errno not in _CANNOT_COPY:
                raise
            is_known = False
            continue
        if not count:
            raise OSError(f"a file that was handed over ends {end - offset} bytes too early")
        offset += count

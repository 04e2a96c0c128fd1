"""Copies between files that do not pass through this process.

Standard library only: loaded by the client library and, by path, by workers.
"""

from __future__ import annotations

import errno
import os

_PIECE_BYTES = 64 * 1024 * 1024
"""What is copied by one call (chosen: an interrupt waits for no more)."""
_CANNOT_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF})
"""Errors of copy_file_range where the two files are of kinds that it does not know."""


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

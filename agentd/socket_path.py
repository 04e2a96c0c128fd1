"""Names for Unix sockets, however deep their folder lies."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS_BYTES = 107
"""Longest path in the address of a socket: 108 bytes with a zero at the end (unix(7), `sun_path`)."""


@contextmanager
def fitting(path: os.PathLike[str] | str) -> Iterator[str]:
    """Give a name of the same file that `bind` and `connect` take; it holds until the context ends.

    A path that is too long is named from its folder, which is held open meanwhile (proc(5), /proc/pid/fd).

    Raises:
        OSError: the folder cannot be opened.
    """
    text = os.fspath(path)
    if len(os.fsencode(text)) <= ADDRESS_BYTES:
        yield text
        return
    folder, name = os.path.split(text)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)

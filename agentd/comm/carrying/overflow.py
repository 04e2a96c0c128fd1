"""Frames for an end that does not keep up, on the disk: what they cost in memory is one small record each.

Law: frames come back whole and in the order in which they were put; a file goes with the last frame in it.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agentd.wire.framing import Buffer

FILE_BYTES = 32 << 20
"""After this much another file is begun, so that what was read leaves the disk (chosen: two of the largest frames)."""
_GATHER = 512
"""Pieces written by one call (IOV_MAX of Linux is 1,024)."""


class _File:
    """One file without a name, written at its end and read from its beginning."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the last frame in it
        self.written_bytes = 0
        self._read_bytes = 0

    def append(self, pieces: Sequence[Buffer]) -> int:
        """Write a frame and give its size; one that did not get there whole counts for nothing.

        Raises:
            OSError: the disk takes no more.
        """
        position = self.written_bytes
        for start in range(0, len(pieces), _GATHER):
            left = [memoryview(piece) for piece in pieces[start : start + _GATHER] if len(piece)]
            while left:
                count = os.pwritev(self._file.fileno(), left, position)
                position += count
                while left and count >= len(left[0]):
                    count -= len(left.pop(0))
                if count:
                    left[0] = left[0][count:]
        size, self.written_bytes = position - self.written_bytes, position
        return size

    def next(self, size: int) -> bytes:
        """Read the oldest frame that was not read.

        Raises:
            OSError: the disk gives it back no more.
        """
        data = os.pread(self._file.fileno(), size, self._read_bytes)
        if len(data) != size:
            raise OSError(f"{len(data)} of {size} bytes were there")
        self._read_bytes += size
        return data

    @property
    def is_read(self) -> bool:
        return self._read_bytes == self.written_bytes

    def close(self) -> None:
        self._file.close()


class Overflow:
    """A queue of frames on the disk, in files of a folder (None: where the system has its temporary files).

    Attributes:
        bytes: of the frames in it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.bytes = 0
        self._folder = folder
        self._files: deque[_File] = deque()
        self._frames: deque[tuple[int, _File, tuple[int, ...]]] = deque()
        """Size of each, where it lies, and the descriptors that go with it."""

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, pieces: Sequence[Buffer], fds: tuple[int, ...]) -> None:
        """Append a frame; its descriptors stay the caller's.

        Raises:
            OSError: the disk takes no more; nothing has changed.
        """
        if not self._files or self._files[-1].written_bytes >= FILE_BYTES:
            self._files.append(_File(self._folder))
        file = self._files[-1]
        size = file.append(pieces)
        self._frames.append((size, file, fds))
        self.bytes += size

    def take(self) -> tuple[list[Buffer], tuple[int, ...]]:
        """Give the oldest frame, of which there must be one.

        Raises:
            OSError: the disk gives it back no more.
        """
        size, file, fds = self._frames[0]
        data = file.next(size)
        self._frames.popleft()
        self.bytes -= size
        if file.is_read and (file is not self._files[-1] or not self._frames):
            self._files.remove(file)
            file.close()
        return [data], fds

    def discard(self) -> None:
        """Forget all of it."""
        self._frames.clear()
        self.bytes = 0
        while self._files:
            self._files.popleft().close()

"""Large results that a program has not read: beyond its share they leave shared memory for the disk.

Law: what lies in shared memory for a program that does not read is bounded; one that reads is never slowed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.model.values import Part, Payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentd.comm.link import Link
    from agentd.model.exchange import Settled
    from agentd.workers.segments import Segments

log = logging.getLogger("agentd")

SHARE_BYTES = 256 << 20
"""What may lie in shared memory for one program that has not read of it (chosen: a second's results)."""
LONG_BYTES = 16 << 20
"""From here copying takes longer than others should wait (chosen: a hundredth of a second, on a good disk)."""
_ALIGNED = 64
"""Bytes to which values are aligned in a file, as in shared memory (a cache line)."""


class Shelving:
    """Moves results of programs that do not read into files without names."""

    def __init__(self, segments: Segments, folder: Path | None) -> None:
        self._segments = segments
        self._folder = folder
        self._copier: ThreadPoolExecutor | None = None
        """Copies what takes long, one after the other; there is one from the first such result on."""

    def close(self) -> None:
        """Wait for what is being copied."""
        if self._copier is not None:
            self._copier.shutdown(wait=True, cancel_futures=True)

    def shelved(self, link: Link, settled: Settled, tell: Callable[[Settled], None]) -> Settled | None:
        """Give a result as it is to be lent to a program, held once, as it was: where it lies already, or in a file.

        None: it is large and on its way to the disk, and `tell` is given it when it is there. What the disk does not
        take stays in memory, and the program is dropped. A program that has read all before is lent anything.
        """
        value = settled.outcome.value
        size = sum(part.size for part in value.parts if part.segment)
        link.lent(size)
        if not size or link.lent_bytes == size or link.lent_bytes <= SHARE_BYTES:
            return settled
        try:
            file = os.open(self._folder or tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return self._not_taken(link, settled, error)
        if size >= LONG_BYTES:
            self._move_later(link, settled, file, tell)
            return None
        return self._moved(link, settled, file, self._copied(file, value))

    def _move_later(self, link: Link, settled: Settled, file: int, tell: Callable[[Settled], None]) -> None:
        """Copy in a thread that may wait for the disk: meanwhile others are served."""
        if self._copier is None:
            self._copier = ThreadPoolExecutor(1, "agentd-shelf")
        loop = asyncio.get_running_loop()
        copying = loop.run_in_executor(self._copier, self._copied, file, settled.outcome.value)

        def done(copied: asyncio.Future[list[int] | OSError]) -> None:
            offsets = OSError("the agent stops") if copied.cancelled() else copied.result()
            tell(self._moved(link, settled, file, offsets))

        copying.add_done_callback(done)

    def _copied(self, file: int, value: Payload) -> list[int] | OSError:
        """Copy the parts of a value that lie in segments into a file; give where each begins, or why that failed."""
        size, offsets = 0, []
        try:
            for part in value.parts:
                offsets.append(size)
                if part.segment:
                    self._copy(file, size, part)
                    size += -(-part.size // _ALIGNED) * _ALIGNED
            os.ftruncate(file, size)
        except OSError as error:
            return error
        return offsets

    def _moved(self, link: Link, settled: Settled, file: int, offsets: list[int] | OSError) -> Settled:
        """Let go of the segments of a result that was copied, and name the file in their place."""
        try:
            if isinstance(offsets, OSError):
                return self._not_taken(link, settled, offsets)
            number = self._segments.adopt_own(file, os.fstat(file).st_size, self._segments.disown)
        except OSError as error:
            return self._not_taken(link, settled, error)
        finally:
            os.close(file)
        value = settled.outcome.value
        self._segments.retain(number)
        for segment in {part.segment for part in value.parts if part.segment}:
            self._segments.release(segment)
        log.debug("a result of %d bytes goes to the disk: its program does not read", value.size_bytes)
        parts = (
            Part(part.size, None, number, offset) if part.segment else part
            for part, offset in zip(value.parts, offsets, strict=True)
        )
        moved = Payload(value.codec, value.data, tuple(parts))
        return replace(settled, outcome=replace(settled.outcome, value=moved))

    @staticmethod
    def _not_taken(link: Link, settled: Settled, error: OSError) -> Settled:
        words = f"it does not read, and the disk takes no more for it: {error.strerror or error}"
        link.close_soon("slow", words)
        return settled

    def _copy(self, file: int, position: int, part: Part) -> None:
        source, offset, left = self._segments.fd(part.segment), part.offset, part.size
        os.lseek(file, position, os.SEEK_SET)
        while left:
            count = os.sendfile(file, source, offset, left)
            if not count:
                raise OSError(f"a segment ends {left} bytes before the value in it")
            offset, left = offset + count, left - count

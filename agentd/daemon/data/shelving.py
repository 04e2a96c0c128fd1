"""Large results that a program has not read: beyond its share they leave shared memory for the disk.

Law: what lies in shared memory for a program that does not read is bounded; one that reads is never slowed.
"""

from __future__ import annotations

import logging
import os
import tempfile
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agentd.model.values import Part, Payload

if TYPE_CHECKING:
    from pathlib import Path

    from agentd.comm.link import Link
    from agentd.model.exchange import Settled
    from agentd.workers.segments import Segments

log = logging.getLogger("agentd")

SHARE_BYTES = 256 << 20
"""What may lie in shared memory for one program that has not read of it (chosen: a second's results)."""
_ALIGNED = 64
"""Bytes to which values are aligned in a file, as in shared memory (a cache line)."""


class Shelving:
    """Moves results of programs that do not read into files without names."""

    def __init__(self, segments: Segments, folder: Path | None) -> None:
        self._segments = segments
        self._folder = folder

    def shelved(self, link: Link, settled: Settled) -> Settled:
        """Give a result as it is to be lent to a program, held once, as it was: where it lies already, or in a file.

        What the disk does not take stays in memory, and the program is dropped.
        """
        value = settled.outcome.value
        link.lent(sum(part.size for part in value.parts if part.segment))
        if link.lent_bytes <= SHARE_BYTES or not any(part.segment for part in value.parts):
            return settled
        try:
            moved = self._in_file(value)
        except OSError as error:
            link.close_soon("slow", f"it does not read, and the disk takes no more for it: {error.strerror or error}")
            return settled
        return replace(settled, outcome=replace(settled.outcome, value=moved))

    def _in_file(self, value: Payload) -> Payload:
        """Copy the parts of a value that lie in segments into one file, and let go of those.

        Raises:
            OSError: there is no room; nothing has changed.
        """
        file = os.open(self._folder or tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            size, offsets = 0, []
            for part in value.parts:
                offsets.append(size)
                if part.segment:
                    self._copy(file, size, part)
                    size += -(-part.size // _ALIGNED) * _ALIGNED
            os.ftruncate(file, size)
            number = self._segments.adopt_own(file, size, self._segments.disown)
        finally:
            os.close(file)
        self._segments.retain(number)
        for segment in {part.segment for part in value.parts if part.segment}:
            self._segments.release(segment)
        log.debug("a result of %d bytes goes to the disk: its program does not read", size)
        parts = (
            Part(part.size, None, number, offset) if part.segment else part
            for part, offset in zip(value.parts, offsets, strict=True)
        )
        return Payload(value.codec, value.data, tuple(parts))

    def _copy(self, file: int, position: int, part: Part) -> None:
        source, offset, left = self._segments.fd(part.segment), part.offset, part.size
        os.lseek(file, position, os.SEEK_SET)
        while left:
            count = os.sendfile(file, source, offset, left)
            if not count:
                raise OSError(f"a segment ends {left} bytes before the value in it")
            offset, left = offset + count, left - count

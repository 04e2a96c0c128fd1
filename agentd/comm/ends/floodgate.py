"""Letting users wait who send more than this agent gets through, or who do not read what they have asked for.

Law: whoever is within a small share never waits because of others, and nobody waits once the reason is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.comm.link import Link

SHARE_BYTES = 4 << 20
"""What a user may have sent for calls that have not ended, whatever others do (chosen: some frames)."""


class Floodgate:
    """Leaves unread what such users send, so that it stays in the kernel's buffers, and then in their own memory.

    `is_full` tells whether the queue is nearly full; `unread_bytes` is what may wait for a user who does not read.
    """

    def __init__(self, is_full: Callable[[], bool], unread_bytes: int) -> None:
        self._is_full = is_full
        self._unread_bytes = unread_bytes
        self._held: set[Link] = set()

    @property
    def is_closed(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._held)

    def look(self, link: Link) -> None:
        """Let a user wait, who has just sent calls, if need be."""
        if link.burden_bytes + link.shared_bytes > SHARE_BYTES and self._must_wait(link):
            self._held.add(link)
            link.pause_reading()

    def open(self) -> None:
        """Let those go on for whom the reason to wait is gone; to be asked after each drain, and each second."""
        for link in [link for link in self._held if link.is_closed or not self._must_wait(link)]:
            self._held.discard(link)
            link.resume_reading()

    def _must_wait(self, link: Link) -> bool:
        return link.pending_bytes > self._unread_bytes or (link.session.received_open > 0 and self._is_full())

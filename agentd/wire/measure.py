"""What a connection tells of its link: round trip and bandwidth, from times given in."""

from __future__ import annotations

_WEIGHT = 1 / 8
"""Share of a new sample that is worse than the estimate (the gain of RFC 6298, section 2)."""


class RoundTrip:
    """A moving minimum: it falls to a better sample at once and rises slowly, since queueing only ever adds.

    Attributes:
        seconds: the estimate; None before the first sample.
    """

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds: float | None = None

    def add(self, sample_s: float) -> None:
        """Take in a sample; a negative one, from a clock that was wrong, is ignored."""
        if sample_s < 0:
            return
        if self.seconds is None or sample_s < self.seconds:
            self.seconds = sample_s
        else:
            self.seconds += (sample_s - self.seconds) * _WEIGHT


class Bandwidth:
    """Bytes per second while there was more to send than the link took; an idle link says nothing of itself.

    Attributes:
        bytes_per_s: the estimate; None before the link was ever the bottleneck.
    """

    __slots__ = ("_began", "_bytes", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s: float | None = None
        self._began: float | None = None
        self._bytes = 0

    def begin(self, now: float, drained_bytes: int) -> None:
        """Note that the link is full, if that is not known yet; `drained_bytes` have left so far."""
        if self._began is None:
            self._began, self._bytes = now, drained_bytes

    def end(self, now: float, drained_bytes: int) -> None:
        """Note that the link has caught up: what left since `begin` is a sample."""
        if self._began is None or now <= self._began:
            return
        sample = (drained_bytes - self._bytes) / (now - self._began)
        self._began = None
        if self.bytes_per_s is None:
            self.bytes_per_s = sample
        else:
            self.bytes_per_s += (sample - self.bytes_per_s) * _WEIGHT

    @property
    def seconds_per_byte(self) -> float:
        """Cost of one byte; 0 while unknown."""
        return 1 / self.bytes_per_s if self.bytes_per_s else 0.0

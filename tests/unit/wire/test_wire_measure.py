"""Bandwidth is measured while a link is the bottleneck, and only then."""

from __future__ import annotations

import pytest

from agentd.wire.measure import Bandwidth


def test_an_idle_link_says_nothing_of_itself():
    """Without a time at which more waited than left, nothing is known, and a byte costs nothing."""
    bandwidth = Bandwidth()
    bandwidth.end(5.0, 10**9)
    assert bandwidth.bytes_per_s is None
    assert bandwidth.seconds_per_byte == 0.0


def test_what_left_while_it_was_full_is_the_sample():
    """From the first moment at which it was full to that at which it had caught up."""
    bandwidth = Bandwidth()
    bandwidth.begin(1.0, 500)
    bandwidth.begin(1.5, 900)
    bandwidth.end(3.0, 2_500)
    assert bandwidth.bytes_per_s == pytest.approx(1_000)
    assert bandwidth.seconds_per_byte == pytest.approx(1e-3)


def test_later_samples_move_the_estimate():
    """By an eighth each."""
    bandwidth = Bandwidth()
    for start, drained in ((0.0, 1_000), (2.0, 9_000)):
        bandwidth.begin(start, 0)
        bandwidth.end(start + 1, drained)
    assert bandwidth.bytes_per_s == pytest.approx(2_000)


def test_a_clock_that_stands_still_gives_no_sample():
    """No division by nothing."""
    bandwidth = Bandwidth()
    bandwidth.begin(1.0, 0)
    bandwidth.end(1.0, 100)
    assert bandwidth.bytes_per_s is None

"""The network of the tests does what it is told: a test of cuts on a network that does not cut proves nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from network.net_rig import Net, connect, listen


def pair(net: Net) -> tuple[socket.socket, socket.socket]:
    """Connect a to b; gives both ends."""
    with listen(net, "b") as server:
        near = connect(net, "a", (net.address("b"), server.getsockname()[1]))
        far, _ = server.accept()
    far.settimeout(60)
    return near, far


def round_trip_s(near: socket.socket, far: socket.socket) -> float:
    """Send a byte there and one back."""
    begin = time.monotonic()
    near.send(b"?")
    assert far.recv(1) == b"?"
    far.send(b"!")
    assert near.recv(1) == b"!"
    return time.monotonic() - begin


def round_trips_s(near: socket.socket, far: socket.socket, *, below_s: float = 0.0) -> list[float]:
    """Measure three round trips, or more until one is as short: a busy machine makes any of them longer."""
    took = [round_trip_s(near, far) for _ in range(3)]
    while below_s and min(took) >= below_s and len(took) < 1000:
        took.append(round_trip_s(near, far))
    return took


def test_a_delay_is_kept_each_way(make_net: Callable[..., Net]) -> None:
    """A round trip takes at least both ways' delays, and next to nothing without."""
    net = make_net("a", "b")
    near, far = pair(net)
    with near, far:
        assert min(round_trips_s(near, far, below_s=0.05)) < 0.05
        net.between("a", "b", delay_s=0.05, jitter_s=0.02)
        assert min(round_trips_s(near, far)) >= 0.1
        net.one_way("b", "a", delay_s=0.0, jitter_s=0.0)
        assert 0.05 <= min(round_trips_s(near, far, below_s=0.1)) < 0.1


def test_a_cut_is_silent_and_heals(make_net: Callable[..., Net]) -> None:
    """Nothing comes through a cut and no error either; what was sent meanwhile comes when it heals."""
    net = make_net("a", "b")
    near, far = pair(net)
    with near, far:
        round_trip_s(near, far)
        net.cut("a", "b")
        near.send(b"?")
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)
        net.heal("a", "b")
        far.settimeout(60)
        assert far.recv(1) == b"?"


def test_a_one_way_cut_lets_the_other_way_through(make_net: Callable[..., Net]) -> None:
    """What b sends arrives, what a sends does not."""
    net = make_net("a", "b")
    near, far = pair(net)
    with near, far:
        net.cut("a", "b", only="a")
        far.send(b"!")
        assert near.recv(1) == b"!"
        near.send(b"?")
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)


def test_loss_is_by_chance_and_counted(make_net: Callable[..., Net]) -> None:
    """Of many frames about the share is lost that was asked for, and TCP brings all bytes over all the same.

    Of 1,000 frames more or less than 120 to 280 are lost in one of a thousand million runs.
    """
    net = make_net("a", "b")
    near, far = pair(net)
    with near, far:
        net.between("a", "b", loss=0.2)
        for _ in range(5):
            round_trip_s(near, far)
        with net.entered("a"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            carried, dropped = net.counts("a", "b")
            while carried + dropped < 1000:
                for _ in range(20):
                    sender.sendto(b"?", (net.address("b"), 9))
                carried, dropped = net.counts("a", "b")
    assert 0.12 < dropped / (carried + dropped) < 0.28


def test_a_rate_is_kept(make_net: Callable[..., Net]) -> None:
    """A way of 1 MB/s takes half a second for half a megabyte."""
    net = make_net("a", "b")
    near, far = pair(net)
    with near, far:
        net.one_way("a", "b", bytes_per_s=1e6)
        begin, left = time.monotonic(), 500_000
        near.setblocking(False)
        sent = 0
        while left:
            if sent < 500_000:
                with suppress(BlockingIOError):
                    sent += near.send(bytes(min(65_536, 500_000 - sent)))
            left -= len(far.recv(65_536))
        assert time.monotonic() - begin > 0.4


def test_an_unplugged_device_knows_it(make_net: Callable[..., Net]) -> None:
    """Without its cable a device cannot even try; with it again, it can."""
    net = make_net("a", "b")
    net.unplug("a")
    with pytest.raises(OSError, match="unreachable"):
        connect(net, "a", (net.address("b"), 9), 1.0)
    net.plug("a")
    near, far = pair(net)
    with near, far:
        assert round_trip_s(near, far) < 5


def test_networks_do_not_meet(make_net: Callable[..., Net]) -> None:
    """Two networks use the same addresses and know nothing of each other."""
    one, other = make_net("a", "b"), make_net("a", "b")
    with listen(one, "b", 4242), pytest.raises(ConnectionRefusedError):
        connect(other, "a", (other.address("b"), 4242))


def test_unknown_conditions_are_refused(make_net: Callable[..., Net]) -> None:
    """A condition that nobody heeds would make a test prove nothing."""
    net = make_net("a", "b")
    with pytest.raises(ValueError, match="latency"):
        net.between("a", "b", latency=1.0)

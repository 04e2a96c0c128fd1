"""Which addresses stay on this device."""

from __future__ import annotations

import pytest

from agentd.model.addresses import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "::1%lo", "localhost"])
def test_loopback(host: str) -> None:
    """All of 127/8, and IPv6's, also where IPv4 is inside; and the one name that is always its own."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "10.0.0.1", "::2", "::ffff:10.0.0.1", "::ffff:192.0.2.1", "0.0.0.0", "::", "128.0.0.1", "192.0.2.1"),
        *("127.1", "127.example.org", "localhost.example.org", "beta", "fe80::1%eth0"),
    ],
)
def test_not_loopback(host: str) -> None:
    """Nothing else: a name may point anywhere, whatever it begins with, and 0.0.0.0 is everywhere."""
    assert not is_loopback(host)

"""Networks of namespaces, for tests that cut them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from network.net_rig import Net, why_not
from network.site_rig import Site


@pytest.fixture
def make_net() -> Iterator[Callable[..., Net]]:
    """Make networks, `make_net("a", "b")`; skips, with the reason, where there can be none."""
    reason = why_not()
    if reason:
        pytest.skip(f"no network of its own: {reason}")
    with ExitStack() as stack:
        yield lambda *names, **more: stack.enter_context(Net(*names, **more))


@pytest.fixture
def make_site(make_net: Callable[..., Net], start_agent: Callable[..., Any]) -> Callable[..., Site]:
    """Make networks with agents to be started on their devices, which end before the network does."""
    return lambda *names, **more: Site(make_net(*names, **more), start_agent)

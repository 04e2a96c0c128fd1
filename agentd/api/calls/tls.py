"""The end of TLS that asks an agent whose certificate is known."""

from __future__ import annotations

from functools import lru_cache

from agentd.api.calls.records import Records
from agentd.api.routes.pins import pinned

_context = lru_cache(maxsize=8)(pinned)
"""Of a certificate: making one takes as long as many calls do."""


class Tls(Records):
    """One end of TLS, without a socket; `certificate` (PEM) is the only one that is believed."""

    def __init__(self, certificate: str) -> None:
        super().__init__(_context(certificate))

"""Which names a request may be addressed to, and which pages it may come from.

A page that rebinds its own name to a loopback address still sends that name as Host; a page of another site sends its
Origin. Neither can be forged by a browser's script, and neither is of any use to a program, which can send anything.
"""

from __future__ import annotations

from agentd.model.addresses import is_loopback
from agentd.rest.answering.problems import Problem
from agentd.rest.settings import RestSettings

BETWEEN = frozenset({b"origin", b"sec-fetch-site", b"forwarded", b"x-real-ip", b"via"})
"""Headers by which a browser or a proxy shows that the peer is not who asks; beside all X-Forwarded ones."""

SAME_SITE = frozenset({b"same-origin", b"none"})


def bare(host: str) -> str:
    """Take the port and the brackets off a Host header's value, and a dot off its end."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


class Hosts:
    """The names by which this agent may be addressed."""

    def __init__(self, settings: RestSettings) -> None:
        self._names = {bare(name) for name in (*settings.names, *settings.rest_names)} | {"localhost"}
        self._known: dict[bytes, str] = {}

    def check(self, header: bytes | None, local_address: str | None) -> None:
        """Insist that a Host header names this agent.

        Raises:
            Problem: 400 without a host, 421 for another's.
        """
        if header is None:
            raise Problem(400, "the request bears no Host header: send the name and port that you connect to")
        if header in self._known and self._known[header] in {"", local_address}:
            return
        self._remember(header, self._reason(header, local_address))

    def _reason(self, header: bytes, local_address: str | None) -> str:
        """Say why a host is ours: "" for good, an address for connections that came in there."""
        name = bare(header.decode("latin-1"))
        if name in self._names or is_loopback(name):
            return ""
        if local_address is not None and name == local_address.removeprefix("::ffff:").lower():
            return local_address
        raise Problem(
            421,
            f"this agent does not go by the name {name!r}. Use its own name or address, "
            f"or start it with --rest-name {name}",
        )

    def _remember(self, header: bytes, reason: str) -> None:
        if len(self._known) < 1000:  # a bound against made-up spellings
            self._known[header] = reason


def check_site(headers: dict[bytes, bytes]) -> None:
    """Refuse what a page of another site has a browser send.

    An origin with our host and port is ours under either scheme: something in front of us may end the TLS.

    Raises:
        Problem: 403.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None and site.lower() not in SAME_SITE:
        raise _foreign(site)
    origin = headers.get(b"origin")
    if origin is not None:
        scheme, _, host = origin.lower().partition(b"://")
        if scheme not in {b"http", b"https"} or host != headers.get(b"host", b"").lower():
            raise _foreign(origin)


def _foreign(source: bytes) -> Problem:
    return Problem(
        403,
        f"pages of other sites may not use this agent (this one is {source.decode('latin-1')[:100]!r}). "
        "Type the address into the browser, or call it from a program",
        kind="cross-site",
    )


def looks_forwarded(headers: dict[bytes, bytes]) -> bool:
    """Tell whether a browser or a proxy stands between the peer and who asks."""
    return not BETWEEN.isdisjoint(headers) or b"\nx-forwarded" in b"\n" + b"\n".join(headers)

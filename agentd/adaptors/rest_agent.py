"""Reaching a neighbour behind its user port alone: a firewall lets only HTTP through, or it closed its Comm port."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentd.api.places import Place
from agentd.model.addresses import REST_PORT
from agentd.model.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentd.adaptors.couriers import Courier, Surroundings

TOKEN_BYTES = 4096
"""Most of a token's file that is read (chosen: a token has some fifty letters)."""


class RestAgentAdaptor:
    """Reaches a neighbour at `Host` (default: its name) and `Port` (default: 46101).

    A name or a host that begins with `http://` or `https://` is the whole address. `TokenFile` is a file of this
    device with a token for the neighbour.
    """

    properties = frozenset({"Host", "Port", "TokenFile"})

    def address(self, name: str, properties: Mapping[str, str]) -> str:
        """Give the URL of its user port.

        Raises:
            RequestError: a property is unknown or wrong, or the token cannot be read.
        """
        return self._place(name, properties).url

    def courier(self, name: str, properties: Mapping[str, str], surroundings: Surroundings) -> Courier:
        """Keep in touch with a neighbour from now on."""
        from agentd.adaptors.rest_neighbour import RestNeighbour  # loads an HTTP client, for who has such a neighbour

        return RestNeighbour(name, self._place(name, properties), surroundings)

    def _place(self, name: str, properties: Mapping[str, str]) -> Place:
        unknown = sorted(set(properties) - self.properties)
        if unknown:
            known = ", ".join(sorted(self.properties))
            raise RequestError(f"a REST neighbour has no property {unknown[0]!r}; it has {known}")
        return Place(_url(properties.get("Host", name), properties.get("Port")), token=_token(properties), name=name)


def _url(host: str, port: str | None) -> str:
    if port is not None and (not port.isdecimal() or not 0 < int(port) < 65536):
        raise RequestError(f"Port={port} is no TCP port: give a number from 1 to 65535")
    if host.startswith(("http://", "https://")):
        try:
            parts = urlsplit(host)
            is_good = bool(parts.hostname) and parts.path in {"", "/"} and not (parts.query or parts.username)
            is_good = is_good and (parts.port is None or parts.port > 0)
        except ValueError:
            is_good = False
        if not is_good:
            raise RequestError(f"{host!r} is no address of a user port: write http://host:port")
        return host.rstrip("/")
    if not host or any(sign.isspace() or sign in "/@" for sign in host):
        raise RequestError(f"{host!r} is no host: give Host=ADDRESS")
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{int(port) if port is not None else REST_PORT}"


def _token(properties: Mapping[str, str]) -> str:
    path = properties.get("TokenFile")
    if path is None:
        return ""
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"TokenFile={path} cannot be read: {error}") from error

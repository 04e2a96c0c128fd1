"""Reaching a neighbour over Comm, the agents' own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.model.addresses import COMM_PORT
from agentd.model.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping


class CommAgentAdaptor:
    """Reaches a neighbour at `Host` (default: its name) and `Port` (default: 46102)."""

    properties = frozenset({"Host", "Port"})

    def address(self, name: str, properties: Mapping[str, str]) -> str:
        """Give `host:port`.

        Raises:
            RequestError: a property is unknown, or the port is no port.
        """
        unknown = sorted(set(properties) - self.properties)
        if unknown:
            known = ", ".join(sorted(self.properties))
            raise RequestError(f"a Comm neighbour has no property {unknown[0]!r}; it has {known}")
        port = properties.get("Port", str(COMM_PORT))
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise RequestError(f"Port={port} is no TCP port: give a number from 1 to 65535")
        host = properties.get("Host", name)
        if not host or any(sign.isspace() or sign in "/@" for sign in host):
            raise RequestError(f"{host!r} is no host: give Host=ADDRESS")
        return f"{host}:{int(port)}"

"""Opening the user port's address: before what serves it is loaded, so that others can be told of it."""

from __future__ import annotations

import errno
import socket

from agentd.model.errors import ConfigError, StateInUse

BACKLOG = 1024
"""Connections that wait to be taken (chosen: as many as may be open, and more)."""


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; 0 takes a free port. Who connects waits until somebody serves.

    Raises:
        StateInUse: the port is taken.
        ConfigError: the address is not one of this machine, or the port is not ours to take.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--rest-host {host}: {error.strerror}; give a name or an address of this machine") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _not_bound(host, port, error) from error
    return bound


def _not_bound(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return StateInUse(f"port {port} of {host} is in use: choose another with --rest-port N, or --rest-port auto")
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} needs privileges: choose one above 1023 with --rest-port N")
    return ConfigError(f"--rest-host {host}: {error.strerror}; give an address of this machine")

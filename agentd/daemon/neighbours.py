"""The links that the engine wants: which adaptor reaches whom, and those that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.adaptors.catalogue import find
from agentd.core.commands import OpenLink
from agentd.core.events import ResourceAdded
from agentd.model.errors import ConfigError, RequestError
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from agentd.comm.door import Door
    from agentd.core.commands import CloseLink
    from agentd.core.engine import Engine
    from agentd.daemon.settings import Settings


class Links:
    """Opens and closes the links to neighbours."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def open(self, command: OpenLink) -> None:
        """Keep a link to a neighbour alive from now on."""
        host, _, port = find(command.adaptor).address(command.neighbour, dict(command.properties)).rpartition(":")
        self._door.open_link(OpenLink(command.neighbour, "comm", (("Host", host), ("Port", port))))

    def close(self, command: CloseLink) -> None:
        """Let a neighbour go."""
        self._door.close_link(command)


def named(settings: Settings) -> list[ResourceAdded]:
    """Give the neighbours that the settings name, as what an operator would add.

    Raises:
        ConfigError: an address cannot be read.
    """
    wanted = [(text, True) for text in settings.parent] + [(text, False) for text in settings.neighbour]
    return [_neighbour(text, is_parent) for text, is_parent in wanted]


def unknown(wanted: list[ResourceAdded], engine: Engine) -> list[ResourceAdded]:
    """Give those that the engine does not have from its last run."""
    known = {row.name for row in engine.state.neighbourhood.by_name.values() if row.is_pooled}
    return [event for event in wanted if event.name not in known]


def _neighbour(text: str, is_parent: bool) -> ResourceAdded:
    option = "--parent" if is_parent else "--neighbour"
    name, separator, address = text.partition("=")
    host, _, port = (address if separator else name).rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"{option} {text}: write it as name=host:port or host:port")
    properties = (("Host", host), ("Port", port))
    try:
        find("comm").address(name, dict(properties))
    except RequestError as error:
        raise ConfigError(f"{option} {text}: {error}") from error
    return ResourceAdded(0, name if separator else host, Capacity(), "comm", properties, is_parent, declared=False)

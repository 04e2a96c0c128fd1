"""The links that the engine wants: which adaptor reaches whom, and those that the settings name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from msgspec import structs

from agentd.adaptors.catalogue import COMPSS_COMM, find, known_adaptor
from agentd.adaptors.couriers import Couriers
from agentd.comm.whereabouts import joined
from agentd.core import commands as c
from agentd.core.commands import OpenLink
from agentd.core.events import ResourceAdded
from agentd.daemon.capacity import capacity_of
from agentd.model.addresses import COMM_PORT
from agentd.model.errors import ConfigError, RequestError
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from agentd.adaptors.couriers import Courier, Surroundings
    from agentd.comm.door import Door
    from agentd.core.commands import CloseLink, Command
    from agentd.core.engine import Engine
    from agentd.daemon.settings import Settings
    from agentd.model.peers import PinBook
    from resources_xml import Nodes, NodeSpec

log = logging.getLogger("agentd")

Performer = Callable[[Any], None]
ROUTED = frozenset(
    {
        c.DeclareTemplates,
        c.SendOffers,
        c.AnswerOffers,
        c.SendEnds,
        c.OfferLot,
        c.AcceptLot,
        c.EndLot,
        c.AcknowledgeLot,
        c.AcknowledgeEnds,
        c.CancelTasks,
        c.SendReport,
    }
)
"""Commands that concern one neighbour."""


class Links:
    """Opens and closes the links to neighbours, and gives each command to what reaches its neighbour.

    An asynchronous context, in which the neighbours are kept that have no Comm link.
    """

    def __init__(self, door: Door, surroundings: Surroundings) -> None:
        self._door = door
        self._surroundings = surroundings
        self._tasks = asyncio.TaskGroup()
        self._couriers: dict[str, tuple[Courier, Mapping[type[Command], Performer], asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for _, _, task in self._couriers.values():
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def open(self, command: OpenLink) -> None:
        """Keep a link to a neighbour alive from now on."""
        adaptor, properties = find(command.adaptor), dict(command.properties)
        if isinstance(adaptor, Couriers):
            self._stop_courier(command.neighbour)
            courier = adaptor.courier(command.neighbour, properties, self._surroundings)
            task = self._tasks.create_task(courier.run())
            self._couriers[command.neighbour] = (courier, courier.performers(), task)
            return
        host, _, port = adaptor.address(command.neighbour, properties).rpartition(":")
        self._door.open_link(OpenLink(command.neighbour, "comm", (("Host", host), ("Port", port))))

    def close(self, command: CloseLink) -> None:
        """Let a neighbour go, or only its present connection."""
        found = self._couriers.get(command.neighbour)
        if found is None:
            self._door.close_link(command)
        elif command.redial:
            found[0].redial()
        else:
            self._stop_courier(command.neighbour)

    def _stop_courier(self, neighbour: str) -> None:
        found = self._couriers.pop(neighbour, None)
        if found is not None:
            found[2].cancel()

    async def output(self, neighbour: str, task: int, stream: str, offset: int, limit: int) -> bytes | None:
        """Read what a task wrote at a neighbour that has no Comm link; nothing where there is nothing (more).

        None: it is not there.
        """
        found = self._couriers.get(neighbour)
        return None if found is None else await found[0].output(task, stream, offset, limit)

    def performers(self) -> dict[type[Command], Performer]:
        """Tell which function performs which command that concerns a user or a neighbour."""
        table = self._door.performers()
        return {kind: self._routed(kind, by_door) if kind in ROUTED else by_door for kind, by_door in table.items()}

    def _routed(self, kind: type[Command], by_door: Performer) -> Performer:
        couriers = self._couriers

        def perform(command: Any) -> None:
            found = couriers.get(command.neighbour)
            if found is None:
                by_door(command)
            elif (act := found[1].get(kind)) is not None:
                act(command)

        return perform


def named(settings: Settings) -> list[ResourceAdded]:
    """Give the neighbours that the settings name, as what an operator would add.

    Raises:
        ConfigError: an address cannot be read.
    """
    wanted = [(text, True) for text in settings.parent] + [(text, False) for text in settings.neighbour]
    return [_neighbour(text, is_parent) for text, is_parent in wanted]


def described(nodes: Nodes | None) -> list[ResourceAdded]:
    """Give the neighbours that project.xml selects, with what resources.xml says of them.

    Raises:
        ConfigError: one cannot be reached by any adaptor that there is, or its properties are wrong.
    """
    return [_described(node, nodes) for node in nodes.compute_nodes] if nodes is not None else []


def _described(node: NodeSpec, nodes: Nodes) -> ResourceAdded:
    entry = f"ComputeNode {node.name!r}"
    if node.adaptor is None:
        where = next((str(note) for note in nodes.warnings if note.entry == entry), entry)
        raise ConfigError(
            f"{where}. Neighbours are agents: start one there and give the node the adaptor {COMPSS_COMM}, choose its "
            "adaptor with --comm, or take it out of the project. NIO and GAT are not supported"
        )
    properties = node.adaptor.properties
    try:
        adaptor = known_adaptor(node.adaptor.name, node.name, properties)
    except RequestError as error:
        raise ConfigError(f"{entry}: {error}") from error
    capacity = replace(capacity_of(node.hardware), queues=frozenset(queue.upper() for queue in node.queues))
    return ResourceAdded(
        0, node.name, capacity, adaptor, tuple(sorted(properties.items())), limit_of_tasks=node.limit_of_tasks
    )


def remarks(nodes: Nodes | None) -> list[str]:
    """Say once, by name, what of the two files was skipped, and what is kept without effect."""
    if nodes is None:
        return []
    unused = [
        f"Http {service.base_url!r}: kept, without effect: tasks that call services are not run here"
        for service in nodes.http_services
    ]
    return [*map(str, nodes.warnings), *map(str, nodes.notes), *unused]


def unknown(wanted: list[ResourceAdded], engine: Engine, book: PinBook) -> list[ResourceAdded]:
    """Give those that the engine does not have from its last run, or has elsewhere; `book` names those that it knows.

    What the engine has otherwise than described is told.
    """
    rows = {row.name: row for row in engine.state.neighbourhood.by_name.values() if row.is_pooled}
    events: list[ResourceAdded] = []
    for each in wanted:
        event = _named_by(book, each)
        row = rows.get(event.name)
        if row is None:
            events.append(event)
            continue
        if event.declared and row.granted != event.capacity:
            log.warning(
                "%s has %d CPU units from the last run, not the %d that are described: `agentd resources` changes it",
                event.name, row.granted.units(), event.capacity.units(),
            )  # fmt: skip
        if row.properties != event.properties and row.adaptor == event.adaptor:
            events.append(structs.replace(event, capacity=Capacity(), declared=False))
    return events


def _named_by(book: PinBook, event: ResourceAdded) -> ResourceAdded:
    """Call a neighbour as the book calls the agent at its address, if it knows one."""
    properties = dict(event.properties)
    if event.adaptor != "comm" or "Host" not in properties:
        return event
    peer = book.at(joined(properties["Host"], int(properties.get("Port", COMM_PORT))))
    return event if peer is None or book.named(event.name) else structs.replace(event, name=peer.name)


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

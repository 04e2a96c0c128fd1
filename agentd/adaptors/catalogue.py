"""The adaptors by name: short ones, the class names of the field, and plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agentd.adaptors.comm_agent import CommAgentAdaptor
from agentd.adaptors.rest_agent import RestAgentAdaptor
from agentd.model.errors import RequestError

GROUP = "agentd.adaptors"
COMPSS_COMM = "es.bsc.compss.agent.comm.CommAgentAdaptor"
COMPSS_REST = "es.bsc.compss.agent.rest.master.Adaptor"
NAMES = {
    "": "comm",
    "comm": "comm",
    COMPSS_COMM: "comm",
    "rest": "rest",
    COMPSS_REST: "rest",
    "es.bsc.compss.agent.rest.Adaptor": "rest",
}
"""Short name of what a request may call an adaptor."""
UNSUPPORTED = ("es.bsc.compss.nio", "es.bsc.compss.gat", "es.bsc.compss.gos")


class Adaptor(Protocol):
    """A way to reach a neighbour."""

    def address(self, name: str, properties: Mapping[str, str]) -> str:
        """Give where to reach it: `host:port` for Comm; see `agentd.adaptors.couriers` for other ways.

        Raises:
            RequestError: the properties do not say where.
        """
        ...


def find(adaptor: str) -> Adaptor:
    """Give the adaptor of a name.

    Raises:
        RequestError: there is none; the message lists those that there are.
    """
    short = NAMES.get(adaptor, adaptor)
    if short == "comm":
        return CommAgentAdaptor()
    if short == "rest":
        return RestAgentAdaptor()
    from importlib.metadata import entry_points  # takes as long as all that is needed for the usual adaptor

    for entry in entry_points(group=GROUP):
        if entry.name == short:
            made: Adaptor = entry.load()()
            return made
    if adaptor.startswith(UNSUPPORTED):
        raise RequestError(
            f"adaptor {adaptor} is not supported here: neighbours are agents, reached with {COMPSS_COMM} "
            f"or {COMPSS_REST}"
        )
    known = sorted({"comm", "rest", *(entry.name for entry in entry_points(group=GROUP))})
    raise RequestError(f"unknown adaptor {adaptor!r}: use one of {', '.join(known)}, or {COMPSS_COMM}")


def class_of(adaptor: str) -> str:
    """Give the class name by which project.xml and resources.xml name an adaptor; one that has none keeps its name."""
    return next((name for name, short in NAMES.items() if short == adaptor and "." in name), adaptor)


def known_adaptor(adaptor: str, name: str, properties: Mapping[str, str]) -> str:
    """Check a request's adaptor and properties, and give the adaptor's short name.

    Raises:
        RequestError: unknown adaptor, or properties that it cannot use.
    """
    find(adaptor).address(name, properties)
    return NAMES.get(adaptor, adaptor)

"""The XML bodies of COMPSs' requests, read into plain values.

Law: whatever the body is, it becomes a value or one `Problem` with line, element and what to do; names beside those of
the field are refused, so that a misspelt one does not go unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from agentd.rest.answering.problems import Problem
from agentd.rest.compss.description import DESCRIPTION
from agentd.rest.compss.values import argument
from resources_xml.errors import ResourcesXmlError
from resources_xml.parse import parse
from resources_xml.schema import Shape, leaf, listing, many, maybe, one
from resources_xml.values import any_text, choice, integer, text
from schedulers.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable

    from resources_xml.parse import Element

TEXT_CHARS: Final = 1 << 20
"""Longest text of one element: that of a whole body."""
AGENTS_MOST: Final = 1000
"""Agents that one action may stop (chosen: far above any tree of agents)."""


class Action(Struct, frozen=True):
    """What is to be done when an operation has ended; only `stop` is known to the field."""

    name: str
    agents: tuple[str, ...] = ()
    """Addresses of the user ports of others to which it is passed on."""


class Orchestrator(Struct, frozen=True):
    """Whom to tell that an operation has ended: `host` is an address, `operation` the path there."""

    host: str
    operation: str = ""
    method: str = "PUT"


class StartApplication(Struct, frozen=True):
    """One call."""

    language: str
    module: str
    method: str
    arguments: tuple[Any, ...] = ()
    action: Action | None = None
    orchestrator: Orchestrator | None = None


class NewResource(Struct, frozen=True):
    """A host that joins, or grows."""

    name: str
    capacity: Capacity
    adaptor: str = ""
    properties: tuple[tuple[str, str], ...] = ()


class ReduceNode(Struct, frozen=True):
    """What is taken away from a host."""

    name: str
    capacity: Capacity


# --- shapes ---------------------------------------------------------------------------------------------------------


def _start(**found: Any) -> StartApplication:
    return StartApplication(
        language=found["language"].upper(),
        module=found["module"],
        method=found["method"],
        arguments=found["arguments"],
        action=found["action"],
        orchestrator=found["orchestrator"],
    )


def _checked_start(asked: StartApplication, element: Element) -> None:
    if asked.action is not None and asked.orchestrator is not None:
        raise element.fault(
            "an action and an orchestrator", expected="at most one of them", remedy="Leave one of the two out."
        )


def _unsupported(why: str) -> Callable[[Element], Any]:
    def read(element: Element) -> Any:
        raise element.fault(f"<{element.tag}>", expected="a call without it", remedy=why)

    return read


def _whatever(_: Element) -> None:
    """Pass over an element, whatever is in it."""


_ACTION = Shape(
    lambda name, agents: Action(name, tuple(agents)),
    {
        "name": one("actionName", leaf(text)),
        "agents": maybe("forwardTo", listing("agent", leaf(text), least=0), default=()),
    },
)
_ORCHESTRATOR = Shape(
    Orchestrator,
    {
        "host": one("host", leaf(text)),
        "method": maybe("method", leaf(choice("GET", "POST", "PUT", "DELETE", any_case=True)), default="PUT"),
        "operation": maybe("operation", leaf(any_text), default=""),
    },
)
_COMMAND = _unsupported("Commands around a call are not run here: let the function run them.")
_START = Shape(
    _start,
    {
        "service": maybe("serviceInstanceId", _whatever),
        "language": maybe("lang", leaf(any_text), default="JAVA"),
        "interface": maybe("ceiClass", _whatever),
        "resources": maybe("resources", _whatever),
        "module": one("className", leaf(text)),
        "method": one("methodName", leaf(text)),
        "arguments": maybe("parameters", listing("params", argument, least=0), default=()),
        "target": maybe("target", _unsupported("Call a function of a module; objects are not kept between calls.")),
        "result": maybe("hasResult", leaf(choice("true", "false", "1", "0"))),
        "action": maybe("action", _ACTION),
        "orchestrator": maybe("orchestrator", _ORCHESTRATOR),
        "prolog": maybe("prolog", _COMMAND),
        "epilog": maybe("epilog", _COMMAND),
    },
    _checked_start,
)

_PROPERTY = Shape(
    lambda name, value: (name, value), {"name": one("Name", leaf(text)), "value": one("Value", leaf(any_text))}
)
_PROPERTIES = Shape(lambda properties: properties, {"properties": many("Property", _PROPERTY)})
_NIO = Shape(
    lambda **ports: tuple((name, str(value)) for name, value in ports.items() if value is not None),
    {name: maybe(name, leaf(integer(-1, 65535))) for name in ("MinPort", "MaxPort", "SpawnerPort")}
    | {"RemoteExecutionCommand": maybe("RemoteExecutionCommand", leaf(any_text))},
)


def _configuration(element: Element) -> tuple[tuple[str, str], ...]:
    """Read the properties of an adaptor; the form of classic workers has elements of its own."""
    has_ports = any(child.tag != "Property" for child in element.children)
    return _NIO(element) if has_ports else _PROPERTIES(element)


def _resource(*, project: tuple[tuple[str, str], ...], own: tuple[tuple[str, str], ...], **found: Any) -> NewResource:
    return NewResource(**found, properties=tuple({**dict(own), **dict(project)}.items()))


_RESOURCE = Shape(
    _resource,
    {
        "name": one("name", leaf(text)),
        "capacity": maybe("description", DESCRIPTION, default=Capacity()),
        "adaptor": maybe("adaptor", leaf(any_text), default=""),
        "project": maybe("projectConf", _configuration, default=()),
        "own": maybe("resourceConf", _configuration, default=()),
    },
)


def _one_of_two(**found: NewResource | None) -> NewResource | None:
    given = [one for one in found.values() if one is not None]
    return given[0] if len(given) == 1 else None


def _is_one(found: NewResource | None, element: Element) -> None:
    if found is None:
        raise element.fault(
            "no resource, or two", expected="one <externalResource>", remedy="Add each with a request of its own."
        )


_NEW: Shape[Any] = Shape(
    _one_of_two,
    {"external": maybe("externalResource", _RESOURCE), "classic": maybe("nioResource", _RESOURCE)},
    _is_one,
)
_REDUCE = Shape(ReduceNode, {"name": one("workerName", leaf(text)), "capacity": one("resources", DESCRIPTION)})
_NODE = Shape(lambda name: name, {"name": one("workerName", leaf(text))})
_END = Shape(
    lambda job, **_: job,
    {
        "job": one("jobId", leaf(text)),
        "status": maybe("endStatus", _whatever),
        "results": many("results", _whatever),
        "profile": maybe("profile", _whatever),
    },
)


# --- reading --------------------------------------------------------------------------------------------------------


def _read(body: bytes, root: str, shape: Callable[[Element], Any]) -> Any:
    """Read a body whose root is known.

    Raises:
        Problem: 400, no XML, or not of this shape; with line, element and what to do.
    """
    try:
        element = parse(body, "the body", text_chars=TEXT_CHARS)
        if element.tag != root:
            raise element.fault(f"<{element.tag}>", expected=f"<{root}>", remedy="Send the document of this path.")
        return shape(element)
    except ResourcesXmlError as error:
        raise Problem(400, str(error)) from error


def read_start(body: bytes) -> StartApplication:
    """Read a `startApplication`."""
    asked: StartApplication = _read(body, "startApplication", _START)
    if asked.action is not None and len(asked.action.agents) > AGENTS_MOST:
        raise Problem(400, f"an action is passed on to at most {AGENTS_MOST} agents")
    return asked


def read_new(body: bytes) -> NewResource:
    """Read a `newResource`."""
    found: NewResource = _read(body, "newResource", _NEW)
    return found


def read_reduce(body: bytes) -> ReduceNode:
    """Read a `reduceNode`."""
    found: ReduceNode = _read(body, "reduceNode", _REDUCE)
    return found


def read_node(body: bytes, root: str) -> str:
    """Read a `removeNode` or a `lostNode`: the name of a host."""
    name: str = _read(body, root, _NODE)
    return name


def read_end(body: bytes) -> str:
    """Read an `endApplication`: the number of the operation that somebody says has ended."""
    job: str = _read(body, "endApplication", _END)
    return job

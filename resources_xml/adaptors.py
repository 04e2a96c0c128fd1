"""Ways to reach a resource, as both files declare them.

An adaptor takes its settings in exactly one form: a range of ports, a broker, properties, or nothing but the user's
name. The user's name, and in a project the paths of keys, may stand beside any form.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resources_xml.errors import Position
from resources_xml.schema import HERE, NAME, Attribute, Part, Shape, empty, leaf, listing, many, maybe, one
from resources_xml.values import LONG_MAX, PORT_MAX, any_text, integer, known_text, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resources_xml.parse import Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A setting that is passed on as it is; its value may be a secret, so it is never shown."""

    name: str
    value: str = field(repr=False)
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProperties:
    """How jobs are put into a queue of a batch system. The format gives no unit for `max_exec_time`."""

    port: int | None = None
    max_exec_time: int | None = None
    reservation: str | None = None
    qos: str | None = None
    file_cfg: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Submission through queues; no queue named in a project means all that the resource has."""

    queues: tuple[str, ...] = ()
    properties: BatchProperties | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How work may be handed over: interactively, through queues, or both."""

    interactive: bool = False
    batch: Batch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """A range of ports, both ends included, and how a worker is launched there."""

    min_port: int
    max_port: int
    spawner_port: int | None = None
    remote_execution_command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptor:
    """One way to reach a resource. `properties` is None when that form is not used, empty when it says nothing."""

    name: str
    submission: Submission
    ports: Ports | None = None
    broker: str | None = None
    user: str | None = None
    properties: tuple[Property, ...] | None = None
    known_hosts_path: str | None = None
    identity_paths: tuple[str, ...] = ()
    at: Position = field(compare=False, repr=False)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it names."""
        return self.submission.batch.queues if self.submission.batch else ()


def _check_submission(submission: Submission, element: Element) -> None:
    if not submission.interactive and submission.batch is None:
        raise element.fault(
            "neither <Interactive> nor <Batch>",
            expected="<Interactive/>, <Batch>, or both",
            remedy="Write <Interactive/> for a resource that takes work at once, as agents do.",
        )


def _check_range(ports: Ports, element: Element) -> None:
    if ports.max_port <= ports.min_port:
        raise element.fault(
            f"MinPort {ports.min_port} and MaxPort {ports.max_port}",
            expected="a MaxPort above the MinPort",
            remedy="Widen the range; two ports are the least.",
        )


def _check_form(adaptor: Adaptor, element: Element) -> None:
    given = {"Ports": adaptor.ports, "BrokerAdaptor": adaptor.broker, "Properties": adaptor.properties}
    forms = [f"<{tag}>" for tag, value in given.items() if value is not None]
    beside = adaptor.user or adaptor.known_hosts_path or adaptor.identity_paths
    if len(forms) > 1 or (not forms and not beside):
        raise element.fault(
            f"settings as {' and '.join(forms)}" if forms else "no settings",
            expected="exactly one of <Ports>, <BrokerAdaptor>, <User> and <Properties>",
            remedy="Keep the form that this adaptor reads; for an agent it is <Properties>, with its Port.",
        )


_BATCH_PROPERTIES = Shape(
    BatchProperties,
    {
        "port": maybe("Port", leaf(integer(1, PORT_MAX))),
        "max_exec_time": maybe("MaxExecTime", leaf(integer(0, LONG_MAX))),
        "reservation": maybe("Reservation", leaf(known_text)),
        "qos": maybe("QOS", leaf(known_text)),
        "file_cfg": maybe("FileCFG", leaf(known_text)),
    },
)
_OFFERED_BATCH = Shape(Batch, {"queues": many("Queue", leaf(text), least=1)})
_SELECTED_BATCH = Shape(
    Batch, {"queues": many("Queue", leaf(text)), "properties": maybe("BatchProperties", _BATCH_PROPERTIES)}
)

_RANGE = {
    "min_port": one("MinPort", leaf(integer(1, PORT_MAX))),
    "max_port": one("MaxPort", leaf(integer(1, PORT_MAX))),
}
_SELECTED_PORTS = Shape(Ports, _RANGE, _check_range)
_OFFERED_PORTS = Shape(
    Ports,
    {
        **_RANGE,
        "spawner_port": maybe("SpawnerPort", leaf(integer(1, PORT_MAX))),
        "remote_execution_command": maybe("RemoteExecutionCommand", leaf(known_text)),
    },
    _check_range,
)

_PAIR = {"name": one("Name", leaf(text)), "value": one("Value", leaf(any_text))}
_PROPERTIES = listing("Property", Shape(Property, _PAIR), least=0, key="name")
_CONTEXTUAL = Shape(Property, {**_PAIR, "context": Attribute("Context", known_text, optional=True)})
CLOUD_PROPERTIES = listing("Property", _CONTEXTUAL, least=0)


def _submission(batch: Shape[Batch]) -> Shape[Submission]:
    return Shape(
        Submission,
        {"interactive": maybe("Interactive", empty, default=False), "batch": maybe("Batch", batch)},
        _check_submission,
    )


_FORMS: Mapping[str, Part] = {
    "name": NAME,
    "broker": maybe("BrokerAdaptor", leaf(text)),
    "user": maybe("User", leaf(known_text)),
    "properties": maybe("Properties", _PROPERTIES),
    "at": HERE,
}
_OFFERED_ADAPTOR = Shape(
    Adaptor,
    {
        **_FORMS,
        "submission": one("SubmissionSystem", _submission(_OFFERED_BATCH)),
        "ports": maybe("Ports", _OFFERED_PORTS),
    },
    _check_form,
)
_SELECTED_ADAPTOR = Shape(
    Adaptor,
    {
        **_FORMS,
        "submission": one("SubmissionSystem", _submission(_SELECTED_BATCH)),
        "ports": maybe("Ports", _SELECTED_PORTS),
        "known_hosts_path": maybe("KnownHostsPath", leaf(text)),
        "identity_paths": many("IdentityPath", leaf(text)),
    },
    _check_form,
)
OFFERED_ADAPTORS = listing("Adaptor", _OFFERED_ADAPTOR, key="name")
SELECTED_ADAPTORS = listing("Adaptor", _SELECTED_ADAPTOR, key="name")

"""One adaptor out of what both files say about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from resources_xml.adaptors import Adaptor, Ports
from resources_xml.errors import ResourcesXmlError, listed, quoted, suggestion
from resources_xml.specs import AdaptorSpec

if TYPE_CHECKING:
    from resources_xml.errors import Position
    from resources_xml.findings import Findings

COMM_AGENT_ADAPTOR: Final = "es.bsc.compss.agent.comm.CommAgentAdaptor"  # specified: the field's name for agents


def adaptor_spec(
    name: str,
    *,
    entry: str,
    selected: tuple[Adaptor, ...],
    offered: tuple[Adaptor, ...],
    findings: Findings,
    at: Position,
) -> AdaptorSpec | None:
    """Combine what is said of the adaptor called `name`; None, with a warning, when nothing is.

    Queues and the ways of submission are narrowed by the project; settings are taken from the resources and
    overridden by the project. Other adaptors are only checked, and noted as kept.

    Raises:
        ResourcesXmlError: the project names a queue that the resource has not.
    """
    existing = {adaptor.name: adaptor for adaptor in offered}
    chosen = {adaptor.name: adaptor for adaptor in selected}
    for adaptor in selected:
        if adaptor.name in existing:
            _check_queues(adaptor, existing[adaptor.name])
    names = {**existing, **chosen}
    others = [other for other in names if other != name]
    if name not in names:
        findings.warn(entry, f"has no adaptor {quoted(name)}, but {listed(others)}: it cannot be reached", at)
        return None
    if others:
        findings.note(f"{entry}, other adaptors", f"{listed(others)}: kept, the agent uses {quoted(name)}", at)
    spec = _merged(existing.get(name), chosen.get(name))
    findings.kept(f"{entry}, adaptor {quoted(name)}", _idle_settings(spec), at)
    return spec


def _check_queues(selected: Adaptor, offered: Adaptor) -> None:
    existing = set(offered.queues)
    for queue in selected.queues:
        if queue not in existing:
            raise ResourcesXmlError(
                f"the queue {quoted(queue)} of the adaptor {quoted(selected.name)}",
                at=selected.at,
                element="Queue",
                expected=f"a queue of the resource, which has {listed(offered.queues)}",
                remedy=suggestion(queue, offered.queues),
            )


def _merged(offered: Adaptor | None, selected: Adaptor | None) -> AdaptorSpec:
    """Combine two words about one adaptor, of which one may be missing."""
    base, word = offered or selected, selected or offered
    assert base is not None
    assert word is not None
    return AdaptorSpec(
        name=base.name,
        interactive=base.submission.interactive and word.submission.interactive,
        queues=word.queues or base.queues,
        batch=word.submission.batch.properties if word.submission.batch else None,
        ports=_merged_ports(base.ports, word.ports),
        broker=word.broker or base.broker,
        user=word.user or base.user,
        known_hosts_path=word.known_hosts_path,
        identity_paths=word.identity_paths,
        properties={one.name: one.value for one in (*(base.properties or ()), *(word.properties or ()))},
    )


def _merged_ports(offered: Ports | None, selected: Ports | None) -> Ports | None:
    if offered is None or selected is None:
        return selected or offered
    return replace(offered, min_port=selected.min_port, max_port=selected.max_port)


def _idle_settings(spec: AdaptorSpec) -> dict[str, object]:
    """Name the settings that mean something only to a batch system or to a launcher.

    What only the adaptor for agents leaves unread may mean something to another one.
    """
    batch = {"Queue": spec.queues, "BatchProperties": spec.batch, "BrokerAdaptor": spec.broker}
    launcher = {
        "Ports": spec.ports,
        "User": spec.user,
        "KnownHostsPath": spec.known_hosts_path,
        "IdentityPath": spec.identity_paths,
    }
    return {**batch, **launcher} if spec.name == COMM_AGENT_ADAPTOR else dict(batch)

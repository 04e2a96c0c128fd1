"""Looking at the pool and reshaping it."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.api.routes.tables import printable
from agentd.model.errors import ConfigError
from agentd.model.figures import duration
from cli.output import print_json, print_rows, units
from cli.parsing import UsageError
from cli.target import agent_of

if TYPE_CHECKING:
    from agentd.api.routes.client import Agent
    from agentd.model.views import ResourceView
    from cli.parsing import CommandLine
    from resources_xml import Nodes, NodeSpec

XML_CAP_BYTES = 4 * 1024 * 1024
_UNKNOWN = "[unassigned]"
FIELD_NAMES: dict[str, str | None] = {"CPU": "MainProcessor", "GPU": "gpu", "FPGA": "FPGA"}
"""Names that COMPSs' scripts give to processors that are added."""

NOT_YET = "connecting"
CONNECTED = "connected"
LINK_S = 5.0
"""How long a link to a host that was added is waited for; chosen: on a network nearby it takes milliseconds."""
LOOK_S = 0.02
"""How often it is looked for."""

FIGURES = ("cpu", "cpu_name", "gpu", "fpga", "mem_size", "mem_type", "os_type", "os_distr", "os_version")
"""Options that say what a host has; without any of them an added one grants what it reports of itself."""


def run(line: CommandLine) -> int:
    """Show the pool, or what an agent would understand of two files."""
    if line.text("from_xml") is not None:
        return _from_xml(line)
    with agent_of(line) as agent:
        rows = agent.resources()
    if line.flag("json"):
        print_json({"resources": rows})
    else:
        _print(rows)
    return 0


def _print(rows: list[ResourceView]) -> None:
    head = ("name", "adaptor", "total", "free", "owed", "round trip", "state")
    print_rows(
        head,
        (
            (
                row.name,
                row.adaptor,
                " ".join(filter(None, (units(row.total), _memory_of(row)))),
                units(row.free),
                units(row.owed),
                duration(row.rtt_s),
                row.state,
            )
            for row in rows
        ),
        empty="the pool is empty",
    )


def _show(line: CommandLine, row: ResourceView) -> int:
    if line.flag("json"):
        print_json(row)
    else:
        _print([row])
    for warning in row.warnings:
        print(f"agentd: warning: {row.name}: {printable(warning)}", file=sys.stderr)
    return 0


def add(line: CommandLine) -> int:
    """Add a host, or let a known one grow."""
    name, *pairs = line.arguments
    properties = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair!r} is no property: write NAME=VALUE, such as Port=46102", line.command.name)
        properties[key] = value
    is_said = line.is_compss or any(line.text(figure) is not None for figure in FIGURES)
    capacity = capacity_of(line) if is_said else {}
    with agent_of(line) as agent:
        row = agent.add(name, capacity, line.text("adaptor") or "comm", properties, is_parent=line.flag("parent"))
        row, why_not = (row, "") if line.is_compss else _once_linked(agent, row)
    code = _show(line, row)
    if why_not:
        words = f"{name} is not connected yet: {why_not}; this is tried again and again, `agentd resources` shows it"
        print(f"agentd: {printable(words)}", file=sys.stderr)
    if not is_said:
        print(f"agentd: {_grants(row)}", file=sys.stderr)
    return code


def _once_linked(agent: Agent, row: ResourceView) -> tuple[ResourceView, str]:
    """Wait a moment for the link to a host that was added; gives its row, and why there is none."""
    latest = time.monotonic() + LINK_S
    while row.state == NOT_YET or _has_said_nothing(row):
        link = next((one for one in agent.neighbours() if one.name == row.name), None)
        if link is None or link.why_not:
            return row, "" if link is None else link.why_not
        if time.monotonic() > latest:
            return row, "it has not answered" if link.state == NOT_YET else ""
        time.sleep(LOOK_S)
        row = next((one for one in agent.resources() if one.name == row.name), row)
    return row, ""


def _has_said_nothing(row: ResourceView) -> bool:
    """Tell whether a host that grants what it reports of itself has not reported: that comes right after the link."""
    return row.state == CONNECTED and not row.declared and not any(row.total.values())


def _grants(row: ResourceView) -> str:
    """Say what a host grants for which nothing was said."""
    name, granted = printable(row.name), ", ".join(filter(None, (units(row.total), _memory_of(row))))
    if row.declared:
        return f"{name} was in the pool already, with {granted or 'nothing'}: --cpu N adds to that"
    if granted:
        return f"{name} grants what it reports of itself: {granted}; with --cpu N it would be what you say"
    return f"{name} grants what it will report of itself: `agentd resources` shows it once the link is up"


def _memory_of(row: ResourceView) -> str:
    return f"{row.memory_mib} MiB" if row.memory_mib else ""


def reduce(line: CommandLine) -> int:
    """Take capacity away.

    Raises:
        UsageError: nothing is said of how much; under a name of COMPSs it is one CPU unit then, as there.
    """
    if not (line.is_compss or any(line.text(figure) is not None for figure in FIGURES)):
        name = line.arguments[0]
        words = f"say what to take from {name}, such as --cpu 1; `agentd resources remove {name}` takes all of it"
        raise UsageError(words, line.command.name)
    with agent_of(line) as agent:
        row = agent.reduce(line.arguments[0], capacity_of(line))
    return _show(line, row)


def remove(line: CommandLine) -> int:
    """Remove a host once what it runs has ended."""
    with agent_of(line) as agent:
        row = agent.remove(line.arguments[0])
    return _show(line, row)


def lost(line: CommandLine) -> int:
    """Remove a host that is gone."""
    with agent_of(line) as agent:
        row = agent.remove(line.arguments[0], lost=True)
    return _show(line, row)


def capacity_of(line: CommandLine) -> dict[str, Any]:
    """Build a capacity from the options, as the REST interface takes it; what is unknown is left out.

    Raises:
        UsageError: a figure is none.
    """
    processors: list[dict[str, Any]] = []
    names = {**(FIELD_NAMES if line.is_compss and line.command.name == "resources add" else {})}
    names["CPU"] = _known(line, "cpu_name") or names.get("CPU")
    is_other = not line.is_compss and any(_whole(line, option, "0") for option in ("gpu", "fpga"))
    for option, kind, default in (("cpu", "CPU", "0" if is_other else "1"), ("gpu", "GPU", "0"), ("fpga", "FPGA", "0")):
        count = _whole(line, option, default)
        if count:
            processors.append({"units": count, "kind": kind} | ({"name": names[kind]} if names.get(kind) else {}))
    capacity: dict[str, Any] = {"processors": processors}
    memory_gb = _memory(line)
    if memory_gb is not None:
        capacity["memory_mib"] = round(memory_gb * 1024)
    for option, name in (
        ("mem_type", "memory_type"),
        ("os_type", "os_type"),
        ("os_distr", "os_distribution"),
        ("os_version", "os_version"),
    ):
        value = _known(line, option)
        if value:
            capacity[name] = value
    return capacity


def _known(line: CommandLine, name: str) -> str | None:
    value = line.text(name)
    return None if value in {None, "", _UNKNOWN} else value


def _whole(line: CommandLine, name: str, default: str) -> int:
    text = line.text(name) or default
    if not text.isdecimal():
        raise UsageError(f"--{name} {text!r}: give a whole number from 0", line.command.name)
    return int(text)


def _memory(line: CommandLine) -> float | None:
    text = _known(line, "mem_size")
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--mem-size {text!r}: give GB, or -1 for unknown", line.command.name)
    return value if value >= 0 else None


# --- files --------------------------------------------------------------------------------------------------------


def _from_xml(line: CommandLine) -> int:
    """Show what an agent would understand of project.xml and resources.xml.

    Raises:
        ConfigError: a file cannot be read or is wrong; with line and element.
    """
    from resources_xml import ResourcesXmlError, nodes, read_project, read_resources

    project_path, resources_path = (line.text("from_xml") or "").split("\n")
    try:
        project = read_project(_read(project_path), source=project_path)
        found = nodes(project, read_resources(_read(resources_path), source=resources_path))
    except ResourcesXmlError as error:
        raise ConfigError(str(error)) from error
    if line.flag("json"):
        print_json(_without_secrets(asdict(found)))
    else:
        _print_nodes(found)
    return 0


def _read(path: str) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(XML_CAP_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > XML_CAP_BYTES:
        raise ConfigError(f"{path} is larger than {XML_CAP_BYTES} bytes")
    return data


def _print_nodes(found: Nodes) -> None:
    rows = [_node_row(node) for node in (found.own, *found.compute_nodes)]
    print_rows(("host", "processors", "memory", "adaptor", "at a time", "software"), rows, title="hosts")
    others = [("HTTP service", service.base_url) for service in found.http_services]
    others += [("service", service.name) for service in found.services]
    others += [("cluster", cluster.name) for cluster in found.clusters]
    others += [("data node", node.name) for node in found.data_nodes]
    if others:
        print_rows(("kind", "name"), others, title="others")
    said = [("warning", str(note)) for note in found.warnings] + [("note", str(note)) for note in found.notes]
    if said:
        print_rows(("", "what to know"), said, title="remarks")
    if not found.is_usable:
        print("nothing here can run a task: declare CPU units in MasterNode, or a compute node")


def _node_row(node: NodeSpec) -> tuple[str, ...]:
    hardware = node.hardware
    processors = ", ".join(f"{processor.units} {processor.kind} {processor.name}" for processor in hardware.processors)
    return (
        node.name,
        processors or "none",
        f"{hardware.memory_mib} MiB" if hardware.memory_mib is not None else "unknown",
        node.adaptor.name if node.adaptor else "",
        str(node.concurrent_tasks),
        " ".join(sorted(hardware.software)),
    )


def _without_secrets(value: Any) -> Any:
    """Leave out the adaptors' properties, whose values may be secrets."""
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items() if key != "properties"}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value

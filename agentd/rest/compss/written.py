"""What COMPSs' door answers and sends: the pool as JSON and as lines, and the notice that an operation has ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from agentd.rest.compss.description import UNKNOWN, described
from schedulers.capacity import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentd.model.views import OperationView
    from agentd.rest.port import Pooled

CLASSES = {
    "": "es.bsc.compss.types.COMPSsMaster",
    "comm": "es.bsc.compss.agent.comm.CommAgentWorker",
    "rest": "es.bsc.compss.agent.rest.master.RemoteRESTAgent",
}
"""Class by which the field shows how a host is reached, by our name of the adaptor; "" is the own device."""


def resources_json(pool: Iterable[Pooled], now_ms: int) -> bytes:
    """Say the pool as `GET /COMPSs/resources` does; hosts without units of any kind are not in it."""
    rows = [
        {
            "name": host.name,
            "description": described(host.capacity),
            "adaptor": CLASSES.get(host.adaptor, host.adaptor),
        }
        for host in pool
        if host.capacity.processors
    ]
    return json.dumps({"time": now_ms, "resources": rows}).encode()


def resources_dump(pool: Sequence[Pooled], functions: Sequence[str], now_ms: int) -> str:
    """Say the pool in the lines that COMPSs prints for people; `functions` are what it could run now."""
    lines = [f"TIMESTAMP = {now_ms}", "RESOURCES = ["]
    for host in pool:
        capacity = host.capacity
        lines += [
            "\tRESOURCE = [",
            f"\t\tNAME = {host.name}",
            f"\t\tEXEC_CORES = {' '.join(functions)}".rstrip(),
            "\t\tCORE_SIMTASKS = [",
            *(
                f"\t\t\tCORE = [ COREID = {number}, SIM_TASKS = {capacity.units()} ]"
                for number, _ in enumerate(functions)
            ),
            "\t\t]",
            "\t\tTYPE = WORKER",
            *(f"\t\t{kind.value}_COMPUTING_UNITS = {capacity.units(kind)}" for kind in Kind),
            f"\t\tMEMORY = {UNKNOWN if capacity.memory_mib is None else capacity.memory_mib / 1024}",
            f"\t\tSET = {'Critical' if not host.adaptor else 'Non-Critical'}",
            "\t]",
        ]
    return "\n".join([*lines, "]", "", "CLOUD = []"])


def ended_xml(view: OperationView) -> bytes:
    """Write the `endApplication` of an operation that has ended; its value has no place there and is read at `/v1`."""
    status = "OK" if view.state == "done" else "EXECUTION_FAILED"
    times = (
        ("taskCreated", view.submitted_at),
        ("taskSubmitted", view.submitted_at),
        ("executionStart", view.started_at),
        ("executionEnd", view.ended_at),
        ("taskEnd", view.ended_at),
    )
    profile = "".join(f"<{name}>{round(at * 1000)}</{name}>" for name, at in times if at)
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        f"<endApplication><jobId>{escape(view.id)}</jobId><endStatus>{status}</endStatus>"
        f"<profile>{profile}</profile></endApplication>"
    ).encode()

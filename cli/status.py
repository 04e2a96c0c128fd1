"""`agentd status`: the agent on one screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agentd.model.errors import RequestError
from agentd.model.figures import counted, duration, size
from cli.output import print_fields, print_json, print_rows
from cli.target import agent_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentd.model.views import AgentView, NeighbourView
    from cli.parsing import CommandLine


NEIGHBOURS_HEAD = ("neighbour", "state", "round trip", "free", "runs for us", "lease", "last refusal")


def run(line: CommandLine) -> int:
    """Show the agent, its neighbours, its queue and its health; exit code 3 if it takes no work."""
    with agent_of(line) as agent:
        view, neighbours = agent.agent(), agent.neighbours()
        waiting = [] if view.ready is False else agent.operations("queued", limit=5)
    if line.flag("json"):
        print_json({"agent": view, "neighbours": neighbours})
    else:
        print_fields(_fields(view))
        if neighbours:
            print_rows(NEIGHBOURS_HEAD, map(neighbour_row, neighbours), title="neighbours")
        rows = [(each.id, each.function, each.reason or "waits for its turn") for each in waiting]
        rows += [("calls", function, why) for function, why in view.why_waiting.items()]
        if rows:
            print_rows(("waiting", "function", "why"), rows, title="queue")
    if not view.ready:
        raise RequestError(f"{view.name} takes no work: {view.not_ready_reason or 'it is stopping'}", status=503)
    return 0


def _fields(view: AgentView) -> dict[str, str]:
    whose = ", ".join(f"{count} of {name}" for name, count in view.waiting_for.items())
    counts = ", ".join(f"{count} {state}" for state, count in view.operations.items() if count)
    fields = {
        "agent": f"{view.name} ({'ready' if view.ready else 'NOT READY: ' + view.not_ready_reason})",
        "version": f"{view.version}, Python {view.python}, pid {view.pid}",
        "up for": duration(max(0.0, time.time() - view.started_at)),
        "users": view.rest or "closed",
        "agents": view.comm or "closed",
        "cores": f"{view.cores_free} of {view.cores} free, {counted(view.workers, 'worker')}",
        "tasks": f"{view.running} running, {view.waiting} waiting" + (f", in turn: {whose}" if whose else ""),
        "operations": counts or "none yet",
        "scheduler": view.scheduler,
        "state": f"{view.state_folder}: journal {size(view.journal_bytes)}, objects {size(view.objects_bytes)}",
    }
    if view.draining:
        fields["draining"] = "takes no new work and stops"
    if view.warnings:
        fields["warnings"] = "\n".join(view.warnings)
    return fields


def neighbour_row(row: NeighbourView) -> tuple[str, ...]:
    """Show a neighbour as a row below `NEIGHBOURS_HEAD`."""
    return (
        row.name + (" (parent)" if row.is_parent else ""),
        row.state,
        duration(row.rtt_s),
        _free(row.advertised),
        str(row.running),
        duration(max(0.0, row.lease_s)),
        row.why_not or row.refusal,
    )


def _free(advertised: Mapping[str, float]) -> str:
    """Say how many cores are free at a neighbour, and at it and all beyond it where these are more."""
    cores, free = advertised.get("cores", 0), advertised.get("free")
    if free is None:
        return ""
    together = f"{free:g} of {cores:g}"
    own_cores, own_free = advertised.get("own_cores"), advertised.get("own_free")
    if own_cores is None or own_free is None or own_cores == cores:
        return together
    return f"{own_free:g} of {own_cores:g}, {together} with those beyond"

"""Figures for Prometheus, in its text form (version 0.0.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.core.engine import Engine

_HELP = {
    "accepted": "Operations, calls and neighbours' tasks accepted.",
    "ended": "Tasks that have ended.",
    "late_ends": "Ends of superseded attempts, dropped.",
    "lost_tasks": "Tasks whose host was lost while they ran.",
    "refused": "Submissions and offers declined.",
    "forwarded": "Tasks offered to neighbours.",
    "worker_losses": "Worker processes that ended unasked.",
    "remade": "Tasks that ran again since what they had made was lost with another agent.",
    "revoked": "Tasks taken back from a worker's line.",
    "direct_calls": "Calls that workers took straight from sessions; this daemon is told of durable ones meanwhile.",
}


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _digits(figure: float) -> str:
    """Write all digits of a whole number: of one that is counted in bytes the last ones matter, too."""
    return str(int(figure)) if figure == int(figure) else f"{figure:g}"


def render(engine: Engine, extra: dict[str, float], counted: dict[str, int]) -> str:
    """Write all figures of the agent; `extra` are gauges by name, `counted` what the engine does not count."""
    state = engine.state
    lines = []
    for name, value in (*state.counters.items(), *counted.items()):
        lines += [f"# HELP agentd_{name}_total {_HELP[name]}", f"# TYPE agentd_{name}_total counter"]
        lines.append(f"agentd_{name}_total {value}")
    gauges: dict[str, float] = {
        "waiting_tasks": len(state.queue),
        "waiting_bytes": state.queue.bytes,
        "live_tasks": len(state.tasks),
        "workers": len(state.crew.lines),
        "busy_workers": state.crew.running(),
        "cores": state.pool.total(),
        "cores_free": state.pool.free(),
        "operations_kept": len(state.ledger.operations),
        "journal_entries": state.outbox.number,
        "scheduler_violations": engine.placing.violations,
        **extra,
    }
    for name, figure in gauges.items():
        lines += [f"# TYPE agentd_{name} gauge", f"agentd_{name} {_digits(figure)}"]
    lines.append("# TYPE agentd_operations gauge")
    lines += [f'agentd_operations{{state="{name}"}} {count}' for name, count in state.ledger.counts.items()]
    lines.append("# TYPE agentd_neighbour_held gauge")
    lines += [
        f'agentd_neighbour_held{{neighbour="{_label(row.name)}"}} {len(row.held)}'
        for row in state.neighbourhood.by_name.values()
    ]
    return "\n".join(lines) + "\n"

"""The agents that this one is paired with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.output import moment, print_json, print_rows
from cli.parsing import UsageError
from cli.target import agent_of

if TYPE_CHECKING:
    from agentd.model.views import PeerView
    from cli.parsing import CommandLine

HEAD = ("name", "state", "may call", "tasks", "gives work", "certificate", "paired", "at", "why not")
_LIFTED: dict[str, Any] = {"functions": [], "max_tasks": None, "submit_upward": True, "may_stop": False}
_YES, _NO = {"yes", "true", "on", "1"}, {"no", "false", "off", "0"}


def run(line: CommandLine) -> int:
    """List them."""
    with agent_of(line) as agent:
        rows = agent.peers()
    if line.flag("json"):
        print_json({"peers": rows})
    else:
        print_rows(HEAD, map(_row, rows), empty="no peers: `agentd invite` here, `agentd join` on the other device")
    return 0


def limit(line: CommandLine) -> int:
    """Limit what a peer may ask for."""
    with agent_of(line) as agent:
        return _show(line, agent.change_peer(line.arguments[0], limits=_limits(line)))


def rename(line: CommandLine) -> int:
    """Call a peer something else."""
    with agent_of(line) as agent:
        return _show(line, agent.change_peer(line.arguments[0], new_name=line.arguments[1]))


def revoke(line: CommandLine) -> int:
    """Trust a peer no more."""
    with agent_of(line) as agent:
        return _show(line, agent.revoke_peer(line.arguments[0], line.text("reason") or ""))


def forget(line: CommandLine) -> int:
    """Strike a revoked peer out of the book."""
    name = line.arguments[0]
    with agent_of(line) as agent:
        agent.forget_peer(name)
    if line.flag("json"):
        print_json({"name": name, "forgotten": True})
    else:
        print(f"{name} is forgotten")
    return 0


def _limits(line: CommandLine) -> dict[str, Any]:
    """Read what is named; the others stay as they are."""
    limits: dict[str, Any] = dict(_LIFTED) if line.flag("lift") else {}
    if functions := line.texts("allow_function"):
        limits["functions"] = functions
    if (most := line.text("max_tasks")) is not None:
        if not (most.isascii() and most.isdigit()):
            raise UsageError(f"--max-tasks {most!r}: give a number from 0", line.command.name)
        limits["max_tasks"] = int(most)
    for option in ("submit_upward", "may_stop"):
        if (word := line.text(option)) is not None:
            limits[option] = _is_so(line, option, word.lower())
    return limits


def _is_so(line: CommandLine, option: str, word: str) -> bool:
    if word not in _YES | _NO:
        raise UsageError(f"--{option.replace('_', '-')} {word!r}: say yes or no", line.command.name)
    return word in _YES


def _show(line: CommandLine, row: PeerView) -> int:
    if line.flag("json"):
        print_json(row)
    else:
        print_rows(HEAD, [_row(row)])
    return 0


def _row(row: PeerView) -> tuple[str, ...]:
    return (
        row.name,
        row.state,
        " ".join(row.functions) or "anything",
        "any number" if row.max_tasks is None else str(row.max_tasks),
        ("yes" if row.submit_upward else "no") + (", may stop this agent" if row.may_stop else ""),
        row.fingerprint[:16],
        moment(row.paired_at).partition(" ")[0],
        row.addresses[0] if row.addresses else "it dials us",
        row.why_not,
    )

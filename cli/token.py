"""Tokens that give others access to the agent of this state folder; works whether it runs or not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agentd.api.places import find
from agentd.api.routes.client import Agent
from agentd.daemon.trust.tokens import Entry, TokenBook
from agentd.model.errors import AgentdError
from cli.output import moment, print_json, print_rows
from cli.target import folder_of

if TYPE_CHECKING:
    from cli.parsing import CommandLine

HEAD = ("name", "scope", "made")


def run(line: CommandLine) -> int:
    """List the tokens."""
    entries = TokenBook(folder_of(line)).entries()
    if line.flag("json"):
        print_json({"tokens": [_shown(entry) for entry in entries]})
    else:
        print_rows(HEAD, map(_row, entries), empty="no tokens")
    return 0


def add(line: CommandLine) -> int:
    """Make a token and print it, this once."""
    name, scope = line.arguments[0], line.text("scope") or "submit"
    token = TokenBook(folder_of(line)).add(name, scope)
    if line.flag("json"):
        print_json({"name": name, "scope": scope, "token": token})
    else:
        print(token)
    return 0


def revoke(line: CommandLine) -> int:
    """Make a token worthless."""
    name, folder = line.arguments[0], folder_of(line)
    TokenBook(folder).revoke(name)
    if line.flag("json"):
        print_json({"name": name, "revoked": True})
    else:
        print(f"{name} is revoked")
    with suppress(AgentdError), Agent(find(folder)) as agent:
        agent.agent()  # it looks at its tokens when it is asked something: who came with this one is sent away
    return 0


def show(line: CommandLine) -> int:
    """Show what a token allows."""
    entry = TokenBook(folder_of(line)).show(line.arguments[0])
    if line.flag("json"):
        print_json(_shown(entry))
    else:
        print_rows(HEAD, [_row(entry)])
    return 0


def _shown(entry: Entry) -> dict[str, object]:
    return {"name": entry.name, "scope": entry.scope, "created_at": entry.created_at}


def _row(entry: Entry) -> tuple[str, ...]:
    return entry.name, entry.scope, moment(entry.created_at)

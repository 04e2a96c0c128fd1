"""Inviting, joining, logging in: how devices and people come to trust each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agentd.api.routes.tables import printable
from agentd.model.figures import duration
from cli.output import print_json, print_rows
from cli.parsing import UsageError
from cli.target import agent_of

if TYPE_CHECKING:
    from agentd.model.views import InvitationView
    from cli.parsing import CommandLine

_INPUT_CAP = 8_192


def invite(line: CommandLine) -> int:
    """Make an invitation; the string alone goes to stdout, and what to do with it to stderr."""
    user = line.text("user") or ""
    if line.text("scope") is not None and not user:
        raise UsageError("--scope is for a person: add --user NAME", line.command.name)
    if line.text("name") is not None and user:
        raise UsageError("--name is for an agent: a person's token is called as --user says", line.command.name)
    with agent_of(line) as agent:
        made = agent.invite(
            user,
            scope=line.text("scope") or "submit",
            name=line.text("name") or "",
            expires_s=_seconds(line, "expires"),
            addresses=line.texts("address"),
        )
    if line.flag("json"):
        print_json(made)
        return 0
    print(made.invitation)
    sys.stdout.flush()
    _explain(made)
    return 0


def _explain(made: InvitationView) -> None:
    command = "login" if made.role == "user" else "join"
    good = duration(made.expires_s)
    _say(f"run `agentd {command}` with this string on the other device, within {good}; it lets in one, whoever has it.")
    _say(f"The other device comes to {', '.join(made.addresses)}")
    for note in made.notes:
        _say(f"note: {note}")


def invitations(line: CommandLine) -> int:
    """List what is open."""
    with agent_of(line) as agent:
        rows = agent.invitations()
    if line.flag("json"):
        print_json({"invitations": rows})
        return 0
    print_rows(
        ("id", "for", "name", "scope", "good for"),
        ((row.id, row.role, row.name, row.scope, duration(row.expires_s)) for row in rows),
        empty="no invitations",
    )
    return 0


def cancel(line: CommandLine) -> int:
    """Void an invitation."""
    with agent_of(line) as agent:
        agent.cancel_invitation(line.arguments[0])
    if line.flag("json"):
        print_json({"id": line.arguments[0], "cancelled": True})
    else:
        print(f"{line.arguments[0]} is cancelled")
    return 0


def join(line: CommandLine) -> int:
    """Pair the agent of this device with the one that made the invitation."""
    from agentd.api.routes.trust import check_for_agents  # loads the HTTP client

    text = _string(line)
    check_for_agents(text)
    with agent_of(line) as agent:
        peer = agent.join(text, line.text("name") or "", link=not line.flag("no_link"), is_parent=line.flag("parent"))
    if line.flag("json"):
        print_json(peer)
        return 0
    print(f"paired with {printable(peer.name)} (certificate {peer.fingerprint[:16]}…)")
    if not line.flag("no_link"):
        print("work goes there from now on; `agentd status` shows the link, and `agentd resources add` there adds us")
    return 0


def login(line: CommandLine) -> int:
    """Keep the certificate and a token of the agent that made the invitation."""
    from agentd.api.routes.trust import login as log_in  # loads the HTTP client

    made = log_in(_string(line))
    if line.flag("json"):
        print_json({"url": made.url, "agent": made.agent, "user": made.user, "scope": made.scope})
        return 0
    print(f"logged in at {printable(made.agent)} as {printable(made.user)}, scope {made.scope}")
    print(f"name it with --agent {made.url}, or connect({made.url!r}) in Python")
    return 0


def logout(line: CommandLine) -> int:
    """Forget an agent; its operator revokes the token with `agentd token revoke`."""
    from agentd.api.logins import forget

    url = line.arguments[0].rstrip("/")
    forget(url)
    if line.flag("json"):
        print_json({"url": url, "forgotten": True})
    else:
        print(f"{printable(url)} is forgotten here; there, `agentd token revoke NAME` makes the token worthless")
    return 0


def _string(line: CommandLine) -> str:
    """Give the invitation: the argument, or what is typed or piped, which no other process can see."""
    if line.arguments and line.arguments[0] != "-":
        return line.arguments[0]
    if sys.stdin.isatty():
        _say("paste the invitation, then press Enter:")
        text = sys.stdin.readline(_INPUT_CAP)
    else:
        text = sys.stdin.read(_INPUT_CAP)
    if not text.strip():
        raise UsageError("no invitation was given: paste the string that `agentd invite` printed", line.command.name)
    return text


def _seconds(line: CommandLine, name: str) -> float | None:
    text = line.text(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError as error:
        raise UsageError(f"--{name} {text!r}: give a number of seconds", line.command.name) from error
    return seconds


def _say(words: str) -> None:
    print(printable(words), file=sys.stderr)

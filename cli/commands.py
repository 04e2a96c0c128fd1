"""Every command, in one table: what it is called, what it does, an example, and who carries it out."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command; `agentd` and its name run it."""

    name: str
    """One word, or two for a command of a group."""
    run: str
    """`module:function` that carries it out, given the parsed line; gives the exit code."""
    summary: str
    usage: str
    """What stands after the options."""
    example: str
    least: int = 0
    """Arguments that it needs at least."""
    most: int | None = 0
    """Arguments that it takes at most; None: any number."""
    stops_at_argument: bool = False
    """What follows the first argument belongs to users' code, also when it looks like an option."""


COMMANDS: tuple[Command, ...] = (
    Command(
        "start",
        "cli.start:run",
        "Run an agent in the foreground until it is stopped.",
        "",
        "agentd start --cpu 4 --pythonpath ~/functions",
    ),
    Command(
        "call",
        "cli.call:run",
        "Run a function, or a program, as an operation; wait for it and print its result.",
        "TARGET [ARG]...",
        "agentd call shop.prices:total '[1, 2, 3]'",
        least=1,
        most=None,
        stops_at_argument=True,
    ),
    Command(
        "run",
        "cli.program:run",
        "Run a program with an agent of its own; gives the program's exit code.",
        "PROGRAM [ARG]...",
        "agentd run --cpu 4 kmeans.py 10",
        least=1,
        most=None,
        stops_at_argument=True,
    ),
    Command(
        "resources",
        "cli.resources:run",
        "Show the pool: each host with its total, free and owed units.",
        "",
        "agentd resources --json",
    ),
    Command(
        "resources add",
        "cli.resources:add",
        "Add a host to the pool, or let a known one grow.",
        "NAME [PROPERTY=VALUE]...",
        "agentd resources add --cpu 4 beta Port=46102",
        least=1,
        most=None,
    ),
    Command(
        "resources reduce",
        "cli.resources:reduce",
        "Take capacity away; what is in use is owed until it is free.",
        "NAME",
        "agentd resources reduce --cpu 2 beta",
        least=1,
        most=1,
    ),
    Command(
        "resources remove",
        "cli.resources:remove",
        "Remove a host once what it runs has ended.",
        "NAME",
        "agentd resources remove beta",
        least=1,
        most=1,
    ),
    Command(
        "resources lost",
        "cli.resources:lost",
        "Remove a host that is gone; what ran there runs again elsewhere.",
        "NAME",
        "agentd resources lost beta",
        least=1,
        most=1,
    ),
    Command(
        "operations",
        "cli.operations:run",
        "List operations, newest first.",
        "",
        "agentd operations --in-state queued",
    ),
    Command(
        "show",
        "cli.operations:show",
        "Show one operation, and why it waits if it does.",
        "ID",
        "agentd show 4611686018427387905 --tasks",
        least=1,
        most=1,
    ),
    Command(
        "result",
        "cli.operations:result",
        "Wait for an operation and print its result.",
        "ID",
        "agentd result 4611686018427387905 --timeout 60",
        least=1,
        most=1,
    ),
    Command(
        "cancel",
        "cli.cancelling:run",
        "Stop operations: what waits is dropped, what runs is interrupted.",
        "[ID]...",
        "agentd cancel 4611686018427387905",
        most=None,
    ),
    Command(
        "logs",
        "cli.operations:logs",
        "Print what users' code wrote, wherever it ran.",
        "ID",
        "agentd logs --follow 4611686018427387905",
        least=1,
        most=1,
    ),
    Command(
        "status",
        "cli.status:run",
        "Show the agent on one screen: who it is, its neighbours, its queue and its health.",
        "",
        "agentd status",
    ),
    Command(
        "top",
        "cli.top:run",
        "Show the agent and its work, renewed each second; `q` ends it.",
        "",
        "agentd top --interval 2",
    ),
    Command(
        "demo",
        "cli.demonstration:run",
        "Show three agents at work on this machine: a real operation goes through them, and what ran where is shown.",
        "",
        "agentd demo",
    ),
    Command(
        "start-service",
        "cli.service:run",
        "Start several linked agents on this machine; run one operation on them, or wait.",
        "[TARGET] [ARG]...",
        "agentd start-service --num-agents 4 --topology tree --exec-time 2s",
        most=None,
        stops_at_argument=True,
    ),
    Command(
        "doctor",
        "cli.doctor:run",
        "Check this device; show which settings hold and where they come from.",
        "",
        "agentd doctor",
    ),
    Command(
        "token",
        "cli.token:run",
        "List the tokens that give others access to the agent.",
        "",
        "agentd token",
    ),
    Command(
        "token add",
        "cli.token:add",
        "Make a token; it is shown this once.",
        "NAME",
        "agentd token add laptop --scope submit",
        least=1,
        most=1,
    ),
    Command("token list", "cli.token:run", "List the tokens.", "", "agentd token list"),
    Command(
        "token revoke",
        "cli.token:revoke",
        "Make a token worthless.",
        "NAME",
        "agentd token revoke laptop",
        least=1,
        most=1,
    ),
    Command(
        "token show",
        "cli.token:show",
        "Show what a token allows and since when; never the token itself.",
        "NAME",
        "agentd token show laptop",
        least=1,
        most=1,
    ),
    Command(
        "invite",
        "cli.pairing:invite",
        "Invite an agent of another device, or a person; prints one string, to be used there within ten minutes.",
        "",
        "agentd invite",
    ),
    Command(
        "invitations", "cli.pairing:invitations", "List the invitations that are open.", "", "agentd invitations --json"
    ),
    Command(
        "invitations cancel",
        "cli.pairing:cancel",
        "Void an invitation.",
        "ID",
        "agentd invitations cancel 10c88458ca23063e",
        least=1,
        most=1,
    ),
    Command(
        "join",
        "cli.pairing:join",
        "Pair with the agent that made an invitation, and link; without STRING it is read from the input.",
        "[STRING]",
        "agentd join agentd1_afagygk...",
        most=1,
    ),
    Command(
        "login",
        "cli.pairing:login",
        "Let this person's programs ask the agent that invited them; without STRING it is read from the input.",
        "[STRING]",
        "agentd login agentd1_afagygk...",
        most=1,
    ),
    Command(
        "logout",
        "cli.pairing:logout",
        "Forget the certificate and the token of an agent.",
        "URL",
        "agentd logout https://192.0.2.7:46101",
        least=1,
        most=1,
    ),
    Command("peers", "cli.peers:run", "List the agents that are trusted, and their limits.", "", "agentd peers"),
    Command(
        "peers limit",
        "cli.peers:limit",
        "Limit what a peer may ask of this agent; what is not named stays as it is.",
        "NAME",
        "agentd peers limit phone --allow-function shop.prices:total",
        least=1,
        most=1,
    ),
    Command(
        "peers rename",
        "cli.peers:rename",
        "Call a peer something else.",
        "NAME NEW",
        "agentd peers rename localhost phone",
        least=2,
        most=2,
    ),
    Command(
        "peers revoke",
        "cli.peers:revoke",
        "Trust a peer no more: its connection ends at once, and it is told why.",
        "NAME",
        "agentd peers revoke phone --reason stolen",
        least=1,
        most=1,
    ),
    Command(
        "peers forget",
        "cli.peers:forget",
        "Strike a revoked peer out of the book.",
        "NAME",
        "agentd peers forget phone",
        least=1,
        most=1,
    ),
)

_HOST = "The host, as `agentd resources` lists it."
_AS_TEXT = "What it is given, as text."
ARGUMENTS = {
    "TARGET": "module:function; or a module, whose `main` is called; or a FILE.py that is here, which is sent along "
    "and run as a program.",
    "ARG": "What it is given: JSON where it is valid JSON, else text.",
    "PROGRAM": "A FILE.py that is here.",
    "ID": "The operation: the number that `agentd call --no-wait` and `agentd operations` print.",
    "STRING": "What `agentd invite` printed.",
    "URL": "Where the agent is, as `agentd login` said.",
    "run ARG": _AS_TEXT,
    "start-service TARGET": "module:function, run on the first agent; then all stop. Without it they stay.",
    "start-service ARG": _AS_TEXT,
    "resources NAME": _HOST,
    "resources add NAME": "What the host is called; an agent that is paired, by the name that `agentd peers` has.",
    "resources add PROPERTY=VALUE": "Where it is, if it is not paired: Host=127.0.0.1 Port=46202.",
    "token NAME": "What the token is called, as `agentd token` lists it.",
    "token add NAME": "What it is to be called: whom or what it is for.",
    "invitations ID": "The invitation, as `agentd invitations` lists it.",
    "peers NAME": "The peer, as `agentd peers` lists it.",
    "peers NEW": "What it is to be called here.",
}
"""What stands after the options, by the word of the usage: for all commands, a group of them, or one."""


def meaning(command: Command, word: str) -> str:
    """Say what is to be written in place of a word of a command's usage."""
    group = command.name.partition(" ")[0]
    wheres = (f"{command.name} {word}", f"{group} {word}", word)
    return next(ARGUMENTS[where] for where in wheres if where in ARGUMENTS)


BY_NAME = {command.name: command for command in COMMANDS}
GROUPS = {command.name.partition(" ")[0] for command in COMMANDS if " " in command.name}

PROGRAMS = {
    "compss-agent-start": "start",
    "compss-agent-start-service": "start-service",
    "agent-call-operation": "call",
    "compss-agent-call-operation": "call",
    "agent-add-resources": "resources add",
    "compss-agent-add-resources": "resources add",
    "agent-reduce-resources": "resources reduce",
    "compss-agent-reduce-resources": "resources reduce",
    "agent-lost-resources": "resources lost",
    "compss-agent-lost-resources": "resources lost",
}
"""Names, in dashes, under which the one program is also installed, and the command that each stands for."""

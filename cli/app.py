"""The one entry of all commands: parse, carry out, and say by the exit code how it went."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from agentd.model.errors import (
    AgentdError,
    BrokenInvariant,
    ConfigError,
    DiskError,
    RequestError,
    StateInUse,
    TaskFailed,
    Unreachable,
)
from cli.parsing import UsageError, parse, program_of

if TYPE_CHECKING:
    from cli.parsing import CommandLine

FAILED, USAGE, REFUSED, UNREACHABLE, IN_USE, BROKEN, DISK, GAVE_UP, INTERRUPTED = 1, 2, 3, 4, 5, 70, 74, 124, 130

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (StateInUse, IN_USE),
    (ConfigError, USAGE),
    (TaskFailed, FAILED),
    (Unreachable, UNREACHABLE),
    (RequestError, REFUSED),
    (BrokenInvariant, BROKEN),
    (DiskError, DISK),
    (TimeoutError, GAVE_UP),
    (UsageError, USAGE),
    (AgentdError, REFUSED),
)
"""Exit codes by what went wrong, the first that fits."""

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a place to which the output was sent."""

UNAUTHENTICATED = 401

COMPLETION = ("--install-completion", "--show-completion")


def main(argv: list[str]) -> int:
    """Carry out the command line and give the exit code."""
    _open_streams()
    command, is_compss = program_of(argv[0])
    arguments = argv[1:]
    if not command and arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        if not command and _is_for_help(arguments):
            return _show_help("", arguments)
        return _carry_out(parse(arguments, command=command, is_compss=is_compss))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does: nothing is wrong, and nothing can be said.
        _silence()
        return 0
    except (AgentdError, UsageError, TimeoutError) as error:
        return _told(error, command)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _silence()
        _say(f"{error.filename or 'what was to be written'} cannot be written: {error.strerror}")
        return DISK


def _open_streams() -> None:
    """Stand in for streams that were closed by who started us: what goes there goes nowhere."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _silence() -> None:
    from cli.output import silence

    silence(sys.stdout)


def _is_for_help(arguments: list[str]) -> bool:
    if "_AGENTD_COMPLETE" in os.environ or not arguments or arguments[0] in {"-h", "--help"}:
        return True
    return arguments[0] in {"--version", "-v"} or any(word.startswith(COMPLETION) for word in arguments[:1])


def _show_help(command: str, arguments: list[str]) -> int:
    from cli.help import show_help  # loads the command-line library, for the help texts and completion only

    code = show_help(command, arguments)
    sys.stdout.flush()
    return code


def _carry_out(line: CommandLine) -> int:
    if line.wants_help:
        return _show_help(line.command.name, [])
    if line.flag("version"):
        from agentd import __version__

        print(f"agentd {__version__}")
        return 0
    for warning in line.warnings:
        _say(warning)
    module, _, function = line.command.run.partition(":")
    code = getattr(import_module(module), function)(line)
    sys.stdout.flush()
    return int(code)


def _told(error: Exception, program: str) -> int:
    from agentd.api.routes.tables import printable

    rows = error.traceback.rstrip().splitlines() if isinstance(error, TaskFailed) else []
    for row in rows:
        print(printable(row), file=sys.stderr)
    if not rows or (isinstance(error, TaskFailed) and not rows[-1].startswith(error.kind)):
        _say(str(error) or type(error).__name__)  # a traceback of ours does not say what was wrong with users' code
    if isinstance(error, RequestError) and error.status == UNAUTHENTICATED:
        print("commands take a token from a file (--token-file FILE) or from AGENTD_TOKEN", file=sys.stderr)
    if isinstance(error, UsageError) and error.command and not program:
        print(f"`agentd {error.command} --help` shows how it is used", file=sys.stderr)
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _say(words: str) -> None:
    from cli.output import tell  # what starts an agent does without

    tell(words)

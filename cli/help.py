"""Help texts and shell completion, made of the tables by the command-line library."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from textwrap import wrap
from typing import Annotated, Any

import typer

from agentd import __version__
from agentd.model.views import STATES
from cli.commands import COMMANDS, GROUPS, Command, meaning
from cli.options import Effect, Option, options_of
from schedulers.loading import SPELLED

LINE = 76
"""Signs of a line of help; the library puts two before each and keeps to 80."""
SCOPES = ("none", "read", "submit", "code", "admin")
WORDS: dict[str, tuple[str, ...]] = {
    "in-state": STATES,
    "scope": SCOPES[1:],
    "local-access": SCOPES,
    "log-level": ("off", "info", "api", "debug", "trace"),
    "scheduler": SPELLED,
    "topology": ("plain", "chain", "tree"),
}
"""Values of options of which there are a few, for the completion of shells."""


def show_help(command: str, arguments: list[str]) -> int:
    """Print the help of a command, or of all of them; or do what `arguments` ask of the shell completion."""
    words = [*command.split(), "--help"] if command or not arguments else arguments
    if words[0] in {"--version", "-v"}:
        print(f"agentd {__version__}")
        return 0
    try:
        app()(words, prog_name="agentd")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def app() -> typer.Typer:
    """Make the application that knows every command and option and carries none of them out."""
    root = typer.Typer(
        name="agentd",
        help="Serverless Python for the fog: one agent per device, agents lend each other their cores.",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    groups = dict.fromkeys(("",), root)
    for command in COMMANDS:
        group, _, word = command.name.rpartition(" ")
        told: dict[str, Any] = {
            "help": "\n\n".join(filter(None, (command.summary, _meanings(command)))),
            "short_help": _short(command),
            "epilog": f"Example: {command.example}",
        }
        if command.name in GROUPS:
            groups[command.name] = typer.Typer(invoke_without_command=True, callback=_function(command), **told)
            root.add_typer(groups[command.name], name=command.name)
        else:
            groups[group].command(word, **told)(_function(command))
    return root


def _short(command: Command) -> str:
    """Give what stands in the list of commands: what its summary says first, uncut on 80 columns."""
    return re.split(r"[;:] ", command.summary)[0].removesuffix(".") + "."


def _meanings(command: Command) -> str:
    """Say what the words of the usage stand for: a table that the library leaves as it is."""
    words = [word.strip("[].") for word in command.usage.split()]
    if not words:
        return ""
    wide = max(map(len, words))
    rows = ["\b"]
    for word in words:
        first, *more = wrap(meaning(command, word), LINE - wide - 2)
        rows += [f"{word:{wide}}  {first}", *(" " * (wide + 2) + line for line in more)]
    return "\n".join(rows)


def _function(command: Command) -> Any:
    """Make a function whose signature says what the tables say of a command."""

    def nothing(**_: Any) -> None:
        """Carry nothing out: the tables' own parser does."""

    parameters = [_parameter(option) for option in options_of(command.name)]
    parameters = [_argument(word) for word in command.usage.split()] + parameters
    nothing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    nothing.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    nothing.__doc__ = command.summary
    return nothing


def _argument(word: str) -> inspect.Parameter:
    """Make the parameter for one word of the usage, such as `NAME`, `[TARGET]` or `[ARG]...`."""
    name = word.strip("[].").lower()
    described = typer.Argument(metavar=word.strip("[]."), show_default=False, hidden=True)  # told by `_meanings`
    if not word.startswith("["):
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, described])
    if word.endswith("]"):
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, described])
    return inspect.Parameter(
        name.partition("=")[0], inspect.Parameter.KEYWORD_ONLY, default=[], annotation=Annotated[list[str], described]
    )


def _parameter(option: Option) -> inspect.Parameter:
    flags = [f"--{option.name}"] + ([f"-{option.short}"] if option.short else [])
    described = typer.Option(
        *flags,
        help=_described(option),
        metavar=option.metavar or None,
        show_default=False,
        autocompletion=_completion(option),
    )
    kind: Any = bool if not option.metavar else list[str] if option.many else str
    default: Any = False if kind is bool else [] if option.many else ""
    name = "option_" + option.name.replace("-", "_")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, described]
    )


def _completion(option: Option) -> Callable[[str], list[str]] | None:
    """Complete values of which there are a few; None where anything may stand."""
    words = WORDS.get(option.name, ())
    if "|" in option.metavar and option.metavar.replace("|", "").isalpha():
        words = tuple(option.metavar.lower().split("|"))
    return (lambda incomplete: [word for word in words if word.startswith(incomplete.lower())]) if words else None


def _described(option: Option) -> str:
    default = f" [default: {option.default}]" if option.default else ""
    prefix = {Effect.NONE: "No effect: ", Effect.REFUSED: "Not supported: "}.get(option.effect, "")
    return prefix + option.help + default

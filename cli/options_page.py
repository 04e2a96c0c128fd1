"""The table of options as `docs/commands.md` shows it: `python -m cli.options_page` prints it."""

from __future__ import annotations

from cli.commands import COMMANDS, GROUPS
from cli.options import OPTIONS, Effect, Option

_HEAD = (
    "| option | commands | value | without it | COMPSs | effect | what it does, or why not |\n"
    "|---|---|---|---|---|---|---|\n"
)


def table() -> str:
    """Give the table in Markdown: a row per option, in the order of the alphabet, with a line end after each."""
    rows = sorted(OPTIONS, key=lambda option: (option.name, commands_of(option)))
    return _HEAD + "".join(f"| {' | '.join(_cells(option))} |\n" for option in rows)


def _cells(option: Option) -> tuple[str, ...]:
    names = f"`--{option.name}`" + (f", `-{option.short}`" if option.short else "")
    value = f"`{option.metavar}`" if option.metavar else ""
    cells = (
        names,
        commands_of(option),
        value + (", repeatable" if option.many else ""),
        option.default,
        "yes" if option.is_compss else "",
        effect_of(option),
        option.help,
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)


def commands_of(option: Option) -> str:
    """Name the commands that know an option; `token …` is a group with all of its commands."""
    known = set(option.commands)
    shown: dict[str, None] = {}  # a set that keeps the order
    for command in COMMANDS:
        if command.name in known:
            group = command.name.partition(" ")[0]
            shown[f"`{group} …`" if _members(group) <= known else f"`{command.name}`"] = None
    return ", ".join(shown)


def _members(group: str) -> set[str]:
    """Give the names of a group's commands; of a command that is no group, a name that no command bears."""
    if group not in GROUPS:
        return {""}
    return {command.name for command in COMMANDS if command.name.partition(" ")[0] == group}


def effect_of(option: Option) -> str:
    """Say what becomes of an option."""
    if option.effect in {Effect.NONE, Effect.REFUSED, Effect.HELP}:
        return str(option.effect.value)
    if option.effect is Effect.SETTING:
        name, equals, value = option.target.partition("=")
        return f"setting `{name}`" + (f" = `{value}`" if equals else "")
    other = option.target.replace("_", "-")
    is_other = any(each.name == other and set(option.commands) <= set(each.commands) for each in OPTIONS)
    return f"mapped to `--{other}`" if other != option.name and is_other else "used by the command"


if __name__ == "__main__":
    print(table(), end="")

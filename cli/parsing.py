"""A command line to a command and its values, by the tables alone.

Own code, because starting an agent must not load a command-line library (0.1 s), and because options may be written
with dashes or underscores, may be unknown under the names of COMPSs, and end at the first argument of `call`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agentd.daemon.users.spelling import nearest
from cli.commands import BY_NAME, GROUPS, PROGRAMS, Command
from cli.options import Effect, Option, options_of

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


class UsageError(Exception):
    """The line is wrong; exit code 2. The message says what to do.

    Attributes:
        command: name of the command that was meant, for pointing to its help; empty when none was found.
    """

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command


@dataclass(slots=True)
class CommandLine:
    """A parsed command line."""

    command: Command
    is_compss: bool = False
    """It was called under a name of COMPSs."""
    values: dict[str, str | bool | list[str]] = field(default_factory=dict)
    """By the options' targets; what was not given is not there."""
    settings: dict[str, str | bool | list[str]] = field(default_factory=dict)
    """Of `agentd start`: what goes to the agent's settings."""
    arguments: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    wants_help: bool = False

    def text(self, name: str) -> str | None:
        """Give the value of an option, None if it was not given."""
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def flag(self, name: str) -> bool:
        """Tell whether a flag was given."""
        return self.values.get(name) is True

    def texts(self, name: str) -> list[str]:
        """Give the values of an option that may be given several times."""
        value = self.values.get(name, [])
        return value if isinstance(value, list) else []


def program_of(argv0: str) -> tuple[str, bool]:
    """Give the command that a program's name stands for, empty for `agentd`, and whether it is a name of COMPSs."""
    name = argv0.rpartition("/")[2].replace("_", "-").removesuffix(".py").removesuffix(".exe")
    return PROGRAMS.get(name, ""), name.startswith("compss")


def parse(arguments: list[str], *, command: str = "", is_compss: bool = False) -> CommandLine:
    """Parse what follows the program's name; `command` is what that name stands for, empty if it is yet to come.

    Raises:
        UsageError: the line is wrong.
    """
    rest = list(arguments)
    found = BY_NAME[command] if command else _command(rest)
    line = CommandLine(found, is_compss)
    _Reader(line, rest).read()
    if not line.wants_help:
        _check_count(line)
    return line


def _command(rest: list[str]) -> Command:
    """Take the words of the command from the front of the line."""
    word = rest.pop(0) if rest else ""
    if word in GROUPS and rest and f"{word} {rest[0]}" in BY_NAME:
        word = f"{word} {rest.pop(0)}"
    command = BY_NAME.get(word)
    if command is None and word.startswith("-"):
        raise UsageError(
            f"options stand behind the command: agentd COMMAND {word} …; `agentd --help` lists the commands"
        )
    if command is None:
        near = nearest(word, BY_NAME)
        hint = f"; did you mean {near!r}?" if near else "; `agentd --help` lists the commands"
        raise UsageError(f"there is no command {word!r}{hint}")
    return command


def _check_count(line: CommandLine) -> None:
    command, given = line.command, len(line.arguments)
    if given < command.least:
        raise UsageError(f"`{command.name}` needs {command.usage}; for example: {command.example}", command.name)
    if command.most is not None and given > command.most:
        extra = line.arguments[command.most]
        if command.name in GROUPS:
            words = ", ".join(sorted(name.partition(" ")[2] for name in BY_NAME if name.startswith(f"{command.name} ")))
            raise UsageError(f"`{command.name}` has no command {extra!r}: there are {words}", command.name)
        raise UsageError(f"`{command.name}` does not take the argument {extra!r}", command.name)


class _Reader:
    """Reads the options and arguments of one line."""

    def __init__(self, line: CommandLine, rest: list[str]) -> None:
        self._line = line
        self._rest = rest
        self._long = {option.name: option for option in options_of(line.command.name)}
        self._short = {option.short: option for option in self._long.values() if option.short}

    def read(self) -> None:
        line, rest = self._line, self._rest
        while rest:
            word = rest.pop(0)
            if word == "--":
                line.arguments += rest
                return
            if word.startswith("--"):
                self._read_long(word[2:])
            elif word.startswith("-") and len(word) > 1 and not _is_number(word):
                self._read_short(word[1:])
            else:
                line.arguments.append(word)
                if line.command.stops_at_argument:
                    line.arguments += rest
                    return

    def _read_long(self, word: str) -> None:
        name, has_value, value = word.partition("=")
        name = name.replace("_", "-")
        if name == "help":
            self._line.wants_help = True
            return
        option = self._long.get(name)
        if option is None:
            self._unknown(f"--{name}", name)
            return
        self._take(option, value if has_value else None)

    def _read_short(self, letters: str) -> None:
        if letters == "h":
            self._line.wants_help = True
            return
        option = self._short.get(letters[0])
        if option is None:
            self._unknown(f"-{letters[0]}", "")
        elif option.metavar and not _is_truth(option):
            self._take(option, letters[1:].removeprefix("=") or None)
        else:
            self._take(option, None)
            if letters[1:]:
                self._read_short(letters[1:])

    def _unknown(self, shown: str, name: str) -> None:
        if self._line.is_compss:
            self._line.warnings.append(f"unknown option {shown}: ignored")
            return
        near = nearest(name, self._long)
        hint = f"; did you mean --{near}?" if near else ""
        command = self._line.command.name
        raise UsageError(f"`{command}` has no option {shown}{hint}", command)

    def _take(self, option: Option, value: str | None) -> None:
        line = self._line
        shown = f"--{option.name}"
        if option.effect is Effect.REFUSED:
            raise UsageError(f"{shown}: {option.help}", line.command.name)
        taken = self._value(option, value, shown)
        if option.effect is Effect.HELP:
            line.wants_help = line.wants_help or taken is True
            return
        if option.effect is Effect.NONE:
            line.warnings.append(f"{shown} has no effect: {option.help}")
            return
        into = line.settings if option.effect is Effect.SETTING else line.values
        target, is_fixed, fixed = option.target.partition("=")
        if is_fixed:
            if taken is True:
                into[target] = fixed
        elif option.many and isinstance(taken, str):
            row = into.setdefault(target, [])
            if isinstance(row, list):
                row.append(taken)
        else:
            into[target] = taken

    def _value(self, option: Option, value: str | None, shown: str) -> str | bool:
        if not option.metavar:
            if value is None or value.lower() in _TRUE:
                return True
            if value.lower() in _FALSE:
                return False
            raise UsageError(f"{shown} takes no value, or true or false: not {value!r}", self._line.command.name)
        if value is not None:
            return value
        if _is_truth(option) and not (self._rest and self._rest[0].lower() in _TRUE | _FALSE):
            return "true"
        words = option.metavar.count(" ") + 1
        if len(self._rest) < words or self._rest[0].startswith("--"):
            raise UsageError(f"{shown} needs {option.metavar}", self._line.command.name)
        taken, self._rest[:words] = self._rest[:words], []
        return "\n".join(taken)


def _is_truth(option: Option) -> bool:
    return option.metavar == "BOOL"


def _is_number(word: str) -> bool:
    return word[1:].replace(".", "", 1).isdigit()

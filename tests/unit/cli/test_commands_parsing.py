"""The laws of a command line: what is an option, what an argument, and what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.app import USAGE, main
from cli.commands import BY_NAME, COMMANDS, GROUPS, PROGRAMS
from cli.options import OPTIONS, Effect, Option, options_of
from cli.parsing import CommandLine, UsageError, parse, program_of

SCRIPTS = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text("utf-8"))["project"][
    "scripts"
]
EACH = [(option, command) for option in OPTIONS for command in option.commands]
TRUTHS = ["true", "True", "yes", "on", "1"]
UNTRUTHS = ["false", "FALSE", "no", "off", "0"]


def _needed(command: str) -> list[str]:
    """Give as many arguments as a command needs."""
    return ["x"] * BY_NAME[command].least


def _read(option: Option, command: str, *words: str) -> CommandLine:
    return parse([*command.split(), *words, *_needed(command)])


def _value(option: Option) -> list[str]:
    """Give words that stand for the option's value."""
    if option.metavar == "BOOL":
        return ["true"]
    return [f"v{number}" for number in range(option.metavar.count(" ") + 1)] if option.metavar else []


def _check_taken(option: Option, line: CommandLine) -> None:
    """Check that an option had the effect that its row promises, and no other."""
    value = "\n".join(_value(option))
    name, is_fixed, fixed = option.target.partition("=")
    taken = fixed if is_fixed else [value] if option.many else value or True
    match option.effect:
        case Effect.SETTING:
            assert (line.settings, line.values, line.warnings) == ({name: taken}, {}, [])
        case Effect.ARGUMENT:
            assert (line.settings, line.values, line.warnings) == ({}, {name: taken}, [])
        case Effect.NONE:
            assert (line.settings, line.values) == ({}, {})
            assert line.warnings == [f"--{option.name} has no effect: {option.help}"]
        case Effect.HELP:
            assert (line.settings, line.values, line.warnings, line.wants_help) == ({}, {}, [], True)
        case Effect.REFUSED:
            pytest.fail("taken, though the table says that it is refused")


@pytest.mark.parametrize(("option", "command"), EACH, ids=lambda value: getattr(value, "name", value))
def test_every_option_does_for_each_of_its_commands_what_its_row_says(option: Option, command: str) -> None:
    """With dashes and underscores, with a space and `=`, long and short: one outcome, that of the table."""
    value = _value(option)
    ways = [[f"--{name}", *value] for name in (option.name, option.name.replace("-", "_"))]
    if len(value) == 1:
        ways.append([f"--{option.name}={value[0]}"])
    if option.short:
        ways.append([f"-{option.short}", *([] if option.metavar == "BOOL" else value)])
    for words in ways:
        if option.effect is Effect.REFUSED:
            with pytest.raises(UsageError, match=f"--{option.name}: "):
                _read(option, command, *words)
            continue
        line = _read(option, command, *words)
        _check_taken(option, line)
        assert line.arguments == _needed(command)


@pytest.mark.parametrize("command", BY_NAME)
def test_within_a_command_a_name_means_one_option(command: str) -> None:
    """No two options of a command share a name or a letter; `-h` is help everywhere."""
    options = options_of(command)
    names = [option.name for option in options]
    letters = [option.short for option in options if option.short]
    assert len(set(names)) == len(names)
    assert len(set(letters)) == len(letters)
    assert "h" not in letters
    assert "help" not in names


@pytest.mark.parametrize("command", BY_NAME)
def test_help_is_asked_for_before_anything_is_missing(command: str) -> None:
    """`--help` and `-h` need no arguments beside them."""
    assert parse([*command.split(), "--help"]).wants_help
    assert parse([*command.split(), "-h"]).wants_help


def test_the_options_of_a_command_are_known_commands_options() -> None:
    """No row names a command that is not there."""
    assert {command for option in OPTIONS for command in option.commands} <= set(BY_NAME)
    assert {"token", "resources", "peers", "invitations"} == GROUPS
    assert len(BY_NAME) == len(COMMANDS)


@pytest.mark.parametrize("command", BY_NAME)
@pytest.mark.parametrize("word", ["--no-such-thing", "--no_such_thing=1", "-Z"])
def test_an_unknown_option_is_wrong_usage_but_a_warning_under_the_names_of_compss(command: str, word: str) -> None:
    """Under `agentd` it is refused and named; under COMPSs' names the line goes on without it."""
    shown = word.partition("=")[0].replace("_", "-")
    with pytest.raises(UsageError, match=shown) as caught:
        parse([*command.split(), word, *_needed(command)])
    assert caught.value.command == command
    line = parse([word, *_needed(command)], command=command, is_compss=True)
    assert line.warnings == [f"unknown option {shown}: ignored"]
    assert line.arguments == _needed(command)


def test_wrong_usage_ends_with_2_and_points_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The message is on stderr, nothing on stdout; the nearest name is offered."""
    assert main(["agentd", "start", "--rest-prot", "1"]) == USAGE == 2
    said = capsys.readouterr()
    assert not said.out
    assert "did you mean --rest-port?" in said.err
    assert "agentd start --help" in said.err
    assert main(["agentd", "satrt"]) == 2
    assert "did you mean 'start'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_installed_name_stands_for_its_command(name: str) -> None:
    """The folder, the spelling and an ending do not matter; only `compss` names are COMPSs'."""
    dashed = name.replace("_", "-")
    expected = (PROGRAMS.get(dashed, ""), dashed.startswith("compss"))
    for argv0 in (name, f"/usr/local/bin/{name}", f"{name}.py", f"{name}.exe"):
        assert program_of(argv0) == expected
    assert bool(expected[0]) == (name != "agentd")


def test_a_name_that_is_not_installed_stands_for_no_command() -> None:
    """Under any other name the program is `agentd`; every name of the table is installed."""
    assert program_of("/x/agentd/__main__.py") == ("", False)
    assert program_of("anything") == ("", False)
    assert {name.replace("_", "-") for name in SCRIPTS} - {"agentd"} == set(PROGRAMS)
    assert set(PROGRAMS.values()) <= set(BY_NAME)


@pytest.mark.parametrize("command", BY_NAME)
def test_arguments_are_counted(command: str) -> None:
    """Too few are told with an example, too many are named."""
    least, most = BY_NAME[command].least, BY_NAME[command].most
    if least:
        with pytest.raises(UsageError, match="for example: agentd"):
            parse([*command.split(), *["x"] * (least - 1)])
    if most is not None:
        with pytest.raises(UsageError, match="'extra'"):
            parse([*command.split(), *["x"] * most, "extra"])


@given(st.lists(st.text(), max_size=5))
def test_what_follows_the_target_belongs_to_users_code(words: list[str]) -> None:
    """After the first argument of `call` nothing is read as an option, whatever it looks like."""
    line = parse(["call", "--json", "m:f", *words])
    assert line.arguments == ["m:f", *words]
    assert line.values == {"json": True}


@given(st.lists(st.text(), max_size=5))
def test_two_dashes_end_the_options(words: list[str]) -> None:
    """After `--` everything is an argument."""
    assert parse(["resources", "add", "--cpu", "2", "--", "beta", *words]).arguments == ["beta", *words]


@given(st.sampled_from(sorted(BY_NAME)), st.lists(st.text(max_size=8), max_size=6), st.booleans())
def test_any_line_is_read_or_refused_in_words(command: str, words: list[str], is_compss: bool) -> None:
    """No line, however odd, ends in anything but a parsed line or a usage error with a message."""
    said: CommandLine | str
    try:
        said = parse(words, command=command, is_compss=is_compss)
    except UsageError as error:
        said = str(error)
    assert said.command.name == command if isinstance(said, CommandLine) else said


@given(st.text(min_size=1).filter(lambda text: not text.startswith("--")))
def test_a_value_is_taken_as_it_is(value: str) -> None:
    """Nothing is stripped or read into it, be it after a space or after `=`."""
    for words in (["--name", value], [f"--name={value}"]):
        assert parse(["call", *words, "m:f"]).text("name") == value


@pytest.mark.parametrize("value", TRUTHS)
def test_a_flag_may_be_confirmed(value: str) -> None:
    """`--json=true` is `--json`."""
    assert parse(["status", f"--json={value}"]).flag("json")


@pytest.mark.parametrize("value", UNTRUTHS)
def test_a_flag_may_be_denied(value: str) -> None:
    """`--json=false` is as if it had not been given, and `--debug=false` sets no level."""
    assert not parse(["status", f"--json={value}"]).flag("json")
    assert parse(["start", f"--debug={value}"]).settings == {}


def test_a_flag_takes_no_other_value() -> None:
    """What is neither true nor false is wrong."""
    with pytest.raises(UsageError, match="'maybe'"):
        parse(["status", "--json=maybe"])


def test_a_value_that_is_missing_is_said() -> None:
    """At the end of the line and before the next option."""
    for words in (["--rest-port"], ["--rest-port", "--cpu", "1"]):
        with pytest.raises(UsageError, match="--rest-port needs PORT"):
            parse(["start", *words])
    with pytest.raises(UsageError, match="--from-xml needs PROJECT RESOURCES"):
        parse(["resources", "--from-xml", "project.xml"])


def test_a_value_may_be_negative() -> None:
    """COMPSs closes a port by a number below 0, and says with -1 that memory is unknown."""
    assert parse(["start", "--rest-port", "-1"]).settings == {"rest_port": "-1"}
    assert parse(["resources", "add", "--mem-size", "-1", "b"]).text("mem_size") == "-1"


def test_a_truth_of_compss_may_stand_alone() -> None:
    """`--tracing`, `--tracing true` and `--tracing=false` are all known, and eat no other word."""
    for words in (["--tracing"], ["--tracing", "true"], ["--tracing=false"], ["-t"]):
        line = parse(["start", *words, "--cpu", "2"])
        assert line.settings == {"cpu": "2"}
        assert len(line.warnings) == 1


def test_an_option_for_many_values_collects_them_and_another_keeps_the_last() -> None:
    """In the order in which they were given."""
    line = parse(["start", "--parent", "a:1", "--cpu", "1", "--parent=b:2", "--cpu", "2"])
    assert line.settings == {"parent": ["a:1", "b:2"], "cpu": "2"}


def test_letters_may_stand_together() -> None:
    """`-ofile` and `-o file` are the same; `-f` takes none."""
    assert parse(["result", "-ofile", "1"]).text("output") == "file"
    assert parse(["result", "-o", "file", "1"]).text("output") == "file"
    assert parse(["logs", "-f", "1"]).flag("follow")


def test_a_command_of_two_words_is_found() -> None:
    """A group alone is a command of its own; a word that is none of the group is an argument too many."""
    assert parse(["resources"]).command.name == "resources"
    assert parse(["resources", "add", "b"]).command.name == "resources add"
    assert parse(["token", "list"]).command.name == "token list"
    with pytest.raises(UsageError, match="'ad'"):
        parse(["resources", "ad", "b"])

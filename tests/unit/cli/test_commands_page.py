"""The page on the commands tells of every command and option what the code does with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cli import app
from cli.commands import COMMANDS, Command, meaning
from cli.options import OPTIONS, Effect, Option, options_of
from cli.options_page import commands_of, effect_of, table
from cli.parsing import program_of

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "commands.md").read_text("utf-8")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]


def test_the_table_on_the_page_is_made_of_the_options() -> None:
    """`python -m cli.options_page` prints what stands on the page, once, to the letter."""
    assert PAGE.count(table()) == 1
    assert PAGE.count(table().splitlines()[0]) == 1


def test_every_option_has_one_row() -> None:
    """Rows and options are as many, and all rows have the columns of the head."""
    head, _, *rows = table().splitlines()
    assert len(rows) == len(OPTIONS)
    columns = re.compile(r"(?<!\\)\|")
    assert {len(columns.findall(row)) for row in rows} == {len(columns.findall(head))}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_section(command: Command) -> None:
    """It has summary, usage and the example of the tables; the example is shown as typed."""
    section = PAGE.partition(f"\n## `agentd {command.name}`\n")[2].partition("\n## ")[0]
    assert command.summary in section
    assert f"\n    {f'agentd {command.name} [OPTION]... {command.usage}'.rstrip()}\n" in section
    assert f"$ {command.example}\n" in section


def test_no_section_tells_of_a_command_that_is_not_there() -> None:
    """Sections and commands are the same, in the same order."""
    assert re.findall(r"^## `agentd ([^`]+)`$", PAGE, re.MULTILINE) == [command.name for command in COMMANDS]


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - {"agentd"}))
def test_every_installed_name_is_on_the_page_with_its_command(name: str) -> None:
    """The row that names an alias names the command that it starts."""
    (row,) = (row for row in PAGE.splitlines() if row.startswith("|") and f"`{name}`" in row)
    assert row.endswith(f"| `agentd {program_of(name)[0]}` |")


def test_every_exit_code_is_on_the_page() -> None:
    """The codes of the page are 0 and those that the commands give, no others."""
    said = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    codes = (app.FAILED, app.USAGE, app.REFUSED, app.UNREACHABLE, app.IN_USE, app.BROKEN, app.DISK, app.GAVE_UP)
    assert said == {0, *codes, app.INTERRUPTED}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (Option("a-b", ("start",), "", effect=Effect.SETTING), "setting `a_b`"),
        (Option("d", ("start",), "", to="log_level=debug", effect=Effect.SETTING), "setting `log_level` = `debug`"),
        (Option("cei", ("call",), "", effect=Effect.NONE), "no effect"),
        (Option("stop", ("call",), "", effect=Effect.REFUSED), "refused"),
        (Option("master-node", ("call",), "", "HOST", to="agent_node"), "mapped to `--agent-node`"),
        (Option("comm", ("resources add",), "", "NAME", to="adaptor"), "used by the command"),
        (Option("wait", ("call",), ""), "used by the command"),
    ],
)
def test_each_effect_is_said_in_its_own_words(option: Option, words: str) -> None:
    """What becomes of an option follows from its row in the tables."""
    assert effect_of(option) == words


def test_a_group_is_named_only_if_all_of_it_is_meant() -> None:
    """Part of a group is spelt out."""
    whole = tuple(command.name for command in COMMANDS if command.name.startswith("token"))
    assert commands_of(Option("x", (*whole, "status"), "")) == "`status`, `token …`"
    assert commands_of(Option("x", whole[:2], "")) == "`token`, `token add`"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_help_of_every_command_shows_an_example(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 0, and names the usage and every option of the command."""
    assert app.main(["agentd", *command.name.split(), "--help"]) == 0
    said = capsys.readouterr()
    assert not said.err
    text = " ".join(said.out.split())
    assert f"Usage: agentd {command.name}" in text
    assert f"Example: {command.example}" in text
    assert [option.name for option in options_of(command.name) if f"--{option.name}" not in text] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_help_says_what_stands_for_each_argument(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A word of the usage alone does not tell what may be written in its place."""
    assert app.main(["agentd", *command.name.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for word in command.usage.split():
        assert meaning(command, word.strip("[].")) in shown

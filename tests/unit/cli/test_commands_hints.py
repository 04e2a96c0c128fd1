"""Where a line is not what was meant, the commands say what would be."""

from __future__ import annotations

import socket

import pytest

from agentd.daemon.settings import resolve
from agentd.model.errors import ConfigError
from cli import call, operations
from cli.app import main
from cli.help import app
from cli.parsing import UsageError, parse


def test_the_list_of_commands_is_whole_on_eighty_columns(capsys, monkeypatch):
    """No summary is cut, and none goes over its line."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        app()(["--help"], prog_name="agentd")
    _, _, listed = capsys.readouterr().out.partition("\nCommands:\n")
    rows = [row for row in listed.splitlines() if row.strip()]
    assert len(rows) > 15
    assert all(row[2] != " " and row.endswith(".") and not row.endswith("...") for row in rows), listed


@pytest.mark.parametrize("word", ["--timeout", "--no_wait", "--json=true", "--help"])
def test_an_option_behind_the_target_is_remarked_upon(word, capsys):
    """It is an argument of the function there, which is seldom meant."""
    call._remark_on_options(["5", word, "1"])
    assert "options of `call` stand before TARGET" in capsys.readouterr().err


def test_arguments_of_users_are_not_remarked_upon(capsys):
    """Whatever else they look like."""
    call._remark_on_options(["5", "--depth", "--", "-x", "timeout"])
    assert capsys.readouterr().err == ""


def test_a_state_of_operations_is_no_folder(tmp_path, monkeypatch):
    """`--state` names the folder of an agent; who means the other is told."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="say --in-state queued"):
        operations.run(parse(["--state", "queued"], command="operations"))


def test_a_group_names_its_commands(capsys):
    """An unknown one is no argument that is too many."""
    assert main(["agentd", "resources", "bogus"]) == 2
    assert "`resources` has no command 'bogus': there are add, lost, reduce, remove" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cpu", "many", "give a whole number from 0"),
        ("lease_s", "x", "give a number from 0.001"),
        ("rest_port", "x", "give a port, `auto` for any that is free, or 0 for none"),
    ],
)
def test_a_number_that_is_none_is_told_in_words(name, value, words, tmp_path):
    """Not in those of the language that it is written in."""
    with pytest.raises(ConfigError) as told:
        resolve({"state": str(tmp_path), name: value}, {})
    assert words in str(told.value)
    assert "invalid literal" not in str(told.value)


@pytest.mark.parametrize(("words", "shown"), [(["help"], "Commands:"), (["help", "call"], "Usage: agentd call ")])
def test_help_is_a_word_too(words, shown, capsys):
    """It shows what `--help` does."""
    assert main(["agentd", *words]) == 0
    assert shown in capsys.readouterr().out


def test_an_option_before_the_command_is_no_command(capsys):
    """The line says where it would stand."""
    assert main(["agentd", "--agent", "localhost:1", "status"]) == 2
    assert "options stand behind the command: agentd COMMAND --agent" in capsys.readouterr().err


def test_taking_away_needs_a_figure(capsys):
    """Nothing is taken by accident; what COMPSs' command takes without one is under its name only."""
    assert main(["agentd", "resources", "reduce", "phone"]) == 2
    assert "such as --cpu 1" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["x", "0", "70000"])
def test_a_port_that_is_none_is_told_by_its_option(port, capsys):
    """Not by an address that nobody typed."""
    assert main(["agentd", "status", "--agent-port", port]) == 2
    assert f"--agent-port {port!r}: give a port from 1 to 65535" in capsys.readouterr().err


def test_an_address_where_nobody_listens_is_told_in_words(capsys):
    """With what to do, and without a number of the operating system's."""
    with socket.socket() as taken:  # bound, and not listened on
        taken.bind(("127.0.0.1", 0))
        assert main(["agentd", "status", "--agent", f"127.0.0.1:{taken.getsockname()[1]}"]) == 4
    told = capsys.readouterr().err
    assert "nobody listens there" in told
    assert "Errno" not in told


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("agentd sta", ["start", "status", "start-service"]),
        ("agentd operations --in-state ru", ["running"]),
        ("agentd start --scheduler fi", ["fifo", "fifo-data"]),
        ("agentd start --confine ", ["auto", "strict", "off"]),
        ("agentd call --on-failure r", ["retry"]),
        ("agentd token add --scope ", ["read", "submit", "code", "admin"]),
    ],
)
def test_a_shell_completes_commands_and_values(words, found, capsys, monkeypatch):
    """Of options whose values are few; what may be anything is left to the shell."""
    typed = words.split(" ")
    monkeypatch.setenv("_AGENTD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(typed) - 1))
    assert main(["agentd"]) == 0
    assert capsys.readouterr().out.split() == found

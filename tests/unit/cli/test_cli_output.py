"""What is printed: harmless on a terminal, plain in a pipe, exact as JSON."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from agentd.model.figures import duration, size
from cli import output
from cli.output import print_fields, print_json, print_rows, print_text, print_value, units


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def open_terminal(monkeypatch):
    """Put a terminal in place of stdout, when called: pytest puts its own there between set-up and test."""

    def opened() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("COLUMNS", "120")
        return stream

    return opened


EVIL = "\x1b]0;title\x07\x9b2J\u202efile\rname"


OUR_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def harmless(text: str) -> bool:
    return all(sign.isprintable() or sign in "\n\t" for sign in text)


def test_json_is_exact_and_harmless(capsys):
    """What is decoded is what was given; no control character is in the text."""
    value = {"a": [1, None, EVIL], "b": "grün", "c": "\U000e0001"}
    print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value
    assert harmless(text)


def test_rows_in_a_pipe_are_lines_with_tabs(capsys):
    """No head, no frame; a cell cannot fake another."""
    print_rows(("a", "b"), [("1", "x\ty"), ("2", EVIL)])
    lines = capsys.readouterr().out.splitlines()
    assert [len(line.split("\t")) for line in lines] == [2, 2]
    assert harmless("\n".join(lines))


def test_rows_on_a_terminal_are_a_table(open_terminal):
    """With its head; remote text is shown as it is, not as markup, and is not obeyed."""
    terminal = open_terminal()
    print_rows(("name", "state"), [("[bold]beta[/bold]", EVIL)], title="hosts")
    text = terminal.getvalue()
    assert "hosts" in text
    assert "[bold]beta[/bold]" in text
    assert harmless(OUR_STYLES.sub("", text))


def test_a_table_without_rows_says_so(open_terminal):
    """A person sees that there is nothing, a program sees nothing."""
    terminal = open_terminal()
    print_rows(("a",), [], title="neighbours")
    assert terminal.getvalue() == "neighbours: none\n"


def test_colour_is_for_terminals_and_who_wants_it(open_terminal, monkeypatch):
    """NO_COLOR is honoured."""
    terminal = open_terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    print_rows(("state",), [("failed",)])
    assert "\x1b[3" not in terminal.getvalue()


def test_fields_keep_their_lines(capsys):
    """A traceback stays readable, and harmless."""
    print_fields({"id": "1", "traceback": f"first\n  second {EVIL}"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id         1"
    assert lines[2].startswith("             second")
    assert harmless("\n".join(lines))


def test_users_output_is_exact_in_a_pipe_and_harmless_on_a_terminal(capsys, open_terminal):
    """A pipe gets every sign; a terminal is not told what to do."""
    print_text(f"a\tb {EVIL}\n")
    assert capsys.readouterr().out == f"a\tb {EVIL}\n"
    stream = open_terminal()
    print_text(f"a\tb {EVIL}\n")
    assert harmless(stream.getvalue())
    assert stream.getvalue().startswith("a\tb ")


@pytest.mark.parametrize(
    ("value", "printed"),
    [(5, "5\n"), (None, "null\n"), ("text", "text\n"), ("line\n", "line\n"), ([1, {"a": "ü"}], '[1,{"a":"ü"}]\n')],
)
def test_values_are_printed_as_json_and_texts_as_they_are(capsys, value, printed):
    """So that they can be read and piped."""
    print_value(value)
    assert capsys.readouterr().out == printed


def test_bytes_go_raw_into_a_pipe(capfdbinary):
    """Not one is changed."""
    print_value(b"\x00\x1b")
    assert capfdbinary.readouterr().out == b"\x00\x1b"


def test_bytes_never_go_to_a_terminal(open_terminal):
    """It gets their number."""
    terminal = open_terminal()
    print_value(b"\x00\x1b")
    assert terminal.getvalue() == "(2 bytes; redirect them to a file)\n"


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (duration(None), ""),
        (duration(0.00123), "1.23 ms"),
        (duration(1.5), "1.5 s"),
        (duration(150), "2 min 30 s"),
        (duration(7300), "2 h 1 min"),
        (size(0), "0 B"),
        (size(2048), "2 KiB"),
        (size(1023 << 20), "1023 MiB"),
        (size(5 << 30), "5 GiB"),
        (units({"CPU": 4, "GPU": 0, "FPGA": 1}), "4 CPU 1 FPGA"),
        (output.moment(None), ""),
    ],
)
def test_figures_are_said_with_their_units(shown, words):
    """As people say them."""
    assert shown == words

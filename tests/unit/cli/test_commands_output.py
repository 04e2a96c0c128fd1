"""What is printed: nothing that a terminal would obey, whatever users' code or another agent wrote."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.errors import ConfigError, RequestError, StateInUse, TaskFailed, Unreachable
from agentd.model.views import OperationView
from cli import app, output, start
from cli.progress import summary

EVIL = "\x1b]0;owned\x07\x1b[2Jred\x9b31m\r\x08\x7f\u202eback"
"""Sets the title, clears the screen, colours, overwrites, and turns the direction of text."""
TEXTS = st.text() | st.just(EVIL)


class Terminal(io.StringIO):
    """A stream that says that a person reads it."""

    def isatty(self) -> bool:
        return True


@contextmanager
def _terminals() -> Iterator[tuple[Terminal, Terminal]]:
    """Make stdout and stderr terminals."""
    out, err = Terminal(), Terminal()
    with redirect_stdout(out), redirect_stderr(err):
        yield out, err


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep our own colours out of what is looked at."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")


def _is_harmless(text: str) -> bool:
    return all(sign.isprintable() or sign in "\n\t" for sign in text)


PRINTERS: list[Callable[[str], None]] = [
    output.print_text,
    lambda text: output.print_text(text, on_stderr=True),
    output.print_value,
    lambda text: output.print_value({text: [text]}),
    lambda text: output.print_json({text: text}),
    lambda text: output.print_fields({"name": text}),
    lambda text: output.print_rows(("id", "why"), [(text, text)], title="rows"),
]


@pytest.mark.parametrize("show", PRINTERS)
def test_control_characters_never_reach_a_terminal(show: Callable[[str], None]) -> None:
    """Text, values, JSON, fields and tables: the words are shown, the signs that command are not."""
    with _terminals() as (out, err):
        show(EVIL)
    text = out.getvalue() + err.getvalue()
    assert "owned" in text
    assert "back" in text
    assert _is_harmless(text), repr(text)


@pytest.mark.parametrize(
    "error", [RequestError(EVIL), ConfigError(EVIL), TaskFailed(EVIL), TaskFailed("x", traceback=f"{EVIL}\nx")]
)
def test_what_went_wrong_is_told_harmlessly(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and tracebacks come from elsewhere, too."""
    _fail_with(error, monkeypatch)
    with _terminals() as (_, err):
        app.main(["agentd", "start"])
    assert "owned" in err.getvalue()
    assert _is_harmless(err.getvalue())


@given(TEXTS)
def test_rows_in_a_pipe_stay_rows(text: str) -> None:
    """Whatever a cell holds, there is one line for each row and one tab between two fields, all of it printable."""
    with redirect_stdout(io.StringIO()) as stream:
        output.print_rows(("a", "b"), [(text, text), ("x", "y")])
    rows = stream.getvalue().split("\n")
    assert [row.count("\t") for row in rows] == [1, 1, 0]
    assert _is_harmless(stream.getvalue())


@given(TEXTS)
def test_printed_json_is_the_value(text: str) -> None:
    """What was made harmless is still JSON, and says the same."""
    with redirect_stdout(io.StringIO()) as stream:
        output.print_json({"value": text})
    assert json.loads(stream.getvalue()) == {"value": text}
    assert all(sign.isprintable() or sign == "\n" for sign in stream.getvalue())


def test_into_a_pipe_users_text_goes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A program that reads it gets every byte."""
    output.print_text(EVIL)
    assert capsys.readouterr().out == EVIL


def test_bytes_are_not_thrown_at_a_terminal() -> None:
    """Their number is said instead."""
    with _terminals() as (out, _):
        output.print_value(b"\x1b[2J")
    assert out.getvalue() == "(4 bytes; redirect them to a file)\n"


def test_ids_are_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are typed into the next command."""
    monkeypatch.setenv("COLUMNS", "60")
    with _terminals() as (out, _):
        output.print_rows(("id", "why"), [("4611686018427387905", "needs more than there is " * 10)])
    assert "4611686018427387905" in out.getvalue()


def _fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_line: object) -> int:
        raise error

    monkeypatch.setattr(start, "run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskFailed("x"), 1),
        (ConfigError("x"), 2),
        (RequestError("x"), 3),
        (Unreachable("x"), 4),
        (StateInUse("x"), 5),
        (TimeoutError("x"), 124),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_says_what_went_wrong(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One code for each kind; nothing on stdout; the same under a name of COMPSs."""
    _fail_with(error, monkeypatch)
    assert app.main(["agentd", "start"]) == code
    assert app.main(["compss_agent_start"]) == code
    assert not capsys.readouterr().out


def test_progress_is_one_harmless_line() -> None:
    """A reason that another agent wrote cannot break out of it."""
    view = OperationView(id="1", name="", function="m:f", state="queued", reason=f"{EVIL}\n", submitted_at=0.0)
    assert "owned" in summary(view)
    assert summary(view).isprintable()

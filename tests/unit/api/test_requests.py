"""Requests and answers as values: what is sent, and what each answer means."""

from __future__ import annotations

import base64
import json
import pickle

import pytest

from agentd.api.routes import requests
from agentd.api.routes.requests import Answer, NotInThisForm
from agentd.api.routes.streams import EventReader, log_line
from agentd.api.routes.submissions import is_json, script, submission
from agentd.api.routes.tables import Rows, printable, shown
from agentd.model.errors import AgentdError, RequestError, TaskFailed
from agentd.model.task import Constraints
from agentd.model.views import ResourceView, TaskView


def answer(body, status=200, **headers) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {"content-type": "application/json", **headers}, data)


def named():
    """A function with a name."""


# --- submissions --------------------------------------------------------------------------------------------------


def test_what_json_can_say_goes_as_json():
    """Arguments and options are as the REST interface documents them; defaults are left out."""
    assert submission("m:f") == {"function": "m:f"}
    assert submission("m:f", [1, "x"], {"k": [None, 2.5]}, priority=3, key="a") == {
        "function": "m:f",
        "args": [1, "x"],
        "kwargs": {"k": [None, 2.5]},
        "priority": 3,
        "key": "a",
    }


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, {1, 2}, b"x", float("nan"), 1 << 70, [[(1,)]], True + 0j, type("S", (str,), {})("s")]
)
def test_what_json_would_change_goes_as_a_pickle(value):
    """A tuple stays a tuple: what JSON gives back differently, or not at all, is pickled."""
    assert not is_json(value)
    body = submission("m:f", [value], {"k": 1})
    assert "args" not in body
    args, kwargs = pickle.loads(base64.b64decode(body["pickle"]))
    assert repr(args[0]) == repr(value)
    assert kwargs == {"k": 1}


def test_values_that_are_nested_too_deeply_are_no_json():
    """The agent refuses deep JSON; and a value that contains itself ends somewhere."""
    loop: list[object] = []
    loop.append(loop)
    assert not is_json(loop)


def test_functions_go_by_name_or_by_value():
    """One with a name is named; a lambda, or one that is asked for by value, brings its code."""
    assert submission(named) == {"function": f"{__name__}:named"}
    by_value = submission(named, by_value=True)
    assert by_value["function"] == f"{__name__}:named"
    assert callable(pickle.loads(base64.b64decode(by_value["code"])))
    assert "code" in submission(lambda: 1)
    with pytest.raises(TypeError, match="name of one"):
        submission(3)  # type: ignore[arg-type]


def test_constraints_may_be_given_in_both_ways():
    """As the value, of which only what was said is sent, or as a mapping."""
    assert submission("m:f", constraints=Constraints(gpus=1))["constraints"] == {"gpus": 1}
    assert submission("m:f", constraints={"gpus": 1})["constraints"] == {"gpus": 1}


def test_a_program_goes_with_its_file_name():
    """Its arguments are text."""
    assert script("print(1)", "a.py", ["x"]) == {"function": "a.py", "script": "print(1)", "args": ["x"]}


# --- answers ------------------------------------------------------------------------------------------------------


def test_paths_cannot_be_broken_out_of():
    """An id or a name with a slash or a question mark stays within its place in the path."""
    assert requests.operation("../agent?x").path == "/v1/operations/..%2Fagent%3Fx"
    assert requests.remove_resource("a/b", lost=True).path == "/v1/resources/a%2Fb?lost=true"


def test_a_refusal_says_what_to_do():
    """The problem's detail, its status and when to come back."""
    refused = answer({"title": "Too Many Requests", "status": 429, "detail": "the queue is full"}, 429)
    refused.headers["retry-after"] = "7"
    with pytest.raises(RequestError, match="the queue is full") as caught:
        requests.agent().outcome(refused)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 7)


def test_a_failed_operation_is_a_task_failure_with_the_remote_traceback():
    """424 with the error's type, words and traceback."""
    said = {"status": 424, "detail": "d", "state": "failed", "error": {"type": "E", "message": "m", "traceback": "t"}}
    with pytest.raises(TaskFailed, match="m") as caught:
        requests.result("1").outcome(answer(said, 424))
    assert (caught.value.kind, caught.value.traceback) == ("E", "t")


def test_a_cancelled_operation_says_so():
    """An end without an error has its state for a kind."""
    said = {"status": 424, "detail": "operation 1 ended as cancelled", "state": "cancelled", "error": None}
    with pytest.raises(TaskFailed, match="cancelled") as caught:
        requests.result("1").outcome(answer(said, 424))
    assert caught.value.kind == "cancelled"


def test_a_result_in_another_form_names_what_works():
    """The client can ask again."""
    with pytest.raises(NotInThisForm) as caught:
        requests.result("1").outcome(answer({"detail": "no", "available": [requests.PICKLE]}, 406))
    assert caught.value.available == (requests.PICKLE,)


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"", b"[1,2]", b"\xff\xfe"])
def test_an_answer_that_is_no_agents_is_an_error(body):
    """Whatever stands between, its words are an `AgentdError`, never a value or a crash."""
    with pytest.raises(AgentdError):
        requests.agent().outcome(answer(body, 200))
    with pytest.raises(RequestError) as caught:
        requests.agent().outcome(answer(body, 502))
    assert caught.value.status == 502


def test_values_are_read_by_their_content_type():
    """JSON, bytes, and a pickle."""
    read = requests.result("1").outcome
    assert read(answer([1, None])) == [1, None]
    assert read(answer(b"\0\1", **{"content-type": requests.BYTES})) == b"\0\1"
    assert read(answer(pickle.dumps({1}), **{"content-type": requests.PICKLE})) == {1}


def test_a_batch_has_an_answer_for_each():
    """Refusals stand in the place of their operations."""
    view = {"id": "1", "name": "", "function": "m:f", "state": "queued", "reason": "", "submitted_at": 0.0}
    rows = requests.batch([{}, {}]).outcome(
        answer({"operations": [{"status": 202, "operation": view}, {"status": 422, "problem": {"detail": "no"}}]})
    )
    assert rows[0].id == "1"
    assert isinstance(rows[1], RequestError)
    assert rows[1].status == 422


def test_waits_are_cut_into_requests_of_a_bounded_length():
    """A long wait asks again and again; what is left is never negative."""
    assert requests.seconds_left(None, 5.0) == 60.0
    assert requests.seconds_left(1000.0, 5.0) == 60.0
    assert requests.seconds_left(10.0, 5.0) == 5.0
    assert requests.seconds_left(10.0, 50.0) == 0.0


# --- streams ------------------------------------------------------------------------------------------------------


def test_server_sent_events_are_read_line_by_line():
    """Comments are skipped, several data lines are one value, and the last id is kept."""
    reader = EventReader()
    lines = [": alive", "", "id: 4", "event: operation", 'data: {"a":', "data: 1}", "", "data:{}", "", "id: x", ""]
    events = [event for line in lines if (event := reader.feed(line)) is not None]
    assert [(event.id, event.topic, event.data) for event in events] == [(4, "operation", {"a": 1}), (4, "message", {})]
    assert reader.last_id == 4


def test_lines_of_output():
    """Each says where it was written; empty lines keep the connection alive."""
    assert log_line('{"stream":"stderr","text":"x\\n"}').stream == "stderr"
    assert log_line("") is None


# --- tables -------------------------------------------------------------------------------------------------------

ROW = ResourceView("alpha", "comm", "connected", {"CPU": 4}, {"CPU": 1}, {}, [])


def test_lists_show_themselves_as_tables():
    """A head, a line for each row, in columns."""
    lines = repr(Rows([ROW])).splitlines()
    assert lines[0].split() == ["name", "adaptor", "state", "total", "free", "owed", "rtt_s"]
    assert lines[1].split() == ["alpha", "comm", "connected", "CPU:4", "CPU:1", "-", "-"]
    assert repr(Rows([])) == "(none)"


def test_remote_words_do_no_harm_in_a_notebook_or_a_terminal():
    """Markup is escaped, control characters are made visible."""
    evil = TaskView("1", "<script>x</script>", "done", "\x1b[31mhost\x07", 1, "", 0.0)
    assert "<script>" not in Rows([evil])._repr_html_()
    assert "\x1b" not in repr(Rows([evil]))


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\r", "\n", "\x9b", "\u202e", "\u2066", "\x00"])
def test_signs_that_a_terminal_obeys_are_shown_as_escapes(sign):
    """C0, C1 and the signs that reorder text."""
    assert sign not in printable(f"a{sign}b")
    assert printable("grün · 日本") == "grün · 日本"


def test_long_cells_are_cut():
    """A table stays one."""
    assert len(shown("reason", "x" * 500)) == 40


def test_a_text_is_no_list_of_arguments() -> None:
    """Its letters would be the arguments, which nobody means."""
    with pytest.raises(TypeError, match="args is a list of arguments, not 'text'"):
        submission("m:f", "text")

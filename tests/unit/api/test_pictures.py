"""What is drawn of an operation's tasks: every task and every edge, in files that programs read, whatever names say."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from agentd.api.looks import pictures, traces
from agentd.model.views import TaskView

NASTY = 'm:f"<b>&\\</svg>\x1b[31m'


def _task(number: int, **more: object) -> TaskView:
    words = {"function": "m:work", "state": "done", "host": "home", "attempt": 1, "reason": "", "submitted_at": 100.0}
    return TaskView(id=str(number), **{**words, **more})  # type: ignore[arg-type]


CHAIN = [
    _task(1, function="m:main", started_at=100.0, ended_at=104.0, seconds=4.0, worker=1),
    _task(2, parent="1", makes=("v1",), started_at=101.0, ended_at=102.0, seconds=1.0, worker=2, argument_bytes=10),
    _task(3, parent="1", reads=("v1",), makes=("v2",), host="far", started_at=102.5, ended_at=103.0, seconds=0.5,
          ready_at=102.0, result_bytes=2048),
    _task(4, parent="1", after=("v2",), state="failed", reason="ValueError", host="far", started_at=102.7, seconds=0.3),
    _task(5, parent="1", reads=("v2",), state="queued", host=""),
]  # fmt: skip


def test_edges_are_data_or_else_who_asked() -> None:
    """What reads, or waits for, what another makes comes after it; what needs nothing hangs on who asked for it."""
    assert sorted(pictures.edges(CHAIN)) == [(0, 1, False), (1, 2, True), (2, 3, True), (2, 4, True)]


def test_the_text_for_graphviz_has_all_tasks_and_edges() -> None:
    """One node for each task in the colours of its state and agent, one arrow for each edge."""
    text = pictures.dot(CHAIN)
    assert len(re.findall(r"^  t\d+ \[label=", text, re.MULTILINE)) == 5
    assert len(re.findall(r"^  t\d+ -> t\d+", text, re.MULTILINE)) == 4
    assert pictures.COLOURS["failed"] in text
    assert text.count(pictures.BORDERS[1]) == 2


def test_the_picture_is_xml_with_a_box_for_each_task() -> None:
    """Its titles say in full what the boxes stand for; boxes do not lie on each other, and what follows is below."""
    root = ET.fromstring(pictures.svg(CHAIN))
    space = "{http://www.w3.org/2000/svg}"
    titles = [element.text or "" for element in root.iter(f"{space}title")]
    assert len(titles) == 5
    assert any("m:work (4), failed, far, 300 ms, attempt 1, ValueError" in title for title in titles)
    boxes = {
        group.find(f"{space}title").text.split("(")[1][0]: group.find(f"{space}rect").attrib  # type: ignore[union-attr]
        for group in root.iter(f"{space}g")
        if group.find(f"{space}title") is not None
    }
    places = [(box["x"], box["y"]) for box in boxes.values()]
    assert len(set(places)) == 5
    assert int(boxes["1"]["y"]) < int(boxes["2"]["y"]) < int(boxes["3"]["y"]) < int(boxes["4"]["y"])


def test_names_stay_text() -> None:
    """A function that is called like markup, or like a terminal's command, is shown as what it is."""
    tasks = [_task(1, function=NASTY, host=NASTY, reason=NASTY, started_at=1.0, ended_at=2.0, seconds=1.0)]
    root = ET.fromstring(pictures.svg(tasks))
    assert not list(root.iter("{http://www.w3.org/2000/svg}b"))
    assert "\x1b" not in pictures.svg(tasks) + pictures.dot(tasks)
    assert json.loads(traces.trace(tasks))["traceEvents"][-1]["name"] == NASTY


_ids = st.integers(0, 12)
_links = st.lists(st.tuples(_ids, _ids), max_size=30)


@given(count=st.integers(0, 13), links=_links)
def test_any_graph_is_drawn(count: int, links: list[tuple[int, int]]) -> None:
    """Whatever refers to whatever, also in circles and to what is not there, every task has a place of its own."""
    tasks = [
        _task(
            number,
            submitted_at=float(number),
            makes=(f"v{number}",),
            reads=tuple(f"v{source}" for source, target in links if target == number),
            parent=str(number // 2),
        )
        for number in range(count)
    ]
    root = ET.fromstring(pictures.svg(tasks))
    boxes = [box for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("rx")]
    assert len({(box.get("x"), box.get("y")) for box in boxes}) == count


def test_many_tasks_side_by_side_make_a_picture_for_a_screen() -> None:
    """Chains that nothing joins, and very many inputs of one task, stand in several rows, below who asked."""
    chains = [_task(n, parent="1", makes=(f"v{n}",), reads=(f"v{n - 1}",) if n % 3 else ()) for n in range(3, 303)]
    wide = [_task(n, parent="1", makes=(f"v{n}",)) for n in range(400, 600)]
    last = _task(700, parent="1", reads=tuple(f"v{n}" for n in range(400, 600)))
    root = ET.fromstring(pictures.svg([_task(1), *chains, *wide, last]))
    assert int(root.get("width", "")) < 3 * int(root.get("height", ""))
    boxes = [box for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("rx")]
    tops = [int(box.get("y", "")) for box in boxes]
    assert min(tops[1:]) > tops[0]
    assert tops[-1] > max(tops[-201:-1])


def test_a_picture_is_readable_on_any_ground() -> None:
    """It has paper of its own, its own size, and a sign for each state and agent that occurs."""
    text = pictures.svg(CHAIN)
    root = ET.fromstring(text)
    assert (root.get("width"), root.get("height")) == tuple(root.get("viewBox", "").split()[2:])
    assert root[0].attrib == {"width": "100%", "height": "100%", "fill": "#ffffff"}
    legend = [element.text for element in root.findall("{http://www.w3.org/2000/svg}text")]
    assert legend[1:] == ["done", "failed", "queued", "home", "far"]


def test_a_graph_that_is_too_large_says_so() -> None:
    """The oldest are drawn, and how many are not is written beside them."""
    tasks = [_task(number, submitted_at=float(number)) for number in range(pictures.MOST + 5)]
    assert f"{pictures.MOST} tasks, 5 more are not drawn" in pictures.svg(tasks)


def test_a_trace_has_a_lane_for_each_worker_and_agent() -> None:
    """A process for each agent, a thread for each worker, a slice for each run, an arrow for each datum passed on."""
    events = json.loads(traces.trace(CHAIN))["traceEvents"]
    assert [event["args"]["name"] for event in events if event["name"] == "process_name"] == ["agent home", "agent far"]
    threads = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert threads == ["worker 1", "worker 2", "lane 1", "lane 2"]
    slices = [event for event in events if event["ph"] == "X"]
    assert [(event["ts"], event["dur"]) for event in slices[:3]] == [(0.0, 4e6), (1e6, 1e6), (2.5e6, 0.5e6)]
    assert slices[2]["args"]["waited_s"] == 0.5
    starts, ends = ([event for event in events if event["ph"] == phase] for phase in "sf")
    assert len(starts) == len(ends) == 1


def test_no_two_slices_of_a_lane_overlap() -> None:
    """Where the worker is not known, runs at the same time get lanes of their own."""
    tasks = [
        _task(n, host="far", submitted_at=0.0, started_at=n / 2, ended_at=n / 2 + 1.2, seconds=1.2) for n in range(1, 9)
    ]
    slices = [event for event in json.loads(traces.trace(tasks))["traceEvents"] if event["ph"] == "X"]
    for lane in {event["tid"] for event in slices}:
        ends = 0.0
        for event in sorted((one for one in slices if one["tid"] == lane), key=lambda one: one["ts"]):
            assert event["ts"] >= ends - 1
            ends = event["ts"] + event["dur"]


def test_the_summary_has_a_row_for_each_function() -> None:
    """Counts, mean, 95th percentile, longest, sum, waiting and bytes; the most expensive function first."""
    tasks = [_task(n, seconds=float(n), started_at=103.0, ready_at=102.0, argument_bytes=1024) for n in range(1, 21)]
    rows = traces.summary([*tasks, _task(99, function="m:other", state="failed")])
    names = dict(zip(traces.SUMMARY_HEAD, rows[0], strict=True))
    assert (names["function"], names["tasks"], names["done"], names["failed"]) == ("m:work", "20", "20", "0")
    assert (names["mean"], names["p95"], names["longest"]) == ("10.5 s", "19 s", "20 s")
    assert (names["waited"], names["in"]) == ("1 s", "20 KiB")
    assert rows[1][:4] == ("m:other", "1", "0", "1")


def _spans(tasks: list[TaskView]) -> dict[str, tuple[float, float]]:
    events = [event for event in json.loads(traces.trace(tasks))["traceEvents"] if event["ph"] == "X"]
    return {event["args"]["task"]: (event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6) for event in events}


def test_what_a_worker_told_at_once_ran_one_after_another() -> None:
    """The last one until then; what waited for it meanwhile lies around it."""
    told: dict[str, float | int] = {"ended_at": 110.0, "worker": 1}
    tasks = [
        _task(1, started_at=101.0, seconds=9.0, placed_at=101.0, **told),
        _task(2, started_at=108.0, seconds=2.0, placed_at=105.0, **told),
        _task(3, started_at=109.0, seconds=1.0, placed_at=105.0, **told),
    ]
    assert _spans(tasks) == {"1": (1.0, 10.0), "2": (7.0, 9.0), "3": (9.0, 10.0)}


_RUNS = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(1, 2), st.booleans()), max_size=12)


@given(_RUNS)
def test_slices_of_a_lane_follow_or_enclose_each_other(runs: list[tuple[float, float, int, bool]]) -> None:
    """Whatever is told of them; and no datum arrives before it was made."""
    tasks = [
        _task(n, started_at=100 + at, ended_at=100 + at + took, seconds=took, worker=worker, placed_at=100.0,
              makes=(f"v{n}",), reads=(f"v{n - 1}",) if reads else ())
        for n, (at, took, worker, reads) in enumerate(runs)
    ]  # fmt: skip
    spans = _spans(tasks)
    for one in tasks:
        for other in tasks:
            (a, b), (c, d) = spans[one.id], spans[other.id]
            assert one.worker != other.worker or not a + 1e-5 < c < b - 1e-5 < d - 2e-5
    events = json.loads(traces.trace(tasks))["traceEvents"]
    made = {event["id"]: event["ts"] for event in events if event["ph"] == "s"}
    assert all(event["ts"] >= made[event["id"]] for event in events if event["ph"] == "f")

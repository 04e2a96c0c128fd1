"""What is said of ends and values: reasons of deaths, JSON for people, the element that cannot travel."""

from __future__ import annotations

import json
import pickle
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.model.task import Reason
from agentd.workers.deaths import OutOfMemoryCount, failure_of_exit, failure_of_kill
from agentd.workers.inside.failures import Failure, Refused, failure_of, shortened
from agentd.workers.inside.interrupts import Guard
from agentd.workers.inside.readable import to_json
from agentd.workers.inside.shared import SegmentPool
from agentd.workers.inside.values import BYTES, PICKLE, Writer
from agentd.workers.page import FLAGGED, INTERRUPTED, RUNNING, Page, make_page
from agentd.workers.settings import WorkerSettings

if TYPE_CHECKING:
    from pathlib import Path

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(plain)
def test_json_that_claims_to_be_all_of_a_value_gives_it_back(value: Any) -> None:
    """Plain values come back equal; text with half a surrogate pair has no JSON at all."""
    text, is_all = to_json(value)
    if text is None:
        with pytest.raises(UnicodeEncodeError):
            json.dumps(value, ensure_ascii=False).encode()
    else:
        assert is_all
        assert json.loads(text) == value


@pytest.mark.parametrize(
    "value", [(1,), {1: 2}, {"a": (1,)}, True + np.int64(1), np.float64(1.0), {"a": {1}}, type("Text", (str,), {})("a")]
)
def test_json_that_only_shows_a_value_says_so(value: Any) -> None:
    """A type that JSON has not is shown, and the pickle has to travel too."""
    text, is_all = to_json(value)
    assert text is not None
    assert not is_all


@pytest.mark.parametrize(
    "value",
    [float("inf"), [float("nan")], np.array([1.0, float("nan")]), object(), b"raw", {(1, 2): 3}, {"a": object()}],
)
def test_what_json_cannot_hold_has_none(value: Any) -> None:
    """No JSON is made up for what has none."""
    assert to_json(value) == (None, False)


def test_a_value_without_end_or_bottom_has_no_json() -> None:
    """Cycles and depths end in no JSON rather than in an error."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert to_json(cycle) == to_json(deep) == (None, False)
    assert to_json(np.zeros(200_000)) == (None, False)


def writer(threshold: int = 1000, **limits: int) -> Writer:
    page = Page(make_page())
    pool = SegmentPool(lambda *_: None, lambda _: None, **limits)
    return Writer(pool, threshold, Guard(page), lambda: None)


@given(plain | st.binary(max_size=3000) | st.lists(st.binary(max_size=700), max_size=5))
def test_every_value_comes_back_from_what_a_worker_writes(value: Any) -> None:
    """Whatever its size, and however its buffers travel, an unpickler that knows nothing of us gives it back."""
    codec, data, parts = writer(1000, total_limit_bytes=0).encode(value, wants_json=False)
    if value is None:
        assert (codec, data) == (0, b"")
    else:
        assert codec == PICKLE
        assert pickle.loads(data, buffers=[bytes(part[1]) for part in parts or ()]) == value


def test_buffers_go_into_memory_from_the_threshold_on() -> None:
    """Small arrays travel inline; large arrays, bytes and streams in a segment, which is taken back if unwanted."""
    write = writer(1000)
    assert write.encode(np.zeros(50), wants_json=False)[2] == [(400, np.zeros(50).tobytes(), 0, 0)]
    for value in (np.zeros(500), bytes(1000), bytearray(1000), ["x" * 9 + str(n) for n in range(200)]):
        parts = write.encode(value, wants_json=False)[2]
        assert parts
        assert all(segment for _, _, segment, _ in parts)
        assert write._pool.used == 1
        write.take_back()
        assert write._pool.used == 0
    assert write.encode(bytes(999), wants_json=True)[:2] == (BYTES, bytes(999))
    codec, data, parts = write.encode(bytes(1000), wants_json=True)
    assert (codec, data) == (BYTES, b"")
    assert parts


def test_a_segment_is_written_and_announced_without_interruption() -> None:
    """Half a frame on the socket would be the end of a worker: no SIGINT raises meanwhile, and later it may again."""
    page = Page(make_page())
    guard = Guard(page)
    seen: list[int] = []
    pool = SegmentPool(lambda *_: seen.append(guard.task), lambda _: None)
    guard.task = 5
    Writer(pool, 1000, guard, lambda: seen.append(guard.task)).encode(bytes(1000), wants_json=False)
    assert (seen, guard.task) == ([0, 0], 5)
    page.close()
    pool.close()


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, (n for n in "")]}, "the result['a'][1] (a generator)"),
        ((n for n in ""), "the result (a generator)"),
        ([open], "nothing is wrong"),
    ],
)
def test_a_result_that_cannot_travel_names_the_element(value: Any, where: str) -> None:
    """The innermost element that cannot be pickled is named; what can be pickled in any way is not refused."""
    if where == "nothing is wrong":
        assert writer().encode(value, wants_json=False)[0] == PICKLE
        return
    with pytest.raises(Refused) as refused:
        writer().encode(value, wants_json=False)
    assert str(refused.value).startswith(where)


def test_failures_are_bounded_and_survive_hostile_exceptions() -> None:
    """Long texts keep both ends; an exception that cannot be told or pickled is still a failure."""

    class Hostile(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

        def __reduce__(self) -> str:
            raise ValueError("no pickle")

    failure = failure_of(Hostile())
    assert (failure.reason, failure.exception) == (Reason.EXCEPTION, b"")
    assert "ValueError" in failure.message
    failure = failure_of(KeyError("x" * 1_000_000))
    assert len(failure.message) < 20_000
    assert failure.exception == b""
    assert shortened("a" * 10 + "b" * 10, 10).startswith("aaaaa\n...")
    assert isinstance(failure, Failure)


@pytest.mark.parametrize(
    ("status", "out_of_memory", "reason", "kind"),
    [
        (3 << 8, False, Reason.EXIT, "ProcessExited"),
        (signal.SIGSEGV, False, Reason.SIGNAL, "ProcessKilled"),
        (signal.SIGKILL, False, Reason.SIGNAL, "ProcessKilled"),
        (signal.SIGKILL, True, Reason.OUT_OF_MEMORY, "OutOfMemory"),
        (signal.SIGTERM, True, Reason.SIGNAL, "ProcessKilled"),
        (signal.SIGXCPU, False, Reason.SIGNAL, "CpuLimit"),
        (signal.SIGSEGV | 0x80, False, Reason.SIGNAL, "ProcessKilled"),
        (40, False, Reason.SIGNAL, "ProcessKilled"),
    ],
)
def test_a_wait_status_has_one_meaning(status: int, out_of_memory: bool, reason: Reason, kind: str) -> None:
    """Exit codes, signals, want of memory and the CPU limit are told apart, dumped core or not."""
    failure = failure_of_exit(status, out_of_memory=out_of_memory)
    assert (failure.reason, failure.type) == (reason, kind)
    assert failure_of_kill(timed_out=True).reason == Reason.TIMED_OUT


def test_a_kill_for_want_of_memory_explains_one_death_soon_after(tmp_path: Path) -> None:
    """Two kills at once explain two deaths, one explains one, and what somebody else died of long ago explains none."""
    file = tmp_path / "vmstat"
    file.write_text("oom_kill 4\n")
    count = OutOfMemoryCount(file)
    file.write_text("oom_kill 6\n")
    assert [count.has_risen() for _ in range(3)] == [True, True, False]
    file.write_text("oom_kill 7\n")
    count.look()
    assert count.has_risen(), "the death may be told after a look"
    file.write_text("oom_kill 8\n")
    count.look()
    count.look()
    assert not count.has_risen()
    assert not OutOfMemoryCount(tmp_path / "missing").has_risen()


def test_the_guard_raises_in_the_wanted_task_alone() -> None:
    """A signal raises once, only while the task runs that is to be stopped, and at once again in the next such task."""
    page = Page(make_page())
    guard = Guard(page)
    page.words[INTERRUPTED] = 7
    for task in (0, 6, 8):
        guard.task = task
        guard._on_sigint(signal.SIGINT, None)
    guard.task = 7
    with pytest.raises(KeyboardInterrupt):
        guard._on_sigint(signal.SIGINT, None)
    guard._on_sigint(signal.SIGINT, None)  # on its way out already
    guard.task = page.words[INTERRUPTED] = 8
    with pytest.raises(KeyboardInterrupt):
        guard._on_sigint(signal.SIGINT, None)
    page.close()


def test_the_flag_is_for_the_task_that_runs() -> None:
    """Between tasks nothing is cancelled; a flag or an interrupt of another task is not this one's."""
    page = Page(make_page())
    guard = Guard(page)
    assert not guard.is_cancelled()
    page.words[RUNNING], page.words[FLAGGED] = 3, 2
    assert not guard.is_cancelled()
    page.words[FLAGGED] = 3
    assert guard.is_cancelled()
    page.words[FLAGGED], page.words[INTERRUPTED] = 0, 3
    assert guard.is_cancelled()
    page.close()


def test_the_environment_is_picked_by_name(tmp_path: Path) -> None:
    """Nothing passes but what is named, and no variable of the daemon's own, in whatever case it is written."""
    outside = {"PATH": "p", "LC_TIME": "C", "ComputingUnitsA": "1", "SECRET": "s", "AGENTD_KEY": "k", "agentd_key": "k"}
    settings = WorkerSettings(
        log_folder=tmp_path,
        environ=outside,
        pass_names=frozenset({"AGENTD_KEY", "agentd_key", "MISSING"}),
        variables={"AGENTD_SOCKET": "for users"},
    )
    expected = {"PATH": "p", "LC_TIME": "C", "ComputingUnitsA": "1", "AGENTD_SOCKET": "for users"}
    assert settings.environment() == expected

"""What the journal's entries fold into."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.journal.entries import (
    Accepted,
    Asked,
    Booted,
    CalledBack,
    Cancelling,
    Delivered,
    Ended,
    Forgotten,
    HostAdded,
    HostRemoved,
    Returned,
    Started,
    WasRead,
)
from agentd.core.journal.recovery import fold
from agentd.core.tasks.task import Path
from agentd.model.task import Failure, Outcome, Status, Template
from agentd.model.values import Part, Payload

TEMPLATE = Template("module:function")
NOTHING = Payload()


def _accepted(operation, **fields):
    return Accepted(operation, TEMPLATE, NOTHING, 1.0, 100.0, **fields)


def _ended(operation, status=Status.DONE, at_s=2.0):
    return Ended(operation, Outcome(status=status), at_s, 200.0)


def test_why_it_failed_is_kept_in_brief():
    """For lists, which read no outcome: a line or two, without the traceback and what only the caller can read."""
    failure = Failure(1, "ValueError", "x" * 5000, "Traceback …", "a", 2, b"pickle")
    state = fold([_accepted(1), Ended(1, Outcome(status=Status.FAILED, failure=failure), 2.0, 200.0)])
    kept = state.finished[1].failure
    assert kept == Failure(1, "ValueError", "x" * 300, "", "a", 2)


_operation = st.integers(1, 6)
_operations = st.lists(_operation, min_size=1, max_size=3, unique=True).map(tuple)
_name = st.sampled_from(["a", "b"])
_time = st.integers(0, 50).map(float)
_entries = st.lists(
    st.one_of(
        st.builds(Booted, _name, st.integers(1, 9), _time, st.just("1")),
        st.builds(
            Accepted,
            _operation,
            st.sampled_from([TEMPLATE, Template("other:function")]),
            st.just(NOTHING),
            _time,
            _time,
            key=st.sampled_from(["", "k1", "k2"]),
        ),
        st.builds(Started, _operations, _name, st.integers(0, 5)),
        st.builds(Returned, _operations),
        st.builds(Ended, _operation, st.builds(Outcome, st.integers(0, 4)), _time, _time),
        st.builds(
            Ended,
            _operation,
            st.builds(Outcome, st.integers(0, 4)),
            _time,
            _time,
            _time,
            st.builds(Asked, st.just("module:function"), _time, _time, st.sampled_from(["", "k1", "k3"])),
        ),
        st.builds(Cancelling, _operation),
        st.builds(WasRead, _operations, _time),
        st.builds(Delivered, _operations),
        st.builds(CalledBack, _operations),
        st.builds(Forgotten, _operations),
        st.builds(HostAdded, _name, st.binary(max_size=3)),
        st.builds(HostRemoved, _name),
    ),
    max_size=40,
)


def test_an_end_that_says_how_it_was_asked_for_is_acceptance_and_end():
    """One record stands for both, the key included; where there was an acceptance that counts."""
    asked = Asked("module:function", 1.0, 100.0, "key", b"d", "name")
    apart = fold([_accepted(1, key="key", digest=b"d", name="name"), _ended(1)])
    assert fold([msgspec.structs.replace(_ended(1), asked=asked)]) == apart
    assert apart.keys == {"key": 1}
    other = msgspec.structs.replace(_ended(1), asked=Asked("other:function", 9.0, 9.0))
    assert fold([_accepted(1, key="key", digest=b"d", name="name"), other]) == apart


@settings(max_examples=300)
@given(_entries, st.integers(0, 40))
def test_folding_a_prefix_and_then_the_rest_is_folding_all(entries, at):
    """It does not matter where the reading was cut."""
    assert fold(entries[at:], fold(entries[:at])) == fold(entries)


@given(_entries, st.lists(st.integers(0, 40), max_size=6))
def test_the_borders_of_batches_do_not_matter(entries, borders):
    """Entries committed one by one or all at once fold into the same."""
    state = None
    cuts = [0, *sorted(borders), len(entries)]
    for first, last in pairwise(cuts):
        state = fold(entries[first:last], state)
    assert state == fold(entries)


@given(_entries)
def test_an_operation_is_live_or_ended_and_never_both(entries):
    """Each operation is in one place, and every key stands for one that is there."""
    state = fold(entries)
    assert not state.live.keys() & state.finished.keys()
    assert set(state.keys.values()) <= state.live.keys() | state.finished.keys()


@given(_entries)
def test_the_first_end_counts(entries):
    """Whatever follows, the status is that of the first end since the operation was last forgotten."""
    state = fold(entries)
    first = {}
    for entry in entries:
        if isinstance(entry, Ended):
            first.setdefault(entry.operation, entry.outcome.status)
        elif isinstance(entry, Forgotten):
            for operation in entry.operations:
                first.pop(operation, None)
    assert {operation: row.status for operation, row in state.finished.items()} == first


@given(_entries, _operations)
def test_after_forgotten_nothing_is_left(entries, operations):
    """Neither the operation nor its key nor anything said of it later remains."""
    late = [
        Started(operations),
        Returned(operations),
        WasRead(operations, 9.0),
        Delivered(operations),
        CalledBack(operations),
    ]
    state = fold([*entries, Forgotten(operations), *late, *map(Cancelling, operations)])
    assert not state.live.keys() & set(operations)
    assert not state.finished.keys() & set(operations)
    assert not set(state.keys.values()) & set(operations)


@given(_entries)
def test_the_epoch_and_the_pool_are_the_last_that_were_told(entries):
    """The last boot, and for each host the last thing said of it."""
    state = fold(entries)
    boots = [entry for entry in entries if isinstance(entry, Booted)]
    assert state.boot == (boots[-1] if boots else None)
    assert state.epoch == (boots[-1].epoch if boots else 0)
    last = {entry.name: entry for entry in entries if isinstance(entry, (HostAdded, HostRemoved))}
    assert state.hosts == {name: entry for name, entry in last.items() if isinstance(entry, HostAdded)}


def test_a_start_that_neither_ended_nor_came_back_is_a_lost_attempt():
    """Attempts count what a crash took; what came back unstarted does not count."""
    accepted = _accepted(1)
    assert fold([accepted]).live[1].attempts == 0
    assert fold([accepted, Started((1,), "", 0)]).live[1].attempts == 1
    assert fold([accepted, Started((1,)), Returned((1,))]).live[1].attempts == 0
    assert fold([accepted, Started((1,)), Started((1,), "b", 3)]).live[1].attempts == 2
    assert fold([accepted, Started((1,)), Started((1,)), Returned((1,))]).live[1].attempts == 1
    assert fold([accepted, Returned((1,))]).live[1].attempts == 0


def test_the_holder_is_the_host_of_the_last_start():
    """A neighbour with its epoch, this agent as "", nobody as None."""
    assert fold([_accepted(1)]).live[1].holder is None
    live = fold([_accepted(1), Started((1,), "b", 3)]).live[1]
    assert (live.holder, live.epoch) == ("b", 3)
    live = fold([_accepted(1), Started((1,), "b", 3), Returned((1,))]).live[1]
    assert (live.holder, live.epoch) == (None, 0)
    assert fold([_accepted(1), Started((1,))]).live[1].holder == ""


def test_live_operations_are_in_the_order_of_their_acceptance():
    """Age survives a crash."""
    state = fold([_accepted(5), _accepted(3), _accepted(9), _ended(3), _accepted(1), Started((9,))])
    assert list(state.live) == [5, 9, 1]


def test_an_ended_operation_keeps_what_its_row_shows():
    """All that a list of operations tells is there without reading the outcome."""
    path = Path(origin="o", sender="s", hops=2)
    accepted = _accepted(1, key="k", digest=b"d", name="n", callback="http://c", path=path, attempt=4)
    failure = Failure(reason=1, type="E", message="m")
    outcome = Outcome(Status.FAILED, failure=failure, seconds=1.5, agent="b", hops=1, attempts=2)
    state = fold(
        [
            accepted,
            Ended(1, outcome, 7.0, 8.0, 6.0),
            WasRead((1,), 9.0),
            WasRead((1,), 10.0),
            Delivered((1,)),
            CalledBack((1,)),
        ]
    )
    assert msgspec.to_builtins(state.finished[1]) == {
        "operation": 1,
        "status": Status.FAILED,
        "ended_at_s": 7.0,
        "ended_wall_s": 8.0,
        "submitted_at_s": 1.0,
        "submitted_wall_s": 100.0,
        "started_wall_s": 6.0,
        "function": "module:function",
        "name": "n",
        "key": "k",
        "digest": msgspec.to_builtins(b"d"),
        "callback": "http://c",
        "path": msgspec.to_builtins(path),
        "sender_attempt": 4,
        "agent": "b",
        "hops": 1,
        "attempts": 2,
        "seconds": 1.5,
        "result_bytes": 0,
        "read_at_s": 9.0,
        "is_delivered": True,
        "is_called_back": True,
        "failure": msgspec.to_builtins(failure),
    }
    assert state.keys == {"k": 1}


def test_a_key_stands_for_its_operation_until_that_is_forgotten():
    """While it runs, when it has ended, and then no more."""
    entries = [_accepted(1, key="k")]
    assert fold(entries).keys == {"k": 1}
    assert fold([*entries, _ended(1)]).keys == {"k": 1}
    assert fold([*entries, _ended(1), Forgotten((1,))]).keys == {}


def test_cancelling_survives():
    """What a user wanted stopped is known as such after the crash."""
    assert fold([_accepted(1), Cancelling(1)]).live[1].is_cancelling


def test_agent_time_is_the_latest_that_was_told():
    """Over all entries that carry a time, whatever their order."""
    assert fold([Booted("b", 1, 5.0, "1"), _ended(1, at_s=50.0), _accepted(2)]).agent_time_s == 50.0
    assert fold([_accepted(1), WasRead((1,), 70.0)]).agent_time_s == 70.0
    assert fold([]).agent_time_s == 0.0


def test_arguments_that_were_in_memory_are_known_to_be_lost():
    """A part that still names a segment did not survive."""
    part = Part(size=4, segment=7)
    state = fold([Accepted(1, TEMPLATE, Payload(1, b"", (part,)), 1.0, 1.0), _accepted(2)])
    assert state.live[1].has_lost_arguments
    assert not state.live[2].has_lost_arguments


def test_equal_templates_are_one_object():
    """A thousand calls of one function weigh its code once."""
    entries = [
        Accepted(number, Template("f", code=bytes([120, 121])), NOTHING, 1.0, 1.0, key=str(number)) for number in (1, 2)
    ]
    live = fold(entries).live
    assert live[1].accepted.template is live[2].accepted.template
    assert live[2].accepted == entries[1]

"""Arguments and results: what is encoded here can be decoded elsewhere, and failures come back as themselves."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types

import numpy as np
import pytest

from agentd.api.calls import values
from agentd.api.calls.values import (
    OUT_OF_BAND_BYTES,
    decode,
    encode,
    encode_call,
    exception_of,
    is_local,
    read,
    reencode,
)
from agentd.model.errors import AgentdError, TaskFailed
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import Codec, Part, Payload
from agentd.workers.inside.values import read_arguments


class Shelf:
    """Stands for shared memory: keeps a copy of what is put there."""

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.copies: list[bytes] = []

    def place(self, views):
        if not self.room:
            return None
        parts = []
        for view in views:
            self.copies.append(bytes(view))
            parts.append(Part(view.nbytes, segment=len(self.copies)))
        return tuple(parts)

    def views(self, payload):
        return [memoryview(self.copies[part.segment - 1] if part.segment else part.data) for part in payload.parts]


class Box:
    """A class of a module that no worker has."""

    def open(self):
        return CONTENT


CONTENT = 25


def elsewhere(code: str, *data: bytes) -> str:
    """Run code in a Python that has none of this program's modules."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, pickle; data = pickle.load(sys.stdin.buffer)\n{code}"],
        input=pickle.dumps(list(data)),
        capture_output=True,
        check=True,
        cwd="/",
        env={},
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize("args", [(), (1,), (1, "x", None, 2.5, True, b"y"), ([1, {2: (3,)}],), (float("inf"),)])
def test_arguments_come_back_equal(args):
    """A worker reads the arguments that a call was made with, with and without names; none are no bytes."""
    for kwargs in ({}, {"key": args}):
        payload = encode_call(args, kwargs, None, by_value=False)
        assert read_arguments(payload.codec, memoryview(payload.data), ()) == (args, kwargs)
        assert bool(payload.data) == bool(args or kwargs)


def test_small_arguments_need_no_shared_memory():
    """Below the threshold an array stays inside the pickle."""
    shelf = Shelf()
    payload = encode_call((np.zeros(OUT_OF_BAND_BYTES // 8 - 1),), {}, shelf.place, by_value=False)
    assert payload.parts == ()
    assert shelf.copies == []


def test_large_arrays_travel_beside_the_pickle():
    """Above the threshold only a description is in the pickle, and the buffers give the value back in order."""
    shelf = Shelf()
    first, second = np.arange(100_000.0), np.arange(50_000)
    payload = encode_call((first,), {"second": second}, shelf.place, by_value=False)
    assert len(payload.data) < 1000
    (got,), kwargs = decode(payload, shelf.views(payload))
    assert (got == first).all()
    assert (kwargs["second"] == second).all()


def test_without_room_in_shared_memory_buffers_travel_in_the_frame():
    """A full pool costs speed, not the call; what was captured is a copy."""
    array = np.arange(10_000.0)
    payload = encode_call((array,), {}, Shelf(room=False).place, by_value=False)
    array[:] = 0
    assert payload.is_portable
    (got,), _ = decode(payload, [memoryview(part.data) for part in payload.parts])
    assert got[-1] == 9999.0


def test_a_pickle_that_no_frame_can_hold_goes_beside_it(monkeypatch):
    """Large bytes and texts, which have no buffers of their own, use shared memory too; with buffers in order."""
    monkeypatch.setattr(values, "LARGEST_INLINE_BYTES", 10_000)
    shelf = Shelf()
    value = ("x" * 20_000, np.arange(10_000.0), b"y" * 20_000)
    payload = encode(value, shelf.place)
    assert len(payload.data) < 1000
    text, array, data = decode(payload, shelf.views(payload))
    assert (text, data) == (value[0], value[2])
    assert (array == value[1]).all()


def test_what_is_too_large_without_shared_memory_is_refused(monkeypatch):
    """A call that no frame can hold fails where it is made, saying so."""
    monkeypatch.setattr(values, "LARGEST_INLINE_BYTES", 10_000)
    with pytest.raises(ValueError, match="too large"):
        encode_call(("x" * 50_000,), {}, Shelf(room=False).place, by_value=False)


def test_lambdas_and_local_classes_can_be_arguments():
    """What the plain pickler refuses goes by value."""

    class Point:
        def __init__(self, x):
            self.x = x

    payload = encode_call((lambda x: x + 1, Point(4)), {}, None, by_value=False)
    (function, point), _ = decode(payload, [])
    assert function(1) == 2
    assert point.x == 4


def test_what_belongs_to_the_main_program_goes_by_value():
    """A class of `__main__` means another module elsewhere, so its code is sent along."""
    main = sys.modules["__main__"]
    exec("class Coin:\n    def value(self):\n        return 25", main.__dict__)
    try:
        payload = encode_call((main.Coin(),), {}, None, by_value=False)
    finally:
        del main.Coin
    assert elsewhere("print(pickle.loads(data[0])[0][0].value())", payload.data) == "25"


def test_modules_that_are_not_installed_go_by_value_when_asked():
    """`by_value` lets a worker without the caller's own modules read their classes; installed ones stay by name."""
    assert b"CONTENT" not in encode((Box,), None).data
    shipped = encode((Box,), None, by_value=True)
    assert elsewhere("print(pickle.loads(data[0])[0]().open())", shipped.data) == "25"
    assert b"numpy" in encode((np.add,), None, by_value=True).data


def test_what_names_no_module_of_the_program_takes_the_short_way(monkeypatch):
    """Asked to go by value, an array is pickled as ever; one among objects of the program's own modules is not."""
    monkeypatch.setattr(values, "dumps_by_value", lambda value, _=None: b"by value")
    asked = {"by_value": True}
    assert encode_call((np.arange(3), {"a": [1.5]}), {}, None, **asked).data != b"by value"
    assert encode_call((np.arange(3), Box()), {}, None, **asked).data == b"by value"
    assert encode_call((Box.open,), {}, None, **asked).data == b"by value"
    assert encode_call((bytes(values.SEARCHED_BYTES),), {}, None, **asked).data == b"by value"


def test_cloudpickles_own_list_is_left_as_it_was():
    """Modules are listed as 'by value' for the time of one dump only."""
    import cloudpickle

    before = set(cloudpickle.list_registry_pickle_by_value())
    encode((Box,), None, by_value=True)
    assert set(cloudpickle.list_registry_pickle_by_value()) == before


def test_local_means_neither_installed_nor_ours():
    """Modules of Python, of site-packages and of this product are elsewhere too; a user's own are not."""
    assert not is_local("json", sys.modules["json"])
    assert not is_local("numpy", np)
    assert not is_local("agentd.api.calls.values", values)
    assert not is_local("__main__", sys.modules["__main__"])
    assert is_local(__name__, sys.modules[__name__])
    assert not is_local("made_up", types.ModuleType("made_up"))


def test_reencoding_by_value_changes_only_what_needs_it():
    """Arguments that mean the same everywhere are not sent a second time."""
    assert reencode(encode(((1,), {}), None)) is None
    again = reencode(encode(((Box,), {}), None))
    assert again is not None
    assert b"CONTENT" in again.data


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (Payload(), None),
        (Payload(Codec.BYTES, b"raw"), b"raw"),
        (Payload(Codec.BYTES), b""),
        (Payload(Codec.JSON, b'{"a":[1]}'), {"a": [1]}),
        (Payload(Codec.BOTH, b"\0\0\0\x03[1]" + pickle.dumps((1,))), (1,)),
    ],
)
def test_every_encoding_of_a_result_is_read(payload, value):
    """Whatever the worker chose, the caller gets the value."""
    assert read(Outcome(value=payload), []) == (value, None)


def test_an_unknown_encoding_says_that_the_client_is_old():
    """A newer agent's result is an error that says what to do, not nonsense."""
    _, error = read(Outcome(value=Payload(99, b"?")), [])
    assert isinstance(error, AgentdError)
    assert "update" in str(error)


def test_a_result_that_cannot_be_read_here_is_the_calls_error():
    """Unpickling runs users' code: its failure belongs to the call, with a note that the call itself ended well."""
    _, error = read(Outcome(value=Payload(Codec.PICKLE, b"cno_such_module\nthing\n."), agent="beta"), [])
    assert isinstance(error, ModuleNotFoundError)
    assert "beta" in error.__notes__[0]


def test_a_remote_exception_is_raised_itself_with_the_remote_traceback_as_cause():
    """The caller can catch it by its type, and sees where it was raised and by which attempt."""
    failure = Failure(
        Reason.EXCEPTION, "KeyError", "'x'", "Traceback…\nKeyError: 'x'", "beta", 2, pickle.dumps(KeyError("x"))
    )
    error = exception_of(Outcome(Status.FAILED, failure=failure))
    assert isinstance(error, KeyError)
    assert error.args == ("x",)
    assert "Traceback…" in str(error.__cause__)
    assert error.__notes__ == ["Raised on agent beta, attempt 2."]


@pytest.mark.parametrize("data", [b"", b"garbage", pickle.dumps("no exception"), b"cno_such\nthing\n."])
def test_an_exception_that_cannot_be_unpickled_is_a_task_failure(data):
    """Its type, message and traceback are told all the same."""
    failure = Failure(Reason.EXCEPTION, "OddError", "words", "Traceback…", "beta", 1, data)
    error = exception_of(Outcome(Status.FAILED, failure=failure))
    assert isinstance(error, TaskFailed)
    assert (str(error), error.kind, error.traceback) == ("words", "OddError", "Traceback…")


@pytest.mark.parametrize("status", [Status.LOST_UNKNOWN, Status.QUARANTINED, Status.FAILED])
def test_an_end_without_a_failure_still_is_one(status):
    """No outcome but DONE is ever taken for a value."""
    assert isinstance(exception_of(Outcome(status)), TaskFailed)

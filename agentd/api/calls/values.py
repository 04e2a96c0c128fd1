"""Arguments on their way out, results on their way in: pickles of protocol 5, decoded in the caller's process only.

Law: what is encoded here can be read by a worker that lacks the caller's own modules, or the worker says so and the
caller encodes once more, by value.
"""

from __future__ import annotations

import pickle
import site
import sys
import sysconfig
import threading
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import json

from agentd.api.tasks.failures import RemoteTraceback, unpickled
from agentd.model.errors import AgentdError, TaskFailed
from agentd.model.task import Failure, Outcome, Reason, Status
from agentd.model.values import NO_VALUE, Codec, Part, Payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    Share = Callable[[list[memoryview]], tuple[Part, ...] | None]
    """Puts the buffers of one value to where the agent finds them and says where that is; None: there is no room."""

T = TypeVar("T")
PROTOCOL = 5
SEARCHED_BYTES = 1024 * 1024
"""A larger pickle is not looked through for the names of modules. Chosen: that costs about as much as pickling anew."""
OUT_OF_BAND_BYTES = 32 * 1024
"""Smaller buffers travel inside the pickle: copying them costs less than a descriptor's bookkeeping. Chosen."""
NAMED_BYTES = 1024 * 1024
"""The same, where a larger buffer is named to the agent and fetched by it. Chosen: what one chunk holds."""
LARGEST_INLINE_BYTES = 8 * 1024 * 1024
"""Half of the largest frame, so that a pickle above it must find another way. Chosen."""

_NONE, _PICKLE = int(Codec.NONE), int(Codec.PICKLE)
"""For what each call passes, as plain numbers: a member looked up in its class takes 0.13 us in Python 3.11, and a
comparison with one twice what one of numbers takes (measured)."""
PLAIN = frozenset({int, float, str, bytes, bool, type(None)})
"""Types whose values need neither shared memory nor code: the commonest arguments, on the shortest way."""
NO_ARGUMENTS = pickle.dumps(((), {}), PROTOCOL)
"""What stands for them where they are to be bytes."""
_registry = threading.Lock()
"""Guards cloudpickle's global list of modules to be pickled by value, which we fill for the time of one dump."""


def encode(value: Any, place: Share | None, *, by_value: bool = False, apart_bytes: int = OUT_OF_BAND_BYTES) -> Payload:
    """Encode any value; its large buffers, of `apart_bytes` and more, go where `place` puts them.

    The C pickler is tried first. What it refuses (lambdas, local classes), and what it names by a module that no other
    process has (`__main__`; `by_value`: any that is not installed), goes through cloudpickle, which takes far longer.

    Raises:
        ValueError: it is too large to travel inside of a message, and cannot travel otherwise.
        Exception: whatever the value's own pickling raises; it is at fault.
    """
    views: list[memoryview] = []
    keep = _keeper(views, apart_bytes) if place is not None else None
    try:
        data = pickle.dumps(value, PROTOCOL, buffer_callback=keep)
    except (pickle.PicklingError, TypeError, AttributeError):
        by_value = True
    else:
        by_value = b"__main__" in data or (by_value and _may_name_local(data))
    if by_value:
        views.clear()
        data = dumps_by_value(value, keep)
    if len(data) > LARGEST_INLINE_BYTES and place is not None:
        return _boxed(data, views, place)
    return Payload(Codec.PICKLE, data, _placed(views, place) if views and place is not None else ())


def encode_call(
    args: Any,
    kwargs: dict[str, Any] | None,
    place: Share | None,
    *,
    by_value: bool,
    apart_bytes: int = OUT_OF_BAND_BYTES,
) -> Payload:
    """Encode the arguments of one call, as `encode`; with `kwargs` None, `args` is the list of a chunk's tuples.

    No arguments are no bytes.

    Raises:
        ValueError: they are too large to travel.
        Exception: whatever the arguments' own pickling raises; they are at fault.
    """
    if not args and kwargs is not None and not kwargs:
        return NO_VALUE
    value = args if kwargs is None else (args, kwargs)
    if not by_value and not kwargs and kwargs is not None and PLAIN.issuperset(map(type, args)):
        data = pickle.dumps(value, PROTOCOL)
        if len(data) <= OUT_OF_BAND_BYTES:
            return Payload(_PICKLE, data)
    payload = encode(value, place, by_value=by_value, apart_bytes=apart_bytes)
    check_size(payload)
    return payload


def check_size(payload: Payload) -> None:
    """Refuse what no frame can hold.

    Raises:
        ValueError: the bytes that are not in shared memory are too many.
    """
    inline = len(payload.data) + sum(len(part.data) for part in payload.parts if part.data is not None)
    if inline > LARGEST_INLINE_BYTES:
        raise too_large(inline)


def too_large(size: int) -> ValueError:
    """Say that a value cannot travel, and what can."""
    return ValueError(
        f"a value of {size} bytes is too large to be sent over HTTP, or to an older agent (at most "
        f"{LARGEST_INLINE_BYTES}): log in with `agentd login` and let this device reach the agent's Comm port, or put "
        "it into a file or a blob"
    )


def dumps_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Pickle with the code of every function and class that is not installed: a worker need not have their modules."""
    import cloudpickle  # not installed code only needs it: keeps the import of this module light

    with _local_modules_by_value(cloudpickle):
        data: bytes = cloudpickle.dumps(value, protocol=PROTOCOL, buffer_callback=buffer_callback)
    return data


def caught(pickling: Callable[[], T]) -> T | Exception:
    """Do what may run users' code, such as pickling; what that raises is theirs, and given back as a value."""
    try:
        return pickling()
    except Exception as error:  # noqa: BLE001 - users' code runs here, and its error is the call's
        return error


def reencode(payload: Payload) -> Payload | None:
    """Encode a call once more, by value; None if that would change nothing or it cannot be done."""
    if payload.codec != Codec.PICKLE or payload.parts:
        return None
    try:
        again = dumps_by_value(pickle.loads(payload.data))
    except Exception:  # noqa: BLE001 - users' code runs here, and the first answer is told if it fails
        return None
    return None if again == payload.data else Payload(Codec.PICKLE, again)


def decode(payload: Payload, buffers: list[memoryview]) -> Any:
    """Decode a value; `buffers` are those of its parts, in order.

    Raises:
        AgentdError: the codec is unknown: the agent is newer than this client.
        Exception: whatever the value's own unpickling raises.
    """
    codec, data = payload.codec, payload.data
    if codec == _NONE:
        return None
    if codec == _PICKLE:
        return pickle.loads(data, buffers=buffers) if buffers else pickle.loads(data)
    if codec == Codec.BYTES:
        return data or (bytes(buffers[0]) if buffers else b"")
    if codec == Codec.JSON:
        return json.decode(data)
    if codec == Codec.BOTH:
        return pickle.loads(memoryview(data)[4 + int.from_bytes(data[:4], "big") :], buffers=buffers)
    raise AgentdError(f"the result came in encoding {codec}, which this client does not know: update agentd here")


def read(outcome: Outcome, buffers: list[memoryview]) -> tuple[Any, BaseException | None]:
    """Give the value of an outcome, or the exception that stands for it."""
    if outcome.status:
        return None, exception_of(outcome)
    try:
        return decode(outcome.value, buffers), None
    except Exception as error:  # noqa: BLE001 - users' code runs while unpickling, and its error is the call's
        error.add_note(f"The call ended well on {outcome.agent or 'the agent'}; its result could not be read here.")
        return None, error


def exception_of(outcome: Outcome) -> BaseException:
    """Build what a caller is to see of an outcome without a value: the remote exception itself where that works."""
    failure = outcome.failure or Failure(Reason.NONE, Status(outcome.status).name, "the agent gave no reason")
    cause = RemoteTraceback(failure.traceback) if failure.traceback else None
    error = unpickled(failure.exception) or TaskFailed(
        failure.message or failure.type, kind=failure.type, traceback=failure.traceback
    )
    if cause is not None:
        error.__cause__ = cause
    agent = failure.agent or outcome.agent
    if agent:
        error.add_note(f"Raised on agent {agent}, attempt {failure.attempt or outcome.attempts}.")
    return error


def _keeper(views: list[memoryview], apart_bytes: int) -> Callable[[pickle.PickleBuffer], bool]:
    """Make the callback that decides for each buffer of a pickle: True keeps it inside."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: only the pickler can copy it
            return True
        if view.nbytes < apart_bytes:
            return True
        views.append(view)
        return False

    return keep


def _placed(views: list[memoryview], place: Share) -> tuple[Part, ...]:
    """Say where the buffers are: in shared memory, or beside the pickle when there is no more of it."""
    parts = place(views)
    if parts is None:
        parts = tuple(Part(view.nbytes, bytes(view)) for view in views)
    return parts


class _Boxed:
    """Stands for a value whose pickle lies in a buffer, the last of the value's buffers: reading it reads that."""

    def __init__(self, buffers: list[pickle.PickleBuffer], data: pickle.PickleBuffer) -> None:
        self.buffers = buffers
        self.data = data

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        return partial(pickle.loads, buffers=self.buffers), (self.data,)


def _boxed(data: bytes, views: list[memoryview], place: Share) -> Payload:
    """Move a pickle that no frame can hold beside the buffers of its value.

    Raises:
        ValueError: there is no shared memory left for it.
    """
    parts = place([*views, memoryview(data)])
    if parts is None:
        raise too_large(len(data))
    box = _Boxed([pickle.PickleBuffer(view) for view in views], pickle.PickleBuffer(data))
    return Payload(Codec.PICKLE, pickle.dumps(box, PROTOCOL, buffer_callback=lambda _: False), parts)


@contextmanager
def _local_modules_by_value(cloudpickle: ModuleType) -> Iterator[None]:
    with _registry:
        already: set[str] = set(cloudpickle.list_registry_pickle_by_value())
        mine = [module for name, module in _local_modules() if name not in already]
        for module in mine:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in mine:
                cloudpickle.unregister_pickle_by_value(module)


def _may_name_local(data: bytes) -> bool:
    """Tell whether a pickle may name anything by a module that is to go by value: the name would stand in it."""
    if len(data) > SEARCHED_BYTES:
        return True
    cloudpickle = sys.modules.get("cloudpickle")
    with _registry:
        names = {name for name, _ in _local_modules()}
    if cloudpickle is not None:
        names |= set(cloudpickle.list_registry_pickle_by_value())
    return any(name.encode() in data for name in names)


_seen: set[str] = set()
_local: set[str] = set()


def _local_modules() -> list[tuple[str, ModuleType]]:
    """List the loaded modules that are the user's own; each name is judged once. Call with `_registry` held."""
    for name in sys.modules.keys() - _seen:
        _seen.add(name)
        if is_local(name, sys.modules.get(name)):
            _local.add(name)
    return [(name, sys.modules[name]) for name in _local if name in sys.modules]


def is_local(name: str, module: Any) -> bool:
    """Tell whether a module is the user's own: neither installed nor part of Python or of this product."""
    file = getattr(module, "__file__", None)
    if name == "__main__" or not isinstance(file, str) or getattr(module, "__name__", None) != name:
        return False
    if any(folder in file for folder in _PACKAGES):  # of another environment, on PYTHONPATH or by a .pth file
        return False
    return name.partition(".")[0] not in _OURS and not file.startswith(_installed())


_OURS = frozenset({"agentd", "cli", "schedulers", "resources_xml"})
_PACKAGES = ("/site-packages/", "/dist-packages/")


@cache
def _installed() -> tuple[str, ...]:
    """Folders of what is installed, each with a slash at the end."""
    paths = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {*site.getsitepackages(), site.getusersitepackages()}
    paths |= {str(Path(path).resolve()) for path in paths}
    return tuple(path.rstrip("/") + "/" for path in paths)

"""What a worker knows of a function: how to get it, how to call it, how long it takes."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol import TEMPLATE_HEAD
from .failures import Reason, Refused
from .functions import Finder, body_of, definition_of, load_value
from .programs import Script
from .values import read_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME, VALUE, SCRIPT, CHUNK, TASK, DIRECT, INSTEAD = range(7)
"""As `agentd.model.task.Form`, which this side cannot import."""
_FADE = 0.98
"""How much of the slowest run is remembered after each further run; chosen: an outlier counts for some 100 runs."""
_IS_COROUTINE = 0x80
"""`inspect.CO_COROUTINE`, without loading `inspect`."""


def _completed(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a coroutine function, in an event loop of its own."""
    import asyncio  # most workers never need it

    return asyncio.run(function(*args, **kwargs))


class Declared(NamedTuple):
    """A template, as the daemon declared it."""

    function: str
    form: int
    wants_json: bool
    code: bytes
    hosts: str = ""
    """Where its nodes are held, parted by commas; empty where they are cores of this agent."""


def read_template(body: memoryview) -> tuple[int, Declared]:
    """Read the body of a TEMPLATE frame."""
    number, form, wants_json, length, hosts_length = TEMPLATE_HEAD.unpack_from(body)
    middle = TEMPLATE_HEAD.size + length
    end = middle + hosts_length
    name, hosts = bytes(body[TEMPLATE_HEAD.size : middle]).decode(), bytes(body[middle:end]).decode()
    return number, Declared(name, form, bool(wants_json), bytes(body[end:]), hosts)


class Callee:
    """A function that was found and may be called.

    Raises:
        Refused: by `__init__`, when it is not there or may not be called.
    """

    __slots__ = ("_function", "_is_chunk", "_longest_s", "definition", "hosts", "is_instead", "slow_s", "wants_json")

    def __init__(self, declared: Declared, finder: Finder) -> None:
        self.wants_json = declared.wants_json
        self.hosts = declared.hosts
        self._longest_s = 0.0
        self.slow_s = 0.0
        """The longest of the last runs but for one, fading: how long the next may hold back the results before it. One
        alone is no pattern: a busy machine lets any process wait for a core now and then."""
        self._is_chunk = declared.form == CHUNK
        self.is_instead = declared.form == INSTEAD
        self.definition: Any = None
        """What a decorated function says about itself, where it was asked for as a task."""
        function: Callable[..., Any]
        is_task = declared.form in {TASK, INSTEAD}
        if is_task:
            function = self._task(declared, finder)
        elif declared.form == SCRIPT:
            function = Script(declared.function, declared.code)
        elif declared.code:
            function = body_of(load_value(declared.code))
        else:
            function = body_of(finder.find(declared.function))
        if not is_task and getattr(getattr(function, "__code__", None), "co_flags", 0) & _IS_COROUTINE:
            function = partial(_completed, function)
        self._function = function

    def _task(self, declared: Declared, finder: Finder) -> Callable[..., Any]:
        if declared.code[:1] == b"\x80":  # a pickle: no source begins so
            self.definition = load_value(declared.code, callable_only=False).settle()
            return self.definition.body  # type: ignore[no-any-return]
        function: Any = finder.find_task(declared.function, declared.code)
        if isinstance(function, property):
            function = function.fget
        self.definition = definition_of(function)
        if self.definition is None:
            raise Refused(Reason.NOT_CALLABLE, f"{declared.function} is no task: it is not decorated with @task")
        return function  # type: ignore[no-any-return]

    def call(self, codec: int, data: memoryview, buffers: Sequence[memoryview]) -> Any:
        """Read the arguments and call it; a chunk is called with each of its tuples of arguments in turn.

        Raises:
            Refused: the arguments cannot be read.
            BaseException: whatever users' code raises.
        """
        try:
            if self._is_chunk:
                calls = list(map(tuple, pickle.loads(data, buffers=buffers)))
            else:
                args, kwargs = read_arguments(codec, data, buffers)
        except MemoryError:
            raise
        except Exception as error:  # users' code runs here
            message = f"the arguments cannot be read here: {type(error).__name__}: {error}"
            raise Refused(Reason.NOT_DECODABLE, message) from error
        function = self._function
        if self._is_chunk:
            return [function(*args) for args in calls]
        return function(*args, **kwargs)

    def learn(self, seconds: float) -> None:
        """Take note of how long a run took."""
        longest, second = self._longest_s * _FADE, self.slow_s * _FADE
        if seconds > longest:
            longest, second = seconds, longest
        elif seconds > second:
            second = seconds
        self._longest_s, self.slow_s = longest, second

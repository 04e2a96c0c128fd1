"""One task in the process that runs it: its call is read, its body runs, and what it returns and writes is written out.

Law: what a task makes comes in the order that its caller numbered it: what it returns, then what it writes.
"""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

from agentd.api.tasks import references
from agentd.api.tasks.data import PLAIN
from agentd.api.tasks.definition import Content
from agentd.api.tasks.plans import has_files
from agentd.api.tasks.port import DIRECTORY, FILE
from agentd.api.tasks.storage import outward
from agentd.api.tasks.values import decoded
from agentd.api.tasks.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.api.tasks.definition import TaskDefinition
    from agentd.api.tasks.families import Family
    from agentd.api.tasks.messages import Encoded
    from agentd.api.tasks.port import Port

Input = tuple[int, Any, Any]
"""Codec, encoded bytes, parts."""
_NOTHING: Encoded = (0, b"", None)
_FILES = frozenset({Content.FILE, Content.FILES, Content.DIRECTORY})


class Execution:
    """One run of a task."""

    __slots__ = (
        "_args",
        "_definition",
        "_inputs",
        "_kwargs",
        "_pending",
        "_port",
        "_returns",
        "_values",
        "_workplace",
        "_writes",
    )

    def __init__(self, port: Port, definition: TaskDefinition, inputs: Sequence[Input]) -> None:
        self._port = port
        self._definition = definition
        self._inputs = inputs
        self._values: dict[int, Any] = {}
        self._pending = set(range(len(inputs)))
        """Positions of what was not read yet."""
        self._args: Sequence[Any] = ()
        self._kwargs: dict[str, Any] = {}
        self._returns = 0
        self._writes: Sequence[tuple[Any, Any]] = ()
        self._workplace: Workplace | None = None

    def read(self, data: Any, buffers: list[memoryview]) -> None:
        """Read the call, and the versions that it names.

        Raises:
            Exception: something of it cannot be read here.
        """
        if not self._inputs:
            args, kwargs, returns, writes = pickle.loads(data, buffers=buffers)
        else:
            active = references.active
            before, active.give = active.give, self._give
            try:
                args, kwargs, returns, writes = pickle.loads(data, buffers=buffers)
            finally:
                active.give = before
        self._args, self._kwargs, self._returns, self._writes = args, kwargs, returns, writes or ()

    def _give(self, position: int) -> Any:
        if position in self._values:
            return self._values[position]
        codec, data, parts = self._inputs[position]
        self._pending.discard(position)
        if codec in {FILE, DIRECTORY}:
            return references.Received(codec, parts)
        buffers = self._port.buffers(parts, writable=True) if parts else []
        value = self._values[position] = decoded(codec, data, buffers)
        return value

    def run(self) -> Any:
        """Run the body.

        Raises:
            BaseException: whatever users' code raises.
        """
        if has_files(self._definition):
            self._workplace = Workplace(self._port)
            self._args, self._kwargs = self._workplace.settle(self._args, self._kwargs)
        try:
            return self._definition.body(*self._args, **self._kwargs)
        except PermissionError as error:
            if self._workplace is not None:
                self._workplace.explain(error)
            raise

    def made(self, value: Any, family: Family | None) -> list[Encoded]:
        """Write what it returned and wrote; `family` is what it asked for itself.

        Raises:
            TypeError: it did not return as many values as it says.
            ValueError: a collection changed its length.
            Exception: a value cannot be pickled.
        """
        encode = self._port.encode
        values = self._returned(value if family is None else family.end(value))
        made = [_NOTHING if one is None else encode(outward(one)) for one in values]
        for where, shape in self._writes:
            argument = self._args[where] if isinstance(where, int) else self._kwargs[where]
            self._write(argument, shape, self._name(where), family, made)
        return made

    def _returned(self, value: Any) -> Sequence[Any]:
        count = self._returns
        if count == 0:
            return ()
        if count == 1:
            return (value,)
        if not isinstance(value, (list, tuple)) or len(value) != count:
            words = f"{self._definition.label} is to return {count} values, and returned {_told(value)}"
            raise _final(TypeError(f"{words}: return a tuple or list of {count}, or {_declared(value)}"))
        return value

    def _name(self, where: Any) -> str:
        names = self._definition.names
        if isinstance(where, int):
            return names[where] if where < len(names) else f"{self._definition.varargs}[{where - len(names)}]"
        return str(where)

    def _write(self, value: Any, shape: Any, name: str, family: Family | None, made: list[Encoded]) -> None:
        """Write one argument, or what is in it: in the order in which the shape numbers it."""
        if isinstance(shape, int):
            if family is not None and type(value) not in PLAIN:
                value = family.resolve(value, "r", None)
            made.append(self._encoded(value, name))
            return
        if shape is None:
            return
        if not isinstance(value, (list, tuple, dict)) or len(value) != len(shape):
            now = f"has {len(value)}" if isinstance(value, (list, tuple, dict)) else f"is a {type(value).__qualname__}"
            words = (
                f"{self._definition.label}: collection {name} had {len(shape)} elements and now {now}: "
                "elements of a collection may be changed, not added or removed"
            )
            raise _final(ValueError(words))
        for key, below in shape.items() if isinstance(shape, dict) else enumerate(shape):
            self._write(value[key], below, f"{name}[{key!r}]", family, made)

    def _encoded(self, value: Any, name: str) -> Encoded:
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if self._workplace is not None and self._workplace.has(value):
            return self._workplace.hand_in(value, f"{self._definition.label}: parameter {name}")
        return self._port.encode(outward(value))

    def instead(self) -> list[Encoded]:
        """Give what on_failure=IGNORE gives for what it should have made: its defaults, or what is there."""
        defaults = self._definition.failure_defaults
        returned = defaults.get("returns")
        many = self._returns > 1
        if many and isinstance(returned, (list, tuple)) and len(returned) == self._returns:
            values = list(returned)
        else:
            values = [returned] * self._returns
        made = [_NOTHING if one is None else self._port.encode(one) for one in values]
        for where, shape in self._writes:
            name = self._name(where)
            argument = self._args[where] if isinstance(where, int) else self._kwargs[where]
            if name in defaults:
                argument = self._instead_of(argument, defaults[name])
            self._write_what_is_there(argument, shape, name, made)
        return made

    def _instead_of(self, argument: Any, default: Any) -> Any:
        if self._workplace is not None and self._workplace.has(argument):
            self._workplace.put(default, argument)
            return argument
        return default

    def _write_what_is_there(self, argument: Any, shape: Any, name: str, made: list[Encoded]) -> None:
        first = len(made)
        try:
            self._write(argument, shape, name, None, made)
        except (OSError, ValueError, TypeError):
            del made[first:]
            made.extend([_NOTHING] * _count(shape))

    def close(self) -> None:
        """Let go what the task needed, and what it did not."""
        for position in self._pending:
            self._port.discard(self._inputs[position][2])
        if self._workplace is not None:
            self._workplace.close()


def _final(error: Exception) -> Exception:
    """Mark an error that running the task again would only repeat."""
    error.is_final = True  # type: ignore[attr-defined]
    return error


def _told(value: Any) -> str:
    """Say what was returned in the place of several values."""
    if isinstance(value, (list, tuple)):
        return f"{len(value)}"
    return "nothing" if value is None else f"one value, of type {type(value).__qualname__}"


def _declared(value: Any) -> str:
    """Say what to write at the task where this is what it should return."""
    many = len(value) if isinstance(value, (list, tuple)) else 0
    return f"write @task(returns={many})" if many > 1 else "write @task(returns=1) if that is its value"


def _count(shape: Any) -> int:
    if shape is None:
        return 0
    if isinstance(shape, int):
        return 1
    return sum(map(_count, shape.values() if isinstance(shape, dict) else shape))

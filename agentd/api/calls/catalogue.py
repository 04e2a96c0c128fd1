"""Which number stands for which function under which options: each is declared once and then referred to.

Law: numbers are given in order from 1 and never change their meaning, so a new connection can be told all of them.
"""

from __future__ import annotations

import operator
import sys
import threading
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from agentd.api.calls.values import LARGEST_INLINE_BYTES, dumps_by_value, is_local
from agentd.model.errors import RequestError
from agentd.model.task import Form, Template
from agentd.wire.messages import Declare

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.calls.connection import Connection

MOST_FUNCTIONS = 1024
"""Functions that are declared; what comes after them travels with each call, so that neither side fills up. Chosen."""


class Entry(NamedTuple):
    """How calls of one function are to be sent."""

    number: int
    """Of its template."""
    is_carried: bool = False
    """The callable is the first argument of each call: it has a state, or there are too many of them."""
    by_value: bool = False
    """The worker lacks the caller's modules: arguments bring the code of their classes along."""


class Catalogue:
    """The templates of one executor. `options` is a template without a function. Safe to use from several threads.

    A function is sent as it is when it is first submitted; later changes to what it closes over are not seen.
    """

    def __init__(self, options: Template, *, agent_python: tuple[int, int] = (0, 0)) -> None:
        self._options = options
        self._agent_python = agent_python
        """Version of the agent's Python; (0, 0) for unknown."""
        self._lock = threading.Lock()
        self._entries: dict[tuple[Any, bool], Entry] = {}
        self._functions: dict[int, tuple[Any, bool]] = {}
        """By number: the function of a template that names it, in case that it must be sent by value after all."""
        self._replaced: dict[int, int] = {}
        self._tried: dict[int, int] = {}
        """By number: that of the same with one attempt less."""
        self._carriers: dict[bool, Entry] = {}
        self.templates: list[Template] = []
        """The template of number n stands at n - 1; only ever appended to."""

    def entry(self, function: Callable[..., Any], *, is_chunk: bool = False) -> Entry:
        """Find or make the entry of a function; with `is_chunk` each call brings a list of argument tuples.

        Raises:
            TypeError: it cannot be called.
            Exception: whatever pickling the function raises; it is at fault.
        """
        try:
            known = self._entries.get((function, is_chunk))
        except TypeError:  # it has no hash, so it is no plain function
            known = None
        if known is not None:
            return known
        if not callable(function):
            raise TypeError(f"{function!r} cannot be called: give a function")
        if not isinstance(function, (FunctionType, BuiltinFunctionType, type)):
            return self._carrier(is_chunk)
        if len(self._entries) >= MOST_FUNCTIONS:
            return self._carrier(is_chunk)
        return self._declare(function, is_chunk)

    def by_value_instead(self, number: int) -> int | None:
        """Give the number under which the same function goes by value, its name being of no use to the agent.

        None: it goes by value already, or the agent's Python could not read its code.

        Raises:
            Exception: whatever pickling the function raises; it is at fault.
        """
        with self._lock:
            known = self._replaced.get(number)
            source = self._functions.get(number)
        if known is not None or source is None or self._is_foreign:
            return known
        function, is_chunk = source
        template = replace(self._shipped(function, is_chunk), name=self.templates[number - 1].name)
        with self._lock:
            if number not in self._replaced:
                self._replaced[number] = self._append(template)
                self._entries[function, is_chunk] = Entry(self._replaced[number], by_value=True)
            return self._replaced[number]

    def send_arguments_by_value(self, number: int) -> None:
        """Have later calls of this template bring their classes along: the worker could not find them."""
        with self._lock:
            for key, entry in self._entries.items():
                if entry.number == number:
                    self._entries[key] = entry._replace(by_value=True)

    def with_one_attempt_less(self, number: int) -> int | None:
        """Give the number of the same calls where one attempt was made already; None: there is none left."""
        template = self.templates[number - 1]
        if not template.idempotent or template.max_attempts <= 1:
            return None
        with self._lock:
            if number not in self._tried:
                self._tried[number] = self._append(replace(template, max_attempts=template.max_attempts - 1))
            return self._tried[number]

    def template(self, number: int) -> Template:
        """Give the template of a number."""
        return self.templates[number - 1]

    def news_for(self, connection: Connection) -> Declare | None:
        """Give what is to be said before a template is named on a connection; None: it knows all of them."""
        new = self.templates[connection.declared :]
        if not new:
            return None
        first = connection.declared + 1
        connection.declared += len(new)
        return Declare(tuple(enumerate(new, first)))

    def _declare(self, function: Callable[..., Any], is_chunk: bool) -> Entry:
        name = name_of(function)
        module = name.partition(":")[0]
        if name and (is_local(module, sys.modules.get(module)) or self._is_foreign):
            template = replace(self._options, function=name, form=Form.CHUNK if is_chunk else Form.NAME)
            return self._register(function, is_chunk, template, Entry(0), by_name=True)
        return self._register(function, is_chunk, self._shipped(function, is_chunk), Entry(0), by_name=False)

    def _register(self, function: Any, is_chunk: bool, template: Template, entry: Entry, *, by_name: bool) -> Entry:
        with self._lock:
            known = self._entries.get((function, is_chunk))
            if known is not None:
                return known
            number = self._append(template)
            if by_name:
                self._functions[number] = function, is_chunk
            made = self._entries[function, is_chunk] = entry._replace(number=number)
            return made

    @property
    def _is_foreign(self) -> bool:
        return self._agent_python not in {(0, 0), sys.version_info[:2]}

    def _shipped(self, function: Callable[..., Any], is_chunk: bool) -> Template:
        """Make the template of a function that goes by value.

        Raises:
            RequestError: the agent's Python could not read its code.
            ValueError: it brings too much along.
        """
        title = title_of(function)
        if self._is_foreign and function is not operator.call:
            here, there = (".".join(map(str, version)) for version in (sys.version_info[:2], self._agent_python))
            raise RequestError(
                f"{title} would have to be sent by value, which needs the same Python on both sides: this is {here}, "
                f"the agent's is {there}; put it into a module that the agent has, and start that with --pythonpath"
            )
        code = dumps_by_value(function)
        if len(code) > LARGEST_INLINE_BYTES:
            raise ValueError(
                f"{title} brings {len(code)} bytes of what it refers to along (at most {LARGEST_INLINE_BYTES}): "
                "give large values as arguments"
            )
        return replace(self._options, function=title, form=Form.CHUNK if is_chunk else Form.VALUE, code=code)

    def _carrier(self, is_chunk: bool) -> Entry:
        with self._lock:
            entry = self._carriers.get(is_chunk)
        if entry is not None:
            return entry
        template = replace(self._shipped(operator.call, is_chunk), function="operator:call")
        with self._lock:
            if is_chunk not in self._carriers:
                self._carriers[is_chunk] = Entry(self._append(template), is_carried=True, by_value=True)
            return self._carriers[is_chunk]

    def _append(self, template: Template) -> int:
        self.templates.append(template)
        return len(self.templates)


def name_of(function: Any) -> str:
    """Give `module:function` for a public function at the top of a module; empty if it cannot be imported by name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not isinstance(function, FunctionType) or not isinstance(module, str) or module == "__main__":
        return ""
    if not name.isidentifier() or name.startswith("_"):
        return ""
    return f"{module}:{name}" if getattr(sys.modules.get(module), name, None) is function else ""


def title_of(function: Any) -> str:
    """Give a callable's name for people."""
    module = getattr(function, "__module__", None) or "?"
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"[:256]

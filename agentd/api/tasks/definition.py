"""What a decorated function says about itself: built once by the decorators, read by the runtime at each call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Direction(IntEnum):
    """What a task does with an argument."""

    IN = 0
    OUT = 1
    INOUT = 2
    CONCURRENT = 3
    """Written without order among the tasks that say so; those behind them wait for all."""
    COMMUTATIVE = 4
    """Written one after another, in any order."""
    IN_DELETE = 5
    """Read, and needed by nobody afterwards."""


class Content(IntEnum):
    """What an argument is."""

    OBJECT = 0
    FILE = 1
    """The argument is a path; the datum is the file."""
    DIRECTORY = 2
    COLLECTION = 3
    """A list whose elements, down to `Parameter.depth`, are data of their own."""
    FILES = 4
    """A collection of paths."""
    DICTIONARY = 5
    """A dict whose keys and values, down to `Parameter.depth`, are data of their own."""
    STREAM = 6


class StandardStream(IntEnum):
    """The standard stream of a binary that a file parameter stands for."""

    NONE = 0
    STDIN = 1
    STDOUT = 2
    STDERR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """How one parameter of a task is used."""

    direction: Direction = Direction.IN
    content: Content = Content.OBJECT
    stream: StandardStream = StandardStream.NONE
    depth: int | None = None
    """Levels of a collection whose elements are tracked; None: all."""
    prefix: str = ""
    """Text that a binary's argument begins with."""
    weight: float = 1.0
    """How much the place of this datum counts when a host is chosen."""
    keep_rename: bool = True
    """False: a file appears in the task's folder under its own name."""
    cache: bool = True


READ = Parameter()


@dataclass(slots=True, kw_only=True)
class TaskDefinition:
    """A task: what runs, how its arguments are used, what it needs."""

    function: Callable[..., Any]
    """What the user wrote."""
    body: Callable[..., Any]
    """What runs in the worker: `function`, or what other decorators made of it (a binary, an MPI run, …)."""
    module: str
    qualname: str
    names: tuple[str, ...] = ()
    """Names of the positional parameters, in order; `self` or `cls` too where `takes_target`."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Default values of the function's parameters."""
    varargs: str = ""
    """Name of `*args`; empty for none."""
    varkwargs: str = ""
    """Name of `**kwargs`; empty for none."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """By name; one that is not here is an object that is read. `self`, `varargs` and `varkwargs` go by their names."""
    takes_target: bool = False
    """The first argument is `self`."""
    returns: int | Parameter | tuple[Parameter, ...] | Callable[..., int] | None = None
    """How many values come back (None: none); a collection with its length; or worked out from a call's arguments."""
    constraints: Mapping[str, Any] = field(default_factory=dict)
    """In the words of `agentd.model.task.Constraints`; a value may be a callable over the call's bound arguments."""
    priority: int = 0
    on_failure: str = "RETRY"
    failure_defaults: Mapping[str, Any] = field(default_factory=dict)
    """What IGNORE gives for `returns` and for written parameters."""
    timeout_s: float | None = None
    is_replicated: bool = False
    is_distributed: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    """What other decorators add: computing nodes, chunk size of a reduction, alternatives, …"""
    task_name: str = ""
    """Name for people; empty: module and function."""
    pending: Callable[[TaskDefinition], None] | None = None
    """Works out in place what could not be known when the function was decorated; None once that is done."""

    @property
    def label(self) -> str:
        """Name it for people and messages."""
        return self.task_name or f"{self.module}:{self.qualname}"

    def settle(self) -> TaskDefinition:
        """Work out, once, what depends on the environment or on the function's source; gives itself."""
        pending = self.pending
        if pending is not None:
            pending(self)
            self.pending = None
        return self


ATTRIBUTE = "__agentd_task__"
"""Of a decorated function: its `TaskDefinition`."""


def definition_of(found: object) -> TaskDefinition | None:
    """Give what a decorated function says about itself, settled; None for anything that is no task.

    Bound methods, static methods and class methods are looked through.
    """
    inner = getattr(found, "__func__", found)
    definition = getattr(inner, ATTRIBUTE, None)
    return definition.settle() if isinstance(definition, TaskDefinition) else None

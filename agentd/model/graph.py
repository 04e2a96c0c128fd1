"""What a running task asks of its agent: further tasks, data versions, and to wait for them.

A *data version* is one state of a datum, never changed once it is there. Its number is given by the runtime of the task
that asks, unique on its agent for the time of one boot. A *family* is a task (or a session of a user) that asks, with
the tasks that it asked for; each belongs to the agent on which the asking code runs.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from agentd.model.task import Failure
from agentd.model.values import NO_VALUE, Payload


class Spawned(Struct, frozen=True, array_like=True, gc=False):
    """A task that a running task asks for."""

    ref: int
    """The asking runtime's own number for it, unique within the runtime, never 0."""
    template: int
    """Number under which the runtime declared the template."""
    payload: Payload
    """The encoded call; it names data versions by their position in `reads`."""
    reads: tuple[int, ...] = ()
    """Versions that must be there before it can run, and whose values it is given, in order."""
    makes: tuple[int, ...] = ()
    """Versions that it makes, in order: what it returns, then what it writes."""
    after: tuple[int, ...] = ()
    """Versions that must be there before it can run and that it is not given."""
    groups: tuple[int, ...] = ()
    """Groups of the runtime that were open when it was asked for, outermost first."""
    chain: int = 0
    """Tasks with the same number run one at a time, in any order: COMMUTATIVE; 0 for none."""


class Put(Struct, frozen=True, array_like=True, gc=False):
    """A version whose value the asking code had itself."""

    version: int
    value: Payload


class Standing(IntEnum):
    """What has become of a version."""

    THERE = 0
    FAILED = 1
    """The task that should have made it failed; there is a failure."""
    CANCELLED = 2
    """The task that should have made it was cancelled, or what it needed never came to be."""


class Known(Struct, frozen=True, array_like=True, gc=False):
    """A version that somebody waited for."""

    version: int
    standing: int = Standing.THERE
    value: Payload = NO_VALUE
    failure: Failure | None = None

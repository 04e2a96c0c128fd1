"""Acceptances that nobody has been told of: the end says what they would have said, or they are written in a moment.

Law: nobody is told of an acceptance that is not in the journal, and no end is written that does not say what was asked
for unless that was written before; what lives for longer than `PUT_OFF_S` is in the journal by then.

A caller that waits for the end anyway learns of the acceptance by it, so one commit serves for both. Until then it
stands as if it had not been heard: when both it and the agent are gone, nobody was promised anything.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.core.journal.entries import Accepted, Asked
from agentd.core.tasks.task import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.commands import Reply
    from agentd.core.journal.ledger import Operation
    from agentd.core.state import AgentState
    from agentd.model.values import Payload

PUT_OFF_S = 0.25
"""How long an acceptance may wait for the end (chosen: most short calls have ended by then)."""
AT_ONCE_MOST = 2000
"""Acceptances that are written in one batch when their time is over (chosen: a few milliseconds)."""
AGAIN_S = 0.01
"""Until the next batch of those."""
_ID = attrgetter("id")
_UNSTARTED = frozenset({State.HELD, State.WAITING, State.OFFERED, State.FORWARDED, State.ENDED})


class Acceptances:
    """The acceptances that are put off, oldest first."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self.unwritten: dict[int, tuple[Payload, Reply | None, Asked | None]] = {}
        """By operation: what it is called with, who is told when its acceptance is safe, what its end is to say."""
        self._by_age: deque[Sequence[Operation]] = deque()
        """The same, as they were put off together, oldest first, with some among them that are written already."""
        self._is_timed = False

    def put_off(self, operation: Operation, payload: Payload, reply: Reply | None) -> None:
        """Have an acceptance written later; the reply, where there is one, leaves when it is safe."""
        self.unwritten[operation.id] = (payload, reply, None)
        self._by_age.append((operation,))
        self._time(operation.submitted_at)

    def put_off_all(self, operations: Sequence[Operation], payloads: Sequence[Payload], now: float) -> None:
        """As `put_off`, for calls of one kind that were asked for together, just now, and of which nobody is told."""
        asked = _asked(operations[0])
        self.unwritten.update(zip(map(_ID, operations), zip(payloads, repeat(None), repeat(asked)), strict=False))
        self._by_age.append(operations)
        self._time(now)

    def _time(self, since: float) -> None:
        if not self._is_timed:
            self._is_timed = True
            self._state.timers.at(since + PUT_OFF_S, self._write_old)

    def write(self, operation: Operation) -> None:
        """Write the acceptance of an operation now, unless it is written already."""
        found = self.unwritten.pop(operation.id, None)
        if found is None:
            return
        state, (payload, reply, _) = self._state, found
        number = operation.accepted = state.outbox.record(accepted(operation, payload))
        if reply is not None:
            state.outbox.after(number, lambda: state.outbox.add(reply))
        task = state.tasks.get(operation.id)
        if task is not None and task.state not in _UNSTARTED and not task.host:
            state.started.append(task.id)

    def _write_calls(self, operations: Sequence[Operation]) -> None:
        """Write acceptances that are not written and of which nobody is told, as `write` does for each."""
        state, payloads = self._state, [self.unwritten.pop(operation.id)[0] for operation in operations]
        number = state.outbox.record_calls([*map(accepted, operations, payloads)])
        for operation in operations:
            operation.accepted = number
            task = state.tasks.get(operation.id)
            if task is not None and task.state not in _UNSTARTED and not task.host:
                state.started.append(task.id)

    def withdraw(self, operation: Operation) -> tuple[Asked, Reply | None] | None:
        """Give what its end is to say of how an operation was asked for, and who is to be told; None: it is written."""
        found = self.unwritten.pop(operation.id, None)
        return (_asked(operation), found[1]) if found is not None else None

    def withdraw_all(self, operations: Sequence[Operation]) -> list[Asked | None]:
        """As `withdraw`, for operations of which nobody is to be told: what the end of each is to say."""
        found = map(self.unwritten.pop, map(_ID, operations), repeat(None))
        return [
            None if one is None else one[2] or _asked(operation)
            for operation, one in zip(operations, found, strict=True)
        ]

    def write_all(self) -> None:
        """Write all that are left."""
        for operations in self._by_age:
            for operation in operations:
                self.write(operation)

    def _write_old(self, now: float) -> None:
        """Write those whose time is over, and come again for the others."""
        waiting, unwritten = self._by_age, self.unwritten
        most = len(unwritten) - AT_ONCE_MOST
        while waiting:
            left = [operation for operation in waiting[0] if operation.id in unwritten]
            if left and (left[0].submitted_at + PUT_OFF_S > now or len(unwritten) <= most):
                break
            due = left[: len(unwritten) - most]
            if len(due) > 1:  # they were put off together, so nobody is told of any
                self._write_calls(due)
            elif due:
                self.write(due[0])
            if len(due) == len(left):
                waiting.popleft()
        self._is_timed = bool(waiting)
        if waiting:
            self._state.timers.at(max(waiting[0][0].submitted_at + PUT_OFF_S, now + AGAIN_S), self._write_old)


def _asked(operation: Operation) -> Asked:
    """Say how an operation was asked for."""
    return Asked(
        operation.template.function,
        operation.submitted_at,
        operation.submitted_wall,
        operation.key,
        operation.digest,
        operation.name,
    )


def accepted(operation: Operation, payload: Payload) -> Accepted:
    """Make the entry that says that an operation of our own users is ours now."""
    return Accepted(
        operation.id,
        operation.template,
        payload,
        operation.submitted_at,
        operation.submitted_wall,
        operation.key,
        operation.digest,
        operation.name,
        operation.callback,
        user=operation.user,
    )

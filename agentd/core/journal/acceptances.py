"""Acceptances that nobody has been told of: the end says what they would have said, or they are written in a moment.

Law: nobody is told of an acceptance that is not in the journal, and no end is written that does not say what was asked
for unless that was written before; what lives for longer than `PUT_OFF_S` is in the journal by then.

A caller that waits for the end anyway learns of the acceptance by it, so one commit serves for both. Until then it
stands as if it had not been heard: when both it and the agent are gone, nobody was promised anything.
"""

from __future__ import annotations

from collections import deque
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
_UNSTARTED = frozenset({State.HELD, State.WAITING, State.OFFERED, State.FORWARDED, State.ENDED})


class Acceptances:
    """The acceptances that are put off, oldest first."""

    def __init__(self, state: AgentState) -> None:
        self._state = state
        self._put_off: dict[int, tuple[Payload, Reply | None]] = {}
        """By operation: what it is called with, and who is told when its acceptance is safe."""
        self._by_age: deque[Operation] = deque()
        """The same, oldest first, with some among them that are written already."""
        self._is_timed = False

    def put_off(self, operation: Operation, payload: Payload, reply: Reply | None) -> None:
        """Have an acceptance written later; the reply, where there is one, leaves when it is safe."""
        operation.is_put_off = True
        self._put_off[operation.id] = (payload, reply)
        self._by_age.append(operation)
        self._time(operation.submitted_at)

    def put_off_all(self, operations: Sequence[Operation], payloads: Sequence[Payload], now: float) -> None:
        """As `put_off`, for many that were asked for just now and of which nobody is told; they are marked already."""
        put_off = self._put_off
        for operation, payload in zip(operations, payloads, strict=True):
            put_off[operation.id] = (payload, None)
        self._by_age.extend(operations)
        self._time(now)

    def _time(self, since: float) -> None:
        if not self._is_timed:
            self._is_timed = True
            self._state.timers.at(since + PUT_OFF_S, self._write_old)

    def write(self, operation: Operation) -> None:
        """Write the acceptance of an operation now, unless it is written already."""
        if not operation.is_put_off:
            return
        operation.is_put_off = False
        state, (payload, reply) = self._state, self._put_off.pop(operation.id)
        number = operation.accepted = state.outbox.record(accepted(operation, payload))
        if reply is not None:
            state.outbox.after(number, lambda: state.outbox.add(reply))
        task = state.tasks.get(operation.id)
        if task is not None and task.state not in _UNSTARTED and not task.host:
            state.started.append(task.id)

    def withdraw(self, operation: Operation) -> tuple[Asked, Reply | None] | None:
        """Give what its end is to say of how an operation was asked for, and who is to be told; None: it is written."""
        if not operation.is_put_off:
            return None
        operation.is_put_off = False
        return _asked(operation), self._put_off.pop(operation.id)[1]

    def withdraw_all(self, operations: Sequence[Operation]) -> list[Asked | None]:
        """As `withdraw`, for operations of which nobody is to be told: what the end of each is to say."""
        put_off = self._put_off
        asked: list[Asked | None] = []
        for operation in operations:
            if operation.is_put_off:
                operation.is_put_off = False
                del put_off[operation.id]
                asked.append(_asked(operation))
            else:
                asked.append(None)
        return asked

    def write_all(self) -> None:
        """Write all that are left."""
        for operation in self._by_age:
            self.write(operation)

    def _write_old(self, now: float) -> None:
        """Write those whose time is over, and come again for the others."""
        waiting, most = self._by_age, len(self._put_off) - AT_ONCE_MOST
        while waiting and (not waiting[0].is_put_off or waiting[0].submitted_at + PUT_OFF_S <= now):
            if len(self._put_off) <= most:
                break
            self.write(waiting.popleft())
        self._is_timed = bool(waiting)
        if waiting:
            self._state.timers.at(max(waiting[0].submitted_at + PUT_OFF_S, now + AGAIN_S), self._write_old)


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

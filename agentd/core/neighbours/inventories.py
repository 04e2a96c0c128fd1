"""Two agents that meet again say what each holds of the other's tasks, before anything else is said of them.

Law: what both know goes on and nothing healthy is restarted; what only the giver knows is placed anew; what only the
holder knows is stopped. A boot identifier tells whether what is missing was lost by a crash or never came there.

| it says of a task of ours | it is booked there under that attempt | it is not |
|---|---|---|
| held | it goes on; one that is being stopped is told so again | taken up there if it waits here, else stopped there |
| finished | its end is on the way | its end is asked for if it waits here, else passed over |
| nothing | offered again; lost if it had been accepted, or if the holder has restarted | |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import SendInventory
from agentd.core.tasks.task import State
from agentd.model.task import Failure, Reason
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.journal.ledger import Operation
    from agentd.core.neighbours.exchange import Exchange
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings


class Inventories:
    """Tells ours, and compares theirs."""

    def __init__(self, state: AgentState, endings: Endings, exchange: Exchange) -> None:
        self._state = state
        self._endings = endings
        self._exchange = exchange

    def tell(self, neighbour: Neighbour, given: list[Operation], *, has_restarted: bool) -> None:
        """Over a new link: say what we hold of the tasks that it gave us, and doubt what it holds of ours.

        What is not on the disk yet is not named: it will be accepted when it is, over the link that there is then.
        """
        neighbour.doubted = {task.id: task.attempt for task in neighbour.held.values()}
        neighbour.has_restarted |= has_restarted
        committed = self._state.outbox.committed
        held = tuple((one.id, one.sender_attempt) for one in given if one.accepted <= committed)
        finished = tuple(neighbour.ends_unacknowledged.items())
        self._state.outbox.add(SendInventory(neighbour.name, held, finished))

    def received(self, event: e.InventoryReceived, now: float) -> None:
        """A neighbour says what it holds of our tasks, in one message or in several."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is None or neighbour.link != event.link:
            return
        for task_id, attempt in event.held:
            self._compare(neighbour, task_id, attempt, now, has_ended=False)
        for task_id, attempt in event.finished:
            self._compare(neighbour, task_id, attempt, now, has_ended=True)
        if event.is_complete:
            self._settle(neighbour, now)
        self._state.changes.add(Change.ROOM)

    def _compare(self, neighbour: Neighbour, task_id: int, attempt: int, now: float, *, has_ended: bool) -> None:
        neighbour.orphans.pop(task_id, None)
        task = neighbour.held.get(task_id)
        if task is None or task.attempt != attempt:
            self._reclaim(neighbour, task_id, attempt, now, has_ended=has_ended)
            return
        neighbour.doubted.pop(task_id, None)
        if has_ended:
            return
        if task.state is State.STOPPING:
            self._state.outbox.cancel(neighbour.name, task_id, attempt)
        else:
            self._exchange.accepted(task, neighbour, now)

    def _reclaim(self, neighbour: Neighbour, task_id: int, attempt: int, now: float, *, has_ended: bool) -> None:
        """It has a task under an attempt that we gave up, or never knew of after a crash of our own."""
        state = self._state
        task = state.tasks.get(task_id)
        if task is not None and task.host == neighbour.name:
            return  # offered anew over this very link, which takes it up there
        waits = task is not None and task.state is State.WAITING and task.attempt >= attempt and not state.draining
        if task is not None and waits and neighbour.objection(task) is None:
            self._exchange.forward(task, neighbour, now)
        elif not has_ended:
            state.outbox.cancel(neighbour.name, task_id, attempt)

    def _settle(self, neighbour: Neighbour, now: float) -> None:
        """All is said: what it did not name it does not have."""
        doubted, neighbour.doubted = neighbour.doubted, {}
        has_restarted, neighbour.has_restarted = neighbour.has_restarted, False
        neighbour.orphans.clear()
        words = "it was restarted" if has_restarted else "it does not have the task any more"
        failure = Failure(Reason.SIGNAL, "NeighbourLost", f"{neighbour.name}: {words}", agent=neighbour.name)
        for task_id, attempt in doubted.items():
            task = neighbour.held.get(task_id)
            if task is None or task.attempt != attempt or self._exchange.is_gated(task):
                continue
            if task.state is State.OFFERED and not has_restarted:
                self._exchange.offer(task, neighbour)
                continue
            neighbour.unbook(task)
            if task.state is State.STOPPING:
                self._endings.stopped(task, now)
            else:
                self._endings.host_lost(task, failure, now, blame=False)

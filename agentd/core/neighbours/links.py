"""The links to neighbours and the belief in them: leases, losses, returns, and what they report of their load.

Law: a neighbour is believed in for one lease after its last sign of life. What it held of ours is then tried elsewhere
under a new attempt number, and the copy that it may still have is taken up again or stopped when it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.commands import Alarm, CloseLink, Publish
from agentd.core.neighbours.inventories import Inventories
from agentd.core.neighbours.neighbour import LinkState, Neighbour
from agentd.core.tasks.task import State
from agentd.model.task import Failure, Reason
from schedulers.view import Change

if TYPE_CHECKING:
    from agentd.core import events as e
    from agentd.core.journal.ledger import Operation
    from agentd.core.neighbours.exchange import Exchange
    from agentd.core.state import AgentState
    from agentd.core.tasks.endings import Endings
    from agentd.core.tasks.task import Task

WITH_LINK = frozenset({LinkState.CONNECTED, LinkState.SUSPECT, LinkState.DRAINING})
OVERSLEPT_S = 1.0
"""A watch that comes so much too late means that we slept ourselves: what was heard meanwhile is read first."""


class Links:
    """Knows who can be reached, and believes in those who cannot for a while."""

    def __init__(self, state: AgentState, endings: Endings, exchange: Exchange) -> None:
        self._state = state
        self._endings = endings
        self._exchange = exchange
        self.inventories = Inventories(state, endings, exchange)

    # --- connections ------------------------------------------------------------------------------------------

    def link_opened(self, event: e.LinkOpened, now: float) -> None:
        """A neighbour is connected; what each holds of the other's is compared, as far as both can say it."""
        state = self._state
        neighbour = state.neighbourhood.ensure(event.neighbour, state.rules.hop_limit)
        has_restarted = bool(neighbour.boot) and neighbour.boot != event.boot
        was_lost = neighbour.state is LinkState.LOST
        self._exchange.taking.forget_unheld(neighbour, now)
        state.objects.begin_link(neighbour.name, has_restarted=has_restarted, was_known=bool(neighbour.boot))
        neighbour.begin_link(has_restarted=has_restarted)
        neighbour.agent_id, neighbour.boot, neighbour.link = event.agent_id, event.boot, event.link
        neighbour.state, neighbour.heard_at = LinkState.CONNECTED, now
        neighbour.fetches, neighbour.takes_lots = event.fetches, event.takes_lots
        state.neighbourhood.arrange()
        neighbour.unlike, neighbour.python, neighbour.libraries = event.unlike, event.python, event.libraries
        if has_restarted:
            state.fetches.host_gone(now)
        state.fetches.link_opened(neighbour.name, now)
        self._watch(neighbour, now)
        if event.compares:
            given = self.given_by(neighbour)
            for operation in given:
                operation.orphan_since = None
            self.inventories.tell(neighbour, given, has_restarted=has_restarted)
        else:
            self._guess(neighbour, now, has_restarted=has_restarted, was_lost=was_lost)
        self._exchange.deliver_again(neighbour)
        state.changes |= {Change.ROOM, Change.PROFILE}
        state.outbox.add(Publish("neighbour", neighbour.name, {"state": neighbour.state.value}))

    def _guess(self, neighbour: Neighbour, now: float, *, has_restarted: bool, was_lost: bool) -> None:
        """It tells no inventory (version 1): one that has restarted has lost what it had of ours."""
        if has_restarted:
            self._lose_all(neighbour, "it was restarted", now)
            self._sort_out_orphans(neighbour, now)
        elif was_lost:
            for operation in self.given_by(neighbour):
                operation.orphan_since = None
        self._exchange.resume(neighbour)
        self._reclaim(neighbour, now, has_restarted=has_restarted)

    def link_closed(self, event: e.LinkClosed, now: float) -> None:
        """The connection is gone, or could not be made: what it holds is believed in until its lease ends."""
        state = self._state
        state.declared.pop(event.link, None)
        neighbour = state.neighbourhood.get(event.neighbour)
        if neighbour is None or neighbour.link != event.link:
            return
        self._exchange.taking.forget_unheld(neighbour, now)
        neighbour.link = 0
        is_news, neighbour.why_not = event.reason != neighbour.why_not, event.reason
        if neighbour.state is LinkState.CONNECTING and is_news:
            state.outbox.add(Publish("neighbour", neighbour.name, {"state": "connecting", "reason": event.reason}))
        self._end_lines(neighbour, event.reason, now)
        if neighbour.state in WITH_LINK:
            neighbour.state = LinkState.CUT
            state.outbox.add(Publish("neighbour", neighbour.name, {"state": "cut", "reason": event.reason}))
        if event.code == "slow":
            self.lost(neighbour, event.reason, now)
        self._watch(neighbour, now)
        state.neighbourhood.arrange()
        state.fetches.link_closed(neighbour.name, now)

    def _end_lines(self, neighbour: Neighbour, why: str, now: float) -> None:
        """What serves a session over a connection does so only while the link is there, by which it was trusted."""
        self._lose(neighbour, why, now, [task for task in neighbour.held.values() if task.shape.template.is_line])
        for operation in self.given_by(neighbour):
            if operation.template.is_line:
                self._exchange.taking.stop(operation, now)

    # --- objects ----------------------------------------------------------------------------------------------

    def objects_released(self, event: e.ObjectsReleased, now: float) -> None:  # noqa: ARG002 - all are alike
        """A neighbour needs objects no more."""
        if self._is_present(event.neighbour, event.link):
            self._state.objects.released(event.neighbour, event.objects)

    def objects_held(self, event: e.ObjectsHeld, now: float) -> None:  # noqa: ARG002
        """A neighbour that came back says what it still needs."""
        if self._is_present(event.neighbour, event.link):
            self._state.objects.held(event.neighbour, event.objects, is_last=event.is_last)

    def _is_present(self, name: str, link: int) -> bool:
        neighbour = self._state.neighbourhood.get(name)
        return neighbour is not None and neighbour.link == link

    def neighbour_draining(self, event: e.NeighbourDraining, now: float) -> None:
        """A neighbour will leave: it is given nothing more, and what it holds comes back or ends."""
        state = self._state
        neighbour = state.neighbourhood.get(event.neighbour)
        if neighbour is None or neighbour.link != event.link or neighbour.state not in WITH_LINK:
            return
        neighbour.state, neighbour.why_not = LinkState.DRAINING, event.reason
        state.fetches.evacuate(neighbour.name, now)
        state.neighbourhood.arrange()
        state.changes.add(Change.ROOM)
        state.outbox.add(Publish("neighbour", neighbour.name, {"state": "draining", "reason": event.reason}))

    # --- leases -----------------------------------------------------------------------------------------------

    def neighbour_heard(self, event: e.NeighbourHeard, now: float) -> None:
        """A sign of life, with the link's figures."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is not None:
            neighbour.link_latency_s = event.latency_s
            neighbour.seconds_per_byte = event.seconds_per_byte
            neighbour.link_wait_s = event.link_wait_s
            self._heard(neighbour, max(now - event.age_s, neighbour.heard_at))

    def _heard(self, neighbour: Neighbour, now: float) -> None:
        neighbour.heard_at = now
        if neighbour.state is not LinkState.SUSPECT:
            return
        neighbour.state, neighbour.why_not = LinkState.CONNECTED, ""
        self._state.neighbourhood.arrange()
        self._state.changes.add(Change.ROOM)
        self._state.outbox.add(Publish("neighbour", neighbour.name, {"state": "connected"}))

    def _suspect(self, neighbour: Neighbour, silence_s: float) -> None:
        words = f"no news for {silence_s:g} s"
        neighbour.state, neighbour.why_not = LinkState.SUSPECT, words
        self._state.neighbourhood.arrange()
        self._state.outbox.add(Publish("neighbour", neighbour.name, {"state": "suspect", "reason": words}))

    def believe(self, neighbour: Neighbour, now: float) -> None:
        """Believe for one lease in a neighbour that has not been heard of yet."""
        neighbour.state, neighbour.heard_at = LinkState.CUT, now
        self._watch(neighbour, now)

    def _watch(self, neighbour: Neighbour, now: float) -> None:
        """Make sure that the end of the lease is noticed; one watch per neighbour at a time."""
        if neighbour.is_watched or not neighbour.is_believed:
            return
        neighbour.is_watched = True
        lease_s, suspect_s = self._state.rules.lease_s, self._state.rules.suspect_s
        may_suspect = neighbour.state is LinkState.CONNECTED and suspect_s < lease_s
        due = max(neighbour.heard_at + (suspect_s if may_suspect else lease_s), now)

        def look(now: float) -> None:
            neighbour.is_watched = False
            is_over = now >= neighbour.heard_at + lease_s
            if neighbour.state is LinkState.CONNECTED and not is_over and now >= neighbour.heard_at + suspect_s:
                self._suspect(neighbour, suspect_s)
            elif neighbour.is_believed and is_over:
                if now - due > OVERSLEPT_S:
                    neighbour.heard_at = now - min(suspect_s, lease_s) + OVERSLEPT_S
                else:
                    self.lost(neighbour, f"no news for {lease_s:g} s", now)
            self._watch(neighbour, now)

        self._state.timers.at(due, look)

    def lost(self, neighbour: Neighbour, why: str, now: float) -> None:
        """A neighbour's lease has ended: its tasks run elsewhere, under a new attempt number."""
        state = self._state
        # Why there is no connection stays what people have to know: that the pairing was ended, say.
        cut = neighbour.why_not
        neighbour.state, neighbour.why_not = LinkState.LOST, f"{why}; {cut}" if cut else why
        state.neighbourhood.arrange()
        tasks = len(neighbour.held)
        self._lose_all(neighbour, why, now)
        self.host_gone(neighbour, now)
        given = self.given_by(neighbour)
        for operation in given:
            operation.orphan_since = now
            if operation.template.holds:  # for a task there, which is lost
                self._exchange.taking.stop(operation, now)
        self.watch_orphans(neighbour, now)
        if tasks or given or neighbour.is_pooled:  # else nothing is lost: it was let go
            state.outbox.add(Alarm("neighbour lost", {"neighbour": neighbour.name, "reason": why, "tasks": tasks}))
        state.outbox.add(Publish("neighbour", neighbour.name, {"state": "lost", "reason": why}))
        state.changes.add(Change.LOST)
        state.fetches.host_gone(now)
        state.timers.at(now + state.rules.orphan_ttl_s, lambda _: self._forget_leases(neighbour))
        if neighbour.link:
            state.outbox.add(CloseLink(neighbour.name, redial=True))

    def host_gone(self, neighbour: Neighbour, now: float) -> None:
        """A neighbour is given nothing any more: what waits for it alone goes elsewhere."""
        self._endings.families.spreading.host_gone(neighbour.name, now)

    def _forget_leases(self, neighbour: Neighbour) -> None:
        """A neighbour has stayed away: nothing is kept for it any more."""
        if neighbour.state is LinkState.LOST:
            self._state.objects.forget(neighbour.name)

    # --- what it held of ours -----------------------------------------------------------------------------------

    def _lose_all(self, neighbour: Neighbour, why: str, now: float) -> None:
        neighbour.doubted.clear()
        neighbour.has_restarted = False
        self._lose(neighbour, why, now, list(neighbour.held.values()))

    def _lose(self, neighbour: Neighbour, why: str, now: float, tasks: list[Task]) -> None:
        failure = Failure(Reason.SIGNAL, "NeighbourLost", f"{neighbour.name}: {why}", agent=neighbour.name)
        for task in tasks:
            neighbour.orphans[task.id] = task.attempt
            neighbour.unbook(task)
            self._endings.host_lost(task, failure, now, blame=False)

    def _reclaim(self, neighbour: Neighbour, now: float, *, has_restarted: bool) -> None:
        """Take up again, or stop, what it may still have of ours under attempts that we gave up."""
        state = self._state
        orphans, neighbour.orphans = neighbour.orphans, {}
        for task_id, attempt in orphans.items():
            task = state.tasks.get(task_id)
            may_go_on = task is not None and task.state is State.WAITING and not has_restarted and not state.draining
            if task is not None and may_go_on and neighbour.objection(task) is None:
                self._exchange.forward(task, neighbour, now)
            else:
                state.outbox.cancel(neighbour.name, task_id, attempt)

    # --- what we hold of its -------------------------------------------------------------------------------------

    def given_by(self, neighbour: Neighbour) -> list[Operation]:
        """List the tasks of a neighbour that have not ended here."""
        name = neighbour.name
        operations = self._state.ledger.operations.values()
        # One that is about to end is among them: nobody has been told of its end yet.
        return [operation for operation in operations if operation.path.sender == name and not operation.is_terminal]

    def _sort_out_orphans(self, neighbour: Neighbour, now: float) -> None:
        """It has forgotten its sessions' calls, and may ask again for what must survive."""
        for operation in self.given_by(neighbour):
            if operation.durable:
                operation.orphan_since = now
            else:
                self._exchange.taking.stop(operation, now)
        self.watch_orphans(neighbour, now)

    def watch_orphans(self, neighbour: Neighbour, now: float) -> None:
        """Stop after a while what nobody has asked for again."""
        limit_s = self._state.rules.orphan_ttl_s

        def stop(now: float) -> None:
            for operation in self.given_by(neighbour):
                is_kept = operation.template.on_orphan == "KEEP"
                if operation.orphan_since is not None and now - operation.orphan_since >= limit_s and not is_kept:
                    self._exchange.taking.stop(operation, now)

        if any(operation.orphan_since == now for operation in self.given_by(neighbour)):
            self._state.timers.at(now + limit_s, stop)

    # --- load -------------------------------------------------------------------------------------------------

    def load_reported(self, event: e.LoadReported, now: float) -> None:
        """A neighbour says how it stands."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is not None:
            neighbour.take_report(event.report, now)
            self._heard(neighbour, now)
            self._state.changes.add(Change.PROFILE)

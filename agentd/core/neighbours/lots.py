"""Lots: plain tasks that are alike, given to a neighbour or taken from one in one pass over all of them.

Law: a lot leaves behind what its tasks would leave one by one; where anything about one is not plain, they go so.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from agentd.core.commands import OfferLot
from agentd.core.events import EndsAcknowledged, EndsReceived, OffersReceived
from agentd.core.neighbours.taking import BRIEF_S
from agentd.core.neighbours.travelling import LIGHT_BYTES
from agentd.core.tasks.task import State
from agentd.model.exchange import LOT_MOST, Lot
from schedulers.view import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core import lot_events as e
    from agentd.core.journal.ledger import Operation
    from agentd.core.neighbours.exchange import Exchange
    from agentd.core.neighbours.neighbour import Neighbour
    from agentd.core.state import AgentState
    from agentd.core.tasks.task import Task
    from agentd.model.task import Outcome

LOT_BYTES = 256 << 10
"""Of the arguments of one lot, or those of one task alone (chosen: a quarter of what batches are cut to)."""
_PAYLOAD, _ATTEMPT, _MAKES, _HOST = map(attrgetter, ("payload", "attempt", "makes", "host"))
_CALLER, _FAMILY, _ID = map(attrgetter, ("caller", "family", "id"))
_CODEC, _DATA = attrgetter("codec"), attrgetter("data")

Head = tuple[int, int, str, int, int, int]
"""What the ends of one lot share: attempt, epoch, agent, hops, codec, how many versions each made."""


class Lots:
    """Gives and takes lots; what is none goes by `Exchange`, or `Taking`."""

    def __init__(self, state: AgentState, exchange: Exchange) -> None:
        self._state = state
        self._exchange = exchange

    # --- giving -----------------------------------------------------------------------------------------------

    def offer(self, tasks: Sequence[Task], neighbour: Neighbour) -> bool:
        """Offer tasks of one kind that are booked there; false: they are no lot, and nothing was offered."""
        if not neighbour.takes_lots or not _are_plain(tasks):
            return False
        payloads = [*map(_PAYLOAD, tasks)]
        data = [*map(_DATA, payloads)]
        most_bytes = max(map(len, data))
        if most_bytes > LIGHT_BYTES or len({*map(_CODEC, payloads)}) > 1:
            return False
        first, own, identity = tasks[0], self._state.identity.agent_id, self._state.identity
        self._exchange.declare(first.shape, neighbour)
        path, numbers = first.path, [*map(_ID, tasks)]
        sequence, most = neighbour.unseen.sequence - len(tasks), _most_in_one(most_bytes)
        for at in range(0, len(tasks), most):
            some = numbers[at : at + most]
            sequence += len(some)
            lot = Lot(
                first.shape.number,
                first.attempt,
                identity.epoch,
                path.origin or own,
                path.hops + 1,
                (*path.visited, own),
                sequence,
                first.payload.codec,
                first.makes,
                some,
                data[at : at + most],
            )
            self._state.outbox.add(OfferLot(neighbour.name, lot))
        return True

    def accepted(self, event: e.LotAccepted, now: float) -> None:
        """A neighbour has tasks of ours."""
        neighbour = self._state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        attempt, epoch, is_light = event.attempt, event.epoch, not neighbour.travelling.bytes
        offered, forwarded, accepted = State.OFFERED, State.FORWARDED, self._exchange.accepted
        first: Task | None = None
        for task in map(neighbour.held.get, event.tasks):
            if task is None or task.attempt != attempt:
                continue
            if task.state is offered and is_light and (task.caller or task.family):
                first = first or task
                task.state = forwarded
            else:
                accepted(task, neighbour, now)
            task.epoch = epoch
        if first is not None and not _is_brief(first):
            neighbour.answered(now - first.placed_at)

    def ended(self, event: e.LotEnded, now: float) -> None:
        """Tasks of ours have ended well at a neighbour."""
        state, lot = self._state, event.lot
        neighbour = state.neighbourhood.get(event.neighbour)
        if neighbour is None:
            return
        found = [*map(neighbour.held.get, lot.tasks)]
        tasks = [task for task in found if task is not None]
        is_whole = len(tasks) == len(found) and not state.stopping
        if is_whole and {*map(_ATTEMPT, tasks)} == {lot.attempt} and {*map(_HOST, tasks)} == {neighbour.name}:
            self._exchange.end_plain(neighbour, tasks, lot.outcomes, now)
            state.changes.add(Change.ROOM)
        else:
            self._exchange.ends_received(EndsReceived(event.neighbour, lot.ends), now)

    # --- taking -----------------------------------------------------------------------------------------------

    def offered(self, event: e.LotOffered, now: float) -> None:
        """A neighbour asks us to run tasks."""
        state, lot, taking = self._state, event.lot, self._exchange.taking
        neighbour = state.neighbourhood.ensure(event.neighbour, state.rules.hop_limit)
        shape = taking.fitting(neighbour, event.link, lot)
        if shape is None:
            taking.offers_received(OffersReceived(event.neighbour, event.link, lot.offers), now)
            return
        neighbour.received_sequence = max(neighbour.received_sequence, lot.sequence)
        taking.open_lot(neighbour, shape, lot, now)
        may_wait = shape.estimate_s is not None and shape.estimate_s < BRIEF_S
        state.outbox.accept_lot(neighbour.name, event.link, lot.attempt, lot.epoch, lot.tasks, may_wait=may_wait)
        state.changes.add(Change.READY)

    def acknowledged(self, event: e.LotAcknowledged, now: float) -> None:
        """A neighbour has recorded ends: nothing of them needs to be kept for it."""
        state, attempt, name = self._state, event.attempt, event.neighbour
        neighbour = state.neighbourhood.get(name)
        plain: list[Operation] = []
        others: list[tuple[int, int]] = []
        for number, operation in zip(event.tasks, map(state.ledger.operations.get, event.tasks), strict=True):
            if operation is None or operation.sender_attempt != attempt or operation.path.sender != name:
                continue
            outcome = operation.outcome
            if operation.durable or outcome is None or outcome.value.parts or (outcome.made and outcome.has_parts):
                others.append((number, attempt))
            else:
                plain.append(operation)
        if neighbour is not None and neighbour.have_confirmed([operation.id for operation in plain]):
            state.changes.add(Change.ROOM)
        state.ledger.forget_all(plain)
        if others:
            self._exchange.taking.ends_acknowledged(EndsAcknowledged(name, tuple(others)), now)


def _are_plain(tasks: Sequence[Task]) -> bool:
    """Tell whether tasks of one kind read nothing but arguments, make one version each at most, and may be lost."""
    first = tasks[0]
    template = first.shape.template
    if template.durable or template.lasts or first.inputs or first.payload.parts or first.makes > 1:
        return False
    if len({*map(_ATTEMPT, tasks)}) > 1 or len({*map(_MAKES, tasks)}) > 1:
        return False
    if first.caller:
        return all(map(_CALLER, tasks))
    if first.family:
        return all(map(_FAMILY, tasks))
    return first.path.sender is not None and not any(map(_CALLER, tasks)) and not any(map(_FAMILY, tasks))


def _is_brief(task: Task) -> bool:
    """Tell whether the answer to its offer may come late, behind its end."""
    estimate = task.shape.estimate_s
    return estimate is not None and estimate < BRIEF_S


def _most_in_one(most_bytes: int) -> int:
    """Say how many tasks of so many bytes each one lot may have."""
    return min(max(LOT_BYTES // max(most_bytes, 1), 1), LOT_MOST)


Told = tuple[str, Head | None, list["Operation"], list["Outcome"]]
"""To whom, under which head, of which operations, how they ended; without a head they are told one by one."""


def sorted_out(operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> list[Told]:
    """Say in which lots neighbours are told how tasks of theirs ended: mostly all of them are one."""
    first, head = operations[0], _head(operations[0], outcomes[0])
    if head is not None and not outcomes[0].made:
        path, (attempt, epoch, agent, hops, codec, _) = first.path, head
        alike = [one.path is path and one.sender_attempt == attempt and one.sender_epoch == epoch for one in operations]
        plain = [
            not outcome.status and outcome.failure is None and not outcome.made and not outcome.output_bytes
            and outcome.value.codec == codec and not outcome.value.parts and len(outcome.value.data) <= LIGHT_BYTES
            and outcome.agent == agent and outcome.hops == hops - 1
            for outcome in outcomes
        ]  # fmt: skip
        if all(alike) and all(plain):
            return [(path.sender or "", head, [*operations], [*outcomes])]
    groups: dict[tuple[str, Head | None], Told] = {}
    for operation, outcome in zip(operations, outcomes, strict=True):
        key = operation.path.sender or "", _head(operation, outcome)
        _, _, some, its_outcomes = groups.setdefault(key, (*key, [], []))
        some.append(operation)
        its_outcomes.append(outcome)
    return [*groups.values()]


def _head(operation: Operation, outcome: Outcome) -> Head | None:
    """Say what the end of a task shares with others of its lot; None: it cannot be told in one."""
    value, made = outcome.value, outcome.made
    if outcome.status or outcome.failure is not None or outcome.output_bytes or value.parts:
        return None
    if made:
        if len(made) > 1 or value.data or value.codec or made[0].parts:
            return None
        value = made[0]
    if len(value.data) > LIGHT_BYTES:
        return None
    return operation.sender_attempt, operation.sender_epoch, outcome.agent, outcome.hops + 1, value.codec, len(made)

"""Commands on their way out: the hot ones gathered per receiver, the cautious ones held until their entry is safe.

Law: what was held for a journal entry leaves only after `Committed` with that entry's number, in the order of entries.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agentd.core.commands import (
    HOLD_MS,
    AcceptLot,
    AcknowledgeEnds,
    AcknowledgeLot,
    AnswerOffers,
    Binding,
    CancelTasks,
    Command,
    EndLot,
    PublishEnds,
    Record,
    RecordCalls,
    ReleaseSegments,
    RunTasks,
    SendEnds,
    SendOffers,
    SettleCalls,
)
from agentd.model.exchange import EndedLot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentd.core.journal.entries import Accepted, Ended, EndedAlike, Entry
    from agentd.core.tasks.task import Task
    from agentd.model.exchange import End, Offer, Refusal, Settled
    from agentd.model.task import Outcome


Head = tuple[int, int, str, int, int, int]
"""What the ends of one lot share: attempt, epoch, agent, hops, codec, how many versions each made."""


class Outbox:
    """All that one drain of the lane wants done."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._runs: dict[int, RunTasks] = {}
        self._settled: dict[int, list[Settled]] = {}
        self._offers: dict[str, list[Offer]] = {}
        self._accepted: dict[tuple[str, int], tuple[list[tuple[int, int, int]], list[Refusal]]] = {}
        self._awaited: set[tuple[str, int]] = set()
        """For whom there is an answer among them that somebody waits for."""
        self._ends: dict[str, list[End]] = {}
        self._lots_accepted: dict[tuple[str, int, int, int, bool], list[int]] = {}
        self._lots_ended: dict[tuple[str, Head], EndedLot] = {}
        self._lots_acknowledged: dict[tuple[str, int], list[int]] = {}
        self._acknowledged: dict[str, list[tuple[int, int]]] = {}
        self._occupied: set[str] = set()
        """Who keeps memory for one of those ends until it is told."""
        self._cancelled: dict[str, list[tuple[int, int]]] = {}
        self._segments: list[int] = []
        self._published: list[tuple[int, str]] = []
        self._held: deque[tuple[int, Callable[[], None]]] = deque()
        self.number = 0
        """Of the last journal entry."""
        self.committed = 0

    def add(self, command: Command) -> None:
        """Want something done that is not gathered."""
        self._commands.append(command)

    def run(self, worker: int, task: Task, binding: Binding | None, hold_ms: int = HOLD_MS) -> None:
        """Hand a task to a worker."""
        run = self._runs.get(worker)
        if run is None or binding is not None or run.hold_ms != hold_ms:
            if run is not None:
                self._commands.append(run)
            self._runs[worker] = RunTasks(worker, [task], binding, hold_ms=hold_ms)
        else:
            run.tasks.append(task)

    def run_more(self, worker: int, tasks: list[Task], hold_ms: int = HOLD_MS) -> None:
        """Hand a worker tasks that run on the units that it was told of before."""
        run = self._runs.get(worker)
        if run is None or run.hold_ms != hold_ms:
            if run is not None:
                self._commands.append(run)
            self._runs[worker] = RunTasks(worker, tasks, None, hold_ms=hold_ms)
        else:
            run.tasks.extend(tasks)

    def cut_run(self, worker: int) -> None:
        """What was gathered for a worker leaves before whatever is wanted next."""
        run = self._runs.pop(worker, None)
        if run is not None:
            self._commands.append(run)

    def settle(self, caller: int, settled: Settled) -> None:
        """Tell a session how a call ended."""
        found = self._settled.get(caller)
        if found is None:
            self._settled[caller] = [settled]
        else:
            found.append(settled)

    def settle_all(self, caller: int, settled: list[Settled]) -> None:
        """Tell a session how calls ended; the list is ours from now on."""
        found = self._settled.setdefault(caller, settled)
        if found is not settled:
            found += settled

    def offer(self, neighbour: str, offer: Offer) -> None:
        """Ask a neighbour to take a task."""
        self._offers.setdefault(neighbour, []).append(offer)

    def accept(self, neighbour: str, link: int, accepted: tuple[int, int, int], *, may_wait: bool = False) -> None:
        """Accept an offer: (task, attempt, epoch); it may wait where its end is about to come anyway."""
        self._accepted.setdefault((neighbour, link), ([], []))[0].append(accepted)
        if not may_wait:
            self._awaited.add((neighbour, link))

    def refuse(self, neighbour: str, link: int, refusal: Refusal) -> None:
        """Decline an offer."""
        self._accepted.setdefault((neighbour, link), ([], []))[1].append(refusal)
        self._awaited.add((neighbour, link))

    def end(self, neighbour: str, end: End) -> None:
        """Tell a neighbour how its task ended."""
        self._ends.setdefault(neighbour, []).append(end)

    def accept_lot(
        self, neighbour: str, link: int, attempt: int, epoch: int, tasks: list[int], *, may_wait: bool
    ) -> None:
        """Accept offers of tasks that are alike; it may wait where their ends are about to come anyway."""
        self._lots_accepted.setdefault((neighbour, link, attempt, epoch, may_wait), []).extend(tasks)

    def end_lot(self, neighbour: str, head: Head, tasks: list[int], outcomes: list[Outcome]) -> None:
        """Tell a neighbour which takes lots how tasks of its ended that went well and brought little."""
        lot = self._lots_ended.get((neighbour, head))
        if lot is None:
            lot = self._lots_ended[neighbour, head] = EndedLot(*head, [], [], [])
        lot.tasks.extend(tasks)
        lot.seconds.extend([outcome.seconds for outcome in outcomes])
        lot.values.extend([(outcome.made[0] if outcome.made else outcome.value).data for outcome in outcomes])

    def acknowledge_lot(self, neighbour: str, attempt: int, tasks: list[int]) -> None:
        """Tell a neighbour which takes lots that ends are recorded."""
        self._lots_acknowledged.setdefault((neighbour, attempt), []).extend(tasks)

    def acknowledge(self, neighbour: str, task: int, attempt: int, *, may_wait: bool = True) -> None:
        """Tell a neighbour that an end is recorded; at once where memory there is free for the next value then."""
        self._acknowledged.setdefault(neighbour, []).append((task, attempt))
        if not may_wait:
            self._occupied.add(neighbour)

    def acknowledge_all(self, neighbour: str, tasks: list[tuple[int, int]]) -> None:
        """Tell a neighbour that ends are recorded, each as (task, attempt)."""
        self._acknowledged.setdefault(neighbour, []).extend(tasks)

    def cancel(self, neighbour: str, task: int, attempt: int) -> None:
        """Ask a neighbour to stop a task; leaves after the offers of this drain, one of which it may be about."""
        self._cancelled.setdefault(neighbour, []).append((task, attempt))

    def release(self, segments: tuple[int, ...]) -> None:
        """Let shared segments go."""
        self._segments.extend(segments)

    # --- the journal ------------------------------------------------------------------------------------------

    def record(self, entry: Entry) -> int:
        """Write an entry and give its number."""
        self.number += 1
        self._commands.append(Record(self.number, entry))
        return self.number

    def record_calls(self, entries: Sequence[Accepted | Ended | EndedAlike]) -> int:
        """Write entries of calls of sessions, and give the number of the last."""
        self.number += len(entries)
        self._commands.append(RecordCalls(self.number, entries))
        return self.number

    def publish_ends(self, ends: list[tuple[int, str]]) -> None:
        """Tell watchers how operations ended, each by number and state."""
        self._published += ends

    def after(self, number: int, act: Callable[[], None]) -> None:
        """Do something once the entry of this number is safe; numbers must not fall from call to call."""
        if number <= self.committed:
            act()
        else:
            self._held.append((number, act))

    def commit(self, up_to: int) -> None:
        """Let go what was held for entries up to this number."""
        self.committed = max(self.committed, up_to)
        held = self._held
        while held and held[0][0] <= up_to:
            held.popleft()[1]()

    # --- leaving ----------------------------------------------------------------------------------------------

    def drain(self) -> list[Command]:
        """Give all commands of this batch: single ones in order, then one per receiver for what was gathered."""
        commands, self._commands = self._commands, []
        if self._runs:
            commands += self._runs.values()
            self._runs = {}
        if self._settled:
            commands += [SettleCalls(caller, settled) for caller, settled in self._settled.items()]
            self._settled = {}
        if self._offers or self._accepted or self._ends or self._acknowledged or self._cancelled:
            self._drain_neighbours(commands)
        if self._lots_accepted or self._lots_ended or self._lots_acknowledged:
            self._drain_lots(commands)
        if self._published:
            commands.append(PublishEnds(self._published))
            self._published = []
        if self._segments:
            commands.append(ReleaseSegments(tuple(self._segments)))
            self._segments = []
        return commands

    def _drain_lots(self, commands: list[Command]) -> None:
        commands += [
            AcceptLot(name, link, attempt, epoch, tasks, may_wait)
            for (name, link, attempt, epoch, may_wait), tasks in self._lots_accepted.items()
        ]
        commands += [EndLot(name, lot) for (name, _), lot in self._lots_ended.items()]
        commands += [AcknowledgeLot(name, attempt, tasks) for (name, attempt), tasks in self._lots_acknowledged.items()]
        self._lots_accepted, self._lots_ended, self._lots_acknowledged = {}, {}, {}

    def _drain_neighbours(self, commands: list[Command]) -> None:
        if self._offers:
            commands += [SendOffers(name, offers) for name, offers in self._offers.items()]
            self._offers = {}
        if self._accepted:
            commands += [
                AnswerOffers(name, link, tuple(accepted), tuple(refused), (name, link) not in self._awaited)
                for (name, link), (accepted, refused) in self._accepted.items()
            ]
            self._accepted = {}
            self._awaited.clear()
        if self._ends:
            commands += [SendEnds(name, ends) for name, ends in self._ends.items()]
            self._ends = {}
        if self._acknowledged:
            commands += [
                AcknowledgeEnds(name, tuple(tasks), name not in self._occupied)
                for name, tasks in self._acknowledged.items()
            ]
            self._acknowledged = {}
            self._occupied.clear()
        if self._cancelled:
            commands += [CancelTasks(name, tuple(tasks)) for name, tasks in self._cancelled.items()]
            self._cancelled = {}

"""What the agent wants done, as imperatives; the engine's only output. Each that can fail ends in one event."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from agentd.core.journal.entries import Accepted, Ended, EndedAlike, Entry
from agentd.core.tasks.task import Task
from agentd.model.exchange import End, EndedLot, Lot, Offer, Refusal, Report, Settled
from agentd.model.graph import Known
from agentd.model.task import Template
from agentd.model.values import ObjectKey, Remote

HOLD_MS = 1
"""For so long the result of any task may wait for the next, in milliseconds, while its worker goes on at once (chosen:
a fifth of what many short results cost otherwise, and nobody notices)."""


class Command(Struct, frozen=True, gc=False):
    """Root of all commands."""


class Binding(Struct, frozen=True):
    """The very units that a worker's line of tasks holds."""

    cpus: tuple[int, ...] = ()
    """Ids of the CPU units."""
    gpus: tuple[int, ...] = ()
    """Ids of the GPU units."""


class StartWorker(Command, frozen=True, gc=False):
    """Make a process that runs users' code; ends in `WorkerStarted` or `WorkerLost`."""

    worker: int


class StopWorker(Command, frozen=True, gc=False):
    """End an idle worker; ends in `WorkerLost`."""

    worker: int
    at_once: bool = False
    """Kill it, whatever it runs."""


class RunTasks(Command, frozen=True, gc=False):
    """Append tasks to a worker's line; ends in `TasksEnded`, `TasksRevoked` or `WorkerLost` for each of them."""

    worker: int
    tasks: list[Task]
    binding: Binding | None = None
    """Given when the units differ from those of the tasks before."""
    on_top: bool = False
    """The one task is to run at once, on top of the one that waits in that worker."""
    hold_ms: int = HOLD_MS
    """For so long the worker may hold back a result of these while it goes on with the next, in milliseconds."""


class RevokeTasks(Command, frozen=True, gc=False):
    """Take back up to `count` tasks from the end of a worker's line; ends in `TasksRevoked` and `RevokeSettled`."""

    worker: int
    count: int


class InterruptTask(Command, frozen=True, gc=False):
    """Stop the task that a worker runs: 0 sets the flag, 1 sends SIGINT, 2 sends SIGKILL; ends as the task ends."""

    worker: int
    task: int
    level: int
    timed_out: bool = False


class Resume(Command, frozen=True, gc=False):
    """What a task waited for is there: it goes on. Ends as the task ends."""

    worker: int
    token: int
    known: list[Known]
    task: int
    binding: Binding | None = None
    """The units that it has from now on, where it had given its own back."""


class ReleaseSegments(Command, frozen=True, gc=False):
    """The engine no longer needs these shared segments: whoever made them may reuse them when the readers are done."""

    segments: tuple[int, ...]


class RetainSegments(Command, frozen=True, gc=False):
    """The engine needs these shared segments once more than before."""

    segments: tuple[int, ...]


class FetchObject(Command, frozen=True, gc=False):
    """Bring an object here from a neighbour, from where it stopped; ends in `ObjectFetched` or `FetchFailed`.

    Given again with another neighbour, or the same one over a new link, the one before does not count any more.
    """

    remote: Remote
    neighbour: str


class AbandonFetch(Command, frozen=True, gc=False):
    """An object is not wanted any more: nothing is told of it."""

    key: ObjectKey


class ReleaseObjects(Command, frozen=True, gc=False):
    """Tell a neighbour that objects are needed no more; with each, how many leases over this link go back to it."""

    neighbour: str
    objects: tuple[tuple[ObjectKey, int], ...]


class TellHeld(Command, frozen=True, gc=False):
    """Tell a neighbour, over a new link, which objects are still needed of those that it granted leases on before."""

    neighbour: str
    objects: tuple[ObjectKey, ...]
    is_last: bool = True


class CallBack(Command, frozen=True, gc=False):
    """Tell an address that an operation has ended; tried again and again, ends in `CallbackEnded`."""

    operation: int
    url: str


class Record(Command, frozen=True, gc=False):
    """Write an entry to the journal under the next number; ends in `Committed` with that number or a larger one."""

    number: int
    entry: Entry


class RecordCalls(Command, frozen=True, gc=False):
    """Write how calls of sessions were accepted, or ended; `number` is that of the last entry."""

    number: int
    entries: Sequence[Accepted | Ended | EndedAlike]


class Reply(Command, frozen=True, gc=False):
    """Answer a caller that waits: with a value, or with the exception to raise there."""

    caller: int
    value: object


class SettleCalls(Command, frozen=True, gc=False):
    """Tell a session how its calls ended."""

    caller: int
    settled: list[Settled]


class DeclareTemplates(Command, frozen=True, gc=False):
    """Tell a neighbour the templates that offers will name by number."""

    neighbour: str
    templates: tuple[tuple[int, Template], ...]


class SendOffers(Command, frozen=True, gc=False):
    """Ask a neighbour to run tasks; ends in `OffersAnswered`, `LinkClosed` or the lease's end."""

    neighbour: str
    offers: list[Offer]


class AnswerOffers(Command, frozen=True, gc=False):
    """Accept or decline what a neighbour offered.

    `may_wait`: nobody waits for it, so that it may be told a little later with others, also behind the ends.
    """

    neighbour: str
    link: int
    accepted: tuple[tuple[int, int, int], ...]
    refused: tuple[Refusal, ...] = ()
    may_wait: bool = False


class OfferLot(Command, frozen=True, gc=False):
    """As `SendOffers`, of tasks that are alike, to who takes lots; ends in `LotAccepted` too."""

    neighbour: str
    lot: Lot


class AcceptLot(Command, frozen=True, gc=False):
    """As `AnswerOffers`, of tasks that are accepted under one attempt."""

    neighbour: str
    link: int
    attempt: int
    epoch: int
    tasks: list[int]
    may_wait: bool = False


class EndLot(Command, frozen=True, gc=False):
    """As `SendEnds`, of tasks that went well and brought little, to who takes lots; ends in `LotAcknowledged` too."""

    neighbour: str
    lot: EndedLot


class AcknowledgeLot(Command, frozen=True, gc=False):
    """As `AcknowledgeEnds`, of one attempt, to who takes lots."""

    neighbour: str
    attempt: int
    tasks: list[int]


class SendEnds(Command, frozen=True, gc=False):
    """Tell a neighbour how its tasks ended; ends in `EndsAcknowledged`, or is sent again over the next link."""

    neighbour: str
    ends: list[End]


class AcknowledgeEnds(Command, frozen=True, gc=False):
    """Tell a neighbour that the ends are recorded; where that `may_wait`, a little later and with others."""

    neighbour: str
    tasks: tuple[tuple[int, int], ...]
    may_wait: bool = True


class CancelTasks(Command, frozen=True, gc=False):
    """Ask a neighbour to stop tasks of ours. (task, attempt)."""

    neighbour: str
    tasks: tuple[tuple[int, int], ...]


class SendInventory(Command, frozen=True, gc=False):
    """Tell a neighbour, over a new link, what we hold of its tasks; leaves before anything else is said of them."""

    neighbour: str
    held: tuple[tuple[int, int], ...]
    finished: tuple[tuple[int, int], ...]


class SendDrain(Command, frozen=True, gc=False):
    """Tell a neighbour that we take no new work of it and will leave."""

    neighbour: str
    grace_s: float
    reason: str


class SendReport(Command, frozen=True, gc=False):
    """Tell a neighbour how we stand."""

    neighbour: str
    report: Report


class OpenLink(Command, frozen=True, gc=False):
    """Reach a neighbour through an adaptor; ends in `LinkOpened` or `LinkClosed`, and is tried again by itself."""

    neighbour: str
    adaptor: str
    properties: tuple[tuple[str, str], ...]


class CloseLink(Command, frozen=True, gc=False):
    """Let a neighbour go; ends in `LinkClosed`."""

    neighbour: str
    redial: bool = False
    """Only this connection is given up: it is tried again as after any cut."""


class Publish(Command, frozen=True, gc=False):
    """Something that watchers of the agent's events want to know."""

    topic: str
    subject: str
    detail: dict[str, object]


class PublishEnds(Command, frozen=True, gc=False):
    """How operations ended, for watchers of the agent's events: (operation, terminal state)."""

    ends: list[tuple[int, str]]


class Alarm(Command, frozen=True, gc=False):
    """Something that an operator must know; goes to the log."""

    message: str
    detail: dict[str, object]


class Stop(Command, frozen=True, gc=False):
    """Everything is drained: the daemon may end."""

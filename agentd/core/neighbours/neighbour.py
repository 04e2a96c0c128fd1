"""An agent next to this one: what it granted and reported, what it holds of ours, and whether it may be given more.

Law: what was sent and not yet seen in a report is taken off what the report says, so that stale news herds nobody.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from agentd.core.neighbours.loads import Told, Unseen, checked, less_unseen, share_held
from agentd.core.neighbours.travelling import (
    AWAY_MOST_BYTES,
    LIGHT_BYTES,
    UNREAD_MOST_BYTES,
    Travelling,
    carried_bytes,
    overweight,
)
from agentd.core.placing.pool import Pool, simultaneous
from agentd.core.tasks.estimates import SMOOTHING
from agentd.core.tasks.task import Task
from agentd.model.exchange import Report
from agentd.model.task import Form
from schedulers.capacity import Capacity, Kind, shortfalls
from schedulers.view import Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentd.core.neighbours.candidates import Candidates
    from agentd.core.tasks.task import Path, Shape

UNKNOWN_S = 0.1
"""What a function never seen is taken to run, in seconds (chosen: longer than a link, shorter than patience)."""
LEAD_S = 0.002
"""Work that may be under way to a neighbour beyond its cores, at least (chosen: hides a loopback round trip)."""
COUNTS_MOST = 4096
"""Shapes of which it is remembered how many fit (chosen: far above those in use at one time)."""
ANSWER_MOST_S = 1.0
"""Cap of what an answer is taken to take: a pause of a minute says nothing of the next offer (chosen)."""
AHEAD_MOST = 2048
"""Tasks beyond its cores at a neighbour, at the most, per core granted (measured: with 512 of the shortest calls both
agents take twice as many turns, and a twentieth more CPU for each call)."""


class LinkState(Enum):
    """How a neighbour can be reached."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    SUSPECT = "suspect"
    """Connected, and not heard of for longer than it should be silent: it is given nothing more for now."""
    CUT = "cut"
    LOST = "lost"
    DRAINING = "draining"


class Asked:
    """When the policy was asked last: one for all neighbours, so that asking costs the same however many there are."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.by_name: dict[str, Neighbour] = {}

    def is_deaf(self, name: str | None) -> bool:
        """Tell whether a neighbour takes the results of its tasks so slowly that no more of them are to be made."""
        row = self.by_name.get(name) if name is not None else None
        return row is not None and row.unread.bytes > (UNREAD_MOST_BYTES if row.link else AWAY_MOST_BYTES)


class Neighbour:
    """One neighbour; it is also the row that a policy reads."""

    is_watched = False
    """A timer looks after its lease."""
    is_pardoned = False
    """A timer will forget the refusals that are not for good."""
    is_leaving = False
    """Removed from the pool; its link closes when it holds nothing of ours."""
    has_restarted = False
    """It has restarted since its inventory was last complete."""
    received_sequence = 0
    """Of the last offer that we had from it."""
    fetches = True
    """It takes references in the place of large values."""
    takes_lots = False
    """It understands lots: tasks that are alike, of which what they share is said once."""
    _beyond_s = 0.0
    """The longest path delay beyond the link that it reported."""
    why_not = ""
    """Why there is no connection, or nothing is given to it over the one that there is."""
    python = (0, 0)
    """Minor version of the Python that runs users' code there; zeros when it has not said."""
    libraries: tuple[tuple[str, str], ...] = ()
    """Versions of libraries there."""
    unlike = ""
    """Why code by value cannot be read there; empty when it can."""
    had_one = False  # the last that it was offered was alone, and found it without any task of ours

    def __init__(
        self, name: str, hop_limit: int, candidates: Candidates | None = None, asked: Asked | None = None
    ) -> None:
        self.name = name
        self._candidates = candidates
        self.hop_limit = hop_limit
        self.agent_id, self.boot, self.link = "", "", 0
        self.state = LinkState.CONNECTING
        self.adaptor = ""
        self.properties: tuple[tuple[str, str], ...] = ()
        self.is_parent = False
        self.is_pooled = False
        """We may offload to it; a neighbour that only gives us work is not pooled."""
        self.declared = False
        self.limit_of_tasks: int | None = None
        """Most tasks of ours that it may hold at a time, where the operator says so."""
        self.granted = Capacity()
        """What the operator granted, or what it reports of itself."""
        self.report = Report()
        self.reported_at = 0.0
        self.reported = Capacity()
        """The capacity that it told last: while it stays the same, so does what it refused for good."""
        self.heard_at = 0.0
        self.link_latency_s, self.seconds_per_byte, self.link_wait_s = 0.0005, 0.0, 0.0
        self._answers_s: float | None = None
        """Moving mean of the time from an offer to its answer: the link, and what the agent does before it answers."""
        self._asked = asked or Asked()
        self.held: dict[int, Task] = {}
        """Tasks of ours that it was offered or accepted, by number."""
        self.declared_shapes: set[int] = set()
        """Shapes whose templates were told over the present link."""
        self.refusals: dict[int, tuple[str, bool]] = {}
        """By shape: why it declined, and whether for good; what is not for good is forgotten after a while."""
        self.last_refusal = ""
        self.unseen = Unseen()
        self.travelling, self.unread = Travelling(), Travelling()
        """What offers carry that it has not answered, and what those ends carry that it has not confirmed."""
        self._counts: dict[int, tuple[Capacity, int]] = {}
        self._lacking: dict[int, bool] = {}
        """By shape, whether its function is known to be missing there; forgotten when it reports other modules."""
        self._booked: dict[int, int] = {}
        """Tasks held, by count of how many of their demand fit at once."""
        self._share = 0.0
        """How much of what it granted those take up: 1 when all of it."""
        self._tiers: Sequence[Tier] | None = None
        """What `tiers` gave last; None when something has changed since."""
        self.told = Told()
        self.orphans: dict[int, int] = {}
        """Tasks that it held when we gave it up, and may still have: task → attempt."""
        self.doubted: dict[int, int] = {}
        """Tasks booked there when the link opened, of which its inventory has not spoken yet: task → attempt."""
        self.ends_unacknowledged: dict[int, int] = {}
        """Tasks of its, ended here, that it has not confirmed: task → attempt."""

    # --- what a policy reads ----------------------------------------------------------------------------------

    @property
    def age_s(self) -> float:
        """Time since its last load report."""
        return self._asked.now_s - self.reported_at

    @property
    def tiers(self) -> Sequence[Tier]:
        """What it reported, corrected by what is still in flight; never negative."""
        if self._tiers is None:
            self._tiers = self._corrected()
        return self._tiers

    def _corrected(self) -> Sequence[Tier]:
        rows = self.report.tiers
        if not rows:
            cores = float(self.granted.units())
            rows = (Tier(1.0, max(cores - len(self.held), 0.0), cores, max(cores, 0.001), 0.0),)
        return less_unseen(rows, self.unseen) if self.unseen else rows

    def admits(self, task: Any) -> bool:
        """Tell whether the task may go there at all."""
        return self.objection(task) is None

    def has_room(self, task: Any) -> bool:
        """Tell whether the task may be handed over now: within what was granted and a little ahead, its bytes too."""
        return self.room(task.shape) > 0 and self.has_way(task)

    def has_way(self, task: Task) -> bool:
        """Tell whether there is room for the bytes of a task beside those that are under way."""
        return not self.travelling.bytes or self.travelling.has_room(self._weight(task))

    def expect(self, task: int, attempt: int, size_bytes: int) -> None:
        """An end of so many bytes is told, which it has to confirm."""
        self.ends_unacknowledged[task] = attempt
        self.unread.add(task, size_bytes)

    def confirmed(self, task: int) -> bool:
        """It has an end, or needs it no more; tell whether that makes room."""
        self.ends_unacknowledged.pop(task, None)
        return self.unread.arrived(task)

    def expect_lot(self, tasks: list[int], attempt: int) -> None:
        """Ends are told of few bytes each, which it has to confirm."""
        self.ends_unacknowledged.update(dict.fromkeys(tasks, attempt))

    def have_confirmed(self, tasks: list[int]) -> bool:
        """It has ends, or needs them no more; tell whether that makes room."""
        known, unread = self.ends_unacknowledged, self.unread
        for task in tasks:
            known.pop(task, None)
        return bool(unread.bytes) and sum(map(unread.arrived, tasks)) > 0

    def are_light(self, tasks: list[Task]) -> bool:
        """Tell whether tasks like one that was just sent, without inputs, may follow it, and weigh nothing."""
        shape = tasks[0].shape
        code_bytes = 0 if shape.number in self.declared_shapes else shape.template.code_bytes
        return code_bytes + max([len(task.payload.data) for task in tasks]) <= LIGHT_BYTES

    def send(self, task: Task) -> None:
        """Note the bytes of a task as under way."""
        self.travelling.add(task.id, self._weight(task))

    def _weight(self, task: Task) -> int:
        shape = task.shape
        code_bytes = 0 if shape.number in self.declared_shapes else shape.template.code_bytes
        return carried_bytes(task, fetches=self.fetches) + code_bytes

    def room(self, shape: Shape) -> int:
        """Count how many tasks of this shape may be handed over now."""
        known = self._counts.get(shape.number)
        fit = known[1] if known is not None and known[0] is self.granted else self._fit(shape)
        if not fit:
            return 0
        free = 1.0 + 1e-9 - (share_held(self.held) if shape.template.lasts else self._share)
        if shape.estimate_s is not None:
            free += min(self._lead_s() / max(shape.estimate_s, 1e-6), AHEAD_MOST)
        count = int(free * fit)
        return count if self.limit_of_tasks is None else min(count, self.limit_of_tasks - len(self.held))

    def _lead_s(self) -> float:
        """Work in seconds that may be under way to it beyond its cores: to hide the way of an end and of the next.

        Four times the way to and fro (measured in chains of four agents: with half of that 8 % more cores stay idle).
        """
        return max(LEAD_S, 8 * (self.latency_s + self._beyond_s))

    @property
    def latency_s(self) -> float:
        """Half of what it takes from a message to its answer, in seconds, as heartbeats and offers have found it."""
        return self.link_latency_s if self._answers_s is None else max(self.link_latency_s, self._answers_s / 2)

    def answered(self, seconds: float) -> None:
        """It has answered an offer after so long."""
        known, seconds = self._answers_s, min(max(seconds, 0.0), ANSWER_MOST_S)
        self._answers_s = seconds if known is None else known + SMOOTHING * (seconds - known)

    @property
    def is_believed(self) -> bool:
        """Tell whether the end of its lease would change anything."""
        return self.state is not LinkState.LOST and (self.state is not LinkState.CONNECTING or bool(self.held))

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def objection(self, task: Task) -> str | None:
        """Say why the task may not go there; None when it may."""
        if self.state is not LinkState.CONNECTED:
            return f"its link is {self.state.value}" + (f": {self.why_not}" if self.why_not else "")
        if not self.is_pooled:
            return "it gives us work and was not added to the pool"
        if self.report.draining:
            return "it is draining"
        no_way = self._no_way(task.path)
        if no_way:
            return no_way
        refused = self.refusals.get(task.shape.number)
        if refused is not None:
            return f"it declined: {refused[0]}"
        if self.lacks(task.shape):
            return f"it does not have {task.shape.template.function}"
        if self.unlike and task.shape.template.is_pickled:
            return self.unlike
        only = task.shape.only
        if only != self.name if only is not None else task.shape.template.constraints.is_local:
            return f"the task is to stay on {only or 'the agent that was asked'}"
        too_much = overweight(task, fetches=self.fetches)
        if too_much:
            return too_much
        if not self._fit(task.shape):
            return "; ".join(shortfalls(self.granted, task.shape.demand)) or "nothing was granted"
        return None

    def _no_way(self, path: Path) -> str:
        """Say why a task that came on this path may not go on to it; empty: it may."""
        if self.agent_id in path.visited or self.name == path.sender:
            return "the task came through it"
        if path.hops >= self.hop_limit:
            return f"the task has made {path.hops} hops, the limit is {self.hop_limit}"
        return f"{path.sender} does not take the results of its tasks" if self._asked.is_deaf(path.sender) else ""

    def could_take(self, shape: Shape) -> bool:
        """Tell whether what it granted would do for a task of this shape."""
        return self._fit(shape) > 0

    def lacks(self, shape: Shape) -> bool:
        """Tell whether it, and all beyond it, are known not to have the function."""
        lacking = self._lacking.get(shape.number)
        if lacking is None:
            template, known = shape.template, self.report.functions
            is_named = template.form is Form.NAME and not template.holds
            lacking = bool(known) and is_named and template.function.partition(":")[0] not in known
            self._lacking[shape.number] = lacking
        return lacking

    def _fit(self, shape: Shape) -> int:
        known = self._counts.get(shape.number)
        if known is None or known[0] is not self.granted:
            count = max([simultaneous(self.granted, way.demand) for way in shape.ways or (shape,)])
            if not self.declared and count:
                cores = sum(tier.cores for tier in self.report.tiers)
                count = max(int(count * cores / max(self.granted.units(), 1)), 1)
            known = (self.granted, count)
            if len(self._counts) >= COUNTS_MOST:
                self._counts.clear()
            self._counts[shape.number] = known
        return known[1]

    def grow(self, more: Capacity) -> None:
        """The operator grants more of it; from now on the operator's word counts, not what it reports of itself."""
        pool = Pool(self.granted)
        pool.add(more)
        self._declare(pool.capacity)

    def shrink(self, less: Capacity) -> None:
        """The operator grants less of it; what it holds already may end.

        Raises:
            RequestError: there is not that much; nothing was taken.
        """
        pool = Pool(self.granted)
        pool.reduce(less)
        self._declare(pool.capacity)

    def _declare(self, granted: Capacity) -> None:
        self.granted, self.declared = granted, True
        self._rebook()

    def _rebook(self) -> None:
        """Weigh what it holds anew against what it grants now."""
        self._counts.clear()
        self._booked.clear()
        for task in self.held.values():
            task.booked = max(self._fit(task.shape), 1)
            self._booked[task.booked] = self._booked.get(task.booked, 0) + 1
        self._weigh()

    def taken(self, kind: Kind) -> int:
        """Count the units of a kind that tasks of ours hold there."""
        return sum(task.demand.units(kind) for task in self.held.values())

    def book(self, *tasks: Task) -> None:
        """Note tasks of one shape as sent."""
        shape = tasks[0].shape
        fit = max(self._fit(shape), 1)
        seconds = UNKNOWN_S if shape.estimate_s is None else shape.estimate_s
        self.had_one = not self.held and len(tasks) == 1
        self.held.update([(task.id, task) for task in tasks])
        for task in tasks:
            task.booked = fit
        self.unseen.add(seconds, len(tasks))
        self._booked[fit] = self._booked.get(fit, 0) + len(tasks)
        self._weigh()

    def unbook(self, *tasks: Task) -> None:
        """Strike tasks off that it no longer holds."""
        held, booked, was_heavy = self.held, self._booked, bool(self.travelling.bytes)
        for task in tasks:
            if held.pop(task.id, None) is None:
                continue
            booked[task.booked] -= 1
            task.booked = 0
            if was_heavy:
                self.travelling.arrived(task.id)
        for fit in [fit for fit, left in booked.items() if not left]:
            del booked[fit]
        self._weigh()
        if not self.held:
            self.unseen.clear()

    def _stir(self) -> None:
        """Its load is not what it was."""
        self._tiers = None
        if self._candidates is not None:
            self._candidates.stir(self.name)

    def _weigh(self) -> None:
        """Work out anew what follows from what it holds."""
        self._stir()
        self._share = sum([held / count for count, held in self._booked.items()])

    def declined(self, shape: Shape, reason: str, *, is_final: bool) -> None:
        """Note that it declined a task: it is offered no more of this shape for a while, or for good."""
        if len(self.refusals) >= COUNTS_MOST:
            self.refusals.clear()
        self.refusals[shape.number] = (reason, is_final)
        self.last_refusal = reason

    def pardon(self) -> None:
        """Forget the refusals that were not for good."""
        self.refusals = {number: refusal for number, refusal in self.refusals.items() if refusal[1]}

    def take_report(self, report: Report, now: float) -> None:
        """Believe the newest report; what it declined may be offered again when it has more that is free."""
        functions = self.report.functions
        free = sum(tier.free for tier in self.report.tiers)
        self.report = checked(report)
        self._beyond_s = max([tier.delay_s for tier in self.report.tiers], default=0.0)
        if functions != self.report.functions:
            self._lacking.clear()
        self.reported_at = now
        self.unseen.seen(report.acknowledged)
        self._stir()
        if report.capacity != self.reported:
            self.reported = report.capacity
            self.refusals.clear()
        elif self.refusals and sum(tier.free for tier in self.report.tiers) > free:
            self.pardon()
        if not self.declared:
            if report.capacity != self.granted:
                self.granted = report.capacity
                self._rebook()
            self._counts.clear()

    def begin_link(self, *, has_restarted: bool) -> None:
        """Forget what belonged to its former link, or boot."""
        self.declared_shapes.clear()
        self.refusals.clear()
        self.unseen.clear()
        self._stir()
        self.report, self._beyond_s = Report(), 0.0
        self.told = Told()
        self.why_not = ""
        if has_restarted:
            self.received_sequence = 0

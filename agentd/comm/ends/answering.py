"""What a neighbour is told of its offers, and of the ends that it told: each once, and what may wait with others.

Law: each offer is answered once; nothing is given back before its acceptance was sent.
"""

from __future__ import annotations

from itertools import repeat

from agentd.comm.ends.wiring import Wiring
from agentd.comm.link import Link
from agentd.model.errors import PeerError
from agentd.model.exchange import Refusal
from agentd.wire.lot_messages import AcceptLot, EndedLotAck
from agentd.wire.messages import Answers, EndsAck

PATIENT_MOST = 64
"""Of what may be told later, so many at most wait (chosen: their frame costs as much as theirs alone by then)."""
LOT_PATIENT_MOST = 1_024
"""Of tasks that were accepted in lots (chosen: a quarter of the credits, so that nobody waits for want of those)."""

Accepted = tuple[int, int, int]
"""(task, attempt, lease epoch)."""


class Answering:
    """Answers of one link.

    Attributes: none; `unanswered` counts the offers that the engine has not answered.
    """

    def __init__(self, link: Link, wiring: Wiring) -> None:
        self._link = link
        self._wiring = wiring
        self._unanswered: set[tuple[int, int]] = set()
        """Offers that the engine has not answered: (task, attempt)."""
        self._accepted: list[Accepted] = []
        """Offers that were accepted, of which the neighbour will be told with others."""
        self._lots: list[AcceptLot] = []
        """The same of tasks that are alike, of which it will be told behind their ends."""
        self._recorded: list[tuple[int, int]] = []
        """Ends of our tasks that are recorded, of which it will be told with others."""
        self._is_patient = False
        """Somebody will see to it that it is told of those."""

    @property
    def unanswered(self) -> int:
        """How many offers the engine has not answered."""
        return len(self._unanswered)

    def expect(self, offers: list[tuple[int, int]]) -> None:
        """Offers have come, each to be answered once: (task, attempt).

        Raises:
            PeerError: one of them was not answered yet, or stands among them twice.
        """
        unanswered = self._unanswered
        before = len(unanswered)
        unanswered.update(offers)
        if len(unanswered) != before + len(offers):
            raise PeerError("a task was offered again before it was answered")

    def answer(
        self, accepted: tuple[Accepted, ...], refused: tuple[Refusal, ...], *, may_wait: bool
    ) -> tuple[tuple[Accepted, ...], list[Refusal]]:
        """Answer offers; gives what was accepted now, and what of the refusals gives tasks back."""
        accepted = tuple(each for each in accepted if self._settles(each[0], each[1]))
        declined: list[Refusal] = []
        returned: list[Refusal] = []
        for refusal in refused:
            (declined if self._settles(refusal.task, refusal.attempt) else returned).append(refusal)
        if may_wait:
            self._accepted += accepted
            self._be_patient()
        elif accepted or declined or returned:
            self._tell_lots()
            told, self._accepted = (*self._accepted, *accepted), []
            self._wiring.send(self._link, Answers(told, tuple(declined), tuple(returned)))
        return accepted, returned

    def _settles(self, task: int, attempt: int) -> bool:
        """Tell whether an answer is the first one to that offer."""
        if (task, attempt) not in self._unanswered:
            return False
        self._unanswered.discard((task, attempt))
        return True

    def accept_lot(self, attempt: int, epoch: int, tasks: list[int], *, may_wait: bool) -> None:
        """Accept offers of tasks that are alike; none of them was answered before."""
        self._unanswered.difference_update(zip(tasks, repeat(attempt)))
        self._lots.append(AcceptLot(attempt, epoch, tasks))
        if may_wait and sum([len(lot.tasks) for lot in self._lots]) < LOT_PATIENT_MOST:
            self._be_patient()
        else:
            self._tell_lots()

    def _tell_lots(self) -> None:
        lots, self._lots = self._lots, []
        for lot in lots:
            self._wiring.send(self._link, lot)

    def acknowledge(self, tasks: tuple[tuple[int, int], ...], *, may_wait: bool = True) -> None:
        """Ends are recorded: (task, attempt)."""
        self._recorded += tasks
        if may_wait:
            self._be_patient()
        else:
            self.catch_up()

    def acknowledge_lot(self, attempt: int, tasks: list[int]) -> None:
        """Ends of one attempt are recorded."""
        if len(tasks) < PATIENT_MOST:
            self.acknowledge(tuple(zip(tasks, repeat(attempt))))
        else:
            self._wiring.send(self._link, EndedLotAck(attempt, tasks))

    def _be_patient(self) -> None:
        """Let what nobody waits for wait for more of it: each frame of its own costs both ends a turn."""
        if len(self._accepted) + len(self._recorded) >= PATIENT_MOST:
            self.catch_up()
        elif not self._is_patient:
            self._is_patient = True
            self._wiring.later(self._patience_over)

    def _patience_over(self) -> None:
        self._is_patient = False
        self.catch_up()
        self._link.flush()

    def catch_up(self) -> None:
        """Tell it what was held back."""
        self._tell_lots()
        if self._accepted:
            accepted, self._accepted = self._accepted, []
            self._wiring.send(self._link, Answers(tuple(accepted)))
        if self._recorded:
            recorded, self._recorded = self._recorded, []
            self._wiring.send(self._link, EndsAck(tuple(recorded)))

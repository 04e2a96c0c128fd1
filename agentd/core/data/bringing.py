"""Values of versions that lie elsewhere, brought here for running code that asks for them.

Law: a wait for values is over when each of them is here, or has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.data.versions import PENDING
from agentd.model.graph import Standing
from agentd.model.task import Failure, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.core.data.versions import Wait
    from agentd.core.families.family import Family
    from agentd.core.state import AgentState


class Bringing:
    """Brings values here for waits."""

    def __init__(self, state: AgentState, satisfied: Callable[[Family, Wait, float], None]) -> None:
        self._state = state
        self._satisfied = satisfied

    def bring_all(self, family: Family, wait: Wait, now: float) -> None:
        """A wait begins: bring what is there and not here."""
        for number in wait.versions:
            wait.missing += self.bring(family, number, wait, now)

    def bring(self, family: Family, number: int, wait: Wait, now: float) -> bool:
        """Bring a version here for a wait that wants its value; False: there is nothing to bring."""
        version = family.versions.find(number)
        if not wait.wants_values or version is None or version.standing != Standing.THERE:
            return False
        missing = self._state.objects.missing((version.value,))
        if not missing:
            return False
        left, is_over = len(missing), False

        def done(reason: str, now: float) -> None:
            nonlocal left, is_over
            left -= 1
            if is_over or (left and not reason):
                return
            is_over = True
            if not reason or not self._has_failed(family, number, wait, reason):
                self._came(family, wait, now)

        for found in missing:
            self._state.fetches.fetch(found, done, now)
        return True

    def _came(self, family: Family, wait: Wait, now: float) -> None:
        if self._state.families.get(family.parent) is not family:
            return
        wait.missing -= 1
        if not wait.missing:
            self._satisfied(family, wait, now)

    def _has_failed(self, family: Family, number: int, wait: Wait, reason: str) -> bool:
        """A value does not come; tells whether it is still to be waited for, since it is made again."""
        version = family.versions.find(number)
        if version is None:
            return False
        if version.standing == PENDING or self._state.lineage.is_lost(family.parent, (number,)):
            version.waiting = [*(version.waiting or ()), wait]
            return True
        name = self._state.identity.name
        version.failure = Failure(
            Reason.SIGNAL, "DataLost", f"a value cannot be brought to {name}: {reason}", agent=name
        )
        return False

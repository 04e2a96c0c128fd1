"""How long to go on dialling an agent that went away, and what to tell those who wait if it does not come back."""

from __future__ import annotations

from agentd.api.calls.connection import NotWelcome
from agentd.model.errors import AgentdError, Unreachable

FIRST_DELAY_S = 0.05
"""An agent that restarts needs some 0.3 s to listen again (measured): a few attempts until then."""
LARGEST_DELAY_S = 1.0
"""Cap of the pauses after those (chosen: an agent that is away for long is found a second after it is back)."""


class Recovery:
    """One loss of the connection at a time. Times are monotonic, in seconds."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loss: BaseException | None = None
        self._last: AgentdError | None = None
        self._since_s: float | None = None
        self._delay_s = FIRST_DELAY_S

    def begin(self, loss: BaseException) -> None:
        """Note why the connection is gone."""
        self.end()
        self._loss = loss

    def end(self) -> None:
        """Forget it: the connection is back, or nobody needs it."""
        self._loss = self._last = self._since_s = None
        self._delay_s = FIRST_DELAY_S

    def delay_s(self, error: AgentdError, now: float) -> float | None:
        """Say when to dial again after a failed attempt, doubling up to `LARGEST_DELAY_S`; None: give up."""
        self._last = error
        if self._since_s is None:
            self._since_s = now
        if isinstance(error, NotWelcome) and not error.is_transient:
            return None
        left_s = self._since_s + self._limit_s - now
        if left_s <= 0:
            return None
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, LARGEST_DELAY_S)
        return min(delay_s, left_s)

    def verdict(self, where: str) -> AgentdError:
        """Give what those who wait are told; a new exception each time, as each is raised somewhere else."""
        if isinstance(self._last, NotWelcome):
            return Unreachable(f"the agent at {where} went away and will not have us back: {self._last}")
        loss = f" ({self._loss})" if self._loss is not None and str(self._loss) else ""
        return Unreachable(
            f"the agent at {where} went away{loss} and did not come back within {self._limit_s:g} s; "
            f"the last attempt said: {self._last}"
        )

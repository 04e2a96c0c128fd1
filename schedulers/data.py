"""Tasks go to their data, for as long as that costs less than bringing the data to them."""

from __future__ import annotations

from schedulers.load_balancing import ALPHA, BETA, LoadBalancing

PATIENCE_S = 1.0
"""Wait at the holder up to which a task goes there at once (simulated: 0.1 to 1 s make no difference)."""


class Data(LoadBalancing):
    """As the default, but every input counts as heavy: its holder is asked first, whatever its size.

    For work that moves much data (simulated with inputs of 1 MB at load 0.8: 1.03 times an oracle's mean response,
    the default 1.3, blind placement 3.5). Its weakness is the other side of that: short tasks crowd around small data.
    """

    def __init__(self, alpha: float = ALPHA, beta: float = BETA, patience_s: float = PATIENCE_S) -> None:
        super().__init__(alpha, beta, patience_s=patience_s, heavy=0.0)

"""The search for cycles of objects, which are rare here: each takes time from some call."""

from __future__ import annotations

import gc

THRESHOLDS = 10_000, 20, 50
"""Of gc.set_threshold: chosen, ten times above what a batch of calls makes and lets go."""


def collect_seldom() -> None:
    """Leave out of the search what is here, once all is loaded, and search less often from now on."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

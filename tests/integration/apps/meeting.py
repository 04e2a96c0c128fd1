"""How tasks wait for each other."""

import time

PATIENCE_S = 60
LOOK_S = 0.005


def until(holds):
    """Wait until something is so that another task or the test does; an error when that does not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("what is waited for does not come: tasks run one after another")
        time.sleep(LOOK_S)

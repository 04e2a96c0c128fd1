"""What a task returns against what was said of it."""

from __future__ import annotations

from typing import Any

import pytest

from agentd import api
from tests.fakes.marked import marked
from tests.fakes.task_engine import FakePort, program


@marked(returns=2)
def give(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((1, 2, 3), "returned 3: return a tuple or list of 2, or write @task(returns=3)"),
        ([1], "returned 1: return a tuple or list of 2, or write @task(returns=1) if that is its value"),
        (5, "returned one value, of type int: return a tuple or list of 2, or write @task(returns=1) if that is its"),
        (None, "returned nothing: return a tuple or list of 2, or write @task(returns=1) if that is its value"),
    ],
)
def test_another_number_of_values_than_was_said_is_told_with_the_remedy(value: Any, words: str) -> None:
    """The function, what was said, what came, and what to do."""

    def run() -> None:
        first, _ = give(value)
        api.wait_on(first)

    with pytest.raises(TypeError) as caught, program(FakePort(""), give):
        run()
    assert str(caught.value).startswith(f"{__name__}:give is to return 2 values, and {words}")

"""What may be asked of the benchmarks, and what is told of that."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import WORKLOADS, workloads

SOURCES = Path(__file__).resolve().parents[3] / "benchmarks"


def test_a_workload_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    """An empty table would look like a measurement."""
    assert workloads(" W1,W10,") == {"W1", "W10"}
    with pytest.raises(argparse.ArgumentTypeError, match=r"there is no W99; there are W1, W2"):
        workloads("W1,W99")


def test_every_workload_of_the_code_is_explained() -> None:
    """What is measured by name can be found by `--help`."""
    measured = {name for path in SOURCES.glob("*.py") for name in re.findall(r'wanted\("(\w+)"\)', path.read_text())}
    assert measured
    assert measured <= set(WORKLOADS)

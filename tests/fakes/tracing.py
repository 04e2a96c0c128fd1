"""What is measured of the pure half: what its own tests run, and of each law every fifth example or history.

Tracing makes code two to four times as slow: hence nothing else is traced.
"""

from __future__ import annotations

import functools
import pkgutil
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
MEASURED = (
    *("scenarios", "properties"),
    *(f"unit/{package}" for package in ("core", "model", "resources_xml", "schedulers", "wire")),
)
"""What tests the pure half."""
HISTORIES = ("_storms.py", "_flaps.py", "_fuzz.py")
"""Long random histories of whole nets run through nearly every line, and would hide what has no test of its own."""
STEP = 5
"""One of so many examples of a law is traced; chosen: with all of them hardly a line more is run."""


def is_measured(path: Path) -> bool:
    """Tell whether it counts what the tests in a file run."""
    return any(path.is_relative_to(TESTS / folder) for folder in MEASURED) and not path.name.endswith(HISTORIES)


@contextmanager
def traced_by(tracer: Any) -> Iterator[None]:
    """Let something trace what is done meanwhile, or None: nothing."""
    before, of_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(of_threads if tracer is not None else None)  # type: ignore[arg-type]
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(of_threads)  # type: ignore[arg-type]


def sampled(law: Callable[..., Any], tracer: Any) -> Callable[..., Any]:
    """Make a law of which some examples are traced."""
    begun = 0

    @functools.wraps(law)
    def example(*args: Any, **more: Any) -> Any:
        nonlocal begun
        begun += 1
        if begun % STEP:
            return law(*args, **more)
        with traced_by(tracer):
            return law(*args, **more)

    return example


@contextmanager
def sampled_histories(machine: type, tracer: Any) -> Iterator[None]:
    """Let some histories of a state machine be traced meanwhile: each is one that is made."""
    begun, made = 0, machine.__init__  # type: ignore[misc]

    @functools.wraps(made)
    def begin(self: Any, *args: Any, **more: Any) -> None:
        nonlocal begun
        begun += 1
        sys.settrace(None if begun % STEP else tracer)
        made(self, *args, **more)

    with pytest.MonkeyPatch.context() as patch, traced_by(None):
        patch.setattr(machine, "__init__", begin)
        yield


def load_all(sources: list[str]) -> None:
    """Load packages with all that is in them."""
    for source in sources:
        for found in pkgutil.walk_packages(import_module(source).__path__, f"{source}."):
            import_module(found.name)


class Measuring:
    """A plugin of pytest for runs with `--cov`: nothing is traced but what is measured."""

    def __init__(self, settings: Path) -> None:
        self._sources: list[str] = tomllib.loads(settings.read_text("utf-8"))["tool"]["coverage"]["run"]["source"]
        self._tracer: Any = None

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Iterator[None]:
        """Trace how the pure half is loaded, not how tests are."""
        load_all(self._sources)
        with traced_by(None):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Iterator[None]:
        """Trace nothing, by itself."""
        self._tracer = sys.gettrace()
        with traced_by(None):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Trace a test as far as it is measured."""
        test = getattr(item, "obj", None)
        law, machine = (getattr(test, name, None) for name in ("hypothesis", "_hypothesis_state_machine_class"))
        if not is_measured(item.path):
            return (yield)
        if machine is not None:
            with sampled_histories(machine, self._tracer):
                return (yield)
        if law is None:
            with traced_by(self._tracer):
                return (yield)
        whole, law.inner_test = law.inner_test, sampled(law.inner_test, self._tracer)
        try:
            return (yield)
        finally:
            law.inner_test = whole

"""Waiting for an operation, and printing how it ended."""

from __future__ import annotations

import sys
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from msgspec import json

from agentd.api.routes import requests
from agentd.api.routes.requests import NotInThisForm
from agentd.api.routes.tables import printable
from agentd.model.errors import ConfigError, TaskFailed, Unreachable
from agentd.model.views import TERMINAL
from cli.output import print_json, print_value, tell
from cli.target import place_of

if TYPE_CHECKING:
    from agentd.api.routes.client import Agent
    from agentd.model.views import OperationView
    from cli.parsing import CommandLine

PATIENCE_S = 2.0
"""How long an operation may wait before a person is told why; chosen."""
SELDOM_S = 10.0
"""How often it is looked for that later; chosen."""
RETURN_S = 60.0
"""How long an agent that went away is waited for; chosen: a small device restarts an agent within it."""
LOOK_S = 0.5
"""How often it is looked for."""


def wait_for(agent: Agent, identifier: str, timeout_s: float | None) -> OperationView:
    """Wait for the end of an operation; says on stderr what keeps it from running, if that lasts.

    Raises:
        TimeoutError: it has not ended after `timeout_s`; it goes on.
    """
    end_s = None if timeout_s is None else monotonic() + timeout_s
    said, patience_s = "", PATIENCE_S
    while True:
        view = agent.get(identifier, requests.seconds_left(end_s, monotonic(), patience_s))
        if view.state in TERMINAL:
            return view
        obstacle = _obstacle(view)
        if obstacle != said and obstacle:
            tell(f"operation {view.id} waits: {obstacle}")
        said, patience_s = obstacle, min(2 * patience_s, SELDOM_S)
        if end_s is not None and monotonic() >= end_s:
            why = f" ({view.reason})" if view.reason else ""
            raise TimeoutError(
                f"gave up after {timeout_s:.3g} s: operation {view.id} is {view.state}{why} and goes on; "
                f"`agentd result {view.id}` waits for it again"
            )


def _obstacle(view: OperationView) -> str:
    """Say why an operation does not run, or, of one that runs, why one of its tasks has no host."""
    return view.reason if view.state != "running" else view.reason.partition("; ")[2]


def wait_over_restarts(line: CommandLine, agent: Agent, identifier: str, timeout_s: float | None) -> OperationView:
    """Wait for the end of an operation, also if its agent goes away and comes back: what it accepted outlives that.

    Raises:
        TimeoutError: it has not ended after `timeout_s`; it goes on.
        Unreachable: the agent did not come back.
    """
    end_s = None if timeout_s is None else monotonic() + timeout_s
    while True:
        try:
            return wait_for(agent, identifier, None if end_s is None else max(0.0, end_s - monotonic()))
        except Unreachable as error:
            _await_return(line, agent, identifier, error)


def _await_return(line: CommandLine, agent: Agent, identifier: str, loss: Unreachable) -> None:
    tell(f"{loss}; operation {identifier} is on its disk and outlives that: waiting {RETURN_S:g} s for it to come back")
    end_s = monotonic() + RETURN_S
    while True:
        sleep(LOOK_S)
        try:
            agent.go_on_at(place_of(line))
            agent.get(identifier)
        except Unreachable as error:
            if monotonic() < end_s:
                continue
            words = f"operation {identifier} goes on when it is started again, and `agentd result {identifier}` waits"
            raise Unreachable(f"{error}; {words}") from error
        tell("the agent is back")
        return


def print_result(
    agent: Agent, ended: OperationView, *, as_json: bool = False, file: str | None = None, is_program: bool = False
) -> int:
    """Print the value of an operation that has ended, or raise what it failed with; a program has no value.

    Raises:
        TaskFailed: it did not end well.
        ConfigError: `file` cannot be written.
    """
    if ended.state != "done":
        if as_json:
            print_json(ended)
        raise _failure(ended)
    if file is not None:
        _save(agent, ended, file)
        return 0
    if is_program and not as_json:
        return 0
    value, is_there = _value(agent, ended)
    if as_json:
        print_json(_with_result(ended, value if is_there else None))
    elif is_there:
        print_value(value)
    return 0


def _value(agent: Agent, ended: OperationView) -> tuple[Any, bool]:
    """Read the value; False if neither JSON nor bytes can say it, which is told."""
    if ended.result is not None:
        return ended.result, True
    try:
        return agent.send(requests.result(ended)), True
    except NotInThisForm as error:
        if not error.available:
            raise
        words = f"done; its value is none that JSON can say: `agentd result {ended.id} -o FILE` saves its pickle"
        print(f"agentd: {printable(words)}", file=sys.stderr)
        return None, False


def _with_result(ended: OperationView, value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = json.decode(json.encode(ended))
    shown["result"] = value  # bytes come out as base64
    return shown


def _save(agent: Agent, ended: OperationView, file: str) -> None:
    """Write the value to a file: bytes as they are, else JSON, else the pickle."""
    data = agent.send(requests.raw_result(ended.id))
    try:
        Path(file).expanduser().write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from error


def _failure(ended: OperationView) -> Exception:
    if ended.error is not None:
        return TaskFailed(
            f"operation {ended.id} ended as {ended.state}: {ended.error.type}: {ended.error.message}",
            kind=ended.error.type,
            traceback=ended.error.traceback,
        )
    return TaskFailed(f"operation {ended.id} ended as {ended.state}: {ended.reason or 'no reason was recorded'}")


def reason_of(view: OperationView) -> str:
    """Say why an operation waits, or why it ended as it did."""
    if view.reason:
        return view.reason
    if view.error is not None:
        return f"{view.error.type}: {view.error.message}"
    return ""

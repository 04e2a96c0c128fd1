"""`agentd cancel`: stop operations by their ids, or all that are of a name, a function or a state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agentd.model.errors import RequestError
from agentd.model.views import STATES, TERMINAL, OperationView
from cli.operations import PAGE, states_of
from cli.output import print_json, tell
from cli.parsing import UsageError
from cli.target import agent_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentd.api.routes.client import Agent
    from cli.parsing import CommandLine

AT_ONCE = 8
"""Requests that are under way; chosen: as many connections as the client keeps."""
LIVE = ",".join(state for state in STATES if state not in TERMINAL)


def run(line: CommandLine) -> int:
    """Stop what is named, or all that is chosen; what has ended stays as it ended.

    Raises:
        UsageError: neither is said, or both are.
        RequestError: one that was named cannot be stopped; the others were.
    """
    patterns = {name: text for name in ("function", "name") if (text := line.text(name)) is not None}
    is_choice = bool(patterns) or line.flag("all") or line.text("in_state") is not None
    if is_choice == bool(line.arguments):
        words = "`cancel` needs IDs, or a choice: --name, --function, --in-state or --all"
        more = ", not both" if is_choice else f"; for example: {line.command.example}"
        raise UsageError(words + more, "cancel")
    states = states_of(line) or LIVE
    refusals: list[RequestError] = []
    with agent_of(line) as agent:
        turns = _turns(_chosen(agent, states, patterns)) if is_choice else [line.arguments]
        rows = [row for turn in turns for row in _stopped(agent, turn, refusals)]
    if rows or is_choice:
        _show(line, rows, is_one=len(line.arguments) == 1)
    for error in refusals if not is_choice else ():  # of what was chosen, some may have been forgotten meanwhile
        raise error
    return 0


def _chosen(agent: Agent, states: str, patterns: dict[str, str]) -> Iterator[OperationView]:
    """Yield what is to be stopped, looking again at each: an agent of before does not know all of the choices."""
    cursor: str | None = None
    while True:
        page = agent.page(states, PAGE, cursor, function=patterns.get("function"), name=patterns.get("name"))
        for row in page.operations:
            if row.state in states.split(",") and all(
                fnmatchcase(getattr(row, field), pattern) for field, pattern in patterns.items()
            ):
                yield row
        cursor = page.next_cursor
        if cursor is None:
            return


def _turns(rows: Iterable[OperationView]) -> list[list[str]]:
    """Put those that have not begun first, so that none of them begins in the place of another that was stopped."""
    waiting: list[str] = []
    others: list[str] = []
    for row in rows:
        (waiting if row.state == "queued" else others).append(row.id)
    return [waiting, others]


def _stopped(agent: Agent, identifiers: list[str], refusals: list[RequestError]) -> Iterator[OperationView]:
    """Stop them, several at a time: each is on the disk before it is answered, and one write may do for many."""

    def stop(identifier: str) -> OperationView | RequestError:
        try:
            return agent.cancel(identifier)
        except RequestError as error:
            if error.status != 404:
                raise
            return error

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for found in pool.map(stop, identifiers):
            if isinstance(found, RequestError):
                refusals.append(found)
            else:
                yield found
    finally:
        pool.shutdown(cancel_futures=True)


def _show(line: CommandLine, rows: list[OperationView], *, is_one: bool) -> None:
    if line.flag("json"):
        print_json(rows[0] if is_one else {"operations": rows})
        return
    for row in rows:
        print(f"{row.id} is {row.state if row.state in TERMINAL else 'being stopped'}")
    if not rows:
        tell("there is nothing to stop")

"""Looking at operations and steering them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentd.model.figures import duration, size
from agentd.model.views import STATES, OperationView
from cli.call import seconds
from cli.output import moment, print_fields, print_json, print_json_line, print_rows, print_text
from cli.parsing import UsageError
from cli.results import print_result, reason_of, wait_over_restarts
from cli.target import agent_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.model.views import TaskView
    from cli.parsing import CommandLine

PAGE = 1000
"""Largest page that an agent gives."""


def run(line: CommandLine) -> int:
    """List operations, newest first."""
    state = states_of(line)
    folder = line.text("state")
    if folder in STATES and not Path(folder).exists():
        raise UsageError(f"--state names an agent's folder: say --in-state {folder}", "operations")
    limit = _count(line)
    with agent_of(line) as agent:
        found: list[OperationView] = []
        cursor: str | None = None
        while len(found) < limit:
            count = min(PAGE, limit - len(found))
            page = agent.page(state, count, cursor, function=line.text("function"), name=line.text("name"))
            found += page.operations
            cursor = page.next_cursor
            if cursor is None:
                break
    if line.flag("json"):
        print_json({"operations": found, "next_cursor": cursor})
        return 0
    head = ("id", "function", "state", "ran on", "submitted", "took", "why")
    print_rows(head, map(_row, found), empty="no operations")
    return 0


def states_of(line: CommandLine) -> str | None:
    """Give the states that the line names, with commas between, None when it names none.

    Raises:
        UsageError: one is no state.
    """
    text = line.text("in_state")
    if text is None:
        return None
    unknown = next((state for state in text.split(",") if state not in STATES), None)
    if unknown is not None:
        raise UsageError(f"--in-state {unknown!r} is none of {', '.join(STATES)}", line.command.name)
    return text


def _count(line: CommandLine) -> int:
    text = line.text("limit") or "50"
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--limit {text!r}: give a whole number from 1", "operations")
    return int(text)


def _row(view: OperationView) -> tuple[str, ...]:
    return (
        view.id,
        view.name or view.function,
        view.state,
        view.ran_on or "",
        moment(view.submitted_at),
        _took(view),
        reason_of(view),
    )


def _took(view: OperationView) -> str:
    if view.ended_at is None or view.started_at is None:
        return ""
    return duration(view.ended_at - view.started_at)


def show(line: CommandLine) -> int:
    """Show one operation, and why it waits if it does."""
    identifier = line.arguments[0]
    wants_tasks = _pictures(line) or line.flag("tasks") or line.flag("summary")
    with agent_of(line) as agent:
        view = agent.get(identifier)
        tasks = list(agent.tasks(identifier)) if wants_tasks else []
    for file, text in _drawn(line, tasks):
        _write(file, text)
    if line.flag("json"):
        print_json({"operation": view, "tasks": tasks} if wants_tasks else view)
        return 0
    print_fields(_fields(view))
    if line.flag("tasks"):
        head = ("task", "function", "state", "host", "attempt", "took", "in", "out", "why")
        print_rows(head, map(_task_row, tasks), title="tasks")
    if line.flag("summary"):
        from agentd.api.looks.traces import SUMMARY_HEAD, summary

        print_rows(SUMMARY_HEAD, summary(tasks), title="sum")
    return 0


def _pictures(line: CommandLine) -> bool:
    """Tell whether files are wanted, after looking at their names."""
    graph, trace = line.text("graph"), line.text("trace")
    if graph is not None and not graph.endswith((".svg", ".dot")):
        raise UsageError(f"--graph {graph!r}: the file's name ends in .svg or .dot", "show")
    if trace is not None and not trace.endswith(".json"):
        raise UsageError(f"--trace {trace!r}: the file's name ends in .json", "show")
    return graph is not None or trace is not None


def _drawn(line: CommandLine, tasks: list[TaskView]) -> Iterator[tuple[str, str]]:
    graph, trace = line.text("graph"), line.text("trace")
    if graph is not None:
        from agentd.api.looks import pictures

        yield graph, pictures.svg(tasks) if graph.endswith(".svg") else pictures.dot(tasks)
    if trace is not None:
        from agentd.api.looks import traces

        yield trace, traces.trace(tasks)


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", "show") from error


def _fields(view: OperationView) -> dict[str, str]:
    counts = view.tasks
    fields = {
        "id": view.id,
        "function": view.function,
        "state": view.state,
    }
    if view.name:
        fields["name"] = view.name
    reason = reason_of(view)
    if reason:
        fields["why"] = reason
    fields |= {
        "submitted": moment(view.submitted_at),
        "started": moment(view.started_at),
        "ended": moment(view.ended_at),
        "took": _took(view),
        "asked": view.agent,
        "ran on": f"{view.ran_on or ''}{_distance(view.hops)}",
        "attempts": str(view.attempts),
        "tasks": f"{counts.done} done, {counts.running} running, {counts.waiting} waiting, {counts.failed} failed",
    }
    if view.assumed:
        fields["assumed"] = ", ".join(view.assumed)
    if view.error is not None and view.error.traceback:
        fields["traceback"] = view.error.traceback
    return {name: value for name, value in fields.items() if value}


def _distance(hops: int) -> str:
    return f", {hops} hop{'' if hops == 1 else 's'} away" if hops else ""


def _task_row(task: TaskView) -> tuple[str, ...]:
    return (
        task.id,
        task.function,
        task.state,
        task.host,
        str(task.attempt),
        duration(task.seconds),
        size(task.argument_bytes),
        size(task.result_bytes),
        task.reason,
    )


def result(line: CommandLine) -> int:
    """Wait for an operation and print its result."""
    with agent_of(line) as agent:
        ended = wait_over_restarts(line, agent, line.arguments[0], seconds(line, "timeout"))
        return print_result(agent, ended, as_json=line.flag("json"), file=line.text("output"))


def logs(line: CommandLine) -> int:
    """Print what users' code wrote: its stdout on stdout, its stderr on stderr."""
    with agent_of(line) as agent:
        for piece in agent.logs(line.arguments[0], follow=line.flag("follow")):
            if line.flag("json"):
                print_json_line(piece)
            else:
                print_text(piece.text, on_stderr=piece.stream == "stderr")
    return 0

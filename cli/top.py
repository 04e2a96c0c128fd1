"""`agentd top`: the agent and its work, renewed until somebody has seen enough.

On a terminal it is a screen that is drawn over itself; in a pipe a line of figures each time, with `--json` all of it.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct

from agentd.api.routes.tables import printable
from agentd.model.errors import Unreachable
from agentd.model.figures import duration
from cli.keys import Keys
from cli.output import console, drawn, is_terminal, print_json_line, tell
from cli.parsing import UsageError
from cli.results import reason_of
from cli.status import NEIGHBOURS_HEAD, neighbour_row
from cli.target import agent_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from agentd.api.routes.client import Agent
    from agentd.model.views import AgentView, NeighbourView, OperationView
    from cli.parsing import CommandLine

INTERVAL_S = 1.0
"""As a person reads it."""
SHORTEST_S = 0.1
MOST_RUNNING, MOST_WAITING = 20, 8
"""Operations that are shown; chosen: they fit on a screen of forty lines with the rest."""
BAR = 20
"""Signs of the bar of cores."""
WAITING = "queued"
RUNNING = ("running", "forwarded")


class Look(Struct):
    """What was seen at one time."""

    at: float
    """Seconds of a clock that only goes on."""
    agent: AgentView
    neighbours: list[NeighbourView]
    running: list[OperationView]
    waiting: list[OperationView]

    def rate(self, before: Look | None) -> float | None:
        """Count the tasks that ended in a second since another look; None where that cannot be known."""
        if before is None or before.agent.boot != self.agent.boot or self.at <= before.at:
            return None
        return max(0, self.agent.ended - before.agent.ended) / (self.at - before.at)


def run(line: CommandLine) -> int:
    """Look, show, wait, again; until `q`, Ctrl-C, or as often as was said.

    Raises:
        Unreachable: there is no agent at the first look; later ones are tried again.
    """
    interval_s, count = _interval(line), _count(line)
    shows_screen = is_terminal() and not line.flag("json")
    with closing(_Seen(line)) as seen, Keys(shows_screen and sys.stdin.isatty()) as keys:
        try:
            while True:
                seen.look()
                _show(seen, as_json=line.flag("json"), as_screen=shows_screen)
                count -= 1
                if not count or keys.wait(interval_s) == "q":
                    return 0
        except KeyboardInterrupt:
            return 0
        finally:
            if shows_screen:
                print()  # what is typed next stands below


def _interval(line: CommandLine) -> float:
    text = line.text("interval") or str(INTERVAL_S)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SHORTEST_S <= value < math.inf:
        raise UsageError(f"--interval {text!r}: give seconds from {SHORTEST_S:g}", "top")
    return value


def _count(line: CommandLine) -> int:
    """Give how often to look; 0: without end."""
    text = line.text("count")
    if text is None:
        return 0
    if not text.isdecimal() or not int(text):
        raise UsageError(f"--count {text!r}: give a whole number from 1", "top")
    return int(text)


class _Seen:
    """The newest look, the one before, and what kept the agent from being looked at, if anything did."""

    def __init__(self, line: CommandLine) -> None:
        self._line = line
        self._agent: Agent | None = None
        self.now: Look | None = None
        self.before: Look | None = None
        self.trouble = ""

    def look(self) -> None:
        """Look at the agent, which may have come back at another port; if it is gone, keep what was seen last."""
        try:
            self._agent = self._agent or agent_of(self._line)
            self.before, self.now = self.now, look_at(self._agent)
            self.trouble = ""
        except Unreachable as error:
            if self.now is None:
                raise
            self.close()
            self.trouble = str(error)

    def close(self) -> None:
        """Let go the connection, if there is one."""
        if self._agent is not None:
            self._agent.close()
        self._agent = None


def look_at(agent: Agent) -> Look:
    """Ask an agent for all that is shown; for its operations only where there are any."""
    view = agent.agent()
    running = sum(view.operations.get(state, 0) for state in RUNNING)
    return Look(
        at=time.monotonic(),
        agent=view,
        neighbours=agent.neighbours(),
        running=agent.operations(",".join(RUNNING), limit=MOST_RUNNING) if running else [],
        waiting=agent.operations(WAITING, limit=MOST_WAITING) if view.operations.get(WAITING) else [],
    )


def _show(seen: _Seen, *, as_json: bool, as_screen: bool) -> None:
    assert seen.now is not None
    if as_screen:
        _draw(seen)
    elif seen.trouble:
        tell(f"{seen.trouble}; trying again")
    elif as_json:
        look = seen.now
        print_json_line(
            {"agent": look.agent, "neighbours": look.neighbours, "operations": [*look.running, *look.waiting]}
        )
    else:
        print("\t".join(figures(seen.now, seen.before)), flush=True)


def figures(look: Look, before: Look | None) -> tuple[str, ...]:
    """Give a line of figures: time, state, cores in use and in all, tasks that run and wait, ends in a second."""
    view, rate = look.agent, look.rate(before)
    return (
        time.strftime("%H:%M:%S"),
        "ready" if view.ready else f"not ready: {printable(view.not_ready_reason)}",
        str(view.cores - view.cores_free),
        str(view.cores),
        str(view.running),
        str(view.waiting),
        "" if rate is None else f"{rate:.3g}",
    )


def _draw(seen: _Seen) -> None:
    """Draw over what was there: home, each line to its end, and nothing below; what does not fit is left out."""
    assert seen.now is not None
    screen = console()
    lines = list(screen_lines(seen.now, seen.before, seen.trouble, screen.width))[: max(screen.height - 1, 1)]
    with screen.capture() as captured:
        for each in lines:
            each.truncate(screen.width, overflow="ellipsis")
            screen.print(each, soft_wrap=True)
    text = captured.get().rstrip("\n").replace("\n", "\x1b[K\n")
    sys.stdout.write(f"\x1b[H{text}\x1b[K\x1b[J")
    sys.stdout.flush()


def screen_lines(look: Look, before: Look | None, trouble: str, width: int) -> Iterator[Text]:
    """Yield the lines of the screen."""
    from rich.text import Text

    view = look.agent
    state = Text("ready", "green") if view.ready else Text(f"NOT READY: {printable(view.not_ready_reason)}", "bold red")
    up = duration(max(0.0, time.time() - view.started_at))
    name = printable(view.name)
    yield Text.assemble(
        (name, "bold"), "  ", state, f"  up {up}  {printable(view.scheduler)}  {time.strftime('%H:%M:%S')}"
    )
    if trouble:
        yield Text(f"{printable(trouble)}; trying again", "bold red")
    busy, rate = view.cores - view.cores_free, look.rate(before)
    full = round(BAR * busy / view.cores) if view.cores else 0
    ends = "" if rate is None else f"   {rate:.3g} ended/s"
    yield Text.assemble(
        "cores       ", ("█" * full, "cyan"), ("─" * (BAR - full), "dim"), f"  {busy} of {view.cores} in use"
    )
    yield Text(f"tasks       {view.running} running, {view.waiting} waiting{ends}")
    counts = ", ".join(f"{count} {state}" for state, count in view.operations.items() if count)
    yield Text(f"operations  {counts or 'none yet'}")
    yield from (Text(f"warning     {printable(warning)}", "yellow") for warning in view.warnings)
    for title, head, rows in _tables(look):
        if rows:
            yield from drawn(head, [[printable(cell) for cell in row] for row in rows], title, width)


def _tables(look: Look) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    counts = look.agent.operations
    yield "neighbours", NEIGHBOURS_HEAD, [neighbour_row(row) for row in look.neighbours]
    running = sum(counts.get(state, 0) for state in RUNNING)
    head = ("id", "function", "state", "ran on", "tasks", "took")
    yield _titled("running", len(look.running), running), head, [_running(row) for row in look.running]
    waiting = _titled("waiting", len(look.waiting), counts.get(WAITING, 0))
    yield waiting, ("id", "function", "why"), list(_waiting(look.waiting))
    yield "calls waiting", ("function", "why"), list(look.agent.why_waiting.items())


def _titled(title: str, shown: int, count: int) -> str:
    return f"{title}, the newest {shown} of {count}" if count > shown else title


def _waiting(rows: list[OperationView]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each; what is true of the one above too is not told again."""
    before = ""
    for row in rows:
        why = reason_of(row) or "waits for its turn"
        yield row.id, row.name or row.function, "as above" if why == before else why
        before = why


def _running(row: OperationView) -> tuple[str, ...]:
    counts = row.tasks
    in_all = counts.done + counts.running + counts.waiting + counts.failed
    since = duration(max(0.0, time.time() - row.started_at)) if row.started_at else ""
    return (
        row.id,
        row.name or row.function,
        row.state,
        row.ran_on or "",
        f"{counts.done} of {in_all}" if in_all > 1 else "",
        since,
    )

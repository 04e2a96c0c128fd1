"""The lane: a drain handles all that is there, and what it brings up itself, before the loop goes on."""

from __future__ import annotations

from agentd.core import events as e
from agentd.core.commands import Command, Reply
from agentd.core.events import Event
from agentd.daemon import lane as module
from agentd.daemon.lane import Lane


class Loop:
    """An event loop that remembers what it was asked to call."""

    def __init__(self) -> None:
        self.soon: list[object] = []

    def call_soon(self, act: object) -> None:
        """Take note."""
        self.soon.append(act)


class Engine:
    """Wants one command for each event, and tells nothing else."""

    next_wakeup = None

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.wanted: list[Command] = []

    def handle(self, event: Event, now: float) -> None:
        """Want what tells of the event."""
        del now
        self.seen.append(event)
        self.wanted.append(Reply(len(self.seen), event))

    def drain(self, now: float) -> list[Command]:
        """Give what is wanted."""
        del now
        wanted, self.wanted = self.wanted, []
        return wanted


class Clock:
    """Stands still."""

    def now(self) -> float:
        """Tell the time."""
        return 1.0


class Shell:
    """A lane whose effects commit while they leave, `commits` times."""

    def __init__(self, commits: int) -> None:
        self.commits = commits
        self.loop, self.engine = Loop(), Engine()
        self.performed: list[int] = []
        self.left: list[int] = []
        """How much had been performed, each time that something left."""
        self.broken: list[BaseException] = []
        self.lane = Lane(self.loop, self.engine, Clock(), self._perform, self._flush, self.broken.append)

    def _perform(self, commands: list[Command]) -> None:
        self.performed += [command.caller for command in commands if isinstance(command, Reply)]

    def _flush(self) -> None:
        self.left.append(len(self.performed))
        if self.commits:
            self.commits -= 1
            self.lane.post(e.Committed(len(self.left)))


def test_what_is_committed_while_it_leaves_is_told_in_the_same_turn() -> None:
    """What its commit lets go has left when the drain returns, and the loop is asked for no other turn."""
    shell = Shell(commits=1)
    shell.lane.post(e.Ticked())
    (turn,) = shell.loop.soon
    turn()
    assert [type(event) for event in shell.engine.seen] == [e.Ticked, e.Committed]
    assert shell.left == [1, 2]
    assert shell.loop.soon == [turn]
    shell.lane.post(e.Ticked())
    assert len(shell.loop.soon) == 2
    assert shell.broken == []


def test_effects_that_never_end_leave_the_loop_its_turns() -> None:
    """After so many rounds the rest waits for the next turn of the loop, and what was performed has left."""
    shell = Shell(commits=10**9)
    shell.lane.post(e.Ticked())
    shell.loop.soon[0]()
    assert len(shell.engine.seen) == module.MOST_ROUNDS
    assert shell.left[-1] == len(shell.performed)
    assert len(shell.loop.soon) == 2

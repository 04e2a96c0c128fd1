"""Users of a fake world: they submit, watch, cancel, hold sessions, and ask again when an agent has crashed."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from agentd.model.task import Constraints, Outcome, Status, Template

if TYPE_CHECKING:
    from tests.fakes.world import World
    from tests.fakes.world_agent import Host

TEMPLATES = (
    Template("m:plain", durable=True),
    Template("m:plain", durable=True, priority=1),
    Template("m:wide", durable=True, constraints=Constraints(computing_units=2)),
    Template("m:once", durable=True, idempotent=False),
    Template("m:timed", durable=True, timeout_s=1.5),
    Template("m:retried", durable=True, on_failure="RETRY"),
    Template("m:call"),
    Template("m:short"),
    Template("m:call_timed", timeout_s=1.0),
    Template("m:call_once", idempotent=False),
)
DURABLE = range(6)
CALLS = range(6, 10)


def recorded(host: Host, operation: int) -> Outcome | None:
    """Read an operation's end from the disk, as whoever shows results does."""
    return host.disk.ended(operation)


class Users:
    """All users of all agents."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refused: list[object] = []
        self.sessions: dict[int, tuple[Host, str, set[int]]] = {}
        """By caller: the agent, its boot, and the refs that were not settled."""
        self.asking: set[str] = set()
        """Keys of requests that were not answered yet."""
        self._keys = count(1)
        self._refs = count(1)
        self._settled: set[tuple[str, int, int]] = set()

    # --- operations -------------------------------------------------------------------------------------------

    def submit(self, host: Host, template: Template, program: str) -> None:
        """Ask for an operation until there is an answer."""
        self._submit(host, template, program, f"key-{next(self._keys)}")

    def _submit(self, host: Host, template: Template, program: str, key: str) -> None:
        boot = host.boot
        self.asking.add(key)

        def answered(value: object) -> None:
            self.asking.discard(key)
            if isinstance(value, tuple):
                self.world.history.acknowledged(host, value[0])
                host.watch(value[0], lambda _: self._look(host, value[0]))
            else:
                self.refused.append(value)

        def look() -> None:
            if key in self.asking and (host.boot != boot or not boot):
                self._submit(host, template, program, key)
            elif key in self.asking:
                self.world.after(2.0, look)

        host.submit(template, program, answered, key)
        self.world.after(2.0, look)

    def _look(self, host: Host, operation: int) -> None:
        found = recorded(host, operation)
        if found is not None:
            self.world.history.saw(host, operation, found)
        elif host.engine.state.ledger.get(operation) is not None:
            self.world.history.broken(f"{host.name} told the end of operation {operation} before it was on the disk")

    def cancel(self, host: Host, operation: int) -> None:
        """Give an operation up; wait for it to end."""

        def answered(_: object) -> None:
            host.watch(operation, lambda _: self._look(host, operation))

        host.cancel(operation, answered)

    # --- sessions ---------------------------------------------------------------------------------------------

    def open_session(self, host: Host) -> int:
        """Connect a program."""
        if host.is_down:
            return 0
        caller = 0

        def settled(ref: int, outcome: Outcome) -> None:
            self._note(host, caller, ref, outcome)

        caller = host.open_session(list(TEMPLATES), settled)
        self.sessions[caller * 1000 + list(self.world.hosts).index(host.name)] = (host, host.boot, set())
        return caller

    def call(self, host: Host, caller: int, template: int, programs: list[str]) -> None:
        """Submit calls."""
        found = self.sessions.get(caller * 1000 + list(self.world.hosts).index(host.name))
        if found is None or host.boot != found[1]:
            return
        refs = [next(self._refs) for _ in programs]
        found[2].update(refs)
        host.call(caller, [(ref, template, program) for ref, program in zip(refs, programs, strict=True)])

    def leave(self, session: int) -> None:
        """A program ends."""
        host, boot, _ = self.sessions.pop(session)
        if host.boot == boot:
            host.leave(session // 1000)

    def _note(self, host: Host, caller: int, ref: int, outcome: Outcome) -> None:
        key = (host.boot, caller, ref)
        if key in self._settled:
            self.world.history.broken(f"call {ref} of {host.name} was settled twice")
        self._settled.add(key)
        found = self.sessions.get(caller * 1000 + list(self.world.hosts).index(host.name))
        if found is not None:
            found[2].discard(ref)
        if outcome.status == Status.DONE and not outcome.value.data:
            self.world.history.broken(f"call {ref} of {host.name} is done without a value")

    def unsettled(self) -> list[str]:
        """Name the calls that were never settled although their session and agent are there."""
        return [
            f"calls {sorted(refs)} of {host.name} were never settled"
            for host, boot, refs in self.sessions.values()
            if refs and host.boot == boot
        ]

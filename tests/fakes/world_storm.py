"""One random history of a fake world: agents, work, and faults, then peace, in which everything must end.

python -m tests.fakes.world_storm SEED        repeats one and tells what happened
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agentd.core.events import DrainRequested
from agentd.core.state import Rules
from tests.fakes.world import World
from tests.fakes.world_data import BIG
from tests.fakes.world_users import CALLS, DURABLE, TEMPLATES, Users
from tests.fakes.world_workers import DEATHS, KILLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.world_agent import Host

PEACE_S = 60.0
"""After the faults stop everything is terminal within so many virtual seconds (promised)."""
STORM_S = 25.0
NAMES = "abcd"
ACTS = ("ok",) * 8 + ("raise", "segv", "exit", "oom")
SHORT = 7
"""Template of calls that are so short that many are handed out at a time."""
BAD_MOST = 8
"""Programs that kill their worker or hang: more of them take longer than peace lasts."""
SCHEDULERS = ("load-balancing", "fifo", "lifo")


class Storm:
    """Makes work and trouble."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        self.random = self.world.random
        self.users = Users(self.world)
        self.log: list[str] = []
        self._bad = 0
        self._draining = 0
        """Agents that were asked to end and are to be started again."""
        self._reduced = 0
        """Units that were taken away and are to be given back."""
        scheduler = self.random.choice(SCHEDULERS)
        rules = Rules(orphan_ttl_s=15.0, hop_limit=self.random.choice((1, 2, 8)))
        for name in NAMES[: self.random.randint(1, 4)]:
            self.world.add(name, self.random.randint(2, 4), scheduler=scheduler, rules=rules)
        self._connect()
        self.is_rough = self.random.random() < 0.8
        """Otherwise nothing fails but users' code."""

    def _connect(self) -> None:
        names = list(self.world.hosts)
        for index, name in enumerate(names[1:], 1):
            self._wire(self.random.choice(names[:index]), name)
        for _ in range(self.random.randint(0, len(names) - 1)):
            one, other = self.random.sample(names, 2)
            if frozenset((one, other)) not in self.world.wires:
                self._wire(one, other)

    def _wire(self, one: str, other: str) -> None:
        granted = self.random.choice((None, None, 1, 3))
        wire = self.world.connect(one, other, delay_s=self.random.choice((0.0005, 0.005, 0.05)), granted=granted)
        wire.compares = wire.takes_lots = self.random.random() < 0.7

    # --- work -------------------------------------------------------------------------------------------------

    def _host(self) -> Host:
        return self.random.choice(list(self.world.hosts.values()))

    def _asked(self) -> Host:
        """Most users are at one agent, so that it needs the others."""
        return self.world.hosts["a"] if self.random.random() < 0.7 else self._host()

    def _program(self, template: int) -> str:
        name = TEMPLATES[template].function
        if TEMPLATES[template].timeout_s is not None and self.random.random() < 0.3 and self._is_bearable():
            return self.random.choice(("hang", "deaf"))
        if name == "m:short":
            return "ok 0.0004"
        seconds = self.random.choice((0.001, 0.01, 0.1, 0.5, 1.0))
        act = self.random.choice(ACTS)
        big = f" {BIG}" if self.random.random() < 0.3 else ""
        return f"{act if act not in DEATHS or self._is_bearable() else 'ok'} {seconds}{big}"

    def _is_bearable(self) -> bool:
        """Tell whether one more bad program leaves time enough for the rest."""
        self._bad += 1
        return self._bad <= BAD_MOST

    def submit(self) -> None:
        """Some user asks for an operation."""
        template = self.random.choice(DURABLE)
        for _ in range(self.random.choice((1, 1, 6))):
            self.users.submit(self._asked(), TEMPLATES[template], self._program(template))

    def call(self) -> None:
        """Some program submits calls."""
        host = self._asked()
        open_ones = [
            key for key, (where, boot, _) in self.users.sessions.items() if where is host and boot == host.boot
        ]
        caller = open_ones[0] // 1000 if open_ones else self.users.open_session(host)
        if caller:
            template, times = self.random.choice(CALLS), self.random.choice((1, 3, 40))
            program = self._program(template) if times == 1 else f"ok {self.random.choice((0.0004, 0.01, 0.2))}"
            if template == SHORT:
                times, program = 5 * times, "ok 0.0004"
            self.users.call(host, caller, template, [program] * times)

    def cancel(self) -> None:
        """Some user gives up."""
        accepted = list(self.world.history.accepted.items())
        if accepted:
            operation, name = self.random.choice(accepted[-8:])
            self.users.cancel(self.world.hosts[name], operation)

    def leave(self) -> None:
        """Some program ends."""
        if self.users.sessions:
            self.users.leave(self.random.choice(list(self.users.sessions)))

    # --- trouble ----------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """An agent dies and comes back after a while."""
        host = self._host()
        if not host.is_down:
            host.crash()
            self.world.after(self.random.choice((0.05, 1.0, 4.0, 8.0)), host.heal)

    def drain(self) -> None:
        """An agent is asked to end, and is started again later."""
        host = self._host()
        if not host.is_down:
            self._draining += 1
            host.post(DrainRequested(self.random.choice((0.0, 1.0, 3.0))))
            self._restart_later(host, host.boot)

    def _restart_later(self, host: Host, boot: str) -> None:
        def look() -> None:
            if host.boot == boot:
                self._restart_later(host, boot)
                return
            self._draining -= 1
            if host.is_stopped:
                host.heal()

        self.world.after(self.random.choice((1.0, 4.0)), look)

    def kill_worker(self) -> None:
        """A worker dies."""
        host = self._host()
        if host.processes:
            process = self.random.choice(list(host.processes.values()))
            process.die(self.random.choice((KILLED, *DEATHS.values())))

    def cut(self) -> None:
        """A wire is cut both ways, or one way, for a while."""
        if self.world.wires:
            self.world.history.has_faults = True
            wire = self.random.choice(list(self.world.wires.values()))
            names = [host.name for host in wire.hosts]
            wire.cut(*(self.random.choice((names, names[:1], names[1:]))))
            self.world.after(self.random.choice((0.05, 1.0, 4.0, 7.0, 12.0)), wire.heal)

    def reset(self) -> None:
        """A connection breaks at once, with all that was under way; the wire is well."""
        host = self._host()
        if host.ends:
            self.world.history.has_faults = True
            end = self.random.choice(list(host.ends.values()))
            end.other.close("reset")
            end.close("reset")

    def pause(self) -> None:
        """An agent stands still for a while."""
        host = self._host()
        if not host.is_paused:
            self.world.history.has_faults = True
            host.pause()
            self.world.after(self.random.choice((0.1, 2.0, 7.0)), host.resume)

    def fill(self) -> None:
        """A disk is full for a while."""
        host = self._host()
        if not host.is_down and not host.is_full:
            host.fill()
            self.world.after(self.random.uniform(0.1, 5.0), lambda: host.free() if host.is_full else None)

    def reshape(self) -> None:
        """An operator adds units, or takes some away and gives them back later."""
        host = self._host()
        if host.is_down:
            return
        if self.random.random() < 0.5:
            host.add(1)
        else:
            host.reduce(1, lambda _: None)
            self._reduced += 1
            self._give_back(host, [])

    def _give_back(self, host: Host, told: list[object]) -> None:
        """Add a unit, and again until the agent has said that it is so: a crash forgets what is not on the disk."""

        def insist() -> None:
            if told:
                self._reduced -= 1
                return
            if not host.is_down:
                host.add(1, answer=told.append)
            self._give_back(host, told)

        self.world.after(3.0, insist)

    def _is_quiet(self) -> bool:
        return self.world.is_quiet and not self.users.asking and not self._draining and not self._reduced

    def _acts(self) -> list[Callable[[], None]]:
        """Give what may happen, as often as it is likely."""
        acts: list[Callable[[], None]] = [self.submit] * 8 + [self.call] * 5 + [self.cancel] * 3 + [self.leave]
        if self.is_rough:
            acts += [self.crash, self.kill_worker, self.cut, self.cut, self.reset, self.pause] * 2
            acts += [self.fill, self.reshape, self.drain]
        else:
            acts += [self.reshape]
        return acts

    # --- the whole --------------------------------------------------------------------------------------------

    def run(self) -> list[str]:
        """Play it; gives what must not have happened."""
        acts = self._acts()
        while self.world.now < STORM_S:
            act = self.random.choice(acts)
            self.log.append(f"{self.world.now:.3f} {act.__name__}")
            act()
            self.world.run(self.random.choice((0.0, 0.01, 0.2, 0.5, 2.0)))
        self.world.heal()
        self.world.run(0.1)
        is_quiet = self.world.run_until(self._is_quiet, PEACE_S, 0.5)
        self.world.run(1.0)
        self.world.run_until(self._is_quiet, 1.0, 0.01)  # an operator may have given units back in the last moment
        if not is_quiet:
            self.world.history.broken(f"not everything has ended {PEACE_S:g} s after the faults stopped")
        self.world.history.breaches.extend(self.users.unsettled())
        return self.world.history.close()


class Flaps(Storm):
    """Sound programs and agents that never fail; their connections break, and their wires are cut for a moment."""

    _cut_at = -1.0

    def _program(self, template: int) -> str:
        is_short = TEMPLATES[template].function == "m:short"
        return "ok 0.0004" if is_short else f"ok {self.random.choice((0.001, 0.1, 1.0, 4.0))}"

    def flap(self) -> None:
        """A wire is cut for less than the silence after which anybody is given up."""
        if self.world.wires and self.world.now - self._cut_at > 3.0:
            self._cut_at = self.world.now
            wire = self.random.choice(list(self.world.wires.values()))
            wire.cut()
            self.world.after(self.random.choice((0.05, 0.5, 1.5)), wire.heal)

    def _acts(self) -> list[Callable[[], None]]:
        return [self.submit] * 8 + [self.call] * 5 + [self.reset] * 4 + [self.flap] * 4

    def run(self) -> list[str]:
        """Play it; gives what must not have happened."""
        self.is_rough = False
        found = super().run()
        for task, runs in self.world.history.runs.items():
            if len(runs) > 1:
                found.append(f"task {task} was healthy and was started again: {runs}")
        return found


if __name__ == "__main__":
    storm = Storm(int(sys.argv[1]))
    found = storm.run()
    print(*storm.log, *found, sep="\n")
    sys.exit(bool(found))

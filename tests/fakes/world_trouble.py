"""Trouble that is brought to a fake world by its name, and its end after a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentd.core.events import DrainRequested
from tests.fakes.world_workers import KILLED

if TYPE_CHECKING:
    from tests.fakes.world import World
    from tests.fakes.world_agent import Host


def bring(world: World, what: str, grace_s: float) -> None:
    """Bring `kill`, `crash`, `drain` or `reset` with the name of an agent, or `cut` with those of two.

    An agent that is drained leaves `grace_s` to its tasks, and is started again.
    """
    act, name, *other = what.split()
    host = world.hosts[name]
    if act == "cut":
        wire = world.wire(name, *other)
        wire.cut()
        world.after(world.random.choice((0.5, 8.0)), wire.heal)
    elif act == "reset" and host.ends:
        end = world.random.choice(list(host.ends.values()))
        end.other.close("reset")
        end.close("reset")
    elif act == "kill" and host.processes:
        world.random.choice(list(host.processes.values())).die(KILLED)
    elif act == "crash" and not host.is_down:
        host.crash()
        world.after(world.random.choice((0.05, 2.0, 8.0)), host.heal)
    elif act == "drain" and not host.is_down:
        host.post(DrainRequested(grace_s))
        _start_again(host, host.boot)


def _start_again(host: Host, boot: str) -> None:
    """Start an agent when it has stopped by itself."""

    def look() -> None:
        if host.is_stopped:
            host.start()
        elif host.boot == boot and not host.is_down:
            _start_again(host, boot)

    host.world.after(0.5, look)

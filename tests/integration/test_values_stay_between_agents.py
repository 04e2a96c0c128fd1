"""What tasks make at neighbours stays there until somebody needs it, goes straight to who does, and outlives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import RunningAgent, StartAgent
from tests.integration.daemon_rig import PATIENCE_S, WITH_APPS, Door, until

MIB = 1 << 20
SIZE = 16 * MIB


class Net:
    """Agents that lend each other cores; the first is asked."""

    def __init__(self, start_agent: StartAgent, *options: tuple[str, ...]) -> None:
        names = ("near", "left", "right")
        self.agents: list[RunningAgent] = [
            start_agent("--hostname", name, *WITH_APPS, *more) for name, more in zip(names, options, strict=False)
        ]
        self.doors = [Door(agent.rest, agent.state) for agent in self.agents]
        for other in self.agents[1:]:
            self.lend(0, other)

    def lend(self, to: int, other: RunningAgent) -> None:
        """Let an agent use the cores of another."""
        self.doors[to].lend_from(other.name, other.comm, 1)

    def figure(self, agent: int, name: str) -> float:
        """Read a metric."""
        return self.doors[agent].figure(name)

    def moved(self) -> list[float]:
        """Tell how many bytes each has fetched."""
        return [self.figure(number, "fetched_bytes") for number in range(len(self.agents))]

    def until_nothing_is_kept(self, *agents: int) -> None:
        """Wait until agents have let go of all objects."""
        until(lambda: not any(self.figure(number, "objects") for number in agents), "an empty store")


def test_what_is_made_and_used_at_a_neighbour_does_not_move(start_agent: StartAgent) -> None:
    """A chain of tasks over a large value runs where the value is: not one byte of it crosses the link."""
    net = Net(start_agent, ("--cpu", "1", "--reuse-resources-on-block", "false"), ("--cpu", "1"))
    found = net.doors[0].submit("moved_values:used_where_made", SIZE, 5, wait_s=PATIENCE_S)
    assert found["result"] == ["left", SIZE, 5], found
    assert net.moved() == [0, 0]
    net.until_nothing_is_kept(0, 1)


def test_what_another_reads_goes_straight_to_it(start_agent: StartAgent) -> None:
    """Each of three agents reads what the next one made: each fetches one value from who has it, and passes none on."""
    net = Net(start_agent, *[("--cpu", "1")] * 3)
    net.lend(1, net.agents[2])
    found = net.doors[0].submit("moved_values:used_next_door", SIZE, 3, wait_s=PATIENCE_S)
    assert found["result"] == [["near", SIZE, 1], ["left", SIZE, 2], ["right", SIZE, 0]], found
    assert all(0.99 * SIZE < moved <= SIZE for moved in net.moved()), net.moved()
    assert [net.figure(number, "relayed_bytes") for number in range(3)] == [0, 0, 0]
    net.until_nothing_is_kept(0, 1, 2)


def test_what_was_lost_with_an_agent_is_made_again(start_agent: StartAgent, tmp_path: Path) -> None:
    """The agent that has the only copies is killed: the tasks that made them run again, and the values are the same."""
    net = Net(start_agent, *[("--cpu", "1")] * 3)
    word = str(tmp_path / "word")
    found = net.doors[0].submit("moved_values:lost_on_the_way", SIZE, word, 3)
    until(Path(word + ".ready").exists)
    assert net.moved()[0] == 0, "its values are with those who made them"
    net.agents[1].process.kill()
    net.agents[1].process.wait(PATIENCE_S)
    Path(word + ".go").touch()
    ended: dict[str, Any] = net.doors[0].wait(found["id"])
    assert ended["result"] == [[SIZE, 1], [SIZE, 2], [SIZE, 3]], ended
    assert net.figure(0, "remade_total") >= 1
    net.until_nothing_is_kept(0, 2)


def test_who_stops_hands_back_what_only_it_has(start_agent: StartAgent, tmp_path: Path) -> None:
    """The agent that has the only copies is asked to stop: the values come back first, and nothing runs again."""
    net = Net(start_agent, *[("--cpu", "1", "--grace-s", str(PATIENCE_S))] * 3)  # it is over sooner, when they are back
    word = str(tmp_path / "word")
    found = net.doors[0].submit("moved_values:lost_on_the_way", SIZE, word, 3)
    until(Path(word + ".ready").exists)
    net.agents[1].process.terminate()
    assert net.agents[1].process.wait(PATIENCE_S) == 0
    assert net.figure(0, "fetched_bytes") > 0
    Path(word + ".go").touch()
    ended: dict[str, Any] = net.doors[0].wait(found["id"])
    assert ended["result"] == [[SIZE, 1], [SIZE, 2], [SIZE, 3]], ended
    assert net.figure(0, "remade_total") == 0
    net.until_nothing_is_kept(0, 2)

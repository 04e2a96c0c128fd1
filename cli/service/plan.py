"""Which agents a service has, and who may use whose cores; pure.

Source: the topologies of COMPSs' script of that name, and its names and ports: agent i has the REST port
46000 + 100·i + 1 and the Comm port 46000 + 100·i + 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BASE = 46000
TOPOLOGIES = ("plain", "chain", "tree")


class Member(NamedTuple):
    """One agent."""

    name: str
    place: int
    """From 1."""
    base: int | None = BASE
    """Ports count from here; None: any that are free."""
    chosen: str = ""
    """User port in the place of the one that is counted; 0 for none."""

    @property
    def rest_port(self) -> str:
        """Of its user port."""
        if self.chosen:
            return self.chosen
        return "auto" if self.base is None else str(self.base + 100 * self.place + 1)

    @property
    def comm_port(self) -> str:
        """Of its port for other agents."""
        return "auto" if self.base is None else str(self.base + 100 * self.place + 2)


class Link(NamedTuple):
    """One agent may use so many cores of another, or of those behind it."""

    owner: str
    neighbour: str
    cores: int


def members(count: int, prefix: str, base: int | None = BASE) -> list[Member]:
    """Name agents: the prefix and two digits."""
    return [Member(f"{prefix}{place:02}", place, base) for place in range(1, count + 1)]


def _parent(topology: str, place: int) -> int:
    """Say who uses the agent of a place: the first, the one before, or the one at half of it."""
    return {"plain": 1, "chain": place - 1, "tree": place // 2}[topology]


def links(topology: str, all_members: Sequence[Member], cores: Mapping[str, int]) -> list[Link]:
    """Say who may use whom: with each agent go the cores of all that it may use itself. The last come first."""
    lent = {member.place: cores[member.name] for member in all_members}
    found = []
    for member in reversed(all_members[1:]):
        owner = _parent(topology, member.place)
        found.append(Link(all_members[owner - 1].name, member.name, lent[member.place]))
        lent[owner] += lent[member.place]
    return found

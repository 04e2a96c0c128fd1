"""Records of what lies elsewhere keep what is needed to make it again, and nothing once they are needed no more."""

from __future__ import annotations

from agentd.core.data.versions import Versions
from agentd.core.state import AgentState
from agentd.core.tasks.shapes import Shapes
from agentd.core.tasks.task import HERE, Task
from agentd.model.graph import Spawned
from agentd.model.task import Form, Template
from agentd.model.values import Part, Payload, Remote
from tests.fakes.world import World

HERE_BYTES = 40
READ, MADE, LAST = range(1, 4)


def elsewhere(number: int) -> Payload:
    """Make a value that another agent has."""
    return Payload(1, b"", (Part(1 << 20, remote=Remote("b", "boot", number, 1 << 20, ("b",))),))


class Family:
    """A family of one agent: a value here is read by a task whose result lies elsewhere, and that by another one."""

    def __init__(self) -> None:
        self.state: AgentState = World().add("a", 1).engine.state
        self.released: list[Payload] = []
        self.state.lineage.release = self.released.append  # type: ignore[method-assign]
        self.versions = Versions(1, self.state.lineage)
        self.here = Payload(1, bytes(HERE_BYTES))
        self.versions.put(READ, self.here)
        self._ended(MADE, READ)
        self._ended(LAST, MADE)

    def _ended(self, made: int, read: int) -> None:
        self.versions.put(made, elsewhere(made))
        spawned = Spawned(made, 1, Payload(), reads=(read,), makes=(made,))
        task = Task(made, Shapes().intern(Template("m:f", Form.TASK)), Payload(), HERE, made)
        self.state.lineage.note(self.versions, spawned, task, "b")


def test_what_a_record_reads_is_kept_as_long_as_the_record() -> None:
    """The code has given it up: what is here stays, what can be made again does not."""
    family = Family()
    family.versions.give_up([READ, MADE])
    assert (len(family.versions), family.state.lineage.records) == (3, 2)
    assert family.released == [elsewhere(MADE)]
    assert family.state.lineage.pinned_bytes == family.here.size_bytes > 0


def test_the_last_version_takes_all_along_that_only_it_needed() -> None:
    """Its record, what that read, the record of this, and so on: while the family lives."""
    family = Family()
    family.versions.give_up([READ, MADE])
    family.versions.give_up([LAST])
    assert (len(family.versions), family.state.lineage.records, family.state.lineage.pinned_bytes) == (0, 0, 0)
    assert family.here in family.released
    assert elsewhere(LAST) in family.released


def test_what_the_code_can_still_ask_for_stays() -> None:
    """A record that goes takes only what nobody but it needed."""
    family = Family()
    family.versions.give_up([MADE, LAST])
    assert (len(family.versions), family.state.lineage.records) == (1, 0)
    assert family.here not in family.released

"""What is dispatched by a table stands in it: a new kind of event, command, entry or message is not forgotten."""

from __future__ import annotations

import ast
from itertools import count

import pytest

from agentd.core.commands import Command
from agentd.core.engine import Engine
from agentd.core.events import Event
from agentd.core.journal.entries import Entry
from agentd.core.state import Identity
from agentd.store.records import KINDS
from agentd.wire.kinds import TYPES
from agentd.wire.messages import Kind, Message
from agentd.wire.rights import Speaker, may_send
from schedulers.capacity import Capacity
from schedulers.fifo import Fifo
from tests.architecture.source_tree import ROOT

OPENING = {Kind.HELLO, Kind.HELLO_ACK}
"""Sent before anybody has rights."""
SHELLS = {
    "the daemon": ("agentd/daemon/effects.py", "agentd/comm/door.py"),
    "the world of the tests": ("tests/fakes/world_agent.py", "tests/fakes/world_links.py", "tests/fakes/world_data.py"),
}
"""Who performs commands, and where its tables are."""


def _keys(*names: str) -> set[str]:
    """Give the last words of all keys of the dictionaries that are written in these files."""
    trees = [ast.parse((ROOT / name).read_text("utf-8")) for name in names]
    keys = [key for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    return {ast.unparse(key).rpartition(".")[2] for key in keys if key is not None}


def test_the_engine_takes_in_every_event() -> None:
    """No event can come that the engine does not know."""
    engine = Engine(Identity("a", "a", "1", 1), Capacity(), Fifo(), count(1))
    assert set(engine._handlers) == set(Event.__subclasses__())


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_performed(shell: str) -> None:
    """Whatever the engine wants, there is somebody who does it."""
    wanted = {command.__name__ for command in Command.__subclasses__()}
    assert wanted - _keys(*SHELLS[shell]) == set()


def test_every_entry_can_be_written_and_read() -> None:
    """The journal knows all that the engine wants kept, each under the one tag that it has."""
    assert set(KINDS) == set(Entry.__subclasses__())
    assert {kind.__struct_config__.tag: kind for kind in KINDS} == {number: kind for kind, number in KINDS.items()}


def test_every_message_has_a_kind_and_somebody_who_may_send_it() -> None:
    """Each kind of frame stands for one message, and somebody has the right to say it."""
    assert set(TYPES) == set(Kind)
    assert len(TYPES) == len(Message.__subclasses__())
    assert frozenset().union(*(may_send(speaker, local=True) for speaker in Speaker)) == set(Kind) - OPENING

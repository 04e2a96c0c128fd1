"""Pages of operations, whatever happens between one and the next."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from agentd.core.journal.ledger import ROOM, Ledger, Operation, Retention, Sheaf
from agentd.daemon.showing.pages import AT_A_STRETCH, page
from agentd.model.errors import RequestError
from agentd.model.task import Outcome, Template
from agentd.model.views import OperationView
from agentd.rest.port import Wanted


def shown(operation):
    return OperationView(str(operation.id), operation.name, operation.template.function, "done", "", 0.0)


SHOWING = SimpleNamespace(operation=shown, state_of=lambda operation: "done" if operation.id % 2 else "queued")


def ledger(count):
    rows = (SimpleNamespace(id=number, name=f"n{number}", template=Template("m:f")) for number in range(count))
    operations = {row.id: row for row in rows}
    return SimpleNamespace(operations=operations, get=operations.get)


def ids(found):
    return [int(row.id) for row in found.operations]


def test_pages_join_though_new_ones_come_and_old_ones_go():
    """What comes between is in no page, what goes is missing, and nothing is there twice."""
    kept = ledger(10)
    first = asyncio.run(page(kept, SHOWING, Wanted(), 4, None))
    kept.operations |= ledger(12).operations
    del kept.operations[5]
    second = asyncio.run(page(kept, SHOWING, Wanted(), 100, first.next_cursor))
    assert (ids(first), ids(second), second.next_cursor) == ([9, 8, 7, 6], [4, 3, 2, 1, 0], None)


def test_a_page_that_is_full_to_the_last_one_has_no_next():
    """Where nothing follows, nothing is to be asked for."""
    assert asyncio.run(page(ledger(4), SHOWING, Wanted(frozenset({"queued"})), 2, None)).next_cursor is None


def test_those_in_a_sheaf_stand_among_the_others_as_they_were_asked_for():
    """Each by itself, and a page may begin behind any of them."""
    kept = Ledger(Retention(most=50 * ROOM))
    template = Template("m:f")
    operations = [Operation(number, template, 0.0, 0.0, caller=1) for number in range(30)]
    for operation in operations:
        kept.open(operation)
    kept.close_all([(operation, Outcome()) for operation in operations if 5 <= operation.id < 25], 1.0)
    showing = SimpleNamespace(operation=shown, state_of=lambda operation: "done" if operation.is_terminal else "queued")
    first = asyncio.run(page(kept, showing, Wanted(frozenset({"done"})), 8, None))
    second = asyncio.run(page(kept, showing, Wanted(), 100, first.next_cursor))
    assert ids(first) == [*range(24, 16, -1)]
    assert ids(second) == [*range(16, -1, -1)]
    assert type(kept.operations[14]) is Sheaf


def test_a_cursor_that_is_forgotten_is_told():
    """It would look like the end of the list."""
    with pytest.raises(RequestError, match="leave it out to begin anew"):
        asyncio.run(page(ledger(4), SHOWING, Wanted(), 2, "4711"))


def test_a_long_look_lets_others_have_their_turn():
    """Also what they change meanwhile does it no harm."""
    kept = ledger(AT_A_STRETCH * 3)
    turns = []

    async def other(looking):
        while not looking.done():
            turns.append(kept.operations.popitem())
            await asyncio.sleep(0)

    async def both():
        looking = asyncio.ensure_future(page(kept, SHOWING, Wanted(name="none"), 10, None))
        await other(looking)
        return await looking

    assert ids(asyncio.run(both())) == []
    assert len(turns) >= 3

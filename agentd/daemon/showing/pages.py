"""The operations that are wanted, newest first, a page at a time.

Law: a page is read off what was there when it was asked for, and is yet; the lane is never kept from its work for long.
"""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from itertools import dropwhile, islice
from typing import TYPE_CHECKING

from agentd.model.errors import RequestError
from agentd.model.views import OperationView, Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentd.core.journal.ledger import Ledger, Operation
    from agentd.daemon.showing.rows import Showing
    from agentd.rest.port import Wanted

AT_A_STRETCH = 2000
"""Operations that are looked at before others have their turn; a millisecond or two, measured here."""


async def page(ledger: Ledger, showing: Showing, wanted: Wanted, limit: int, cursor: str | None) -> Page:
    """Give the newest `limit` of those that are wanted, or those after the one that the cursor names.

    Raises:
        RequestError: 422, the cursor's operation is not kept any more.
    """
    rows: list[OperationView] = []
    for count, number in enumerate(_older(ledger, cursor), 1):
        if count % AT_A_STRETCH == 0:
            await asyncio.sleep(0)
        kept = ledger.operations.get(number)
        operation = ledger.get(number) if kept is not None and _is_wanted(kept, showing, wanted) else None
        if operation is None:
            continue
        if len(rows) == limit:
            return Page(rows, rows[-1].id)
        rows.append(showing.operation(operation))
    return Page(rows)


def _older(ledger: Ledger, cursor: str | None) -> Iterator[int]:
    """Yield the numbers of operations, newest first, from behind the cursor on."""
    numbers = reversed(list(ledger.operations))
    if not cursor:
        return numbers
    before = int(cursor)
    if before not in ledger.operations:
        raise RequestError("?cursor: its operation is not kept any more: leave it out to begin anew")
    return islice(dropwhile(before.__ne__, numbers), 1, None)


def _is_wanted(operation: Operation, showing: Showing, wanted: Wanted) -> bool:
    if wanted.function and not fnmatchcase(operation.template.function, wanted.function):
        return False
    if wanted.name and not fnmatchcase(operation.name or operation.template.name, wanted.name):
        return False
    return not wanted.states or showing.state_of(operation) in wanted.states

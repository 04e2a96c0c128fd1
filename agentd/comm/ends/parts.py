"""What speaks of many tasks at once, in parts that are not too large for a link on which others wait.

Law: the parts, in order, say what the whole would say; of what came, columns of different lengths are nobody's tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

from msgspec.structs import replace

from agentd.model.errors import PeerError
from agentd.model.exchange import EndedLot, Lot
from agentd.wire.codec import BULK_BYTES
from agentd.wire.messages import Attempt, Inventory

NAMED_MOST = 32_768
"""Tasks named in one INVENTORY (chosen: a third of a megabyte, behind which a heartbeat may wait)."""
ROW_BYTES = 32
"""Of one task, beside its value, at the most: its number, its seconds, the heads of all three (specified)."""


def check_lot(makes: int, tasks: Sized, *columns: Sized) -> None:
    """See that there is one of each for each task, and that they make what tasks of lots may make.

    Raises:
        PeerError: it is not so.
    """
    if makes not in {0, 1}:
        raise PeerError(f"a lot of tasks that make {makes} versions each")
    if any(len(column) != len(tasks) for column in columns):
        raise PeerError(f"a lot of {len(tasks)} tasks has {', '.join(str(len(column)) for column in columns)} values")


def in_parts(lot: EndedLot) -> Iterator[EndedLot]:
    """Give a lot in parts of which each fits well into one frame."""
    values, tasks, seconds = lot.values, lot.tasks, lot.seconds
    if sum(map(len, values)) + ROW_BYTES * len(tasks) <= BULK_BYTES:
        yield lot
        return
    most = max(BULK_BYTES // (max(map(len, values)) + ROW_BYTES), 1)
    for at in range(0, len(tasks), most):
        end = at + most
        yield replace(lot, tasks=tasks[at:end], seconds=seconds[at:end], values=values[at:end])


def cut(lot: Lot, count: int) -> tuple[Lot, Lot]:
    """Give the first so many tasks of a lot, and the others."""
    tasks, arguments = lot.tasks, lot.arguments
    sequence = lot.sequence - len(tasks) + count
    first = replace(lot, tasks=tasks[:count], arguments=arguments[:count], sequence=sequence)
    return first, replace(lot, tasks=tasks[count:], arguments=arguments[count:])


def inventories(held: tuple[Attempt, ...], finished: tuple[Attempt, ...]) -> Iterator[Inventory]:
    """Name what is held, then what has ended, in as many messages as that takes; in one where there is nothing."""
    parts = [Inventory(held=held[at : at + NAMED_MOST]) for at in range(0, len(held), NAMED_MOST)]
    parts += [Inventory(finished=finished[at : at + NAMED_MOST]) for at in range(0, len(finished), NAMED_MOST)]
    for part in parts[:-1]:
        yield replace(part, is_complete=False)
    yield parts[-1] if parts else Inventory()

"""One call of a task on its way out: what it reads, what it makes, and its arguments as bytes.

A call is the pickle of (args, kwargs, number of returned values, writes). Where a version is read stands a reference to
its position. `writes` says for each argument that is written where it is and its shape: the position of what it makes,
or for a collection a list or dict of shapes. Law: nothing changes for the caller before the call was sent.
"""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

from agentd.api.tasks import references
from agentd.api.tasks.culprits import can_pickle, culprit
from agentd.api.tasks.data import ABSENT, PLAIN, Datum, Future, datum_of
from agentd.api.tasks.definition import Content, Direction, Parameter
from agentd.api.tasks.errors import NotOfKind
from agentd.api.tasks.plans import WRITES
from agentd.api.tasks.references import Reference
from agentd.api.tasks.storage import outward

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentd.api.tasks.families import Family
    from agentd.api.tasks.messages import Encoded
    from agentd.api.tasks.plans import Plan

Shape = Any
"""Position among what the call makes; a list or dict of shapes; None for what is not written."""
_FILES = {Content.FILE, Content.DIRECTORY}
_WITHOUT_ORDER = Direction.CONCURRENT
_SCALARS = frozenset({int, float, bool, complex})
_BULKY = frozenset({bytes, str})
_QUICK = PLAIN | {Reference}
"""Types of arguments that need nothing but the pickler."""


def _may_grow(value: Any, spec: Parameter, depth: int | None) -> bool:
    """Tell whether a written collection inside of another one holds values without identity only, and no paths."""
    if depth is not None or spec.direction not in WRITES or spec.content is Content.FILES:
        return False
    return PLAIN.issuperset(map(type, value.values() if isinstance(value, dict) else value))


class Call:
    """Collects what one call of a task needs; `commit` then says to its data that it was sent."""

    __slots__ = ("_family", "_first", "_index", "_later", "after", "makes", "reads")

    def __init__(self, family: Family, returns: int) -> None:
        self._family = family
        self.reads: list[int] = []
        self._index: dict[int, int] = {}
        self.after: list[int] = []
        self.makes = [family.new_version() for _ in range(returns)]
        self._first = returns
        self._later: list[Callable[[], object]] = []

    def refer(self, datum: Datum) -> int:
        """Have the call read the last version of a datum; gives its position."""
        version = datum.version
        position = self._index.get(version)
        if position is None:
            position = self._index[version] = len(self.reads)
            self.reads.append(version)
        if datum.after:
            self.after.extend(datum.after)
        return position

    def make(self, datum: Datum, *, without_order: bool = False) -> int:
        """Have the call write a datum; gives the position of the version among what it makes."""
        version = self._family.new_version()
        self.makes.append(version)
        self._later.append((lambda: datum.join(version)) if without_order else (lambda: datum.renew(version)))
        if datum.home.keeps:
            groups = self._family.open_groups
            self._later.append(lambda: setattr(datum, "groups", groups))
        return len(self.makes) - 1

    def later(self, act: Callable[[], object]) -> None:
        """Do something when the call was sent."""
        self._later.append(act)

    def commit(self) -> None:
        """The call was sent."""
        for act in self._later:
            act()

    # --- arguments ----------------------------------------------------------------------------------------------

    def read_plainly(self, values: tuple[Any, ...]) -> list[Any]:
        """Take arguments that are objects to be read."""
        return [value if type(value) in PLAIN else self._read(value) for value in values]

    def take(self, value: Any, spec: Parameter) -> tuple[Any, Shape]:
        """Take one argument: what stands for it in the call, and the shape of what is written of it."""
        content, direction = spec.content, spec.direction
        if content is Content.OBJECT:
            return self._object(value, direction)
        if content in _FILES:
            return self._family.files.take(self, value, spec)
        if content is Content.STREAM:
            return self._object(value, Direction.IN)
        if isinstance(value, Future) and datum_of(value).value is not ABSENT:
            value = datum_of(value).value
        if type(value) in _SCALARS:
            kind = "dictionary" if content is Content.DICTIONARY else "collection"
            raise NotOfKind(f"is a {kind}: give a list, a tuple or a dict, not {value!r}")
        return self._collection(value, spec, spec.depth, value)

    def _object(self, value: Any, direction: Direction) -> tuple[Any, Shape]:
        if type(value) in PLAIN:
            return value, None
        if direction in WRITES:
            return self._write(value, direction)
        read = self._read(value)
        if direction is Direction.IN_DELETE:
            self._later.append(lambda: self._family.forget(value))
        return read, None

    def _read(self, value: Any) -> Any:
        family = self._family
        if type(value) is Future:
            datum: Datum | None = datum_of(value)
        else:
            datum = family.find(value)
        if datum is None:
            return Reference(self.refer(family.snapshot(value))) if family.is_large(value) else outward(value)
        family.check(datum)
        if datum.is_pending:
            return Reference(self.refer(datum))
        if datum.value is not ABSENT and datum.value is not value:
            return self._read(datum.value)
        if datum.version and family.is_current(datum, value):
            return Reference(self.refer(datum))
        return Reference(self.refer(family.snapshot(value))) if family.is_large(value) else outward(value)

    def _write(self, value: Any, direction: Direction) -> tuple[Any, Shape]:
        family = self._family
        if type(value) is Future:
            datum: Datum | None = datum_of(value)
        else:
            datum = family.find(value)
        if datum is not None:
            family.check(datum)
            if not datum.is_pending and datum.value is not ABSENT and datum.value is not value:
                return self._write(datum.value, direction)
        if datum is None:
            datum = Datum(family.home)
            fresh = datum
            self._later.append(lambda: family.track(value, fresh))
        if direction is Direction.OUT and type(value) is not Future:  # of a future nobody knows what it would be
            return outward(family.outline(value)), self.make(datum)
        without_order = direction is _WITHOUT_ORDER
        read = self._read_base(value, datum) if without_order else self._read(value)
        return read, self.make(datum, without_order=without_order)

    def _bulky(self, value: Any) -> Any:
        """Read a long text or many bytes: given once, since they cannot change."""
        family = self._family
        if type(value) not in _BULKY or len(value) < family.port.threshold:
            return value
        datum = family.registry.find(value)
        return Reference(self.refer(family.snapshot(value) if datum is None else datum))

    def _read_base(self, value: Any, datum: Datum) -> Any:
        """Read what was there before tasks began to write without order."""
        if not datum.is_joined:
            return self._read(value)
        if not datum.base:
            return None if type(value) is Future else value
        position = self._index.setdefault(datum.base, len(self.reads))
        if position == len(self.reads):
            self.reads.append(datum.base)
        return Reference(position)

    def _collection(self, value: Any, spec: Parameter, depth: int | None, whole: Any) -> tuple[Any, Shape]:
        """Take a collection, or what is in the `whole` one, apart, to its depth; its leaves are data of their own."""
        family = self._family
        is_tracked = family.registry and type(value) is not Future and family.registry.find(value) is not None
        if depth == 0 or is_tracked or not isinstance(value, (list, tuple, dict)):
            return self._leaf(value, spec)
        if value is not whole and _may_grow(value, spec, depth):
            return self._leaf(value, spec)  # nobody can depend on its elements: it may grow and shrink
        below = None if depth is None else depth - 1
        if isinstance(value, dict):
            taken = {key: self._collection(item, spec, below, whole) for key, item in value.items()}
            kept: Any = {key: one for key, (one, _) in taken.items()}
            shape: Any = {key: one for key, (_, one) in taken.items()}
            slots: Any = taken.items()
        else:
            rows = [self._collection(item, spec, below, whole) for item in value]
            kept = [one for one, _ in rows] if isinstance(value, list) else tuple([one for one, _ in rows])
            shape = [one for _, one in rows]
            slots = enumerate(rows)
        if spec.direction not in WRITES:
            return kept, None
        if spec.content is not Content.FILES:  # paths stay what they are
            self._replace_plain(value, shape, slots)
        return kept, shape

    def _leaf(self, value: Any, spec: Parameter) -> tuple[Any, Shape]:
        if spec.content is Content.FILES:
            return self._family.files.take(self, value, spec)
        if type(value) in PLAIN and spec.direction in WRITES:
            self.makes.append(self._family.new_version())
            return value, len(self.makes) - 1
        return self._object(value, spec.direction)

    def _replace_plain(self, value: Any, shape: Any, slots: Any) -> None:
        """Put futures into the caller's collection where plain values will be written: those have no identity."""
        for key, _ in slots:
            if type(value[key]) in PLAIN and isinstance(shape[key], int):
                self._later.append(partial(self._place, value, key, self.makes[shape[key]]))

    def _place(self, value: Any, key: Any, version: int) -> None:
        datum = Datum(self._family.home, version)
        if not isinstance(value, tuple):
            value[key] = Future(datum)

    # --- bytes --------------------------------------------------------------------------------------------------

    def encode(
        self, args: list[Any], kwargs: dict[str, Any], writes: list[tuple[Any, Shape]] | None, plan: Plan
    ) -> Encoded:
        """Write the call.

        Raises:
            TypeError: an argument cannot be pickled; the message names it.
        """
        call = args, kwargs, self._first, writes
        active = references.active
        before, active.refer = active.refer, self.refer
        try:
            if _QUICK.issuperset(map(type, args)) and not kwargs:
                data = pickle.dumps(call, 5)
                if len(data) < self._family.port.threshold:
                    return 1, data, None
                call = [self._bulky(value) for value in args], *call[1:]
            return self._family.encode(call)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - users' code runs here
            place = culprit(plan.named(args, kwargs), can_pickle)
            reason = error.__cause__ or error
            raise TypeError(f"{plan.definition.label}: {place} cannot be pickled: {reason}") from None
        finally:
            active.refer = before

"""Data of a program with tasks: which object stands for which version, and who still needs it.

A *datum* is what tasks read and write; each write makes a new *version* of it, so that nobody waits for readers. An
object that a task writes is known by its identity. Law: an entry never outlives its object, so that an object that gets
the identity of one that is gone is never taken for it.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from agentd.api.tasks import references
from agentd.api.tasks.places import warn

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator

    from agentd.api.tasks.plans import Plan

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "<absent>"})()
"""Where no value is known."""
_WAIT = "wait for it first, with compss_wait_on, or wait_on of agentd.api"
PLAIN = frozenset({int, float, bool, complex, str, bytes, type(None), type, range, slice})
"""Types whose values cannot be changed: as arguments they are what they are, also where a task is to write them."""
_EARLIER_MOST = 256
"""Versions of one datum that are kept for the case that the later ones are cancelled; chosen."""
_SWEEP_AT = 256
"""Objects that only we hold are looked for when so many are kept alive, and at each doubling; chosen."""


class Datum:
    """One datum of a family of tasks. What it stands for is let go when nothing refers to it any more."""

    __slots__ = (
        *("after", "base", "earlier", "error", "groups", "home", "image", "is_joined", "is_object", "is_pending"),
        *("is_undone", "value", "version", "__weakref__"),
    )

    def __init__(self, home: Home, version: int = 0) -> None:
        self.home = home
        self.version = version
        """The last version; 0 while there is none that a task could read."""
        self.is_pending = bool(version)
        """Its value is with the agent, not here."""
        self.value: Any = ABSENT
        """What it is, once that was fetched."""
        self.image: Any = None
        """What the version holds, for telling whether an object has changed since."""
        self.after: tuple[int, ...] = ()
        """Versions of tasks that write it without order (CONCURRENT): whoever comes next waits for them."""
        self.base = 0
        """The version that those read; 0: what the object itself held."""
        self.is_joined = False
        """The last writer wrote without order."""
        self.error: BaseException | None = None
        """Why there is no value."""
        self.earlier: tuple[int, ...] = ()
        """Versions before the last one, where tasks may be cancelled: the last that is there counts then."""
        self.groups: tuple[int, ...] = ()
        """Groups of the task that writes the last version."""
        self.is_object = not version
        """It began as what the program itself has, not as what a task makes."""
        self.is_undone = False
        """All its writers were cancelled: the object itself is what it was."""

    @property
    def had_value(self) -> bool:
        """There was something before the last version, and not only a task that would return it."""
        return bool(self.earlier) or self.is_object

    def renew(self, version: int) -> None:
        """Let a task write it: the version before is let go, what is known of its value does not count any more."""
        home = self.home
        if home.keeps:
            earlier = self.earlier
            if self.version and self.is_pending and not (self.base or self.after):
                earlier, self.version = (*earlier, self.version), 0
                if len(earlier) > _EARLIER_MOST:
                    home.released.append(earlier[0])
                    earlier = earlier[1:]
            self.earlier = ()
            self.drop()
            self.earlier, self.is_undone = earlier, False
            home.written.add(self)
        else:
            self.drop()
        self.version = version
        self.is_pending = True
        self.value, self.error = ABSENT, None

    def join(self, version: int) -> None:
        """Let a task write it without order among the others that do so."""
        if self.is_joined:
            self.after = (*self.after, self.version)
        else:
            if self.after:
                self.home.released.extend(self.after)
                self.after = ()
            self.base, self.is_joined = self.version, True
        self.version = version
        self.is_pending = True
        self.value, self.image, self.error = ABSENT, None, None

    def revert(self) -> bool:
        """Go back to the version before, since the last one was cancelled; tells whether there is one to ask for."""
        self.home.released.append(self.version)
        if self.earlier:
            self.version, self.earlier = self.earlier[-1], self.earlier[:-1]
            return True
        self.version, self.is_pending, self.is_undone = 0, False, True
        return False

    def drop(self) -> None:
        """Let the version go, those before it, and those of concurrent writers."""
        self._release()
        self.version, self.base, self.after, self.earlier = 0, 0, (), ()
        self.is_joined = self.is_pending = False
        self.image = None

    def _release(self) -> None:
        released = self.home.released
        if self.version:
            released.append(self.version)
        if self.base:
            released.append(self.base)
        if self.after:
            released.extend(self.after)
        if self.earlier:
            released.extend(self.earlier)

    def __del__(self) -> None:
        self._release()  # possibly within a garbage collection: it only takes a note


class Home:
    """What all data of a family share."""

    __slots__ = ("fetch", "is_open", "keeps", "released", "written")

    def __init__(self, released: deque[int], fetch: Callable[[Datum], Any]) -> None:
        self.released = released
        """Versions that were let go; filled from anywhere."""
        self.fetch = fetch
        """Waits for a datum and gives its value."""
        self.keeps = False
        """Tasks may be cancelled, and what they write is then what it was before: versions are kept for that."""
        self.written: weakref.WeakSet[Datum] = weakref.WeakSet()
        """Data that were written since then."""
        self.is_open = True
        """False when the task whose family it is has ended."""


def _refusing(name: str, what: str) -> Callable[..., NoReturn]:
    def method(self: Future, *_: Any) -> NoReturn:
        self._refuse(what)

    method.__name__ = name
    return method


_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
}
_USES = {
    **{f"__{name}__": sign for name, sign in _OPERATORS.items()},
    **{f"__r{name}__": sign for name, sign in _OPERATORS.items()},
    "__lt__": "<",
    "__le__": "<=",
    "__gt__": ">",
    "__ge__": ">=",
    "__neg__": "-",
    "__pos__": "+",
    "__invert__": "~",
    "__len__": "len()",
    "__iter__": "a loop, or to be unpacked",
    "__getitem__": "[…]",
    "__setitem__": "[…] = …",
    "__delitem__": "del …[…]",
    "__contains__": "in",
    "__call__": "a call",
    "__enter__": "with",
    "__index__": "an index",
    "__int__": "int()",
    "__float__": "float()",
    "__complex__": "complex()",
    "__bool__": "if, and, or, not",
    "__abs__": "abs()",
    "__round__": "round()",
    "__divmod__": "divmod()",
    "__next__": "next()",
}
"""What a future cannot be used in, by the method that this would call."""
_COMPARED = frozenset({int, float, bool, complex, str, bytes, list, tuple, dict, set})
"""Types of values that nobody compares a future with on purpose."""


class Future:
    """What a task will return. Pass it to tasks, put it in collections, or get its value with `wait_on`."""

    __slots__ = ("__weakref__", "_datum", "_plan")

    def __init__(self, datum: Datum, plan: Plan | None = None) -> None:
        self._datum = datum
        self._plan = plan

    def __repr__(self) -> str:
        datum = self._datum
        if datum.value is not ABSENT:
            return f"<Future: {datum.value!r}>"
        state = "pending" if datum.error is None else f"failed: {type(datum.error).__name__}"
        return f"<Future {datum.version & 0xFFFFFFFF}: {state}>"

    def __format__(self, spec: str) -> str:
        """Warn of a future in an f-string, which may become a name or a command; to print one is no mistake."""
        if spec:
            self._refuse(f"a format ({spec})")
        if self._datum.value is ABSENT:
            warn(f"{self._named()} is no value yet and is written as {self!r}: {_WAIT}", RuntimeWarning)
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if type(other) in _COMPARED:
            self._refuse("==")
        return self is other

    __hash__ = object.__hash__

    def _named(self) -> str:
        made = "" if self._plan is None else f", what {self._plan.definition.label} returns,"
        return f"{self!r}{made}"

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(f"{self._named()} is no value yet and cannot be used in {what}: {_WAIT}")

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        """Travel as the value: within a call as a reference to it, anywhere else it is waited for."""
        datum = self._datum
        if datum.value is not ABSENT:
            return references.itself, (datum.value,)
        refer = references.active.refer
        if refer is not None:
            return references.given, (refer(datum),)
        return references.itself, (datum.home.fetch(datum),)

    def __getattr__(self, name: str) -> Any:
        plan = object.__getattribute__(self, "_plan")
        if plan is not None and plan.kind is not None and not name.startswith("__"):
            method: Any = getattr(plan.kind, name, None)
            if hasattr(method, "__agentd_task__"):
                return method.__get__(self, plan.kind)
        if name.startswith("__"):  # Python and libraries ask for these on their own
            raise AttributeError(name)
        raise AttributeError(f"{self._named()} is no value yet and has no {name!r}: {_WAIT}")

    for _name, _what in _USES.items():
        locals()[_name] = _refusing(_name, _what)
    del _name, _what


def datum_of(future: Future) -> Datum:
    """Give what a future stands for."""
    return future._datum  # noqa: SLF001 - users see a future, we see what is in it


class _Entry:
    """An object that is known, and how it is held: weakly where its type allows that."""

    __slots__ = ("datum", "strong", "weak")

    def __init__(self, value: Any, datum: Datum, gone: Callable[[Any], None]) -> None:
        self.datum = datum
        self.strong: Any = None
        try:
            self.weak: Any = weakref.ref(value, gone)
        except TypeError:
            self.weak = None
            self.strong = value

    def holds(self, value: Any) -> bool:
        return (self.strong if self.weak is None else self.weak()) is value


class Registry:
    """The objects of a family that stand for data, by identity."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._strong = 0
        self._sweep_at = _SWEEP_AT

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, value: Any) -> Datum | None:
        """Give the datum that an object stands for."""
        entry = self._entries.get(id(value))
        return entry.datum if entry is not None and entry.holds(value) else None

    def track(self, value: Any, datum: Datum) -> None:
        """Have an object stand for a datum from now on."""
        key = id(value)
        self.forget(value)
        entries = self._entries

        def gone(weak: Any) -> None:
            entry = entries.get(key)
            if entry is not None and entry.weak is weak:
                del entries[key]

        entry = entries[key] = _Entry(value, datum, gone)
        if entry.weak is None:
            self._strong += 1
            if self._strong >= self._sweep_at:
                self.sweep()

    def forget(self, value: Any) -> Datum | None:
        """Have an object stand for nothing but itself; gives what it stood for."""
        entry = self._entries.get(id(value))
        if entry is None or not entry.holds(value):
            return None
        del self._entries[id(value)]
        self._strong -= entry.weak is None
        return entry.datum

    def pending(self) -> Iterator[tuple[Any, Datum]]:
        """Go through the objects whose value is not here."""
        for entry in list(self._entries.values()):
            value = entry.strong if entry.weak is None else entry.weak()
            if entry.datum.is_pending:
                yield value, entry.datum

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._strong = 0

    def sweep(self) -> None:
        """Let go the objects that nobody has but us: the name here, the entry, and the argument are three."""
        for key, entry in list(self._entries.items()):
            if entry.weak is None and sys.getrefcount(entry.strong) <= 2:
                del self._entries[key]
                self._strong -= 1
        self._sweep_at = max(_SWEEP_AT, 2 * self._strong)

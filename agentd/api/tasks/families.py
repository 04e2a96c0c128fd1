"""A family: what one running task, or one session, has asked for; its data, its groups, and its waits.

Law: what is asked for leaves in the order of the program; a version is released after the last call that reads it left.
"""

from __future__ import annotations

import threading
from collections import deque
from operator import is_
from typing import TYPE_CHECKING, Any

from agentd.api.tasks import references
from agentd.api.tasks.calls import Call
from agentd.api.tasks.data import ABSENT, PLAIN, Datum, Future, Home, Registry, datum_of
from agentd.api.tasks.errors import NotOfKind
from agentd.api.tasks.failures import exception_of
from agentd.api.tasks.files import Files
from agentd.api.tasks.images import Image, is_large, outline
from agentd.api.tasks.joint import GATHERED, Joint
from agentd.api.tasks.messages import number, numbers, packed, packed_task, packed_value
from agentd.api.tasks.port import CANCELLED, FAILED, THERE, Kind, Received
from agentd.api.tasks.storage import identifier_of
from agentd.api.tasks.templates import template_of, with_program
from agentd.api.tasks.values import decoded, renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentd.api.tasks.definition import Parameter
    from agentd.api.tasks.messages import Encoded
    from agentd.api.tasks.nested import Nested
    from agentd.api.tasks.plans import Plan

_RELEASE_AT = 64
"""Versions that were let go are told when they are so many, or before a wait; chosen."""


class Family:
    """All that the code of one task has asked for. Safe to use from several threads of the task."""

    def __init__(self, runtime: Nested, task: int) -> None:
        self.task = task
        self.port = runtime.port
        self._runtime = runtime
        self.new_version = runtime.new_version
        self.lock = threading.RLock()
        self._released: deque[int] = deque()
        self.home = Home(self._released, self.fetch)
        self.home.keeps = runtime.may_cancel
        self.registry = Registry()
        self._persistent: dict[str, Datum] = {}
        """Data of persistent objects, by their identifiers."""
        self.files = Files(self)
        self.groups: dict[str, int] = {}
        self.open_groups: tuple[int, ...] = ()
        """Numbers of the groups that are open, outermost first."""
        self._parent = number(task)
        self._spawn_head = b"\x92" + self._parent + b"\x91"

    # --- calls --------------------------------------------------------------------------------------------------

    def call(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Ask for a task; gives its futures."""
        plan.check(args, kwargs)
        with self.lock:
            returns = plan.returns
            template = plan.template
            if not template or not plan.is_fixed:
                template, returns = template_of(self._runtime, plan, args, kwargs)
                self.home.keeps = self.home.keeps or self._runtime.may_cancel
            call = Call(self, returns)
            if plan.is_plain and not kwargs:
                taken, named, writes = call.read_plainly(args), kwargs, None
            else:
                taken, named, writes = self._take(call, plan, args, kwargs)
            encoded = call.encode(taken, named, writes, plan)
            if plan.lacks_program and b"_main__" in encoded[1]:
                template = with_program(self._runtime, plan, template)
            chain = 0
            if call.after:
                call.after = list(dict.fromkeys(call.after))
            row = packed_task(
                self._runtime.new_ref(), template, encoded, call.reads, call.makes, call.after, self.open_groups, chain
            )
            self.port.send(Kind.SPAWN, self._spawn_head + row)
            call.commit()
            if len(self._released) >= _RELEASE_AT:
                self.tell_released()
            if returns == 1:
                return Future(Datum(self.home, call.makes[0]), plan)
            if returns:
                return [Future(Datum(self.home, version), plan) for version in call.makes[:returns]]
        return None

    def _take(
        self, call: Call, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any], list[tuple[Any, Any]] | None]:
        taken: list[Any] = []
        writes: list[tuple[Any, Any]] = []
        for position, value in enumerate(args):
            kept, shape = self._taken(call, value, plan.spec(position), plan, position)
            taken.append(kept)
            if shape is not None:
                writes.append((position, shape))
        named: dict[str, Any] = {}
        for name, value in plan.with_defaults(args, kwargs):
            kept, shape = self._taken(call, value, plan.spec_of(name), plan, name)
            named[name] = kept
            if shape is not None:
                writes.append((name, shape))
        return taken, named, writes or None

    @staticmethod
    def _taken(call: Call, value: Any, spec: Parameter, plan: Plan, where: int | str) -> tuple[Any, Any]:
        try:
            return call.take(value, spec)
        except NotOfKind as error:
            raise TypeError(f"{plan.definition.label}: argument {plan.name(where)} {error}") from None

    def is_large(self, value: Any) -> bool:
        """Tell whether a value is worth a version of its own, so that it is not copied for each call."""
        return is_large(value, self.port.threshold)

    def snapshot(self, value: Any) -> Datum:
        """Put an object as it is now; it stands for that as long as it does not change."""
        encoded = self.encode(value)
        version = self.new_version()
        self.put(version, encoded)
        datum = Datum(self.home, version)
        datum.is_pending = False
        if type(value) not in PLAIN:
            datum.image = Image(self.port, encoded)
        else:
            self.registry.sweep()  # they can only be held: those before that nobody else has are let go
        self.registry.track(value, datum)
        return datum

    def is_current(self, datum: Datum, value: Any) -> bool:
        """Tell whether an object still is what its version holds."""
        return datum.image is None or bool(datum.image.shows(value))

    def outline(self, value: Any) -> Any:
        """Give what a task gets for an object that it writes and does not read."""
        return outline(value, self.port.threshold)

    def gather(self, joint: Joint) -> int:
        """Ask for what hands in a joint file when those who write it have ended; gives the version it makes."""
        with self.lock:
            template, _ = template_of(self._runtime, self._runtime.plan_of(GATHERED), (), {})
            path = references.Path(None, joint.name, is_written=True, is_folder=False, joint=joint.folder)
            version, call = self.new_version(), self.encode(([path], {}, 0, [(0, 0)]))
            row = packed_task(self._runtime.new_ref(), template, call, [], [version], joint.members, (), 0)
            self.port.send(Kind.SPAWN, self._spawn_head + row)
            return version

    def put(self, version: int, encoded: Encoded) -> None:
        """Give a version whose value is here."""
        self.port.send(Kind.PUT, b"\x92" + self._parent + b"\x91\x92" + number(version) + packed_value(encoded))

    def encode(self, value: Any) -> Encoded:
        """Write a value; futures in it are references, or waited for where none can be."""
        return self.port.encode(value)

    def find(self, value: Any) -> Datum | None:
        """Give the datum that an object stands for; persistent objects of one identifier are one."""
        if self.registry:
            datum = self.registry.find(value)
            if datum is not None:
                return datum
        if not self._persistent:
            return None
        identifier = identifier_of(value)
        return None if identifier is None else self._persistent.get(identifier)

    def track(self, value: Any, datum: Datum) -> None:
        """Have an object stand for a datum from now on."""
        identifier = identifier_of(value)
        if identifier is None:
            self.registry.track(value, datum)
        else:
            self._persistent[identifier] = datum

    def check(self, datum: Datum) -> None:
        """Refuse what another family made: its versions are not known here.

        Raises:
            RuntimeError: the task that asked for it has ended, or another one asked for it.
        """
        if datum.home is not self.home:
            if datum.value is ABSENT:
                raise RuntimeError("a future can be used only by the task that called the one which makes it")
        elif not self.home.is_open:
            raise RuntimeError("the task that asked for it has ended")

    def forget(self, value: Any) -> bool:
        """Let go what is kept of a value; tells whether anything was."""
        if type(value) is Future:
            datum_of(value).drop()
            return True
        datum = self.registry.forget(value)
        if datum is not None:
            datum.drop()
        return datum is not None

    def tell_released(self) -> None:
        """Tell which versions are needed here no longer."""
        gone = []
        while self._released:
            gone.append(self._released.popleft())
        if gone:
            self.port.send(Kind.RELEASE, b"\x92" + self._parent + numbers(gone))

    # --- waits --------------------------------------------------------------------------------------------------

    def fetch(self, datum: Datum) -> Any:
        """Wait for one datum."""
        return self.known(datum, "rw", None)

    def known(self, datum: Datum, mode: str, lost: Callable[[BaseException], Any] | None) -> Any:
        """Give the value of a datum, which is waited for if it must be."""
        if datum.is_pending:
            self.check(datum)
            self.await_all([datum], mode, reverts=lost is not None)
        elif mode != "r" and datum.value is not ABSENT and datum.version:
            self.registry.forget(datum.value)  # from now on it may be changed
            datum.drop()
        if datum.error is not None:
            if lost is None:
                raise datum.error
            return lost(datum.error)
        return datum.value

    def await_all(self, data: Iterable[Datum], mode: str, *, reverts: bool = False) -> None:
        """Wait until each of these is there or known not to come, and take their values.

        `reverts`: what was to be written by a task that was cancelled is what it was before.
        """
        wanted: dict[int, list[Datum]] = {}
        for datum in data:
            wanted.setdefault(datum.version, []).append(datum)
        also = [version for datum in data for version in datum.after if version not in wanted]
        if not wanted:
            return
        if also:
            self._ask(also, wants_values=False)
        again: list[Datum] = []
        for row in self._ask(list(wanted), wants_values=True):
            if reverts and row.standing == CANCELLED:
                again.extend(datum for datum in wanted[row.version] if datum.had_value and datum.revert())
                wanted[row.version] = [datum for datum in wanted[row.version] if datum.version == row.version]
            self._settle(wanted[row.version], row, mode)
        if again:
            self.await_all(again, mode, reverts=True)

    def await_file(self, datum: Datum, writers: list[int]) -> Any:
        """Wait for the content of a file or folder, which stays what its version holds; None where there is none.

        `writers` are versions of those that wrote it side by side: if one of them failed, that is why there is none.
        """
        for row in self._ask([datum.version], wants_values=True):
            if row.standing == CANCELLED and writers:
                row = next((one for one in self._ask(writers, wants_values=True) if one.standing == FAILED), row)  # noqa: PLW2901
            if row.standing == CANCELLED and self.home.keeps and datum.had_value:
                return self.await_file(datum, []) if datum.revert() else None
            if row.standing != THERE:
                self._settle([datum], row, "r")
            else:
                datum.is_pending = False
                return references.Received(row.codec, row.parts)
        return None

    def _ask(self, versions: list[int], *, wants_values: bool) -> list[Received]:
        token = self._runtime.new_ref()
        with self.lock:
            self.tell_released()
            flag = b"\xc3" if wants_values else b"\xc2"
            self.port.send(Kind.AWAIT, b"\x94" + self._parent + number(token) + numbers(versions) + flag)
        return [Received._make(row) for row in self.port.wait(token)]

    def _settle(self, data: list[Datum], row: Received, mode: str) -> None:
        """Take a value that came; a failure stays with the datum, for each who asks again."""
        if row.standing != THERE:
            buffers = self.port.buffers(row.parts, writable=False) if row.parts else []
            error = exception_of(row.standing, bytes(row.data), bytes(buffers[0]) if buffers else b"")
            for datum in data:
                datum.error, datum.is_pending = error, False
            return
        buffers = self.port.buffers(row.parts, writable=mode != "r") if row.parts else []
        value = decoded(row.codec, row.data, buffers)
        for datum in data:
            datum.value, datum.is_pending = value, False
            if mode == "r":
                self._keep(datum, value)
            else:
                datum.drop()

    def _keep(self, datum: Datum, value: Any) -> None:
        """Have a value that will not be changed stand for its version, so that it need not be put again."""
        if self.is_large(value):
            self.registry.track(value, datum)
        else:
            datum.drop()

    def barrier(self, group: int) -> None:
        """Wait for the tasks of a group; 0: for all so far.

        Raises:
            BaseException: what ended the group, or what the first of them raised that failed unnoticed.
        """
        token = self._runtime.new_ref()
        with self.lock:
            self.tell_released()
            self.port.send(Kind.BARRIER, b"\x93" + self._parent + number(token) + number(group))
        error: BaseException | None = None
        for row in map(Received._make, self.port.wait(token)):
            if row.standing != THERE or row.data:
                buffers = self.port.buffers(row.parts, writable=False) if row.parts else []
                error = exception_of(row.standing, bytes(row.data), bytes(buffers[0]) if buffers else b"")
        if self.home.keeps:
            self._revert_cancelled(group)  # whoever goes on after the group has ended goes on with what is there
        if error is not None:
            raise error

    # --- groups -------------------------------------------------------------------------------------------------

    def open_group(self, name: str) -> None:
        """Have calls from now on belong to a group too."""
        with self.lock:
            self.home.keeps = True
            found = self.groups.setdefault(name, len(self.groups) + 1)
            self.open_groups = (*self.open_groups, found)

    def close_group(self, name: str) -> None:
        """End what `open_group` began."""
        with self.lock:
            found = self.groups.get(name, 0)
            if found in self.open_groups:
                last = len(self.open_groups) - 1 - self.open_groups[::-1].index(found)
                self.open_groups = self.open_groups[:last] + self.open_groups[last + 1 :]

    def group(self, name: str) -> int:
        """Give the number of a group.

        Raises:
            ValueError: there was none of that name.
        """
        if name not in self.groups:
            known = ", ".join(map(repr, self.groups)) or "none"
            raise ValueError(f"there is no group {name!r} of tasks; there is: {known}")
        return self.groups[name]

    def cancel(self, group: int) -> None:
        """Cancel the tasks of a group; what they should have written is what it was before, for calls from now on."""
        self.port.send(Kind.CANCEL, b"\x92" + self._parent + number(group))
        self._revert_cancelled(group)

    def _revert_cancelled(self, group: int) -> None:
        """Have data whose writers were cancelled be what they were before; `group` of the writers, 0 for any."""
        self.files.complete_all()
        written = {
            datum.version: datum
            for datum in list(self.home.written)
            if datum.is_pending and datum.had_value and (not group or group in datum.groups)
        }
        while written:
            rows = self._ask(list(written), wants_values=False)
            undone = [written[row.version] for row in rows if row.standing == CANCELLED]
            written = {datum.version: datum for datum in undone if datum.revert()}

    def limit(self, seconds: float) -> None:
        """Limit what is left of the family."""
        self.port.send(Kind.LIMIT, b"\x92" + self._parent + packed(float(seconds)))

    # --- values -------------------------------------------------------------------------------------------------

    def resolve(self, value: Any, mode: str, lost: Callable[[BaseException], Any] | None) -> Any:
        """Give values in the place of futures and of objects that tasks write, through lists, tuples and dicts."""
        pending: dict[int, Datum] = {}
        self._collect(value, pending)
        if pending:
            self.await_all(list(pending.values()), mode, reverts=lost is not None)
        return self._resolved(value, mode, lost)

    def _datum(self, value: Any) -> Datum | None:
        if type(value) is Future:
            return datum_of(value)
        return self.find(value)

    def _collect(self, value: Any, pending: dict[int, Datum]) -> None:
        datum = self._datum(value)
        if datum is not None:
            if datum.is_pending:
                self.check(datum)
                pending[id(datum)] = datum
            elif datum.value is not ABSENT and datum.value is not value:
                self._collect(datum.value, pending)
        elif type(value) in _WALKED:
            for item in _items(value):
                if type(item) not in _SCALARS:
                    self._collect(item, pending)

    def _resolved(self, value: Any, mode: str, lost: Callable[[BaseException], Any] | None) -> Any:
        datum = self._datum(value)
        if datum is not None:
            found = self._found(datum, value, mode, lost)
            return found if found is value else self._resolved(found, mode, lost) if self._datum(found) else found
        kind = type(value)
        if kind is list:
            return [item if type(item) in _SCALARS else self._resolved(item, mode, lost) for item in value]
        if kind is dict:
            return {self._resolved(key, mode, lost): self._resolved(item, mode, lost) for key, item in value.items()}
        if kind is tuple:
            items = tuple([self._resolved(item, mode, lost) for item in value])
            return value if all(map(is_, items, value)) else items
        return value

    def _found(self, datum: Datum, value: Any, mode: str, lost: Callable[[BaseException], Any] | None) -> Any:
        """Give what an object stands for: itself, made what it should be, where that can be done."""
        found = self.known(datum, mode, lost)
        if datum.is_undone:
            self.registry.forget(value)
        if found is ABSENT or datum.error is not None:
            return value if found is ABSENT else found
        if type(value) is not Future and found is not value and mode != "r" and renewed(value, found):
            self.registry.forget(value)
            return value
        return found

    def end(self, value: Any) -> Any:
        """Take the end of the task's code: gives what it returns, without anything that is still to come."""
        value = self.resolve(value, "r", None)
        self.files.bring_back()
        return value

    def leave(self) -> None:
        """Forget everything: the task has ended."""
        self._runtime.left(self)
        self.home.is_open = False
        self.registry.clear()
        self.files.clear()


_WALKED = frozenset({list, tuple, dict})
_SCALARS = frozenset({int, float, bool, str, bytes, type(None)})


def _items(value: Any) -> Iterable[Any]:
    return [*value.keys(), *value.values()] if type(value) is dict else value

"""The keys of `@constraint` into what a task demands of its host: now, at the first call, or at each call."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.expressions import from_environment, number_at_call, variable
from agentd.api.decorators.parameters import truth
from agentd.api.tasks.definition import TaskDefinition
from agentd.api.tasks.places import warn

UNKNOWN = frozenset({"", "[unassigned]", "none"})
"""Texts that demand nothing."""
_MIB_PER_GB = 1024
"""COMPSs counts memory in GB of 1024 MiB."""


def _units(value: object) -> int:
    number = int(str(value))
    if number < 0:
        raise ValueError("it is 0 or more")
    return number


def _amount(value: object) -> float:
    number = float(str(value))
    if not 0 <= number < float("inf"):
        raise ValueError("it is 0 or more")
    return number


def _words(value: object) -> list[str]:
    given: Iterable[object] = value.split(",") if isinstance(value, str) else value  # type: ignore[assignment]
    return [str(word).strip() for word in given if str(word).strip()]


_FIELD_OF_KIND = {"CPU": "computing_units", "GPU": "gpus", "FPGA": "fpgas", "OTHER": "others"}


def _kind(value: object) -> str:
    kind = str(value).strip().upper()
    if kind not in _FIELD_OF_KIND:
        raise ValueError(f"the types are {', '.join(_FIELD_OF_KIND)}")
    return kind


@dataclass(frozen=True)
class _Key:
    """One key of `@constraint`: the field of `Constraints` it fills, how it is read, whether it is a number."""

    field: str
    read: Callable[[Any], Any]
    is_number: bool = False


KEYS = {
    "computing_units": _Key("computing_units", _units, is_number=True),
    "is_local": _Key("is_local", truth),
    "processor_name": _Key("processor_name", str),
    "processor_speed": _Key("processor_speed_ghz", _amount, is_number=True),
    "processor_architecture": _Key("processor_architecture", str),
    "processor_type": _Key("kind", _kind),
    "processor_internal_memory_size": _Key("processor_internal_memory_gb", _amount, is_number=True),
    "processor_property_name": _Key("processor_property_name", str),
    "processor_property_value": _Key("processor_property_value", str),
    "processors": _Key("processors", lambda value: [_processor(one) for one in value]),
    "memory_size": _Key("memory_mib", lambda value: round(_amount(value) * _MIB_PER_GB), is_number=True),
    "memory_type": _Key("memory_type", str),
    "storage_size": _Key("storage_gb", _amount, is_number=True),
    "storage_type": _Key("storage_type", str),
    "storage_bw": _Key("storage_bandwidth", _units, is_number=True),
    "operating_system_type": _Key("operating_system_type", str),
    "operating_system_distribution": _Key("operating_system_distribution", str),
    "operating_system_version": _Key("operating_system_version", str),
    "app_software": _Key("software", _words),
    "host_queues": _Key("host_queues", _words),
    "labels": _Key("labels", _words),
    "wall_clock_limit": _Key("", _amount, is_number=True),
}
"""All keys. A wall clock limit is a property of a host's queue and takes no part in choosing one."""
_BY_SPELLING = {name.replace("_", ""): name for name in KEYS} | {"storagebandwidth": "storage_bw"}

_OF_PROCESSOR: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "processortype": ("kind", _kind),
    "type": ("kind", _kind),
    "computingunits": ("units", lambda value: _units(_settled(value, "1"))),
    "name": ("name", str),
    "speed": ("speed_ghz", _amount),
    "architecture": ("architecture", str),
    "propertyname": ("property_name", str),
    "propertyvalue": ("property_value", str),
    "internalmemorysize": ("internal_memory_gb", _amount),
}


def demands_of(
    given: Mapping[str, Any], definition: TaskDefinition
) -> tuple[dict[str, Any], Callable[[TaskDefinition], None] | None]:
    """Read the keys of `@constraint` above a task: what is known, and what works out the rest before the first call.

    Raises:
        DefinitionError: a key is unknown, or a value is not what its key takes.
    """
    words = {_spelled(key, definition): value for key, value in given.items()}
    now: dict[str, Any] = {}
    later: dict[str, Any] = {}
    for name, value in words.items():
        if _waits(name, value):
            later[name] = value
        else:
            _take(name, _at_call_or_now(name, value, definition), now)
    found = _flattened(now)
    if not later:
        return found, None
    return found, _Later(later)


def _spelled(key: str, definition: TaskDefinition) -> str:
    spelling = key.replace("_", "").lower()
    for form in (spelling, spelling.removeprefix("processor")):
        if form in _BY_SPELLING:
            return _BY_SPELLING[form]
    near = difflib.get_close_matches(spelling, _BY_SPELLING, 1)
    hint = f"did you mean {_BY_SPELLING[near[0]]}?" if near else f"there are {', '.join(sorted(KEYS))}"
    raise DefinitionError(f"@constraint of task {definition.label}: no constraint is called {key}; {hint}")


def _waits(name: str, value: object) -> bool:
    """Tell whether a value is looked for in the environment, at the first call."""
    if name == "processors":
        return isinstance(value, list | tuple) and any(
            isinstance(inner, str) and variable(inner)
            for one in value
            if isinstance(one, Mapping)
            for inner in one.values()
        )
    return isinstance(value, str) and variable(value) is not None


def _at_call_or_now(name: str, value: Any, definition: TaskDefinition) -> Any:
    """Give a value read, or, for a number that is neither, what works it out at each call."""
    key, where = KEYS[name], f"constraint {name} of task {definition.label}"
    if isinstance(value, str) and value.strip().lower() in UNKNOWN:
        return None
    try:
        return key.read(value)
    except (TypeError, ValueError, AttributeError) as error:
        if not (key.is_number and isinstance(value, str)) or _is_number(value):
            raise DefinitionError(f"{where} cannot be {value!r}: {error}") from None
    compute = number_at_call(value, getattr(definition.function, "__globals__", {}), where)

    def at_call(arguments: Mapping[str, Any]) -> Any:
        try:
            found = compute(arguments)
            return key.read(int(found) if key.read is _units and found == int(found) else found)
        except ValueError as error:
            raise DefinitionError(f"{where}: {value!r} gives {found!r}: {error}") from None

    return at_call


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _take(name: str, value: Any, into: dict[str, Any]) -> None:
    if value is not None and KEYS[name].field:
        into[KEYS[name].field] = value


class _Later:
    """Reads from the environment what was said to be there, when the task is first called."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def __call__(self, definition: TaskDefinition) -> None:
        """Complete the task's constraints.

        Raises:
            DefinitionError: what is in the environment is not what the key takes.
        """
        found: dict[str, Any] = {}
        for name, value in self._given.items():
            if name == "processors":
                _take(name, KEYS[name].read(value), found)
                continue
            text = _settled(value, None)
            if text is not None:
                _take(name, _at_call_or_now(name, text, definition), found)
        definition.constraints = {**definition.constraints, **_flattened(found)}


def _settled(value: Any, default: str | None) -> Any:
    """Give what an environment variable holds; `default`, and a warning, where it is not set."""
    name = variable(value) if isinstance(value, str) else None
    if name is None:
        return value
    text = from_environment(name)
    if text is None:
        message = f"a constraint names the environment variable {name}, which is not set: it is left out"
        warn(message, UserWarning)
        return default
    return text


def _processor(given: object) -> dict[str, Any]:
    """Read one entry of `processors`."""
    if not isinstance(given, Mapping):
        raise TypeError(f"processors is a list of dicts, and {given!r} is none")
    found: dict[str, Any] = {"kind": "CPU", "units": 1}
    for key, value in given.items():
        spelling = str(key).replace("_", "").lower()
        short = spelling if spelling in _OF_PROCESSOR else spelling.removeprefix("processor")
        if short not in _OF_PROCESSOR:
            raise ValueError(f"there is no key {key}: there are {', '.join(_OF_PROCESSOR)}")
        field, read = _OF_PROCESSOR[short]
        if not (isinstance(value, str) and value.strip().lower() in UNKNOWN):
            found[field] = read(value)
    return found


def _flattened(found: dict[str, Any]) -> dict[str, Any]:
    """Say plain counts of processors as counts, and keep as entries what says more."""
    found = dict(found)
    kind = found.pop("kind", "CPU")
    if kind != "CPU" and "computing_units" in found:
        found[_FIELD_OF_KIND[kind]] = found.pop("computing_units")
    elif kind != "CPU":
        found[_FIELD_OF_KIND[kind]] = 1
    entries = found.pop("processors", ())
    special = []
    for entry in entries:
        if len(entry) > 2:
            special.append(entry)
        else:
            field = _FIELD_OF_KIND[entry["kind"]]
            found[field] = max(found.get(field, 0), entry["units"])
    if special:
        found["processors"] = special
        if not any(entry["kind"] == "CPU" for entry in entries) and "computing_units" not in found:
            found["computing_units"] = 1
    return found

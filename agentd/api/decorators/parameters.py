"""What a parameter of a task may be: the names that users write, and the dict form that says more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agentd.api.decorators.errors import DefinitionError
from agentd.api.tasks.definition import Content, Direction, Parameter, StandardStream

Type = "type"
Depth = "depth"
StdIOStream = "stdiostream"
Prefix = "prefix"
Weight = "weight"
Keep_rename = "keep_rename"
Cache = "cache"
DIRECTION = "direction"
"""Keys of the dict form. The one for the direction is `Direction` under PyCOMPSs' names."""

STDIN, STDOUT, STDERR = StandardStream.STDIN, StandardStream.STDOUT, StandardStream.STDERR

IN = Parameter()
OUT = Parameter(direction=Direction.OUT)
INOUT = Parameter(direction=Direction.INOUT)
CONCURRENT = Parameter(direction=Direction.CONCURRENT)
COMMUTATIVE = Parameter(direction=Direction.COMMUTATIVE)
IN_DELETE = Parameter(direction=Direction.IN_DELETE)


def _file(direction: Direction, stream: StandardStream = StandardStream.NONE) -> Parameter:
    return Parameter(content=Content.FILE, direction=direction, stream=stream, keep_rename=False, cache=False)


def _of(content: Content, direction: Direction) -> Parameter:
    return Parameter(content=content, direction=direction)


FILE = FILE_IN = _file(Direction.IN)
FILE_OUT = _file(Direction.OUT)
FILE_INOUT = _file(Direction.INOUT)
FILE_CONCURRENT = _file(Direction.CONCURRENT)
FILE_COMMUTATIVE = _file(Direction.COMMUTATIVE)

FILE_STDIN = FILE_IN_STDIN = _file(Direction.IN, STDIN)
FILE_OUT_STDIN = _file(Direction.OUT, STDIN)
FILE_INOUT_STDIN = _file(Direction.INOUT, STDIN)
FILE_CONCURRENT_STDIN = _file(Direction.CONCURRENT, STDIN)
FILE_COMMUTATIVE_STDIN = _file(Direction.COMMUTATIVE, STDIN)
FILE_IN_STDOUT = _file(Direction.IN, STDOUT)
FILE_STDOUT = FILE_OUT_STDOUT = _file(Direction.OUT, STDOUT)
FILE_INOUT_STDOUT = _file(Direction.INOUT, STDOUT)
FILE_CONCURRENT_STDOUT = _file(Direction.CONCURRENT, STDOUT)
FILE_COMMUTATIVE_STDOUT = _file(Direction.COMMUTATIVE, STDOUT)
FILE_IN_STDERR = _file(Direction.IN, STDERR)
FILE_STDERR = FILE_OUT_STDERR = _file(Direction.OUT, STDERR)
FILE_INOUT_STDERR = _file(Direction.INOUT, STDERR)
FILE_CONCURRENT_STDERR = _file(Direction.CONCURRENT, STDERR)
FILE_COMMUTATIVE_STDERR = _file(Direction.COMMUTATIVE, STDERR)

DIRECTORY = DIRECTORY_IN = _of(Content.DIRECTORY, Direction.IN)
DIRECTORY_OUT = _of(Content.DIRECTORY, Direction.OUT)
DIRECTORY_INOUT = _of(Content.DIRECTORY, Direction.INOUT)

COLLECTION = COLLECTION_IN = _of(Content.COLLECTION, Direction.IN)
COLLECTION_OUT = _of(Content.COLLECTION, Direction.OUT)
COLLECTION_INOUT = _of(Content.COLLECTION, Direction.INOUT)
COLLECTION_IN_DELETE = _of(Content.COLLECTION, Direction.IN_DELETE)

COLLECTION_FILE = COLLECTION_FILE_IN = replace(_file(Direction.IN), content=Content.FILES)
COLLECTION_FILE_OUT = replace(_file(Direction.OUT), content=Content.FILES)
COLLECTION_FILE_INOUT = replace(_file(Direction.INOUT), content=Content.FILES)

DICTIONARY = DICTIONARY_IN = _of(Content.DICTIONARY, Direction.IN)
DICTIONARY_OUT = _of(Content.DICTIONARY, Direction.OUT)
DICTIONARY_INOUT = _of(Content.DICTIONARY, Direction.INOUT)
DICTIONARY_IN_DELETE = _of(Content.DICTIONARY, Direction.IN_DELETE)

STREAM_IN = _of(Content.STREAM, Direction.IN)
STREAM_OUT = _of(Content.STREAM, Direction.OUT)

NAMES = tuple(sorted(name for name, value in globals().items() if isinstance(value, Parameter)))
"""Of all specifications."""
KEYS = ("Type", "Depth", "StdIOStream", "Prefix", "Weight", "Keep_rename", "Cache")
"""Of all keys of the dict form but that for the direction."""

_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


def is_specification(value: object) -> bool:
    """Tell whether somebody meant this to say how a parameter is used."""
    if isinstance(value, Parameter | Direction | StandardStream):
        return True
    return isinstance(value, Mapping) and bool(value) and all(_key(key) in _READERS for key in value)


def parameter_of(given: object, name: str, of: str) -> Parameter:
    """Read how parameter `name` of task `of` is used.

    Raises:
        DefinitionError: it is neither one of the names nor a dict of known keys with sensible values.
    """
    if isinstance(given, Parameter):
        return given
    if isinstance(given, Direction):
        return Parameter(direction=given)
    if isinstance(given, StandardStream):
        return _with_stream(Parameter(), given)
    if isinstance(given, Mapping):
        return _from_mapping(given, f"parameter {name} of task {of}")
    message = (
        f"parameter {name} of task {of}: {given!r} does not say how it is used; take IN, INOUT, FILE_IN, … or a dict"
    )
    raise DefinitionError(message)


def _key(key: object) -> str:
    return str(key).replace("_", "").lower()


def _from_mapping(given: Mapping[Any, Any], where: str) -> Parameter:
    words = {_key(key): value for key, value in given.items()}
    unknown = [key for key in words if key not in _READERS]
    if unknown:
        raise DefinitionError(f"{where}: unknown key {', '.join(unknown)}: there are {', '.join(KEYS)} and Direction")
    kind = words.pop("type", Parameter())
    if not isinstance(kind, Parameter):
        raise DefinitionError(f"{where}: Type is one of IN, INOUT, FILE_IN, COLLECTION_IN, …, not {kind!r}")
    found = kind
    for key, value in words.items():
        try:
            found = _READERS[key](found, value)
        except (TypeError, ValueError, KeyError) as error:
            raise DefinitionError(f"{where}: {key} cannot be {value!r}: {error}") from None
    return found


def _with_direction(parameter: Parameter, value: Any) -> Parameter:
    if isinstance(value, Parameter):
        value = value.direction
    if isinstance(value, str):
        try:
            value = Direction[value.upper()]
        except KeyError:
            raise ValueError(f"the directions are {', '.join(Direction.__members__)}") from None
    return replace(parameter, direction=Direction(value))


def _with_stream(parameter: Parameter, value: Any) -> Parameter:
    stream = StandardStream[value.upper()] if isinstance(value, str) else StandardStream(value)
    return replace(parameter, stream=stream)


def _with_depth(parameter: Parameter, value: Any) -> Parameter:
    depth = int(value)
    if depth < 1:
        raise ValueError("a depth is 1 or more")
    return replace(parameter, depth=depth)


def _with_weight(parameter: Parameter, value: Any) -> Parameter:
    weight = float(value)
    if not 0 <= weight < float("inf"):
        raise ValueError("a weight is 0 or more")
    return replace(parameter, weight=weight)


def truth(value: object) -> bool:
    """Read a yes or no, also as a word.

    Raises:
        ValueError: it is neither.
    """
    word = str(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("it is True or False")
    return word in _TRUE


_READERS: dict[str, Callable[[Parameter, Any], Parameter]] = {
    "type": lambda parameter, _: parameter,
    "direction": _with_direction,
    "stdiostream": _with_stream,
    "prefix": lambda parameter, value: replace(parameter, prefix="" if value in {None, "#"} else str(value)),
    "depth": _with_depth,
    "weight": _with_weight,
    "keeprename": lambda parameter, value: replace(parameter, keep_rename=truth(value)),
    "cache": lambda parameter, value: replace(parameter, cache=truth(value)),
}

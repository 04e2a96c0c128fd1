"""`@reduction`: a task over a list becomes a tree of calls, each over a few of its elements.

Law: the function must be associative, and give what it takes: its result stands for the elements that it was given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentd.api.decorators.errors import DefinitionError
from agentd.api.decorators.expressions import from_environment, variable
from agentd.api.decorators.making import CALL, Words, above_task, bound
from agentd.api.decorators.parameters import truth
from agentd.api.tasks.definition import Content, TaskDefinition
from agentd.api.tasks.runtime import current

_WORDS = Words("reduction", (), ("chunk_size", "is_reduce"), {"chunkSize": "chunk_size", "isReduce": "is_reduce"})
CHUNK = "chunk_size"
"""Option: how many elements one call takes, as it was given."""


def reduction(*args: Any, **given: Any) -> Any:
    """Have calls of a task with one COLLECTION_IN parameter made as a tree, `chunk_size` elements for each call.

    `chunk_size`: a number, its text, or "$NAME" of an environment variable; 0 takes all elements in one call.

    Raises:
        DefinitionError: an argument is wrong, or the task has not exactly one such parameter.
    """
    words = _WORDS.read(args, given)
    if not truth(words.get("is_reduce", True)):
        return lambda function: function
    chunk = words.get("chunk_size", 0)
    return lambda function: above_task("reduction", function, lambda definition: reduced(definition, chunk))


def reduced(definition: TaskDefinition, chunk: Any) -> TaskDefinition:
    """Give a definition whose calls are made as a tree."""
    _collection(definition)
    if variable(str(chunk)) is None:
        _size(chunk, definition)
    return replace(definition, options={**definition.options, CALL: _as_tree, CHUNK: chunk})


def _collection(definition: TaskDefinition) -> str:
    found = [name for name, parameter in definition.parameters.items() if parameter.content is Content.COLLECTION]
    if len(found) != 1:
        raise DefinitionError(
            f"a reduction takes exactly one COLLECTION_IN; task {definition.label} has {', '.join(found) or 'none'}"
        )
    return found[0]


def _size(chunk: Any, definition: TaskDefinition) -> int:
    name = variable(str(chunk))
    text = from_environment(name) if name else str(chunk).strip()
    if text is None or not text.isdecimal() or int(text) == 1:
        raise DefinitionError(
            f"chunk_size of task {definition.label} is 0, or 2 and more; {chunk!r} gives {text!r}: no tree would end"
        )
    return int(text)


def _as_tree(definition: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the task over chunks, over the chunks' results, and so on, until one call gives the result."""
    runtime, name = current(), _collection(definition)
    size = _size(definition.options[CHUNK], definition)
    given = bound(definition, args, kwargs).get(name)
    if runtime.is_in_place or not isinstance(given, list) or not size or len(given) <= size:
        return runtime.call(definition, args, kwargs)
    level = given
    while len(level) > size:
        chunks = [level[start : start + size] for start in range(0, len(level), size)]
        level = [
            # One left alone is a result already.
            one[0] if len(one) == 1 and level is not given else _call(runtime, definition, name, one, args, kwargs)
            for one in chunks
        ]
    return _call(runtime, definition, name, level, args, kwargs)


def _call(
    runtime: Any, definition: TaskDefinition, name: str, elements: list[Any], args: tuple[Any, ...], kwargs: Any
) -> Any:
    if name in kwargs:
        return runtime.call(definition, args, {**kwargs, name: elements})
    place = definition.names.index(name)
    return runtime.call(definition, (*args[:place], elements, *args[place + 1 :]), kwargs)

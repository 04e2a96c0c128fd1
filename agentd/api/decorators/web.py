"""`@http`: a task is a request to a service that the agent knows."""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from agentd.api.decorators.bodies import with_options
from agentd.api.decorators.commands import PLACEHOLDER, agent, substituted, text_of
from agentd.api.decorators.errors import CommandFailed, DefinitionError, Unavailable
from agentd.api.decorators.expressions import from_environment
from agentd.api.decorators.making import Words, above_task, parameters_of
from agentd.api.tasks.definition import TaskDefinition
from agentd.api.tasks.runtime import PORT

_OPTIONAL = ("payload", "payload_type", "produces", "updates")
_WORDS = Words("http", ("service_name", "resource", "request"), _OPTIONAL)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
NONE = "#"
"""What stands for nothing."""
MOST_BYTES = 64 << 20
"""Of an answer; chosen: results of this size still go through memory."""
SILENCE_S = 300.0
"""A service that says nothing for so long has failed; chosen."""
_RETURN = re.compile(r"\{\{\s*return_(\d+)\s*\}\}")
_UPDATE = re.compile(r"\s*\{\{\s*(\w+)\s*\}\}((?:\.\w+)*)\s*=\s*\{\{\s*return_(\d+)\s*\}\}\s*\Z")


def http(*args: Any, **given: Any) -> Any:
    """Have a task be a request: `@http(service_name="station", resource="read/{{place}}", request="GET")`.

    `produces` is a JSON template whose `{{return_0}}`, `{{return_1}}`, … are what the task gives; without it, the task
    gives the whole answer. `updates`, as in `"{{event}}.value = {{return_0}}"`, changes an argument.

    Raises:
        DefinitionError: an argument is missing, unknown or wrong, or there is no task below.
    """
    words = {name: text_of(value) for name, value in _WORDS.read(args, given).items()}

    def change(definition: TaskDefinition) -> TaskDefinition:
        _check(words, definition)
        return with_options(definition, http=words, run=_run)

    return lambda function: above_task("http", function, change)


def _check(words: Mapping[str, str], definition: TaskDefinition) -> None:
    if words["request"].upper() not in METHODS:
        raise DefinitionError(f"@http: request is one of {', '.join(METHODS)}, not {words['request']!r}")
    names = parameters_of(definition)
    for key in ("resource", "payload"):
        for found in PLACEHOLDER.finditer(words.get(key, "")):
            if found[1] not in names and not definition.varkwargs:
                raise DefinitionError(f"@http: task {definition.label} has no parameter for {found[0]} in its {key}")
    _template(words.get("produces", NONE))
    updates = words.get("updates", NONE)
    if updates != NONE:
        found_update = _UPDATE.match(updates)
        if found_update is None or found_update[1] not in names:
            raise DefinitionError(f'@http: updates is like "{{{{parameter}}}}.key = {{{{return_0}}}}", not {updates!r}')


def _template(text: str) -> Any:
    """Read `produces`, in which placeholders may stand with quotation marks or without."""
    if text == NONE:
        return None
    marked = re.sub(r'(?<!")\{\{\s*(\w+)\s*\}\}(?!")', r'"{{\1}}"', text)
    try:
        return json.loads(marked)
    except ValueError as error:
        raise DefinitionError(f"@http: produces is no JSON: {error}: {text!r}") from None


def _run(definition: TaskDefinition, arguments: dict[str, Any]) -> Any:
    words: Mapping[str, str] = definition.options["http"]
    resource = PLACEHOLDER.sub(
        lambda found: urllib.parse.quote(substituted(found[0], arguments), safe=""), words["resource"]
    )
    answer = _ask(words, f"{_base(words['service_name']).rstrip('/')}/{resource.lstrip('/')}", arguments)
    values = _values(words.get("produces", NONE), answer)
    updates = words.get("updates", NONE)
    if updates != NONE:
        _update(updates, arguments, values)
    if not values:
        return answer
    return values[0] if len(values) == 1 else [values[number] for number in sorted(values)]


def _base(service: str) -> str:
    """Find the address of a service.

    Raises:
        Unavailable: this agent does not know it.
    """
    if service.startswith(("http://", "https://")):
        return service
    known: Mapping[str, str] = getattr(sys.modules.get(PORT), "services", {})
    found = known.get(service) or from_environment(f"AGENTD_SERVICE_{service.upper()}")
    if found is None:
        raise Unavailable(
            f"{agent()} knows no HTTP service {service}: declare it as Http in its project and resources files, or set "
            f"AGENTD_SERVICE_{service.upper()} to its address"
        )
    return found


def _ask(words: Mapping[str, str], url: str, arguments: Mapping[str, Any]) -> Any:
    payload, kind = words.get("payload", NONE), words.get("payload_type", "application/json")
    data = None
    headers = {"Accept": "application/json, */*;q=0.5"}
    if payload != NONE:
        data = (_json(payload, arguments) if "json" in kind else substituted(payload, arguments)).encode()
        headers["Content-Type"] = kind
    request = urllib.request.Request(url, data=data, method=words["request"].upper(), headers=headers)  # noqa: S310 - checked to be HTTP
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_S) as answer:  # noqa: S310 - as above
            body = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(1000).decode("utf-8", "replace")
        raise CommandFailed(f"{request.method} {url} was answered with {error.code}: {said}", error.code) from None
    except OSError as error:
        raise CommandFailed(f"{request.method} {url} failed on {agent()}: {error}") from error
    if len(body) > MOST_BYTES:
        raise CommandFailed(f"{request.method} {url} was answered with more than {MOST_BYTES >> 20} MiB")
    return _read(body)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _json(payload: str, arguments: Mapping[str, Any]) -> str:
    """Fill in a JSON text: between quotation marks as text, elsewhere as JSON."""

    def value(found: re.Match[str]) -> str:
        given = arguments[found[1]]
        before, after = payload[: found.start()], payload[found.end() :]
        if before.endswith('"') and after.startswith('"'):
            return json.dumps(text_of(given))[1:-1]
        return json.dumps(given)

    return PLACEHOLDER.sub(value, payload)


def _values(produces: str, answer: Any) -> dict[int, Any]:
    """Find in an answer what the template names.

    Raises:
        CommandFailed: the answer has not the form of the template.
    """
    found: dict[int, Any] = {}

    def look(template: Any, value: Any) -> None:
        if isinstance(template, dict):
            for key, inner in template.items():
                look(inner, value[key])
        elif isinstance(template, list):
            for inner, one in zip(template, value, strict=False):
                look(inner, one)
        elif isinstance(template, str) and (name := _RETURN.fullmatch(template)):
            found[int(name[1])] = value

    try:
        look(_template(produces), answer)
    except (KeyError, TypeError, IndexError) as error:
        raise CommandFailed(f"the answer has not the form {produces}: {error!r} in {str(answer)[:500]}") from None
    return found


def _update(updates: str, arguments: Mapping[str, Any], values: Mapping[int, Any]) -> None:
    found = _UPDATE.match(updates)
    assert found is not None  # checked when the task was decorated
    name, path, number = found[1], found[2].strip(".").split("."), int(found[3])
    target = arguments[name]
    for key in path[:-1]:
        target = target.setdefault(key, {})
    if path[-1]:
        target[path[-1]] = values[number]
    else:
        target.clear()
        target.update(values[number])

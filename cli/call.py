"""`agentd call`: submit an operation, and wait for it as asked."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.api.routes import requests, submissions
from agentd.api.routes.compss import start_application
from agentd.model.errors import ConfigError, Unreachable
from cli.options import options_of
from cli.output import print_fields, print_json, tell
from cli.parsing import UsageError
from cli.progress import Follower
from cli.results import print_result, wait_for, wait_over_restarts
from cli.target import agent_of

if TYPE_CHECKING:
    from agentd.api.routes.client import Agent
    from agentd.model.views import OperationView
    from cli.parsing import CommandLine

SCRIPT_CAP_BYTES = 768 * 1024
"""A program must fit into a JSON body of 1 MiB with what surrounds it."""
LANGUAGE = "PYTHON"
ON_FAILURE = ("FAIL", "RETRY")
HOOKS = ("stop", "forward_to", "action", "orchestrator")
"""Options that say what is to be done at the end of the operation."""
NOT_IN_XML = (
    "kwargs", "constraint", "name", "key", "priority", "run_timeout",
    "on_failure", "max_attempts", "at_most_once", "callback",
)  # fmt: skip
"""Options that the form of a call with such an end does not have."""


def run(line: CommandLine) -> int:
    """Submit, and wait unless told otherwise."""
    if line.flag("wait") and line.flag("no_wait"):
        raise UsageError("--wait and --no-wait exclude each other", "call")
    waits = line.flag("wait") or line.flag("follow") or not (line.flag("no_wait") or line.is_compss)
    timeout_s = seconds(line, "timeout")
    if line.flag("debug"):
        print_fields(_details(line), on_stderr=True)
    if any(line.values.get(name) for name in HOOKS):
        return _run_hooked(line, timeout_s, waits=waits)
    body = _body(line)
    if "script" not in body and not line.is_compss:
        _remark_on_options(line.arguments[1:])
    with agent_of(line) as agent:
        operation = agent.send(requests.submit(body))
        if not waits:
            if line.flag("json"):
                print_json(operation)
            else:
                print(operation.id)
            return 0
        return _finish(line, agent, operation, timeout_s, is_program="script" in body)


def _remark_on_options(words: list[str]) -> None:
    """Say that what looks like an option of ours goes to the function, as it stands behind the target."""
    known = {f"--{option.name}" for option in options_of("call")} | {"--help"}
    names = (word.partition("=")[0].replace("_", "-") for word in words)
    found = next((name for name in names if name in known), None)
    if found is not None:
        tell(f"{found} stands behind TARGET and is given to it as an argument: options of `call` stand before TARGET")


def _run_hooked(line: CommandLine, timeout_s: float | None, *, waits: bool) -> int:
    """Submit a call at whose end something is to be done; an agent that has stopped by then answers no more."""
    request = _hooked(line)
    with agent_of(line) as agent:
        number = agent.send(request)
        if not waits:
            print_json({"id": number}) if line.flag("json") else print(number)
            return 0
        try:
            return print_result(agent, wait_for(agent, number, timeout_s), as_json=line.flag("json"))
        except Unreachable as error:
            words = f"operation {number} was accepted and the agent has stopped, as was asked for; its log has the end"
            raise Unreachable(words) from error


def _details(line: CommandLine) -> dict[str, str]:
    """Say what is about to be asked."""
    module, _, function = function_of(line, line.arguments[0], line.text("method_name")).partition(":")
    return {"class": module, "method": function, "parameters": " ".join(line.arguments[1:])}


def _hooked(line: CommandLine) -> requests.Request[str]:
    """Build a call at whose end something is to be done: COMPSs' door knows that, and takes text alone.

    Raises:
        UsageError: options that do not go together.
    """
    check_language(line)
    stops, forward_to, told = line.flag("stop"), line.text("forward_to"), line.text("orchestrator") or ""
    action = line.text("action")
    if action is not None and action.lower() != "stop":
        raise UsageError(f"--action {action!r}: the one action is stop", "call")
    stops = stops or action is not None
    if forward_to is not None and not stops:
        raise UsageError("--forward-to goes with --stop: it names the other agents that are to stop", "call")
    if told and stops:
        raise UsageError("--orchestrator and --stop exclude each other", "call")
    beside = next((name for name in NOT_IN_XML if line.values.get(name)), None)
    if beside is not None:
        raise UsageError(f"--{beside.replace('_', '-')} cannot be combined with --stop or --orchestrator", "call")
    target, *words = line.arguments
    module, _, method = function_of(line, target, line.text("method_name")).partition(":")
    return start_application(
        module,
        method,
        words,
        as_array=line.flag("array"),
        stops=stops,
        forward_to=[_url(word) for word in (forward_to or "").split(";") if word.strip()],
        orchestrator=_url(told) if told else "",
    )


def _url(word: str) -> str:
    return word.strip() if "://" in word else f"http://{word.strip()}"


def check_language(line: CommandLine) -> None:
    """Insist on the one language that there is.

    Raises:
        UsageError: another; the message names what is supported.
    """
    language = (line.text("lang") or LANGUAGE).upper()
    if language != LANGUAGE:
        words = f"--lang {language} is not supported: operations are functions in {LANGUAGE}; leave --lang out"
        raise UsageError(words, line.command.name)


def _finish(
    line: CommandLine, agent: Agent, operation: OperationView, timeout_s: float | None, *, is_program: bool = False
) -> int:
    """Wait, and print: of a function its value, of a program what it prints itself."""
    as_json, follows = line.flag("json"), line.flag("follow")
    shows = Follower(agent, operation, as_own=not follows) if follows or (is_program and not as_json) else nullcontext()
    try:
        with shows:
            ended = wait_over_restarts(line, agent, operation.id, timeout_s)
    except KeyboardInterrupt:
        tell(f"operation {operation.id} goes on: `agentd result {operation.id}` waits for it, `agentd cancel` stops it")
        raise
    return print_result(agent, ended, as_json=as_json, is_program=is_program)


def _body(line: CommandLine) -> dict[str, Any]:
    """Build the submission: what is called, with what, under which options."""
    target, *words = line.arguments
    check_language(line)
    options = _options(line)
    path = Path(target)
    method = line.text("method_name")
    if not line.is_compss and method is None and path.suffix == ".py" and path.is_file():
        return submissions.script(_source(path), path.name, words, **options)
    function = function_of(line, target, method)
    args, kwargs = _arguments(line, words)
    return submissions.submission(function, args, kwargs, **options)


def function_of(line: CommandLine, target: str, method: str | None) -> str:
    """Give `module:function` for what was named.

    Raises:
        UsageError: it is named twice, or is a file that is not here.
    """
    if ":" in target:
        if method is not None:
            raise UsageError(f"the function is named twice: {target!r} and --method-name {method}", line.command.name)
        return target
    if not line.is_compss and target.endswith(".py"):
        raise UsageError(f"there is no file {target}: give a program that is here, or MODULE:FUNCTION", "call")
    return f"{target.removesuffix('.py')}:{method or 'main'}"


def _arguments(line: CommandLine, words: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Read the arguments: JSON where it is JSON, else text; all text in the manner of COMPSs."""
    is_text = line.is_compss or line.flag("array") or line.text("lang") is not None or "method_name" in line.values
    if line.flag("array"):
        return [words], {}
    read = str if is_text else value_of
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if line.flag("kwargs") and equals and name.isidentifier():
            kwargs[name] = read(rest)
        else:
            args.append(read(word))
    return args, kwargs


def value_of(word: str) -> Any:
    """Read a word as JSON where it is valid JSON, else as text. NaN and numbers beyond 64 bits are no JSON here."""
    try:
        value = json.loads(word)
    except (ValueError, RecursionError):
        return word
    return value if submissions.is_json(value) else word


def _options(line: CommandLine) -> dict[str, Any]:
    options: dict[str, Any] = {
        "name": line.text("name") or "",
        "key": line.text("key"),
        "timeout_s": seconds(line, "run_timeout"),
        "constraints": _constraints(line.texts("constraint")) or None,
    }
    for name in ("priority", "max_attempts"):
        text = line.text(name)
        if text is not None:
            options[name] = _whole(name, text)
    on_failure = (line.text("on_failure") or "FAIL").upper()
    if on_failure not in ON_FAILURE:
        raise UsageError(f"--on-failure {on_failure!r} is none of {', '.join(ON_FAILURE)}", "call")
    options |= {
        "on_failure": on_failure,
        "idempotent": not line.flag("at_most_once"),
        "callback": line.text("callback"),
    }
    return options


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')} {text!r} is no whole number", "call") from error


def _constraints(rows: list[str]) -> dict[str, Any]:
    constraints = {}
    for row in rows:
        name, equals, value = row.partition("=")
        if not equals:
            raise UsageError(f"--constraint {row!r}: write NAME=VALUE, such as computing_units=2", "call")
        constraints[name.strip().replace("-", "_")] = value_of(value)
    return constraints


def _source(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SCRIPT_CAP_BYTES + 1)
        if len(data) > SCRIPT_CAP_BYTES:
            raise ConfigError(f"{path} is larger than {SCRIPT_CAP_BYTES} bytes: put it on the agent's --pythonpath")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def seconds(line: CommandLine, name: str) -> float | None:
    """Read an option in seconds, None if it was not given.

    Raises:
        UsageError: it is no number from 0.
    """
    text = line.text(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"--{name.replace('_', '-')} {text!r}: give seconds from 0", line.command.name)
    return value

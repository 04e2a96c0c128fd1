"""The body of a submission, read without pydantic: what `schemas.Submission` documents, at the speed of the hot path.

Law: what this accepts and what that documents are the same; a test holds them together.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from agentd.model.errors import RequestError
from agentd.model.figures import counted
from agentd.model.task import Constraints, Form, Template, WantedProcessor
from agentd.model.unreadable import UNREADABLE
from agentd.model.values import Codec, Payload
from agentd.rest.answering.problems import SHOWN_CHARS, Problem, invalid, shown
from agentd.rest.bodies.callbacks import check_callback
from agentd.rest.call import Caller
from agentd.rest.port import Request

Units = Annotated[int, Meta(ge=0, le=1 << 20)]
Amount = Annotated[int, Meta(ge=0, le=1 << 53)]
Size = Annotated[float, Meta(ge=0, le=1e15)]
Word = Annotated[str, Meta(min_length=1, max_length=256)]
Words = Annotated[tuple[Word, ...], Meta(max_length=64)]


class AskedProcessor(Struct, frozen=True, forbid_unknown_fields=True):
    """`WantedProcessor` as users write it."""

    kind: Literal["CPU", "GPU", "FPGA", "OTHER"] = "CPU"
    units: Annotated[int, Meta(ge=1, le=1 << 20)] = 1
    name: Word | None = None
    architecture: Word | None = None
    speed_ghz: Size | None = None
    internal_memory_gb: Size | None = None
    property_name: Word | None = None
    property_value: Word | None = None


class AskedConstraints(Struct, frozen=True, forbid_unknown_fields=True):
    """`Constraints` as users write them: the same fields, with bounds."""

    computing_units: Units = 1
    gpus: Units = 0
    fpgas: Units = 0
    others: Units = 0
    memory_mib: Amount | None = None
    memory_type: Word | None = None
    storage_gb: Size | None = None
    storage_type: Word | None = None
    storage_bandwidth: Amount | None = None
    processor_name: Word | None = None
    processor_architecture: Word | None = None
    processor_speed_ghz: Size | None = None
    processor_internal_memory_gb: Size | None = None
    processor_property_name: Word | None = None
    processor_property_value: Word | None = None
    processors: Annotated[tuple[AskedProcessor, ...], Meta(max_length=64)] = ()
    operating_system_type: Word | None = None
    operating_system_distribution: Word | None = None
    operating_system_version: Word | None = None
    software: Words = ()
    host_queues: Words = ()
    labels: Words = ()
    is_local: bool = False


class Callback(Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell of the end."""

    url: Annotated[str, Meta(min_length=1, max_length=2048)]


class Body(Struct, frozen=True, forbid_unknown_fields=True):
    """One operation as it is asked for."""

    function: Annotated[str, Meta(min_length=1, max_length=512)]
    args: Raw = Raw(b"[]")
    kwargs: Raw = Raw(b"{}")
    pickle: bytes | None = None
    code: bytes | None = None
    script: str | None = None
    constraints: AskedConstraints | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    idempotent: bool = True
    priority: Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)] = 0
    name: Annotated[str, Meta(max_length=256)] = ""
    on_failure: Literal["FAIL", "RETRY"] = "FAIL"
    on_orphan: Literal["STOP", "KEEP"] = "STOP"
    callback: Callback | None = None
    key: str | None = None


_FIELDS: dict[str, type[Struct]] = {
    "constraints": AskedConstraints,
    "processors": AskedProcessor,
    "callback": Callback,
}
"""What may stand in an object, by the name of the field that holds it."""


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Many of them, each read by itself, so that one that is wrong does not spoil the others."""

    operations: list[Raw]


_body = msgspec.json.Decoder(Body)
_batch = msgspec.json.Decoder(Batch)
_values = msgspec.json.Decoder()
_digested = msgspec.msgpack.Encoder()
_one_way = msgspec.json.Encoder(order="sorted")

_NO_CONSTRAINTS = Constraints()
_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAMED = re.compile(rf"{_DOTTED}:{_DOTTED}")
_FILE = re.compile(r"[^/\\\x00-\x1f\x7f]+")
_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_BOUND = re.compile(r"Expected `(\w+)` (of length )?([<>]=) (\S+)")
"""What msgspec says of a text, a list or a number beyond its bounds."""
_UNKNOWN = re.compile(r"unknown field `(.*?)`")
_FAILURES = (
    "an operation that raises ends as failed (FAIL) or runs again (RETRY); IGNORE and CANCEL_SUCCESSORS say what "
    "becomes of tasks that read what another did not make: give them to @task"
)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def read_submission(body: bytes, caller: Caller, callback_hosts: tuple[str, ...], key: str | None = None) -> Request:
    """Make a request of one submission's JSON; `key` is the header's idempotency key.

    Raises:
        Problem: 400 no JSON; 403 the caller may not send code; 422 a field is wrong, named by a JSON pointer.
    """
    asked = _decode(_body, body)
    _check_text(body)
    form = _form(asked)
    if asked.pickle is not None or form is not Form.NAME:
        what = "a pickle" if asked.pickle is not None else "a function or a script by value"
        caller.demand("code", f"sending {what}")
    template = Template(
        function=asked.function,
        form=form,
        code=asked.code or (asked.script or "").encode(),
        codec=Codec.JSON if asked.pickle is None else Codec.PICKLE,
        constraints=_constraints(asked.constraints),
        timeout_s=asked.timeout_s,
        max_attempts=asked.max_attempts,
        idempotent=asked.idempotent,
        priority=asked.priority,
        on_failure=asked.on_failure,
        on_orphan=asked.on_orphan,
        name=asked.name,
        durable=True,
        wants_json=True,
    )
    payload, blobs = _arguments(asked)
    callback = check_callback(asked.callback.url, callback_hosts) if asked.callback is not None else ""
    chosen = _chosen(key, asked.key)
    return Request(
        template=template,
        payload=payload,
        blobs=blobs,
        key=chosen,
        digest=_digest(template, payload, callback) if chosen else b"",
        callback=callback,
        identity=caller.identity,
    )


def read_batch(body: bytes, cap: int) -> list[bytes]:
    """Split a batch into the JSON of its submissions.

    Raises:
        Problem: 400 no JSON; 422 not `{"operations": […]}`, none of them, or more than `cap`.
    """
    items = _decode(_batch, body).operations
    if not 1 <= len(items) <= cap:
        raise invalid(f"a batch has 1 to {cap} operations, this one has {len(items)}: split it", "/operations")
    return [bytes(item) for item in items]


def check_key(key: str) -> str:
    """Give back an idempotency key that can be one.

    Raises:
        Problem: 422, empty, longer than 255 characters, or not visible ASCII.
    """
    if not _KEY.fullmatch(key):
        raise invalid("an idempotency key is 1 to 255 visible ASCII characters, such as a UUID")
    return key


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """Decode, and say of an error where it is.

    Raises:
        Problem: 400 or 422.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        check_json(body)  # a field that is wrong may stand before text that is no JSON
        raise _wrong_field(str(error)) from error
    except UNREADABLE as error:
        raise _no_json(body, error) from error


def check_json(body: bytes) -> None:
    """Insist that a body is JSON at all.

    Raises:
        Problem: 400.
    """
    try:
        _values.decode(body)
    except UNREADABLE as error:
        raise _no_json(body, error) from error


def _no_json(body: bytes, error: Exception) -> Problem:
    return Problem(400, f"the body is not JSON: {error if body else 'it is empty'}")


def _wrong_field(said: str) -> Problem:
    """Turn msgspec's words into a problem with a JSON pointer: `… - at `$.a[0].b`` becomes `/a/0/b`.

    Of a set or a tuple it does not tell which item is wrong; then the pointer ends at the array.
    """
    where = _AT.search(said)
    path = re.findall(r"\.([^.\[]+)|\[(\d+)\]", where.group(1)) if where else []
    pointer = "".join(f"/{name or index}" for name, index in path)
    unknown = _UNKNOWN.search(said)
    if unknown:
        known = _FIELDS.get(next((name for name, _ in reversed(path) if name), ""), Body)
        pointer += "/" + shown(unknown.group(1)).replace("~", "~0").replace("/", "~1")
        return invalid(f"{pointer}: there is no such field; there are {', '.join(known.__struct_fields__)}", pointer)
    if pointer == "/on_failure":
        return invalid(f"{pointer}: {_FAILURES}", pointer)
    return invalid(f"{pointer or 'the body'}: {shown(_in_words(_AT.sub('', said)), 4 * SHOWN_CHARS)}", pointer)


def _in_words(said: str) -> str:
    """Say as a person would which bound was passed; all else stays as msgspec has it."""
    bound = _BOUND.fullmatch(said)
    if bound is None:
        return said
    kind, of_length, sign, figure = bound.groups()
    at = {">=": "at least", "<=": "at most"}[sign]
    if not of_length:
        return f"it is a number of {at} {figure}"
    return f"it has {at} {counted(int(figure), {'str': 'character', 'bytes': 'byte'}.get(kind, 'item'))}"


def _check_text(body: bytes) -> None:
    """Insist on UTF-8 also in the arguments, which are passed on without being decoded.

    Raises:
        Problem: 400.
    """
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def _form(asked: Body) -> Form:
    if asked.code is not None and asked.script is not None:
        raise invalid("give a function by `code` or a program by `script`, not both", "/script")
    if asked.code is not None:
        return Form.VALUE
    if asked.script is not None:
        if not _FILE.fullmatch(asked.function):
            raise invalid("with `script`, `function` is the program's file name, without folders", "/function")
        return Form.SCRIPT
    if not _NAMED.fullmatch(asked.function):
        raise invalid(f"{asked.function!r} is not of the form 'package.module:function'", "/function")
    return Form.NAME


def _constraints(asked: AskedConstraints | None) -> Constraints:
    if asked is None:
        return _NO_CONSTRAINTS
    given = msgspec.structs.asdict(asked)
    given["processors"] = tuple(WantedProcessor(**msgspec.structs.asdict(one)) for one in asked.processors)
    return Constraints(**given)


def _arguments(asked: Body) -> tuple[Payload, tuple[int, ...]]:
    args, kwargs = bytes(asked.args), bytes(asked.kwargs)
    if asked.pickle is not None:
        if (args, kwargs) != (b"[]", b"{}"):
            raise invalid("give the arguments as `args` and `kwargs`, or as `pickle`, not both", "/pickle")
        return Payload(Codec.PICKLE, asked.pickle), ()
    if not args.startswith(b"["):
        raise invalid("/args: expected an array", "/args")
    if not kwargs.startswith(b"{"):
        raise invalid("/kwargs: expected an object", "/kwargs")
    data = b'{"args":' + args + b',"kwargs":' + kwargs + b"}"
    return Payload(Codec.JSON, data), _blobs(data)


def _blobs(data: bytes) -> tuple[int, ...]:
    """List the objects that stand in the arguments as `{"$blob": id}`."""
    if b"$blob" not in data and b"\\u" not in data:
        return ()
    try:
        found: list[int] = []
        _collect(_values.decode(data), "", found)
    except UNREADABLE as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    return tuple(dict.fromkeys(found))


def _collect(value: Any, pointer: str, found: list[int]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _collect(item, f"{pointer}/{index}", found)
    elif isinstance(value, dict):
        if value.keys() == {"$blob"}:
            found.append(_blob(value["$blob"], pointer + "/$blob"))
        else:
            for name, item in value.items():
                _collect(item, f"{pointer}/{name}", found)


def _blob(value: Any, pointer: str) -> int:
    text = value if isinstance(value, str) else ""
    identifier = operation_number(text)
    if identifier is None:
        raise invalid('a blob is named {"$blob": "ID"} with the id that PUT /v1/blobs gave, as text', pointer)
    return identifier


def operation_number(text: str) -> int | None:
    """Read an identifier: a positive number of 63 bits, in decimal; None when it is not one."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or text[0] == "0":
        return None
    number = int(text)
    return number if number < 1 << 63 else None


def _chosen(header: str | None, field: str | None) -> str:
    if header is not None and field is not None and header != field:
        raise invalid("the key in the body differs from the header Idempotency-Key: send one of them", "/key")
    key = header if header is not None else field
    return "" if key is None else check_key(key)


def _digest(template: Template, payload: Payload, callback: str) -> bytes:
    """Hash what a submission asks for, so that the same key with another wish is noticed.

    Of arguments in JSON it is what they say, written in one way: libraries differ in spaces, order and escapes.
    """
    if payload.codec is Codec.JSON:
        with suppress(*UNREADABLE):  # a number beyond floats, say: then only what is written alike is the same
            payload = msgspec.structs.replace(payload, data=_one_way.encode(_values.decode(payload.data)))
    return hashlib.sha256(_digested.encode((template, payload, callback))).digest()


def failed(error: Exception) -> RequestError:
    """Give the refusal in an item's place of a batch; anything else is a fault of ours and goes on its way."""
    if isinstance(error, RequestError):
        return error
    raise error

"""Submissions as they are read, and as they are documented: the two agree."""

from __future__ import annotations

import base64
import dataclasses
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentd.model import task, views
from agentd.model.task import Form
from agentd.model.values import Codec
from agentd.rest.answering.problems import Problem
from agentd.rest.bodies import schemas, submission, task_schemas
from agentd.rest.call import Caller
from schedulers.capacity import Capacity, Processor

CODER = Caller("token:coder", "code")


def read(body: dict, caller: Caller = CODER, hosts: tuple[str, ...] = (), key: str | None = None):
    """Read a submission from a dict."""
    return submission.read_submission(json.dumps(body).encode(), caller, hosts, key)


def test_a_submission_becomes_a_template_and_a_payload():
    """What is not said has the documented default; the arguments stay as they were written."""
    body = b'{"function":"a.b:c","args":[1, 2.50, "\xc3\xbc"],"kwargs": {"x" : null}}'
    request = submission.read_submission(body, CODER, ())
    assert request.template == task.Template(function="a.b:c", codec=Codec.JSON, durable=True, wants_json=True)
    assert request.payload.codec == Codec.JSON
    assert request.payload.data == b'{"args":[1, 2.50, "\xc3\xbc"],"kwargs":{"x" : null}}'
    assert (request.key, request.digest, request.identity) == ("", b"", "token:coder")


def test_every_option_reaches_the_template():
    """No option is read and then forgotten."""
    constraints = {"computing_units": 2, "gpus": 1, "memory_mib": 512, "software": ["numpy"], "is_local": True}
    request = read(
        {
            "function": "a:b",
            "constraints": constraints,
            "timeout_s": 1.5,
            "max_attempts": 1,
            "idempotent": False,
            "priority": -3,
            "name": "n",
            "on_failure": "RETRY",
            "callback": {"url": "http://h/x"},
            "key": "k",
        },
        hosts=("h",),
    )
    template = request.template
    assert template.constraints == task.Constraints(
        computing_units=2, gpus=1, memory_mib=512, software=("numpy",), is_local=True
    )
    assert (template.timeout_s, template.max_attempts, template.idempotent, template.priority) == (1.5, 1, False, -3)
    assert (template.name, template.on_failure, request.callback, request.key) == ("n", "RETRY", "http://h/x", "k")


def test_forms_of_functions():
    """By name, by value, and as a script."""
    code = base64.b64encode(b"pickled").decode()
    assert read({"function": "a:b"}).template.form is Form.NAME
    by_value = read({"function": "whatever <lambda>", "code": code}).template
    assert (by_value.form, by_value.code) == (Form.VALUE, b"pickled")
    script = read({"function": "x.py", "script": "print('ü')"}).template
    assert (script.form, script.code) == (Form.SCRIPT, "print('ü')".encode())
    pickled = read({"function": "a:b", "pickle": code})
    assert (pickled.payload.codec, pickled.payload.data) == (Codec.PICKLE, b"pickled")


@pytest.mark.parametrize("field", ["code", "script", "pickle"])
@pytest.mark.parametrize("scope", ["submit", "read"])
def test_only_scope_code_sends_code(field, scope):
    """The scope is checked by what is in the body, also when it is empty."""
    with pytest.raises(Problem) as caught:
        read({"function": "a:b", field: ""}, Caller("x", scope))
    assert caught.value.status == 403


@pytest.mark.parametrize("wish", ["IGNORE", "CANCEL_SUCCESSORS", "retry", 5])
def test_what_has_no_meaning_for_an_operation_is_refused_and_not_ignored(wish):
    """Nothing reads what an operation did not make: whoever asks for that is told where it belongs."""
    with pytest.raises(Problem, match=r"FAIL.*RETRY.*@task") as caught:
        read({"function": "a:b", "on_failure": wish})
    assert caught.value.status == 422
    assert caught.value.members["errors"][0]["pointer"] == "/on_failure"


@pytest.mark.parametrize("name", ["a:b", "a.b.c:d", "a:B.method", "_a:_b", "münze:prägen"])
def test_functions_that_can_be(name):
    """A module and what is in it, as Python writes them."""
    assert read({"function": name}).template.function == name


@pytest.mark.parametrize(
    "name", ["a", "a:", ":b", "a:b:c", "a..b:c", ".a:b", "1a:b", "a:b()", "a/b:c", "a:b\n", " a:b", "a-b:c"]
)
def test_functions_that_cannot_be(name):
    """Paths, calls and fragments are no names."""
    with pytest.raises(Problem) as caught:
        read({"function": name})
    assert caught.value.status == 422


class TestBlobs:
    """References to stored objects in arguments."""

    def test_they_are_found_wherever_they_stand(self):
        """In lists, dicts and named arguments; each once, in order."""
        request = read(
            {"function": "a:b", "args": [{"$blob": "7"}, [{"x": {"$blob": "8"}}]], "kwargs": {"k": {"$blob": "7"}}}
        )
        assert request.blobs == (7, 8)

    def test_escapes_do_not_hide_them(self):
        """Whoever decodes the arguments sees the same references."""
        assert submission.read_submission(b'{"function":"a:b","args":[{"\\u0024blob":"7"}]}', CODER, ()).blobs == (7,)
        assert submission.read_submission(b'{"function":"a:b","args":[{"$bl\\u006fb":"7"}]}', CODER, ()).blobs == (7,)

    def test_more_than_a_reference_is_none(self):
        """An object with further fields is a value of the user's own."""
        assert read({"function": "a:b", "args": [{"$blob": "7", "x": 1}, "$blob"]}).blobs == ()

    @pytest.mark.parametrize("value", [7, None, "", "0", "-7", "07", "1e3", "x", str(1 << 63), ["7"]])
    def test_wrong_ones_are_refused(self, value):
        """What cannot be an id is told at once."""
        with pytest.raises(Problem, match="blob"):
            read({"function": "a:b", "args": [{"$blob": value}]})


class TestKeys:
    """Idempotency keys and the digests that guard them."""

    def test_the_digest_is_of_what_is_asked(self):
        """Order of fields and where the key stands do not matter; every option and argument does."""
        first = submission.read_submission(b'{"function":"a:b","priority":1}', CODER, (), "k")
        same = submission.read_submission(b'{"priority": 1, "key": "k", "function": "a:b"}', CODER, ())
        assert first.digest == same.digest != b""
        for other in ({"priority": 2}, {"args": [1]}, {"kwargs": {"x": 1}}, {"name": "n"}, {"timeout_s": 1.0}):
            assert read({"function": "a:b", "priority": 1} | other, key="k").digest != first.digest

    @pytest.mark.parametrize(
        ("one", "other", "is_same"),
        [
            (b'"args":[1,"A",{"x":1,"y":[]}]', b'"args": [ 1, "\\u0041", {"y" : [], "x": 1} ]', True),
            (b'"kwargs":{"a":1,"b":2.50}', b'"kwargs":{"b":2.5,"a":1}', True),
            (b'"args":[]', b'"args":[ ],"kwargs":{}', True),
            (b'"args":[1]', b'"args":[1.0]', False),
            (b'"args":[" a"]', b'"args":["a"]', False),
            (b'"args":[1,2]', b'"args":[2,1]', False),
            (b'"args":[1e999]', b'"args":[2e999]', False),
        ],
    )
    def test_arguments_are_the_same_however_they_are_written(self, one, other, is_same):
        """Spaces, escapes and the order of fields are not what is asked; values, their kinds and their order are."""
        digests = {
            submission.read_submission(b'{"function":"a:b",' + body + b"}", CODER, (), "k").digest
            for body in (one, other)
        }
        assert (len(digests) == 1) is is_same

    def test_two_different_keys_are_refused(self):
        """A header and a field that disagree are a mistake."""
        assert read({"function": "a:b", "key": "k"}, key="k").key == "k"
        with pytest.raises(Problem, match="differs"):
            read({"function": "a:b", "key": "k"}, key="l")


@pytest.mark.parametrize(
    ("more", "pointer", "known"),
    [
        ({"timeout": 1}, "/timeout", "timeout_s"),
        ({"constraints": {"cores": 2}}, "/constraints/cores", "computing_units"),
        ({"constraints": {"processors": [{"kind": "GPU", "count": 1}]}}, "/constraints/processors/0/count", "units"),
        ({"callback": {"uri": "http://h/x"}}, "/callback/uri", "url"),
    ],
)
def test_a_field_that_nobody_knows_is_answered_with_those_that_there_are(more, pointer, known):
    """Of the very object in which it stands."""
    with pytest.raises(Problem, match=f"^{pointer}: there is no such field; there are .*{known}") as found:
        read({"function": "a:b", **more})
    assert found.value.status == 422


def test_operation_numbers():
    """63 bits, positive, decimal, without a leading zero."""
    assert submission.operation_number(str((1 << 63) - 1)) == (1 << 63) - 1
    assert submission.operation_number("1") == 1
    for text in ("", "0", "01", "-1", "+1", " 1", "1_0", "²", "\u0661", str(1 << 63), "9" * 5000):
        assert submission.operation_number(text) is None, text


# --- what is read and what is documented ----------------------------------------------------------------------------


def fields_of(struct) -> dict[str, object]:
    """Give a struct's fields with their defaults, in order; lists for tuples, as JSON has them."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(struct):
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        default = default() if callable(default) else default
        found[field.name] = list(default) if isinstance(default, tuple) else default
    return found


def documented(model) -> dict[str, object]:
    """Give a model's fields with their defaults."""
    return {
        name: msgspec.NODEFAULT if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }


def test_constraints_are_those_of_the_model():
    """The same names and defaults in all three places, so none can be lost on the way."""
    assert fields_of(submission.AskedConstraints) == fields_of(task.Constraints) == documented(schemas.Constraints)


def test_the_documented_body_has_the_fields_that_are_read():
    """Arguments are kept raw; all else has the same default."""
    read_fields = fields_of(submission.Body) | {"args": [], "kwargs": {}}
    assert read_fields == documented(schemas.Submission)


@pytest.mark.parametrize(
    ("model", "view"),
    [
        (schemas.TaskCounts, views.TaskCounts),
        (schemas.Failure, views.ErrorView),
        (schemas.Operation, views.OperationView),
        (task_schemas.Task, views.TaskView),
        (schemas.ProcessorShown, views.ProcessorView),
        (schemas.Resource, views.ResourceView),
        (schemas.Neighbour, views.NeighbourView),
        (schemas.Agent, views.AgentView),
        (schemas.Page, views.Page),
    ],
)
def test_what_is_shown_is_documented(model, view):
    """Each model has exactly the fields of the view that it documents, and needs those that the view needs."""
    required = {name for name, default in fields_of(view).items() if default is msgspec.NODEFAULT}
    assert list(model.model_fields) == list(view.__struct_fields__)
    assert {name for name, field in model.model_fields.items() if field.is_required()} == required


def test_states_are_those_of_the_model():
    """No state is missing in the documentation."""
    assert set(schemas.State.__args__) == set(views.STATES)


def test_capacities_are_those_of_the_pool():
    """Every figure of a capacity and of a processor can be said over REST."""
    assert list(schemas.CapacityAsked.model_fields) == [field.name for field in dataclasses.fields(Capacity)]
    assert list(schemas.ProcessorAsked.model_fields) == [field.name for field in dataclasses.fields(Processor)]
    asked = schemas.CapacityAsked(
        processors=[{"units": 2, "kind": "GPU", "name": "g"}], memory_mib=1, software=["a", "A"]
    )
    value = asked.value()
    assert value.units(next(iter(value.processors)).kind) == 2
    assert (value.memory_mib, value.software, value.processors[0].name) == (1, frozenset({"A"}), "g")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
constraint_values = st.sampled_from(
    [None, 0, 1, -1, 1 << 20, (1 << 20) + 1, 0.5, "x", "", "x" * 257, True, [], ["a"], [""], [1], ["a"] * 65]
)
bodies = st.fixed_dictionaries(
    {"function": st.sampled_from(["a:b", "", 5, "x" * 600])},
    optional={
        "args": st.sampled_from([[], [1], {}, None, "x"]) | st.lists(json_values, max_size=2),
        "kwargs": st.sampled_from([{}, [], None]) | st.dictionaries(st.text(max_size=5), json_values, max_size=2),
        "constraints": st.none()
        | st.dictionaries(
            st.sampled_from([*task.Constraints.__struct_fields__, "cpus"]), constraint_values, max_size=2
        ),
        "timeout_s": st.sampled_from([None, 0, 1, 0.5, -1, 1e9, 1e10, "1", True]),
        "max_attempts": st.sampled_from([0, 1, 100, 101, 1.0, 1.5, "3", None, True]),
        "idempotent": st.sampled_from([True, False, 0, "true", None]),
        "priority": st.sampled_from([0, -(1 << 31), 1 << 31, 1.5, "1", None]),
        "name": st.sampled_from(["", "n", "x" * 257, 5, None]),
        "on_failure": st.sampled_from(["FAIL", "RETRY", "IGNORE", "CANCEL_SUCCESSORS", "fail", None]),
        "callback": st.sampled_from(
            [None, {}, {"url": "http://h/"}, {"url": ""}, {"url": 5}, {"url": "http://h/", "x": 1}]
        ),
        "key": st.sampled_from([None, "k", "", "a b", "x" * 256, 5]),
        "more": st.just(1),
    },
)


@given(body=bodies)
def test_what_is_read_and_what_is_documented_agree(body):
    """A submission is taken exactly when the documented schema allows it."""
    try:
        schemas.Submission.model_validate(body)
        allowed = True
    except ValidationError:
        allowed = False
    try:
        read(body, hosts=("h",))
        taken = True
    except Problem:
        taken = False
    assert taken == allowed, body


@pytest.mark.parametrize(
    "where", [lambda long: {long: 1}, lambda long: {"on_failure": long}, lambda long: {"function": long}]
)
def test_little_of_what_is_wrong_is_repeated(where):
    """A field's name, or a value, of a megabyte makes no refusal of a megabyte, nor does a terminal obey it."""
    with pytest.raises(Problem) as caught:
        read({"function": "m:f", **where("\x9b" + "x" * 500_000)})
    told = json.dumps([str(caught.value), caught.value.members])
    assert len(told) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"name": "n" * 257}, "/name: it has at most 256 characters"),
        ({"max_attempts": 0}, "/max_attempts: it is a number of at least 1"),
        ({"constraints": {"labels": ["x"] * 65}}, "/constraints/labels: it has at most 64 items"),
        ({"constraints": {"labels": [""]}}, "/constraints/labels/0: it has at least 1 character"),
        ({"priority": "high"}, "/priority: Expected `int`, got `str`"),
    ],
)
def test_what_is_beyond_its_bounds_is_told_in_words(more, words):
    """As a person would say it, on the command line too."""
    with pytest.raises(Problem) as found:
        read({"function": "a:b", **more})
    assert str(found.value) == words

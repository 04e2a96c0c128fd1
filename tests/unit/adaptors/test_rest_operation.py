"""A task as an operation of a user port and back: what is sent is what was asked, and no value is guessed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agentd.adaptors.catalogue import COMPSS_COMM, COMPSS_REST, class_of, find, known_adaptor
from agentd.adaptors.rest_agent import RestAgentAdaptor
from agentd.adaptors.rest_operation import STATUS, body_of, objection, outcome_of, value_of
from agentd.model.errors import RequestError
from agentd.model.exchange import Offer
from agentd.model.task import Constraints, Form, Status, Template
from agentd.model.values import NO_VALUE, Codec, Part, Payload
from agentd.model.views import TERMINAL, ErrorView, OperationView
from agentd.rest.bodies.submission import read_submission
from agentd.rest.call import Caller

OWNER = Caller("owner", "admin")
ARGUMENTS = Payload(Codec.JSON, b'{"args":[1,{"a":[2]}],"kwargs":{"b":null}}')


def view(state: str = "done", **more: object) -> OperationView:
    return OperationView("1", "", "m:f", state, "why", 1.0, **{"started_at": 2.0, "ended_at": 5.0, **more})  # type: ignore[arg-type]


def test_what_a_failure_leads_to_for_other_tasks_is_decided_here() -> None:
    """A user port knows nothing of tasks that read what this one does not make: it tells that it failed."""
    for wish, sent in (("IGNORE", "FAIL"), ("CANCEL_SUCCESSORS", "FAIL"), ("RETRY", "RETRY")):
        asked = read_submission(body_of(Template("m:f", on_failure=wish), NO_VALUE), OWNER, ())
        assert asked.template.on_failure == sent


@pytest.mark.parametrize(
    ("template", "payload"),
    [
        (Template("m:f", codec=Codec.JSON), ARGUMENTS),
        (Template("m:f"), Payload(Codec.PICKLE, b"\x80")),
        (Template("f", form=Form.VALUE, code=b"\x80\x05"), Payload(Codec.PICKLE, b"\x80")),
        (Template("f.py", form=Form.SCRIPT, code=b"print()"), Payload(Codec.JSON, b'{"args":["x"],"kwargs":{}}')),
        (Template("m:f"), NO_VALUE),
        (
            Template(
                "m:f",
                constraints=Constraints(computing_units=2, gpus=1, software=("A",), processor_architecture="arm"),
                timeout_s=5.0,
                idempotent=False,
                priority=3,
                on_failure="RETRY",
                name="called",
            ),
            NO_VALUE,
        ),
    ],
)
def test_what_is_written_is_what_the_port_reads(template: Template, payload: Payload) -> None:
    """Function, code, arguments and options arrive; only the agent that is asked may run it, and once."""
    assert objection(template, Offer(1, 1, payload), payload) is None
    asked = read_submission(body_of(template, payload), OWNER, ())
    expected = Payload(Codec.JSON, b'{"args":[],"kwargs":{}}') if payload.codec == Codec.NONE else payload
    assert asked.payload == expected
    found = asked.template
    assert (found.function, found.form, found.code) == (template.function, template.form, template.code)
    assert found.constraints == msgspec.structs.replace(template.constraints, is_local=True)
    assert found.max_attempts == 1
    for name in ("timeout_s", "idempotent", "priority", "on_failure", "name"):
        assert getattr(found, name) == getattr(template, name)


@pytest.mark.parametrize(
    ("template", "offer", "payload"),
    [
        (Template("m:f", form=Form.CHUNK), Offer(1, 1, NO_VALUE), NO_VALUE),
        (Template("m:f"), Offer(1, 1, NO_VALUE), Payload(Codec.PICKLE, b"", (Part(1, b"x"),))),
        (Template("m:f"), Offer(1, 1, NO_VALUE), Payload(Codec.BYTES, b"x")),
        (Template("m:f"), msgspec.structs.replace(Offer(1, 1, NO_VALUE), makes=1), NO_VALUE),
    ],
)
def test_what_the_port_cannot_express_is_declined(template: Template, offer: Offer, payload: Payload) -> None:
    """With a reason, so that it is placed elsewhere."""
    assert "user port" in (objection(template, offer, payload) or "")


def test_values_come_back_in_all_the_forms_that_were_had() -> None:
    """Bytes as bytes, None as None, JSON together with the pickle that says what it does not."""
    assert value_of(None, b"p", None) == Payload(Codec.PICKLE, b"p")
    assert value_of(None, b"p", b"raw") == Payload(Codec.BYTES, b"raw")
    assert value_of(b"[1]", b"p", None) == Payload(Codec.BOTH, b"\x00\x00\x00\x03[1]p")
    assert value_of(b"null", b"p", None) == NO_VALUE
    assert value_of(b"[1]", None, None) == Payload(Codec.JSON, b"[1]")


def test_every_end_has_its_status() -> None:
    """All five; a failure with its traceback, others with the reason."""
    assert STATUS.keys() == TERMINAL
    done = outcome_of(view(ran_on="beta"), Payload(Codec.JSON, b"1"), "n")
    assert (done.status, done.seconds, done.agent, done.hops, done.failure) == (Status.DONE, 3.0, "beta", 1, None)
    failed = outcome_of(view("failed", error=ErrorView("ValueError", "no", "Traceback")), NO_VALUE, "n")
    assert failed.failure is not None
    assert (failed.failure.type, failed.failure.traceback, failed.failure.agent) == ("ValueError", "Traceback", "n")
    lost = outcome_of(view("lost_unknown", started_at=None), NO_VALUE, "n")
    assert lost.failure is not None
    assert (lost.status, lost.failure.message, lost.seconds) == (Status.LOST_UNKNOWN, "why", 0.0)


ADDRESSES = [
    ("beta", {}, "http://beta:46101"),
    ("beta", {"Port": "5"}, "http://beta:5"),
    ("beta", {"Host": "10.0.0.2", "Port": "5"}, "http://10.0.0.2:5"),
    ("beta", {"Host": "::1"}, "http://[::1]:46101"),
    ("http://10.0.0.2:46101", {"Port": "9"}, "http://10.0.0.2:46101"),
    ("beta", {"Host": "https://b.example/"}, "https://b.example"),
]


@pytest.mark.parametrize(("name", "properties", "url"), ADDRESSES)
def test_where_a_neighbour_is(name: str, properties: dict[str, str], url: str) -> None:
    """A name that is an address is the whole of it, as in the field."""
    assert RestAgentAdaptor().address(name, properties) == url


@pytest.mark.parametrize(
    ("name", "properties", "why"),
    [
        ("beta", {"port": "5"}, "no property 'port'"),
        ("beta", {"Port": "0"}, "no TCP port"),
        ("be ta", {}, "no host"),
        ("beta", {"Host": "a/b"}, "no host"),
        ("http://", {}, "no address"),
        ("http://a/path", {}, "no address"),
        ("http://u@a", {}, "no address"),
        ("http://a:99999", {}, "no address"),
        ("beta", {"TokenFile": "/nowhere/token"}, "cannot be read"),
    ],
)
def test_properties_that_cannot_be_are_refused(name: str, properties: dict[str, str], why: str) -> None:
    """Before anything is dialled."""
    with pytest.raises(RequestError, match=why):
        RestAgentAdaptor().address(name, properties)


def test_a_token_is_read_from_a_file_and_never_shown(tmp_path: Path) -> None:
    """So that no token stands in the pool or in the journal."""
    (tmp_path / "token").write_text("secret\n")
    place = RestAgentAdaptor()._place("beta", {"TokenFile": str(tmp_path / "token")})
    assert place.token == "secret"
    assert "secret" not in repr(place)


def test_adaptors_are_known_by_short_names_and_by_those_of_the_field() -> None:
    """Old and new ones; those of classic workers are refused with what there is."""
    assert known_adaptor("es.bsc.compss.agent.rest.Adaptor", "b", {}) == "rest"
    assert known_adaptor(COMPSS_REST, "b", {}) == "rest"
    assert isinstance(find("rest"), RestAgentAdaptor)
    assert (class_of("rest"), class_of("comm"), class_of("x.Y")) == (COMPSS_REST, COMPSS_COMM, "x.Y")
    for name in ("es.bsc.compss.nio.master.NIOAdaptor", "es.bsc.compss.gat.master.GATAdaptor"):
        with pytest.raises(RequestError, match=f"{COMPSS_COMM} or {COMPSS_REST}"):
            known_adaptor(name, "b", {})

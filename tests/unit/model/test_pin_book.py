"""The book of peers: who is trusted, under which name, and for what."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from agentd.model import peers
from agentd.model.errors import RequestError
from agentd.model.peers import MOST_ADDRESSES, NO_LIMITS, Limits, Peer, PinBook

few = st.integers(0, 4)


def peer(agent: int = 0, certificate: int = 0, name: str = "beta", **fields) -> Peer:
    return Peer(name=name, agent_id=f"id-{agent}", certificate=bytes([certificate]) * 3, **fields)


class PinBookHistory(RuleBasedStateMachine):
    """Whatever operators and guests do to a book, its laws hold."""

    def __init__(self) -> None:
        super().__init__()
        self.book = PinBook()

    def does(self, change) -> None:
        with suppress(RequestError):
            self.book = change(self.book)

    @rule(agent=few, certificate=few, name=st.sampled_from(["a", "b", "a-2", "", "x y"]))
    def add(self, agent, certificate, name):
        self.does(lambda book: book.add(peer(agent, certificate, name)))

    @rule(name=st.sampled_from(["a", "b", "a-2"]), new=st.sampled_from(["a", "b", "c", "\n"]))
    def rename(self, name, new):
        self.does(lambda book: book.rename(name, new))

    @rule(name=st.sampled_from(["a", "b", "a-2"]))
    def revoke(self, name):
        self.does(lambda book: book.revoke(name, "for a reason"))

    @rule(name=st.sampled_from(["a", "b", "a-2"]))
    def forget(self, name):
        self.does(lambda book: book.forget(name))

    @rule(name=st.sampled_from(["a", "b"]), most=st.integers(0, 3))
    def limit(self, name, most):
        self.does(lambda book: book.limit(name, Limits(max_tasks=most)))

    @invariant()
    def one_certificate_one_agent_one_name(self):
        trusted = [each for each in self.book.peers if each.is_trusted]
        for of in (lambda each: each.name, lambda each: each.agent_id, lambda each: each.certificate):
            assert len({of(each) for each in trusted}) == len(trusted)

    @invariant()
    def a_certificate_stands_for_at_most_one_entry(self):
        prints = [each.fingerprint for each in self.book.peers]
        assert len(set(prints)) == len(prints)


TestPinBookHistory = PinBookHistory.TestCase


def test_a_name_that_is_taken_gets_a_number():
    """Two devices that call themselves the same are told apart, and the first keeps its name."""
    book = PinBook().add(peer(1, 1)).add(peer(2, 2)).add(peer(3, 3))
    assert [each.name for each in book.peers] == ["beta", "beta-2", "beta-3"]


def test_nobody_takes_anothers_place():
    """Neither a known id with another certificate, nor a known certificate under another id, comes in."""
    book = PinBook().add(peer(1, 1))
    with pytest.raises(RequestError, match="same id, with another certificate"):
        book.add(peer(1, 2))
    with pytest.raises(RequestError, match="same certificate, under another id"):
        book.add(peer(2, 1))
    assert book.add(peer(1, 1, addresses=("a:1",))).peers[0].addresses == ("a:1",)


def test_who_was_revoked_may_be_invited_again():
    """A new pairing trusts the agent again; its old entry is gone."""
    book = PinBook().add(peer(1, 1)).revoke("beta", "stolen")
    assert book.named("beta") is None
    assert book.with_certificate(peer(1, 1).fingerprint).revoked == "stolen"
    again = book.add(peer(1, 2))
    assert [(each.certificate, each.revoked) for each in again.peers] == [(b"\2\2\2", "")]


def test_only_what_was_revoked_is_forgotten():
    """A trusted peer is not struck out by a slip of the tongue."""
    book = PinBook().add(peer())
    with pytest.raises(RequestError, match="revoke it first"):
        book.forget("beta")
    assert book.revoke("beta", "why").forget("beta") == PinBook()


def test_what_is_asked_of_a_stranger_lists_the_peers():
    """The error names those that there are."""
    with pytest.raises(RequestError, match="it is with: beta"):
        PinBook().add(peer()).limit("gamma", NO_LIMITS)


def test_a_full_book_says_how_to_make_room(monkeypatch):
    """The book is bounded, since each entry is an anchor of every handshake."""
    monkeypatch.setattr(peers, "MOST_PEERS", 1)
    with pytest.raises(RequestError, match="makes room"):
        PinBook().add(peer(1, 1)).add(peer(2, 2))


# --- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("functions", "function", "is_by_name", "words"),
    [
        ((), "a:f", False, None),
        (("a:f",), "a:f", True, None),
        (("a",), "a:f", True, None),
        (("a:f",), "a:g", True, "only a:f"),
        (("a",), "a.b:f", True, "only a"),
        (("a:f",), "a:f", False, "no code"),
        (("a:f",), "", True, "only"),
    ],
)
def test_a_function_is_allowed_by_its_full_name_or_its_module(functions, function, is_by_name, words):
    """A module stands for its own functions, not for those of modules below it; code is no name."""
    found = Limits(functions=functions).forbids(function, is_by_name=is_by_name)
    assert found is None if words is None else words in found


def test_who_may_only_lend_may_call_nothing():
    """The limit on giving work goes before all others."""
    assert "no work" in Limits(("a:f",), submit_upward=False).forbids("a:f", is_by_name=True)
    assert NO_LIMITS.is_none
    assert not Limits(max_tasks=0).is_none


@given(st.text(max_size=40))
def test_a_function_in_a_limit_is_dotted_identifiers(text):
    """What could never match, or steer a terminal, is refused at once."""
    try:
        peers.check_limits(Limits(functions=(text,)))
    except RequestError:
        return
    module, _, function = text.partition(":")
    assert all(part.isidentifier() for part in module.split("."))
    assert not function or function.isidentifier()


def test_limits_survive_a_renaming_and_a_new_address():
    """Limits belong to the agent, also when it joins again; only who was revoked begins without any."""
    limited = PinBook().add(peer()).limit("beta", Limits(max_tasks=2)).rename("beta", "phone")
    assert limited.get("phone").limits.max_tasks == 2
    again = limited.add(replace(peer(), addresses=("a:1",)))
    assert (again.peers[0].limits.max_tasks, again.peers[0].addresses[0]) == (2, "a:1")
    assert again.revoke("beta", "stolen").add(peer()).get("beta").limits == NO_LIMITS


def test_where_an_agent_was_met_last_is_where_it_is_looked_for_first():
    """The others are not forgotten, as far as there is room; of strangers and revoked ones nothing is noted."""
    book = PinBook().add(replace(peer(), addresses=("a:1",)))
    moved = book.met("id-0", "b:1")
    assert moved.get("beta").addresses == ("b:1", "a:1")
    assert moved.met("id-0", "b:1") is moved
    assert moved.met("id-0", "a:1").get("beta").addresses == ("a:1", "b:1")
    for number in range(2, 30):
        moved = moved.met("id-0", f"c:{number}")
    assert len(moved.get("beta").addresses) == MOST_ADDRESSES
    assert book.met("id-9", "b:1") is book
    revoked = book.revoke("beta", "stolen")
    assert revoked.met("id-0", "b:1") is revoked

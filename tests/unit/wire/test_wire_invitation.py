"""Invitations: what is written is read again, and what is wrong with one is told."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.model.errors import RequestError
from agentd.wire import invitation as strings
from agentd.wire.invitation import Invitation

hosts = st.one_of(
    st.from_regex(r"[a-z][a-z0-9.-]{0,40}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda each: f"[{each}]"),
)
addresses = st.builds("{}:{}".format, hosts, st.integers(1, 65_535))
invitations = st.builds(
    Invitation,
    role=st.sampled_from(["peer", "user"]),
    addresses=st.lists(addresses, min_size=1, max_size=4).map(tuple),
    fingerprint=st.binary(min_size=32, max_size=32),
    secret=st.binary(min_size=16, max_size=64),
    expires_at=st.integers(0, 1 << 40),
    name=st.text(max_size=60),
)
ONE = Invitation(
    role="peer", addresses=("192.0.2.7:46102",), fingerprint=bytes(32), secret=bytes(range(20)), expires_at=1, name="a"
)
SIGNS = "abcdefghijklmnopqrstuvwxyz234567"


@given(invitations)
def test_what_is_written_is_read_again(invitation):
    """Nothing is lost or changed on the way."""
    assert strings.read(strings.write(invitation)) == invitation


@given(invitations, st.data())
def test_the_way_may_change_its_looks(invitation, data):
    """Upper case, spaces, line ends and dashes anywhere mean nothing."""
    text = strings.write(invitation)
    cuts = data.draw(st.lists(st.tuples(st.integers(0, len(text)), st.sampled_from([" ", "\n", "-", "\r\n\t"]))))
    for place, what in sorted(cuts, reverse=True):
        text = text[:place] + what + text[place:]
    assert strings.read(data.draw(st.sampled_from([text, text.upper(), f"  {text}\n"]))) == invitation


@given(invitations, st.data())
def test_one_wrong_sign_is_told(invitation, data):
    """No mistyped string is taken for another invitation."""
    text = strings.write(invitation)
    place = data.draw(st.integers(len(strings.PREFIX), len(text) - 1))
    sign = data.draw(st.sampled_from([each for each in SIGNS if each != text[place]]))
    wrong = text[:place] + sign + text[place + 1 :]
    if place == len(text) - 1:  # the last sign may hold bits that belong to no byte
        with suppress(RequestError):
            assert strings.read(wrong) == invitation
        return
    with pytest.raises(RequestError, match="mistyped or cut"):
        strings.read(wrong)


@given(invitations, st.data())
def test_a_cut_string_is_told(invitation, data):
    """A string that lost its end is no invitation."""
    text = strings.write(invitation)
    with pytest.raises(RequestError, match=r"cut|no invitation"):
        strings.read(text[: data.draw(st.integers(0, len(text) - 2))])


@given(st.text(max_size=300))
def test_rubbish_is_refused_with_words(text):
    """Whatever is pasted, the answer says what an invitation is."""
    with pytest.raises(RequestError):
        strings.read(text)


@given(st.binary(max_size=200))
@example(b"\x96\xa1\x80")  # a role that is no UTF-8
@example(b"\x91" * 100_000)  # arrays in arrays
def test_rubbish_with_the_right_checksum_is_refused_too(body):
    """Who writes a string himself gets no further than the fields allow."""
    packed = bytes([1]) + strings._checksum(bytes([1]) + body) + body
    text = strings.PREFIX + base64.b32encode(packed).decode().rstrip("=")
    try:
        found = strings.read(text)
    except RequestError:
        return
    assert found.addresses
    assert len(found.secret) >= 16


def test_a_later_version_is_told_from_a_mistake():
    """The reader is told to update, not to copy again."""
    body = b"whatever comes"
    packed = bytes([2]) + strings._checksum(bytes([2]) + body) + body
    with pytest.raises(RequestError, match="version 2"):
        strings.read(strings.PREFIX + base64.b32encode(packed).decode().rstrip("="))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": "root"}, "not known here"),
        ({"addresses": ()}, "names no address"),
        ({"addresses": ("nowhere",)}, "names no address"),
        ({"addresses": ("a:0",)}, "names no address"),
        ({"addresses": ("a@b:1",)}, "names no address"),
        ({"secret": b"short"}, "cannot be understood"),
        ({"fingerprint": b"short"}, "cannot be understood"),
    ],
)
def test_what_makes_no_sense_is_refused(change, words):
    """An invitation that was made by hand names a role, an address that can be dialled, and a real secret."""
    from msgspec.structs import replace

    with pytest.raises(RequestError, match=words):
        strings.read(strings.write(replace(ONE, **change)))


def test_it_is_compact_and_one_word():
    """It fits into two lines of a terminal, and a double click selects all of it."""
    text = strings.write(ONE)
    assert len(text) < 180
    assert text.replace("_", "").isalnum()


def test_what_is_shown_of_it_is_no_secret():
    """Neither a log nor an error message shows the secret, and its identifier does not lead to it."""
    assert ONE.secret.hex() not in repr(ONE)
    assert strings.write(ONE) not in repr(ONE)
    assert ONE.identifier in repr(ONE)
    assert ONE.identifier not in ONE.secret.hex()

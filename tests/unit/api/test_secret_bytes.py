"""TLS as a value: bytes in, bytes out, however the network cuts them."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from socket import socketpair

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.api.calls import records
from agentd.api.calls.tls import Tls
from agentd.store import key_maker


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    made = (folder / "one.pem", folder / "other.pem")
    for path in made:
        path.write_bytes(key_maker.make(path.stem, 2026))
    return made


def certificate(path: Path) -> str:
    text = path.read_text()
    return text[text.index("-----BEGIN CERTIFICATE-----") :]


class Server:
    """The other end, also without a socket."""

    def __init__(self, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # as the agents': nothing comes after the handshake
        context.load_cert_chain(key)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake_hands(self, sock) -> None:
        data = b"-"
        while data:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(self.outgoing.read())
                data = sock.recv(65_536)
                self.incoming.write(data)
            except ssl.SSLError:
                return  # the other end did not believe us
            else:
                return


def joined(key: Path, believed: Path) -> tuple[Tls, Server]:
    """Two ends that have agreed on keys."""
    here, there = socketpair()
    with here, there:
        tls, server = Tls(certificate(believed)), Server(key)
        other = threading.Thread(target=server.shake_hands, args=(there,))
        other.start()
        try:
            tls.shake_hands(here)
        finally:
            here.close()
            other.join()
    return tls, server


def test_only_the_pinned_certificate_is_believed(keys):
    """Another one ends the handshake, before anything was said."""
    with pytest.raises(ssl.SSLCertVerificationError):
        joined(keys[0], keys[1])


@given(said=st.binary(min_size=1, max_size=60_000), data=st.data())
def test_what_was_said_is_heard_under_any_cut(keys, said, data):
    """Pieces of records give nothing yet; all of them together give all of it, in order, in both directions."""
    tls, server = joined(keys[0], keys[0])
    server.incoming.write(tls.sealed([said[:10], said[10:]]))
    heard = b""
    while len(heard) < len(said):
        heard += server.object.read(65_536)
    assert heard == said
    for start in range(0, len(said), 16_000):
        server.object.write(said[start : start + 16_000])
    sealed = server.outgoing.read()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sealed)), max_size=6)))
    pieces = [sealed[start:end] for start, end in zip([0, *cuts], [*cuts, len(sealed)], strict=True)]
    assert b"".join(tls.opened(piece) for piece in pieces if piece) == said


def test_a_flipped_bit_ends_the_connection(keys):
    """What was tampered with is not read."""
    tls, server = joined(keys[0], keys[0])
    server.object.write(b"x" * 100)
    sealed = bytearray(server.outgoing.read())
    sealed[-1] ^= 1
    with pytest.raises(OSError, match=r"(?i)bad|decrypt|mac"):
        tls.opened(bytes(sealed))


def test_what_is_said_before_the_end_is_heard(keys):
    """Also where both come at once; after it nothing is believed."""
    tls, server = joined(keys[0], keys[0])
    server.object.write(b"the last words")
    with pytest.raises(ssl.SSLWantReadError):
        server.object.unwrap()
    assert tls.opened(server.outgoing.read()) == b"the last words"
    with pytest.raises(ConnectionResetError):
        tls.opened(b"\x17\x03\x03\x00\x20" + bytes(32))


def test_an_end_that_says_nothing_more_is_gone(keys):
    """An end by itself is told at once."""
    tls, server = joined(keys[0], keys[0])
    with pytest.raises(ssl.SSLWantReadError):
        server.object.unwrap()
    with pytest.raises(ConnectionResetError):
        tls.opened(server.outgoing.read())


def test_a_handshake_has_one_time_for_all_of_it(keys, monkeypatch):
    """Whoever says a little each time does not prolong it."""
    clock = iter([0.0, 0.1, 0.3])
    monkeypatch.setattr(records, "monotonic", lambda: next(clock))
    here, there = socketpair()
    with here, there:
        there.sendall(b"\x16\x03\x03")
        with pytest.raises(TimeoutError, match="too long"):
            Tls(certificate(keys[0])).shake_hands(here, 0.2)

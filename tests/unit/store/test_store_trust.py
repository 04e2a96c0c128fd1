"""Key, certificate and book of peers in the state folder: made whole, kept private, never guessed."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.comm.trust.security import Security, check_certificate, serving
from agentd.model.errors import ConfigError, RequestError
from agentd.model.peers import Limits, Peer, PinBook
from agentd.store import identity, key_maker, peers
from agentd.store.disk import LocalDisk

DISK = LocalDisk()


@pytest.fixture(scope="module")
def pem() -> bytes:
    return key_maker.make("alpha", 2026)


def test_the_maker_is_a_program_of_its_own(tmp_path: Path) -> None:
    """Run by path in an empty folder, it writes a key with its certificate, which TLS takes."""
    made = subprocess.run([sys.executable, "-P", key_maker.__file__, "alpha", "2026"], capture_output=True, check=True)
    kept = identity.keep_identity(DISK, tmp_path, made.stdout)
    serving(kept.path)
    assert not made.stderr


def test_an_identity_is_private_and_read_again(tmp_path: Path, pem: bytes) -> None:
    """The file is for its owner alone, and gives the same certificate after a restart."""
    assert identity.read_identity(DISK, tmp_path) is None
    kept = identity.keep_identity(DISK, tmp_path, pem)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert identity.read_identity(DISK, tmp_path) == kept
    assert ssl.PEM_cert_to_DER_cert(kept.pem) == kept.certificate
    assert [path.name for path in tmp_path.iterdir()] == [identity.FILE_NAME]


@pytest.mark.parametrize(
    "spoil", [lambda pem: b"", lambda pem: pem[:-60], lambda pem: pem[pem.index(b"-----BEGIN CERT") :]]
)
def test_a_spoilt_identity_stops_the_start(tmp_path: Path, pem: bytes, spoil) -> None:
    """No new key is made in the place of one that cannot be read: that would be another agent."""
    (tmp_path / identity.FILE_NAME).write_bytes(spoil(pem))
    with pytest.raises(ConfigError, match="paired anew"):
        identity.read_identity(DISK, tmp_path)


def test_a_planted_link_is_not_followed(tmp_path: Path, pem: bytes) -> None:
    """A key is read from the folder itself."""
    (tmp_path / "elsewhere").write_bytes(pem)
    (tmp_path / identity.FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="link"):
        identity.read_identity(DISK, tmp_path)


def test_a_certificate_is_long_lived_and_nobodys_authority(tmp_path: Path, pem: bytes) -> None:
    """Elliptic key, some twenty years, since before any clock that starts anew, and it may sign no others."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    found = x509.load_der_x509_certificate(identity.keep_identity(DISK, tmp_path, pem).certificate)
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)
    assert found.public_key().curve.name == "secp256r1"
    assert (found.not_valid_before_utc.year, found.not_valid_after_utc.year) == (2000, 2046)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_one_certificate_is_one_certificate(tmp_path: Path, pem: bytes) -> None:
    """What a guest brings is taken only if it is one certificate to the last byte: more would be trusted too."""
    own = identity.keep_identity(DISK, tmp_path, pem).certificate
    check_certificate(own)
    other = ssl.PEM_cert_to_DER_cert(
        key_maker.make("b", 2026).partition(b"-----BEGIN CERT")[2].join([b"-----BEGIN CERT", b""]).decode()
    )
    for wrong in (b"", b"\x30", own[:-1], own + b"\0", own + other, b"\x30\x03\x02\x01\x00", b"x" * 5_000):
        with pytest.raises(RequestError, match="certificate"):
            check_certificate(wrong)


def test_the_book_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Names, limits and revocations survive; the file is for its owner alone."""
    assert peers.read_peers(DISK, tmp_path) == PinBook()
    one = Peer(
        name="beta", agent_id="1", certificate=b"\x30\x00", addresses=("a:1",), limits=Limits(("m:f",), 2, False)
    )
    book = PinBook((one, Peer(name="gamma", agent_id="2", certificate=b"\x30\x01", revoked="stolen")))
    peers.write_peers(DISK, tmp_path, book)
    assert peers.read_peers(DISK, tmp_path) == book
    assert stat.S_IMODE((tmp_path / peers.FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version":2,"book":{}}', '{"version":1,"book":{"peers":[{}]}}'])
def test_a_spoilt_book_stops_the_start(tmp_path: Path, text: str) -> None:
    """Nobody is trusted, and no revocation forgotten, by guess."""
    (tmp_path / peers.FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=peers.FILE_NAME):
        peers.read_peers(DISK, tmp_path)


def test_who_is_paired_with_is_spoken_to_over_tls_everywhere(tmp_path: Path, pem: bytes) -> None:
    """Also over loopback, by name or by address; others there stay plain, and none beyond it."""
    kept = identity.keep_identity(DISK, tmp_path, pem)
    book = PinBook((Peer(name="beta", agent_id="1", certificate=kept.certificate, addresses=("127.0.0.1:5",)),))
    security = Security(kept.path, book)
    assert security.for_dialling("127.0.0.1", "beta", "127.0.0.1:9") is security.dialling
    assert security.for_dialling("127.0.0.1", "other", "127.0.0.1:5") is security.dialling
    assert security.for_dialling("127.0.0.1", "other", "127.0.0.1:6") is None
    assert security.for_dialling("192.0.2.1", "other", "192.0.2.1:5") is security.dialling
    assert Security(kept.path, book, insecure=True).for_dialling("192.0.2.1", "beta", "192.0.2.1:5") is not None
    assert Security(kept.path, book, insecure=True).for_dialling("192.0.2.1", "other", "192.0.2.1:5") is None


def test_another_book_is_another_context(tmp_path: Path, pem: bytes) -> None:
    """From the next connection on, anchors are those of the new book; whom we dial must be trusted, not just known."""
    kept = identity.keep_identity(DISK, tmp_path, pem)
    one = Peer(name="beta", agent_id="1", certificate=kept.certificate)
    security = Security(kept.path, PinBook((one,)))
    assert security.dialling.cert_store_stats()["x509"] == security.accepting.cert_store_stats()["x509"] == 1
    security.trust(PinBook((one,)).revoke("beta", "stolen"))
    assert security.dialling.cert_store_stats()["x509"] == 0
    assert security.accepting.cert_store_stats()["x509"] == 1
    assert security.accepting.minimum_version is ssl.TLSVersion.TLSv1_3

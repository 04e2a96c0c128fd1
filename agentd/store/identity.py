"""Who this agent can prove to be: a key with a certificate that it signed itself, in one file of the state folder.

One file, so that after any crash there is a key with its own certificate, or none.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from msgspec import Struct

from agentd.model.errors import ConfigError
from agentd.model.peers import CERTIFICATE_BYTES, fingerprint_of
from agentd.store.disk import Disk, read_file, write_file

FILE_NAME = "identity.pem"
_MOST_BYTES = 16_384
"""Largest file that is read as a key with its certificate (chosen: they take about a thousand bytes)."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (?:EC )?PRIVATE KEY-----")


class KeyFile(Struct, frozen=True):
    """The file, and what of it may be shown."""

    path: Path
    certificate: bytes
    """DER."""

    @property
    def fingerprint(self) -> str:
        """What others pin: sha256 of the certificate, in hexadecimal."""
        return fingerprint_of(self.certificate)

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return pem_of(self.certificate)


def read_identity(disk: Disk, folder: Path) -> KeyFile | None:
    """Give the identity; None before it was made.

    Raises:
        ConfigError: the file holds something else.
        OSError: the disk failed.
    """
    path = folder / FILE_NAME
    found = read_file(disk, path, limit=_MOST_BYTES)
    return None if found is None else KeyFile(path, _certificate(path, found))


def keep_identity(disk: Disk, folder: Path, pem: bytes) -> KeyFile:
    """Put a key with its certificate, both in PEM, into the folder.

    Raises:
        ConfigError: it is not that.
        OSError: the disk failed; there is no identity.
    """
    path = folder / FILE_NAME
    certificate = _certificate(path, pem)
    write_file(disk, path, pem)
    return KeyFile(path, certificate)


def pem_of(certificate: bytes) -> str:
    """Give a certificate in DER as PEM."""
    text = base64.b64encode(certificate).decode("ascii")
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


def _certificate(path: Path, pem: bytes) -> bytes:
    match = _CERTIFICATE.search(pem)
    try:
        der = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        der = b""
    if not 0 < len(der) <= CERTIFICATE_BYTES or not _KEY.search(pem):
        raise ConfigError(
            f"{path} does not hold a key with its certificate: put the former content back, or remove the file to get "
            "a new identity, with which all devices have to be paired anew"
        )
    return der

"""Makes a key and a certificate that it signs itself; run as a program, it writes both to its output, as PEM.

A program of its own, because the library that makes certificates takes more memory than an agent at rest, and is needed
once in a device's life: TLS itself is the standard library's.
"""

from __future__ import annotations

import sys

YEARS = 20
"""How long a certificate says that it holds. What ends the trust in one is its revocation: dates are not looked at, so
that a device without a clock is trusted as well."""
_FROM_YEAR = 2000
"""Certificates hold since then, for devices whose clock begins anew with each start."""


def make(subject: str, year: int) -> bytes:
    """Give a fresh key (EC P-256, PKCS 8) and its certificate as PEM, one after the other.

    Args:
        subject: what the certificate is called; for people, as nobody trusts it for its name.
        year: the present one; its end of validity follows from it.

    Raises:
        ImportError: the package `cryptography` is not installed.
    """
    import datetime as dt  # with the library below, in the one process that needs them

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(_FROM_YEAR, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(max(year, _FROM_YEAR) + YEARS, 12, 31, tzinfo=dt.UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + certificate.public_bytes(serialization.Encoding.PEM)


if __name__ == "__main__":
    sys.stdout.buffer.write(make(sys.argv[1], int(sys.argv[2])))

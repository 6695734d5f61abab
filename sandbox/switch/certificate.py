"""The page's TLS key and certificate, made anew for every sandbox.

Owns the key for `web.whatsapp.com` and the digest Chromium can be told to accept. Never installs
a trust root anywhere.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import ssl
import tempfile
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ORIGIN_HOST = "web.whatsapp.com"


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """`spki`: base64 SHA-256 of the public key; `pem`: the certificate, its own CA."""

    spki: str
    pem: str
    key_pem: str

    def server_context(self) -> ssl.SSLContext:
        """A TLS context for the page's listener."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="sandbox-tls-") as folder:
            chain = Path(folder, "chain.pem")
            chain.touch(mode=0o600)
            chain.write_text(self.key_pem + self.pem)
            context.load_cert_chain(chain)
        return context


def make_certificate(now: datetime.datetime, address: str = "127.0.0.1") -> Certificate:
    """A fresh self-signed certificate for the origin, localhost and the address, for a week."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ORIGIN_HOST)])
    names: list[x509.GeneralName] = [
        x509.DNSName(ORIGIN_HOST),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.IPv4Address(address)),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Certificate(
        spki=base64.b64encode(hashlib.sha256(spki).digest()).decode(),
        pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )

"""Good and bad certificates, made when they are needed."""

from __future__ import annotations

import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificates"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Certificates:
    """
    A certificate authority, and the certificates that it issues.

    Args:
        names: Names for which the good ones are valid, besides those of loopback.
    Attributes:
        authority: Clients that trust it accept the good certificates.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.authority = trustme.CA()
        self._names = (*LOOPBACK, *names)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def pem(self) -> str:
        """The authority's certificate, for a client's ``verify=``, ``--cacert`` or SSL_CERT_FILE."""
        return self.authority.cert_pem.bytes().decode()

    def client_context(self) -> ssl.SSLContext:
        """A context for clients, which trusts the good ones."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def kept(self, name: str) -> ssl.SSLContext:
        """The context that the method of that name makes, made once; "rekeyed" is made each time."""
        with self._lock:
            if name == "rekeyed" or name not in self._contexts:
                self._contexts[name] = getattr(self, name)()
            return self._contexts[name]

    def good(self) -> ssl.SSLContext:
        return self.context(self.authority.issue_cert(*self._names))

    def http2(self) -> ssl.SSLContext:
        """Good, and offers HTTP/2 only."""
        context = self.good()
        context.set_alpn_protocols(["h2"])
        return context

    def either(self) -> ssl.SSLContext:
        """Good, and speaks HTTP/2 with clients that offer it, else HTTP/1.1."""
        context = self.good()
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def rekeyed(self) -> ssl.SSLContext:
        """Good, but with a new key each time, so that no pin on an earlier one fits."""
        return self.good()

    def wrong_host(self) -> ssl.SSLContext:
        return self.context(self.authority.issue_cert("wrong.example"))

    def untrusted_root(self) -> ssl.SSLContext:
        return self.context(trustme.CA().issue_cert(*self._names))

    def expired(self) -> ssl.SSLContext:
        return self._dated(-30, -1)

    def not_yet_valid(self) -> ssl.SSLContext:
        return self._dated(1, 30)

    def _dated(self, begin: int, end: int) -> ssl.SSLContext:
        """Valid from *begin* to *end*, in days from now."""
        now = datetime.now(UTC)
        begins_at, ends_at = now + timedelta(days=begin), now + timedelta(days=end)
        return self.context(self.authority.issue_cert(*self._names, not_before=begins_at, not_after=ends_at))

    def no_intermediate(self) -> ssl.SSLContext:
        """Issued by an intermediate authority whose certificate isn't sent."""
        leaf = self.authority.create_child_ca().issue_cert(*self._names)
        return self._loaded(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())

    def self_signed(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return self._loaded(private + certificate.public_bytes(serialization.Encoding.PEM))

    def wants_client(self) -> ssl.SSLContext:
        """Good, and asks the client for a certificate that the same authority issued."""
        context = self.good()
        context.verify_mode = ssl.CERT_REQUIRED
        self.authority.configure_trust(context)
        return context

    def client_certificate(self) -> str:
        """PEM of a key and the certificate that `wants_client` accepts."""
        return self.authority.issue_cert("client.test").private_key_and_cert_chain_pem.bytes().decode()

    def only(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        """Good, with this version only."""
        context = self.good()
        if version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # deprecated versions are the purpose
            context.minimum_version = context.maximum_version = version
        return context

    @staticmethod
    def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        context.set_alpn_protocols(["http/1.1"])
        return context

    @staticmethod
    def _loaded(pem: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with _file(pem) as path:
            context.load_cert_chain(path)
        context.set_alpn_protocols(["http/1.1"])
        return context


@contextmanager
def _file(data: bytes) -> Iterator[Path]:
    """A file that holds *data*, because the ssl module takes a chain only from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chain.pem"
        path.write_bytes(data)
        yield path

"""What TLS agreed on, and the certificate that the server showed."""

from __future__ import annotations

import datetime
import ssl
from typing import Any, NamedTuple, Self

__all__ = ["Certificate", "tls_facts"]


class Certificate(NamedTuple):
    """
    A server's certificate.

    Attributes:
        names: DNS names and IP addresses that it is for; its common name if it has none.
        issuer: Common name, or organisation, of the authority.
        ends_at: When it expires, in UTC.
    """

    names: tuple[str, ...]
    issuer: str
    ends_at: datetime.datetime

    @classmethod
    def of(cls, der: bytes) -> Self:
        """By cryptography, because ssl shows nothing of a certificate that it wasn't asked to check (-k)."""
        from cryptography import x509

        found = x509.load_der_x509_certificate(der)
        names: list[str] = []
        try:
            extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = [str(name.value) for name in extension if isinstance(name, x509.DNSName | x509.IPAddress)]
        except (x509.ExtensionNotFound, ValueError):
            pass
        names = names or _named(found.subject)
        return cls(
            tuple(names), next(iter(_named(found.issuer)), "an authority without a name"), found.not_valid_after_utc
        )

    def shown(self, now: datetime.datetime) -> str:
        """In words, such as ``for localhost, 127.0.0.1; 42 days left (until 2026-12-31); by An Authority``."""
        few = ", ".join(self.names[:4]) + (f" and {len(self.names) - 4} more" if len(self.names) > 4 else "")
        days = (self.ends_at - now).days
        left = f"{days} days left" if days >= 0 else f"EXPIRED {-days} days ago"
        return f"for {few or 'nobody'}; {left} (until {self.ends_at:%Y-%m-%d}); by {self.issuer}"


def tls_facts(stream: Any, now: datetime.datetime) -> list[str]:
    """
    Version and cipher, and the certificate, in a line each; empty without TLS.

    Args:
        stream: ``response.extensions["network_stream"]``; None if there is none.
    """
    tls = None if stream is None else stream.get_extra_info("ssl_object")
    if tls is None:
        return []
    cipher = tls.cipher()
    lines = [", ".join(filter(None, (tls.version(), cipher and cipher[0])))]
    try:
        der = tls.getpeercert(binary_form=True)
        if der:
            lines.append(f"certificate {Certificate.of(der).shown(now)}")
    except (ValueError, ssl.SSLError) as error:
        lines.append(f"a certificate that can't be read: {error}")
    return lines


def _named(name: Any) -> list[str]:
    from cryptography.x509 import NameOID

    wanted = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    return [str(each.value) for oid in wanted for each in name.get_attributes_for_oid(oid)]

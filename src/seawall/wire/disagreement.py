"""Why TLS failed: because the two sides don't agree, or because a connection broke."""

from __future__ import annotations

import ssl
from typing import Final

from ..errors import CertificateError, DialError, HandshakeError, HostnameMismatch
from ..origin import Address, Origin
from ..route import Route

__all__ = ["is_disagreement", "tls_error"]

TROUBLES: Final = ("ALERT_INTERNAL_ERROR", "ALERT_USER_CANCELLED", "ALERT_CLOSE_NOTIFY")
DISAGREEMENTS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE", "NO_PROTOCOLS_AVAILABLE", "UNKNOWN_PROTOCOL")
)

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_EMAIL_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
MISMATCHES: Final = (62, 63, 64)


def is_disagreement(error: BaseException | None) -> bool:
    """
    Whether TLS failed because the two sides don't agree, and not because a connection broke or a server is in trouble.

    By OpenSSL's names of its reasons: an alert of the peer's (RFC 8446 section 6.2), other than one about its own
    troubles or a plain goodbye; or bytes that aren't TLS, or not of a version that is spoken here.
    """
    reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
    if not isinstance(reason, str) or reason.endswith(TROUBLES):
        return False
    return "_ALERT_" in reason or reason in DISAGREEMENTS


def tls_error(origin: Origin, way: Address | Route, error: Exception, *, is_last: bool) -> DialError:
    """
    The error of a connection on which TLS failed, or that broke before.

    Args:
        way: The address that was dialled, or the route through a proxy.
        is_last: No other address may do better.
    """
    where = f"{origin} {'through' if isinstance(way, Route) else 'at'} {way}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in MISMATCHES:
            return HostnameMismatch(f"{where}: the certificate is not for {origin.host}: {error.verify_message}")
        return CertificateError(f"{where}: the certificate can't be trusted: {error.verify_message}")
    if origin.is_secure:
        reason = getattr(error, "reason", "") or str(error)
        text = f"{where}: TLS handshake failed: {reason or 'the peer closed the connection'}"
        return HandshakeError(text, is_final=is_last and is_disagreement(error))
    return DialError(f"{where}: the connection broke at once: {error}", origin=origin)

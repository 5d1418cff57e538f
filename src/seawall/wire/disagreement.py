"""Why TLS failed: because the two sides don't agree, or because a connection broke."""

from __future__ import annotations

import re
import ssl
from typing import Final

from ..errors import CertificateError, DialError, HandshakeError, HostnameMismatch
from ..origin import Address, Origin

__all__ = ["is_disagreement", "tls_error"]

TROUBLES: Final = ("ALERT_INTERNAL_ERROR", "ALERT_USER_CANCELLED", "ALERT_CLOSE_NOTIFY")
DISAGREEMENTS: Final = frozenset(
    (
        "WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE", "NO_PROTOCOLS_AVAILABLE",
        "UNKNOWN_PROTOCOL", "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
    )
)  # fmt: skip
UNNAMED: Final = re.compile(r"\[SSL\] ([a-z0-9 ]+) \(")

# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_EMAIL_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
MISMATCHES: Final = (62, 63, 64)


def is_disagreement(error: BaseException | None) -> bool:
    """
    Whether TLS failed because the two sides don't agree, and not because a connection broke or a server is in trouble.

    By OpenSSL's names of its reasons: an alert of the peer's (RFC 8446 section 6.2), other than one about its own
    troubles or a plain goodbye; or bytes that aren't TLS, or not of a version that is spoken here.
    """
    reason = _reason(error) if isinstance(error, ssl.SSLError) else ""
    if reason.endswith(TROUBLES):
        return False
    return "_ALERT_" in reason or reason in DISAGREEMENTS


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name of the reason; a Python that is older than its OpenSSL knows only the words."""
    if (reason := getattr(error, "reason", None)) is not None:
        return str(reason)
    words = UNNAMED.match(str(error))
    return "" if words is None else words[1].upper().replace(" ", "_")


def tls_error(origin: Origin, address: Address | None, error: Exception, *, is_last: bool) -> DialError:
    """
    The error of a connection on which TLS failed, or that broke before.

    Args:
        address: The one that was dialled; None through a proxy, which *origin* names.
        is_last: No other address may do better.
    """
    where = str(origin) if address is None else f"{origin} at {address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in MISMATCHES:
            return HostnameMismatch(f"{where}: the certificate is not for {origin.host}: {error.verify_message}")
        return CertificateError(f"{where}: the certificate can't be trusted: {error.verify_message}")
    if origin.is_secure:
        reason = getattr(error, "reason", "") or str(error)
        text = f"{where}: TLS handshake failed: {reason or 'the peer closed the connection'}"
        return HandshakeError(text, is_final=is_last and is_disagreement(error))
    return DialError(f"{where}: the connection broke at once: {error}", origin=origin)

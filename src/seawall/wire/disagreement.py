"""Why TLS failed: because the two sides don't agree, or because a connection broke."""

from __future__ import annotations

import ssl
from typing import Final

__all__ = ["is_disagreement"]

TROUBLES: Final = ("ALERT_INTERNAL_ERROR", "ALERT_USER_CANCELLED", "ALERT_CLOSE_NOTIFY")
DISAGREEMENTS: Final = frozenset(
    ("WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "UNEXPECTED_MESSAGE", "NO_PROTOCOLS_AVAILABLE", "UNKNOWN_PROTOCOL")
)


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

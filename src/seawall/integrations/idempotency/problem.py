"""The answers that refuse a request, as problem details (RFC 9457)."""

from __future__ import annotations

import json
from typing import Final

from .answer import Answer

__all__ = ["LOST", "MISMATCH", "MISSING", "NOT_KEPT", "RUNNING", "UNAVAILABLE", "malformed", "too_large"]

# The draft wants a link to documentation in each of them (section 2.7).
DRAFT: Final = "https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07#section-2.7"
RETRY_AFTER: Final = b"1"  # s; by then most requests have ended, and few callers would wait for the lock's end


def problem(status: int, title: str, detail: str, *headers: tuple[bytes, bytes]) -> Answer:
    body = json.dumps({"type": DRAFT, "title": title, "status": status, "detail": detail}).encode()
    fixed = ((b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body)))
    return Answer(status, (*fixed, *headers), body)


def malformed(detail: str) -> Answer:
    return problem(400, "Idempotency-Key is malformed", detail)


def too_large(limit: int) -> Answer:
    detail = f"A request with an Idempotency-Key may have a body of {limit} bytes here. It was not processed."
    return problem(413, "Request is too large to be idempotent", detail)


AGAIN: Final = (b"retry-after", RETRY_AFTER)

MISSING: Final = problem(
    400,
    "Idempotency-Key is missing",
    "This operation requires an Idempotency-Key, such as a new UUID in double quotes.",
)
RUNNING: Final = problem(
    409,
    "Request is still running",
    "A request with the same Idempotency-Key is being processed. Send it again later.",
    AGAIN,
)
LOST: Final = problem(
    409,
    "Request took too long",
    "Another request with the same Idempotency-Key took over. Send it again to get that one's answer.",
    AGAIN,
)
MISMATCH: Final = problem(
    422,
    "Idempotency-Key was used already",
    "Another request had the same Idempotency-Key. Use a new key for a new request.",
)
NOT_KEPT: Final = problem(
    422,
    "Answer was not kept",
    "The request was processed before; its answer was too long to be kept, or was cut. Look the result up.",
)
UNAVAILABLE: Final = problem(
    503, "Idempotency-Key can't be checked", "The store of keys is not available. Send the request again later.", AGAIN
)

"""What went wrong, in the words of the command line: no setting of Python's is named, but the option that helps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import httpx

from .. import errors
from ..events import Attempt, Denied, Phase, RetryDenied

__all__ = ["Watched", "complaint", "denial", "malformed", "outcome", "plainly", "tries"]

PYTHON: Final = re.compile(r"\b\w+=|\b(?:[A-Z]\w+\.|seawall\.|extensions)\w+|\w\(\)|\bget\(|\bmax_\w+")
"""A setting, class or call of Python's, which nobody at a shell can change."""

ASIDE: Final = re.compile(r" ?\(([^()]*)\)")
USER: Final = re.compile(r"^(\w+://)?[^/?#]*@")
CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

DOING: Final[Mapping[Phase, str]] = {
    Phase.QUEUED: "queueing",
    Phase.RESOLVING: "resolving",
    Phase.CONNECTING: "connecting",
    Phase.TUNNEL: "waiting for the proxy",
    Phase.TLS: "in the TLS handshake",
    Phase.SENDING: "sending",
    Phase.SENT: "waiting for the response",
    Phase.HEADERS: "receiving",
    Phase.BODY: "receiving",
}
LONGER: Final = "raise --timeout to wait longer"
ADVICE: Final[Mapping[type[Exception], str]] = {
    errors.DialTimeout: LONGER,
    errors.HandshakeTimeout: LONGER,
    errors.CertificateError: "-k connects all the same, and with -v shows the certificate",
    errors.ResolveTimeout: "",
    httpx.TooManyRedirects: "--no-follow shows the first answer",
    httpx.TimeoutException: LONGER,
}
"""What helps; the first that fits."""

BEFORE: Final[Mapping[type[Exception], str]] = {
    errors.ProxyError: "",
    httpx.ProxyError: "the proxy failed: ",
}
"""What the text of an error leaves out; the first that fits."""

INSTEAD: Final[Mapping[type[Exception], str]] = {
    errors.UnsupportedScheme: "it redirects to a URL that is neither http:// nor https://",
    httpx.TooManyRedirects: "it redirects too often",
}

CLEARER: Final = (
    (re.compile(r"; [A-Z]+ \S+, (?:attempt \d+ of \d+, \w+, \S+ s in all|before the first attempt)$"), ""),
    (re.compile(r"\[Errno -?\d+\] |\[SSL: \w+\] | \(_ssl\.c:\d+\)| \(\w+, a (?:new|reused) connection\)|\.$"), ""),
    (re.compile(r"the connect timeout of ([\d.]+) s"), r"--timeout \1"),
    (re.compile(r"\btls took"), "TLS took"),
    (re.compile(r"Server disconnected without sending a response\.?"), "the server hung up without a response"),
    (re.compile(r"peer closed connection without sending complete message body"), "the server hung up"),
)
"""What the system and libraries say, and what a person would."""

CONSTANT: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")  # OpenSSL's reasons


class Watched(NamedTuple):
    """
    What was seen of a call.

    Attributes:
        denied: Why no further attempt was made; empty if that needs no words.
        is_receiving: The body of a streamed response was being read.
    """

    attempts: Sequence[Attempt]
    denied: str = ""
    is_receiving: bool = False


def malformed(url: str) -> tuple[str, bool]:
    """
    What is wrong with *url*, before anything is sent.

    Returns:
        The words, empty if nothing is wrong; and whether only its scheme is.
    """
    shown = USER.sub(r"\1", url)
    try:
        parsed = httpx.URL(url)
        scheme, host, port = parsed.scheme, parsed.host, parsed.port  # to read a host is to decode it
    except (httpx.InvalidURL, ValueError) as error:
        return f"{shown}: not a URL: {_first_down(str(error))}", False
    if scheme not in ("http", "https"):
        is_other = "://" in url and bool(scheme)
        hint = "" if is_other else f", such as https://{shown}"
        return f"{shown}: a URL must begin with http:// or https://{hint}", is_other
    if not host:
        return f"{shown}: the URL has no host", False
    if port is not None and not 1 <= port <= 65535:
        return f"{shown}: the port must be from 1 to 65535, not {port}", False
    return "", False


def complaint(error: Exception, url: str, *, deadline: float | None, watched: Watched) -> str:
    """
    Why a call failed.

    Args:
        url: The one of the command line, without credentials.
        deadline: --deadline, in seconds; None if it wasn't given.
    """
    while isinstance(error, errors.PartlySent):
        error = error.reason
    if isinstance(error, errors.DeadlineExceeded):
        said, advice = _late(error, deadline, watched)
    else:
        said, advice = _said(error), _first(ADVICE, error)
        if isinstance(error, errors.HandshakeError) and "wrong version" in said:
            advice = "the port may not speak TLS; try http://"
    origin = httpx.URL(url).netloc.decode("ascii")
    parts = (
        said if origin in said else f"{url}: {said}",
        tries(len(watched.attempts)),
        watched.denied,
        advice,
    )
    return "; ".join(filter(None, parts))


def tries(attempts: int) -> str:
    """How often it was tried; empty if once."""
    return f"after {attempts} attempts" if attempts > 1 else ""


def _said(error: Exception) -> str:
    return _first(INSTEAD, error) or _first(BEFORE, error) + (plainly(str(error)) or outcome(type(error).__name__))


def _first(table: Mapping[type[Exception], str], error: Exception) -> str:
    return next((text for kind, text in table.items() if isinstance(error, kind)), "")


def _late(error: errors.DeadlineExceeded, deadline: float | None, watched: Watched) -> tuple[str, str]:
    """The deadline is the user's, or one that --timeout and --retry make."""
    last = watched.attempts[-1] if watched.attempts else None
    if watched.is_receiving:
        doing = "while receiving"
    elif last is not None and last.status is None:
        doing = f"while {DOING[last.phase]}"
    else:
        doing = "between two attempts"
    where = "" if error.origin is None else f"{error.origin}: "
    if deadline is None:
        return f"{where}no whole response after {error.elapsed or 0:.3g} s, {doing}", "set --deadline to wait longer"
    return f"{where}--deadline {deadline:g} has passed, {doing}", "raise --deadline to wait longer"


def denial(event: RetryDenied, *, retries: int, deadline: float | None, retry_after: float | None) -> str:
    """
    Why no retry followed, and which option changes that; empty if there is nothing to say.

    Args:
        retries: --retry.
        retry_after: Seconds that the server asks to wait, if they are known.
    """
    longer = "set --deadline" if deadline is None else "raise --deadline"
    match event.reason:
        case Denied.MAX_ATTEMPTS | Denied.MAX_RETRIES:
            return f"--retry {retries} is used up" if retries else ""
        case Denied.UNSAFE:
            return (
                f"no retry, because the server may have acted on the {event.method}; "
                "-H 'Idempotency-Key: ...' makes that safe where the server knows it"
            )
        case Denied.RETRY_AFTER if retry_after is not None:
            return f"no retry, because the server asks to wait {retry_after:g} s; {longer} to wait that long"
        case Denied.RETRY_AFTER | Denied.DEADLINE:
            return f"no retry, because the wait would be too long; {longer} to allow it"
        case _:
            return plainly(event.detail)


def outcome(name: str) -> str:
    """A status, or an error's class in words: "ReadTimeout" is "read timeout"."""
    return CAMEL.sub(" ", name).lower()


def plainly(text: str) -> str:
    """*text* of an error without what only a program can change, and in words in place of the system's codes."""
    for pattern, instead in CLEARER:
        text = pattern.sub(instead, text)
    text = CONSTANT.sub(lambda found: found[0].replace("_", " ").lower(), text)
    text = ASIDE.sub(lambda aside: "" if PYTHON.search(aside[1]) else aside[0], text)
    return "; ".join(part for part in text.split("; ") if not PYTHON.search(part))


def _first_down(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")

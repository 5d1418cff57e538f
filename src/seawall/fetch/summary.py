"""`Finding`: a way in which pages of a job failed, and what its user may change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from .page import Kind
from .report import Report

__all__ = ["Finding", "findings"]

AGAIN: Final = "--retry-failed fetches them again"
ADVICE: Final = {
    "NotAURL": "mend the list, and run the command again",
    "RobotsDisallowed": "the site doesn't want it fetched; --no-robots fetches it if you have its leave",
    "AnotherHost": "a sitemap may only list its own host's URLs; put those that you want into a list",
    "RobotsUnreachable": f"nobody knows what the site allows; {AGAIN}",
    "OriginGivenUp": f"the origin is down, or doesn't answer us; {AGAIN}, once it is well",
    "ParcelFailed": f"look at the workers' logs and at the folder that they share; {AGAIN}",
    "BreakerOpen": f"the origin fails nearly all requests; {AGAIN}, once it is well",
    "Shed": f"the origin can't answer all that it is sent, and background calls come last; {AGAIN}, once it is well",
    "BulkheadFull": f"too many waited for the origin; give more than --deadline; {AGAIN}",
    "LimitExceeded": f"the origin takes so little that the deadline came first; give more than --deadline; {AGAIN}",
    "DeadlineExceeded": f"give more than --deadline, or ask more slowly with --rate; {AGAIN}",
    "ResponseTooLarge": f"allow more with --max-size; {AGAIN}",
    "NameNotFound": "the name doesn't exist; look for a typo",
    "NoAddress": "the name has no address; look for a typo",
    "ResolverFailure": f"DNS fails; seawall dns NAME shows how; {AGAIN}",
    "ResolveTimeout": f"DNS doesn't answer; seawall dns NAME shows how; {AGAIN}",
    "DialError": f"nothing listens there, or no descriptor is left (ulimit -n); {AGAIN}",
    "DialTimeout": f"the host doesn't respond; {AGAIN}",
    "CertificateError": "the certificate can't be trusted; seawall get URL shows why",
    "HostnameMismatch": "the certificate is another name's; look at the URL",
    "HandshakeError": "the port doesn't speak TLS as we do; try http://",
    "HandshakeTimeout": f"the host hangs in TLS; {AGAIN}",
    "ReadTimeout": f"the server is slower than --timeout, or overloaded; ask more slowly with --rate; {AGAIN}",
    "ConnectionLost": f"the server hangs up; ask more slowly with --rate or --per-host; {AGAIN}",
    "BadAnswer": "the server doesn't speak HTTP, or cuts its answers; seawall get URL shows how",
    "TooManyRedirects": "redirects go round; --no-follow keeps the first one",
    "401": "send credentials: --header 'Authorization: ...'",
    "403": "the site refuses; name yourself with --user-agent, or leave it alone",
    "404": "the page isn't there; --accept-status 200-399,404 counts it as good",
    "410": "the page was removed; --accept-status 200-399,410 counts it as good",
    "429": f"too many requests: ask more slowly with --rate; {AGAIN}",
}
SERVER: Final = f"the server is in trouble: ask more slowly with --rate; {AGAIN}"


class Finding(NamedTuple):
    """
    Attributes:
        name: A status, or the class of an error.
        pages: How many ended so.
        url, said: One of them, and what happened.
        advice: What to change.
    """

    name: str
    pages: int
    url: str
    said: str
    advice: str


def findings(report: Report) -> Iterator[Finding]:
    """All of them but the good ones, the most frequent first."""
    for tally in report.tallies:
        if tally.kind is not Kind.GOOD:
            yield Finding(tally.name, tally.pages, tally.url, tally.said, _advice(tally.name))


def _advice(name: str) -> str:
    if name.isdecimal() and name.startswith("5"):
        return SERVER
    if name.isdecimal():
        return ADVICE.get(name, "--accept-status says which statuses count as good")
    return ADVICE.get(name, AGAIN)

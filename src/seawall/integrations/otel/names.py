"""
Names: every metric, attribute, span and event of a span. It imports no library, so that docs and tests can read it.

Rules: a name of OpenTelemetry's semantic conventions where they have one that means the same, else one that begins
with ``seawall.``; seconds, not ms. No attribute of a metric has more values than `Hosts`, the table of errors or the
settings have.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .._labels import OTHER
from .._measures import ATTEMPT_BUCKETS, CALL_BUCKETS, WAIT_BUCKETS

__all__ = ["ATTRIBUTES", "METRICS", "SCHEMA", "SPANS", "SPAN_EVENTS", "Metric"]

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions that the names are taken from."""

# Attributes of the semantic conventions
METHOD: Final = "http.request.method"
ORIGINAL_METHOD: Final = "http.request.method_original"
RESENDS: Final = "http.request.resend_count"
STATUS: Final = "http.response.status_code"
ERROR: Final = "error.type"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
URL: Final = "url.full"
VERSION: Final = "network.protocol.version"
PEER: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"
CONNECTION: Final = "http.connection.state"

# Ours
CLIENT: Final = "seawall.client"
RETRIED: Final = "seawall.retried"
REASON: Final = "seawall.retry.reason"
DENIED: Final = "seawall.retry.denied"
DELAY: Final = "seawall.retry.delay"
GATE: Final = "seawall.gate"
WAIT: Final = "seawall.wait.for"
DURATION: Final = "seawall.duration"
PREVIOUS: Final = "seawall.breaker.previous"
STATE: Final = "seawall.breaker.state"
BODY: Final = "seawall.body.end"
SOURCE: Final = "seawall.dns.source"
PHASE: Final = "seawall.phase"
HEDGE: Final = "seawall.hedge"
SUPERSEDED: Final = "seawall.superseded"
OUTCOME: Final = "seawall.outcome"
ATTEMPTS: Final = "seawall.attempts"
LIMIT: Final = "seawall.limit"
DETAIL: Final = "seawall.detail"

ATTRIBUTES: Final = {
    METHOD: f"The method; `{OTHER}` for one that no RFC names.",
    ORIGINAL_METHOD: f"Such a method as it was sent, where `{METHOD}` is `{OTHER}`.",
    RESENDS: "On each repeated attempt: 1 on the second of a call, whether it is a retry, a redirect or a login.",
    STATUS: "The response's status; missing if no response came. In metrics the first 20 that HTTP doesn't name have "
    f"values of their own, others are missing, and are `{OTHER}` where they are errors.",
    ERROR: "The status from 400 on, the class of the error (`ReadTimeout`, `BreakerOpen`; see [failures](failures.md)),"
    " `superseded` or `cancelled`; missing if all went well.",
    ADDRESS: "The URL's host. In metrics only hosts that `per_host` names and the first 100 others have values of "
    f"their own, all others share `{OTHER}`.",
    PORT: f"The URL's port. In metrics it is missing where `{ADDRESS}` is `{OTHER}`.",
    URL: "Scheme, host, port and path. Events have no query, no fragment and no userinfo, so these are missing.",
    VERSION: "`1.1` or `2`; missing if no response came.",
    PEER: "The address that was really dialled.",
    PEER_PORT: "The port that was really dialled.",
    CONNECTION: "`active` or `idle`; a connection that is being dialled is `active`.",
    CLIENT: "The client's `name=`; missing if it has none.",
    RETRIED: "`true` if an attempt of the call was repeated, else missing.",
    REASON: "The outcome that led to the retry: a status, or the class of an error.",
    DENIED: "Why no retry followed: `unsafe`, `budget`, `deadline`, ...; see `seawall.events.Denied`.",
    DELAY: "Seconds until the retry.",
    GATE: "The gate that refused the attempt: `breaker`, `bulkhead`, `limit`, `cap`, `pause`, `proxy`, `shed`, or "
    "one of yours.",
    WAIT: "What was waited for: `backoff`, `dns`, or the gate: `bulkhead`, `limit`, `cap`, `ready`, ...",
    DURATION: "Seconds that it took.",
    PREVIOUS: "The breaker's state before.",
    STATE: "The breaker's state.",
    BODY: "How a streamed body ended: `complete`, `closed` by its reader, or `failed`.",
    SOURCE: "Where the addresses came from: `dns`, `hosts`, `system`, `stale`, ...",
    PHASE: "How far an attempt without a response got: `queued`, `resolving`, `connecting`, `tunnel`, `tls`, "
    "`sending`, `sent`, `headers` or `body`.",
    HEDGE: "Whether the attempt was made beside one that was slow; missing if it wasn't.",
    SUPERSEDED: "Whether the call went on with the other of two attempts; missing if it didn't.",
    OUTCOME: "What the caller got, or how a dial ended.",
    ATTEMPTS: "How many attempts were made.",
    LIMIT: "How many attempts may be in flight.",
    DETAIL: "The reason in words.",
}  # fmt: skip

BODY_BUCKETS: Final = (*CALL_BUCKETS, 120.0, 300.0)  # s; what a language model streams takes minutes


class Metric(NamedTuple):
    """
    One metric.

    Attributes:
        kind: "histogram", "counter" or "sum" (an observable up-down counter).
        attributes: Those that it may have; each has `CLIENT` beside them.
        buckets: Of a histogram: upper bounds in seconds.
    """

    kind: str
    name: str
    unit: str
    text: str
    attributes: tuple[str, ...] = (ADDRESS,)
    buckets: tuple[float, ...] = ()


REQUESTS: Final = Metric(
    "histogram", "http.client.request.duration", "s",
    "Attempts, failed and refused ones included, from their start (queueing included) to their end; of a streamed "
    "response to its headers",
    (METHOD, ADDRESS, PORT, STATUS, ERROR, VERSION), ATTEMPT_BUCKETS,
)  # fmt: skip
CALLS: Final = Metric(
    "histogram", "seawall.call.duration", "s",
    "Calls, with all retries, redirects and waits; of a streamed response to its headers",
    (METHOD, ADDRESS, STATUS, ERROR, RETRIED), CALL_BUCKETS,
)  # fmt: skip
BODIES: Final = Metric(
    "histogram", "seawall.body.duration", "s",
    "Bodies of streamed responses, from the attempt's start to the body's end",
    (ADDRESS, BODY, ERROR), BODY_BUCKETS,
)  # fmt: skip
WAITS: Final = Metric(
    "histogram", "seawall.wait.duration", "s",
    "Waits of attempts before anything was sent, apart by what they waited for; no wait, no measurement",
    (ADDRESS, WAIT), WAIT_BUCKETS,
)  # fmt: skip
LOOKUPS: Final = Metric(
    "histogram", "seawall.dns.lookup.duration", "s",
    "DNS lookups; answers from the cache are not lookups. It has no name of a host, because each would be a histogram",
    (SOURCE, ERROR), ATTEMPT_BUCKETS,
)  # fmt: skip
RETRIES: Final = Metric("counter", "seawall.retries", "{retry}", "Retries that were scheduled", (ADDRESS, REASON))
HEDGES: Final = Metric(
    "counter", "seawall.hedges", "{attempt}", "Second attempts that were made beside a slow one", (ADDRESS,)
)
DENIALS: Final = Metric(
    "counter", "seawall.retries.denied", "{retry}",
    "Retries that weren't made, though one might have been worth it", (ADDRESS, DENIED),
)  # fmt: skip
REJECTIONS: Final = Metric(
    "counter", "seawall.rejections", "{attempt}", "Attempts that a gate on this side refused", (ADDRESS, GATE)
)
TRANSITIONS: Final = Metric(
    "counter", "seawall.breaker.transitions", "{transition}", "Changes of a breaker's state", (ADDRESS, PREVIOUS, STATE)
)
DEGRADATIONS: Final = Metric(
    "counter", "seawall.limit.degradations", "{degradation}",
    "Times that the store of a shared limit or bulkhead didn't answer, so its fallback held",
)  # fmt: skip

IN_FLIGHT: Final = Metric("sum", "seawall.calls.in_flight", "{call}", "Calls in flight", ())
CONNECTIONS: Final = Metric(
    "sum", "http.client.open_connections", "{connection}", "Connections that are open or being dialled",
    (ADDRESS, PORT, CONNECTION),
)  # fmt: skip
PERMITS: Final = Metric("sum", "seawall.bulkhead.in_flight", "{attempt}", "Attempts that hold a permit")
PERMITS_LIMIT: Final = Metric(
    "sum", "seawall.bulkhead.limit", "{attempt}", "Permits that there are now; missing without a limit"
)
GHOSTS: Final = Metric(
    "sum", "seawall.bulkhead.ghosts", "{attempt}",
    "Attempts that were given up and hold a permit, because the server may still be at work on them",
)  # fmt: skip
WAITING: Final = Metric("sum", "seawall.bulkhead.waiting", "{attempt}", "Attempts that wait for a permit")
LIMITED: Final = Metric(
    "sum", "seawall.limit.waiting", "{attempt}", "Attempts that wait for their turn by a rate limit"
)
BREAKERS: Final = Metric(
    "sum", "seawall.breaker.state", "{breaker}",
    "1 for the state that the breaker is in, and 0 for the others, so that sums count breakers", (ADDRESS, STATE),
)  # fmt: skip
BALANCE: Final = Metric("sum", "seawall.budget.balance", "{retry}", "Retry tokens left; missing without a budget")
MAX_BALANCE: Final = Metric("sum", "seawall.budget.max", "{retry}", "Retry tokens that the budget can hold")
EJECTED: Final = Metric(
    "sum", "seawall.addresses.ejected", "{address}", "Addresses that are tried last, because they failed"
)
AWAY: Final = Metric("sum", "seawall.origins.away", "{origin}", "1 while calls wait for an origin that is away, else 0")

METRICS: Final = (
    REQUESTS, CALLS, BODIES, WAITS, LOOKUPS, RETRIES, HEDGES, DENIALS, REJECTIONS, TRANSITIONS, DEGRADATIONS, IN_FLIGHT,
    CONNECTIONS, PERMITS, PERMITS_LIMIT, GHOSTS, WAITING, LIMITED, BREAKERS, BALANCE, MAX_BALANCE, EJECTED, AWAY,
)  # fmt: skip

CALL_SPAN: Final = "seawall.call"
BODY_SPAN: Final = "seawall.body"
SPANS: Final = {
    "{method}": (
        "CLIENT", "One attempt, from its start, queueing included, to its end; of a streamed response to its headers",
        (METHOD, ORIGINAL_METHOD, URL, ADDRESS, PORT, RESENDS, STATUS, ERROR, VERSION, PEER, PEER_PORT, SOURCE, PHASE,
         HEDGE, SUPERSEDED, CLIENT),
    ),
    CALL_SPAN: (
        "INTERNAL", "A call of several attempts, or of none; one that begins a trace; with `spans=\"calls\"` each call",
        (ATTEMPTS, OUTCOME, ERROR, CLIENT),
    ),
    BODY_SPAN: (
        "INTERNAL", "A streamed body that broke off, from the attempt's start to the body's end",
        (METHOD, URL, ADDRESS, PORT, ERROR, CLIENT),
    ),
}  # fmt: skip

WAITED: Final = "seawall.wait"
DIALLED: Final = "seawall.dial"
RETRY: Final = "seawall.retry"
RETRY_DENIED: Final = "seawall.retry.denied"
REJECTED: Final = "seawall.rejected"
BREAKER_MOVED: Final = "seawall.breaker"
LIMIT_MOVED: Final = "seawall.limit"
PAUSED: Final = "seawall.pause"
WENT_AWAY: Final = "seawall.away"
SPAN_EVENTS: Final = {
    WAITED: ("The attempt waited at a gate, or for DNS", (WAIT, DURATION, SOURCE)),
    DIALLED: ("An address was dialled", (PEER, PEER_PORT, OUTCOME, DURATION)),
    RETRY: ("A retry was scheduled", (DELAY, REASON)),
    RETRY_DENIED: ("No retry follows", (DENIED, DETAIL)),
    REJECTED: ("A gate on this side refused the attempt", (GATE, DURATION)),
    BREAKER_MOVED: ("The attempt's end moved the breaker", (PREVIOUS, STATE, DETAIL)),
    LIMIT_MOVED: ("The attempt's end moved the adaptive bulkhead", (LIMIT, DETAIL)),
    PAUSED: ("The response asked all callers to wait", (DURATION,)),
    WENT_AWAY: ("The origin is away, so calls wait for it", (DETAIL,)),
}

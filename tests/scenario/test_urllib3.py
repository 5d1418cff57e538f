"""What urllib3's docs say of each argument of its Retry, said by `Retry.from_urllib3`: a test for each row."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from urllib3.util import Retry as Theirs

import seawall
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/"
CONNECT, READ = httpx.ConnectError, httpx.ReadError


def ours(*arguments, **settings) -> seawall.Retry:
    return seawall.Retry.from_urllib3(Theirs(*arguments, **settings), rng=FixedRandom())


async def outcome(retry: seawall.Retry, *steps, method: str = "GET") -> tuple[object, list[float]]:
    """Status or class of the error that a call ends with, and when each attempt was there."""
    wire = ScriptedWire(*steps)
    async with seawall.AsyncClient(
        transport=wire, retry=retry, rng=FixedRandom(), deadline=None, breaker=None, budget=None
    ) as client:
        try:
            end: object = (await client.request(method, URL)).status_code
        except httpx.HTTPError as error:
            end = type(error)
    return end, wire.instants


async def attempts(retry: seawall.Retry, *steps, method: str = "GET") -> int:
    return len((await outcome(retry, *steps, method=method))[1])


async def test_total():
    """Total number of retries to allow."""
    assert await attempts(ours(total=3), READ) == 4


async def test_total_takes_precedence():
    """Total takes precedence over other counts."""
    assert await attempts(ours(total=2, connect=5), CONNECT) == 3


async def test_total_none_falls_back_on_other_counts():
    """Set total to None to remove this constraint and fall back on other counts."""
    assert await attempts(ours(total=None, connect=2, read=5), CONNECT) == 3
    assert await attempts(ours(total=None, connect=2, read=5), READ) == 6


def test_total_none_alone_would_never_end():
    """urllib3 would retry for ever; that is refused."""
    with pytest.raises(ValueError, match="for ever"):
        ours(total=None)


async def test_total_zero():
    """Set to 0 to fail on the first retry."""
    assert await attempts(ours(total=0), CONNECT) == 1


async def test_total_false():
    """Set to False to disable."""
    assert await attempts(ours(total=False), CONNECT) == 1


async def test_connect():
    """How many connection-related errors to retry on, for any method: nothing was sent."""
    assert await attempts(ours(connect=1), CONNECT, method="POST") == 2
    assert await attempts(ours(connect=1), READ) == 11


async def test_connect_zero():
    """Set to 0 to fail on the first retry of this type."""
    assert await attempts(ours(connect=0), CONNECT) == 1


async def test_read():
    """How many times to retry on read errors, of methods that allow it."""
    assert await attempts(ours(read=2), READ) == 3
    assert await attempts(ours(read=2), READ, method="POST") == 1


@pytest.mark.parametrize("none", [0, False])
async def test_read_zero(none):
    """Set to 0 to fail on the first retry of this type; False is the same."""
    assert await attempts(ours(read=none), READ) == 1


async def test_status():
    """How many times to retry on bad status codes that match status_forcelist."""
    assert await attempts(ours(status=2, status_forcelist={500}), 500) == 3
    assert await attempts(ours(status=2, status_forcelist={500}), 502) == 1


async def test_status_zero():
    """Set to 0 to fail on the first retry of this type."""
    assert await attempts(ours(status=0, status_forcelist={500}), 500) == 1


async def test_counts_are_apart():
    """A retry of one kind leaves the others' counts alone."""
    retry = ours(total=9, connect=1, read=1, status=1, status_forcelist={500}, raise_on_status=False)
    assert await attempts(retry, CONNECT, READ, 500, CONNECT) == 4


async def test_other():
    """How many times to retry on other errors: here, what only a predicate asks for."""
    retry = seawall.Retry(max_attempts=9, max_other_retries=1, retry=lambda outcome: outcome.status == 418)
    assert ours(other=1).max_other_retries == 1
    assert await attempts(retry, 418) == 2


async def test_redirect_is_httpx_own():
    """Redirects are no retries here: httpx's follow_redirects and max_redirects."""
    wire = ScriptedWire(httpx.Response(302, headers={"location": "/again"}))
    async with seawall.AsyncClient(
        transport=wire, retry=ours(redirect=1), follow_redirects=True, max_redirects=3
    ) as client:
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(URL)
    assert len(wire.instants) == 4


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_allowed_methods_by_default(method):
    """By default, methods that are considered to be idempotent."""
    assert await attempts(ours(total=1), READ, method=method) == 2


async def test_allowed_methods():
    """Set of uppercased HTTP method verbs that we should retry on."""
    assert await attempts(ours(total=1, allowed_methods={"POST"}), READ, method="POST") == 2
    assert await attempts(ours(total=1, allowed_methods={"POST"}), READ, method="GET") == 1


async def test_allowed_methods_none():
    """Set to a None value to retry on any verb."""
    assert await attempts(ours(total=1, allowed_methods=None), READ, method="PATCH") == 2


async def test_status_forcelist():
    """A retry is initiated if the method is allowed and the status is in the list."""
    assert await outcome(ours(total=3, status_forcelist={418}), 418, 200) == (200, [0.0, 0.0])
    assert await attempts(ours(total=3, status_forcelist={418}), 418, method="POST") == 1


async def test_status_forcelist_by_default():
    """By default, this is disabled with None."""
    assert await outcome(ours(), 503) == (503, [0.0])


async def test_backoff_factor():
    """{factor} * 2 ** {previous retries}: for 0.1, sleeps of 0.0, 0.2, 0.4, 0.8 s."""
    _, instants = await outcome(ours(total=4, backoff_factor=0.1), READ)
    assert instants == [0.0, 0.0, 0.2, 0.6, 1.4]


async def test_backoff_is_off_by_default():
    """By default, backoff is disabled (factor set to 0)."""
    assert (await outcome(ours(total=3), READ))[1] == [0.0] * 4


async def test_backoff_max():
    """No backoff will ever be longer than backoff_max."""
    _, instants = await outcome(ours(total=4, backoff_factor=1, backoff_max=3), READ)
    assert instants == [0.0, 0.0, 2.0, 5.0, 8.0]


async def test_backoff_jitter():
    """If non-zero, this sleep is extended by uniform(0, jitter), here at its top; within backoff_max."""
    _, instants = await outcome(ours(total=3, backoff_factor=0.1, backoff_jitter=1.0, backoff_max=1.3), READ)
    assert instants == [0.0, 0.0, 1.2, 2.5]


async def test_raise_on_status():
    """Whether we should raise an exception if status is in status_forcelist and retries have been exhausted."""
    retry = ours(total=1, status_forcelist={500})
    wire = ScriptedWire(httpx.Response(500, json={"why": "broken"}))
    async with seawall.AsyncClient(transport=wire, retry=retry) as client:
        with pytest.raises(httpx.HTTPStatusError, match="2 attempts in 0 s: 500, 500") as caught:
            await client.get(URL)
    assert isinstance(caught.value, seawall.errors.StatusError)
    assert caught.value.response.json() == {"why": "broken"}
    assert (caught.value.status, len(caught.value.attempts), caught.value.request.url) == (500, 2, URL)


async def test_raise_on_status_false():
    """... or return a response."""
    assert await outcome(ours(total=1, status_forcelist={500}, raise_on_status=False), 500) == (500, [0.0, 0.0])


async def test_raise_on_status_leaves_other_answers_alone():
    """Of a method that is not retried, or a status that is not listed, the answer is returned."""
    retry = ours(total=1, status_forcelist={500})
    assert (await outcome(retry, 404))[0] == 404


async def test_history():
    """The history of the request: what was tried, in order."""
    wire = ScriptedWire(READ, 500, 200)
    async with seawall.AsyncClient(transport=wire, retry=ours(total=3, status_forcelist={500})) as client:
        response = await client.get(URL)
    history = response.extensions["seawall"]
    assert [attempt.outcome for attempt in history] == ["ReadError", "500", "200"]


@pytest.mark.parametrize("status", [413, 429, 503])
async def test_respect_retry_after_header(status):
    """Retry-After is respected on RETRY_AFTER_STATUS_CODES, with up to 10 % on top; without one, it is returned."""
    answer = httpx.Response(status, headers={"retry-after": "2"})
    assert await outcome(ours(), answer, 200) == (200, [0.0, 2.2])
    assert await attempts(ours(), status) == 1


@pytest.mark.parametrize(
    ("settings", "end"),
    [({"total": 0}, 1), ({"total": False}, 1), ({"total": None, "connect": 2}, 1), ({"total": 2}, 3)],
)
async def test_raise_on_status_is_of_the_forcelist(settings, end):
    """For a 429 that is retried only for its Retry-After, the answer is returned; without a total it isn't retried."""
    answer = httpx.Response(429, headers={"retry-after": "1"})
    status, instants = await outcome(ours(**settings), answer)
    assert (status, len(instants)) == (429, end)


async def test_respect_retry_after_header_false():
    """... or not."""
    answer = httpx.Response(503, headers={"retry-after": "2"})
    assert await outcome(ours(respect_retry_after_header=False), answer, 200) == (503, [0.0])
    retry = ours(respect_retry_after_header=False, status_forcelist={503})
    assert await outcome(retry, answer, 200) == (200, [0.0, 0.0])


async def test_retry_after_max():
    """urllib3 waits no longer than that and asks too early; here, the answer is returned now."""
    retry = seawall.Retry.from_urllib3(Theirs(raise_on_status=False))
    assert retry.max_retry_after == 21600
    answer = httpx.Response(503, headers={"retry-after": "21601"})
    assert await outcome(retry, answer) == (503, [0.0])


async def test_remove_headers_on_redirect_is_httpx_own():
    """httpx takes Authorization off a redirect to another origin."""
    wire = ScriptedWire(httpx.Response(302, headers={"location": "http://other.test/"}), 200)
    async with seawall.AsyncClient(transport=wire, retry=ours(), follow_redirects=True) as client:
        await client.get(URL, headers={"authorization": "me"})
    assert [attempt.headers.get("authorization") for attempt in wire.attempts] == ["me", None]


async def test_certificates_are_not_retried():
    """urllib3 retries what is "other", and certificates are; here they never are."""
    assert await attempts(ours(total=5, other=5), seawall.errors.CertificateError("expired")) == 1


def test_only_retries_are_translated():
    """requests' max_retries=3 is no Retry."""
    with pytest.raises(TypeError, match=r"urllib3\.util\.Retry"):
        seawall.Retry.from_urllib3(3)


async def test_settings_are_shared_by_calls():
    """urllib3 makes a new object for each retry; ours is never changed."""
    retry = ours(total=2, backoff_factor=1)
    wire = ScriptedWire(READ)
    async with seawall.AsyncClient(transport=wire, retry=retry, breaker=None) as client:
        await asyncio.gather(*(client.get(URL) for _ in range(5)), return_exceptions=True)
    assert len(wire.instants) == 15

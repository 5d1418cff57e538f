"""The table of failures on real sockets: each fault, its error, and how often the server saw which request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import httpx
import pytest

import seawall
from seawall.testing import FaultServer

pytestmark = pytest.mark.anyio

FAST = seawall.Retry(backoff=0, throttled_backoff=0)
ANYONE, SAFE, NOBODY = (3, 3, 3), (3, 1, 3), (1, 1, 1)  # attempts of GET, POST, POST with a key

OF_REQUESTS = [
    ("close", seawall.errors.BadAnswer, SAFE),
    ("close:headers", seawall.errors.BadAnswer, SAFE),
    ("reset", seawall.errors.ConnectionLost, SAFE),
    ("reset:status", seawall.errors.ConnectionLost, SAFE),
    ("reset:headers", seawall.errors.ConnectionLost, SAFE),
    ("hang", seawall.errors.ReadTimeout, SAFE),
    ("hang:headers", seawall.errors.ReadTimeout, SAFE),
    ("hang:body", seawall.errors.ReadTimeout, SAFE),
    ("close:body", seawall.errors.BadAnswer, SAFE),
    ("reset:body", seawall.errors.ConnectionLost, SAFE),
    ("close:chunk", seawall.errors.BadAnswer, SAFE),
    ("malformed:not_http", seawall.errors.BadAnswer, SAFE),
    ("500", 500, SAFE),
    ("502", 502, SAFE),
    ("503", 503, SAFE),
    ("504", 504, SAFE),
    ("408", 408, SAFE),
    ("425", 425, SAFE),
    ("429", 429, ANYONE),
    ("409", 409, (1, 1, 3)),
    ("413", 413, NOBODY),
    ("413:0", 413, SAFE),
    ("422", 422, NOBODY),
    ("501", 501, NOBODY),
    ("503:86400", 503, NOBODY),
]
OF_PORTS = [
    ("accept_reset", seawall.errors.ConnectionLost, SAFE),
    ("accept_close", seawall.errors.BadAnswer, SAFE),
    ("tls:expired", seawall.errors.CertificateError, NOBODY),
    ("tls:wrong_host", seawall.errors.HostnameMismatch, NOBODY),
    ("tls:untrusted_root", seawall.errors.CertificateError, NOBODY),
    ("tls:wants_client", seawall.WireError, NOBODY),
    ("tls_alert", seawall.errors.HandshakeError, ANYONE),
    ("tls_alert:70", seawall.errors.HandshakeError, NOBODY),
    ("tls_plaintext", seawall.errors.HandshakeError, NOBODY),
    ("tls_close", seawall.errors.HandshakeError, ANYONE),
    ("tls_reset", seawall.errors.HandshakeError, ANYONE),
    ("tls_hang", seawall.errors.HandshakeTimeout, ANYONE),
    ("refuse", seawall.DialError, ANYONE),
    ("blackhole", seawall.errors.DialTimeout, ANYONE),
]
OF_HTTP2 = [
    ("h2_refused", seawall.errors.StreamRefused, ANYONE),
    ("h2_goaway", seawall.errors.StreamRefused, ANYONE),
    ("h2_rst:2", seawall.errors.BadAnswer, SAFE),
    ("h2_rst:2:body", seawall.errors.BadAnswer, SAFE),
]
REQUESTS = (("GET", {}), ("POST", {}), ("POST", {"idempotency-key": '"k"'}))


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(assert_all_called=False) as server:
        yield server


def patient(server: FaultServer, **arguments) -> seawall.AsyncClient:
    """A client that loses patience soon, and whose breaker and budget stay out of it."""
    return seawall.AsyncClient(
        verify=server.client_context(), timeout=0.5, retry=FAST, breaker=None, budget=None, deadline=5.0, **arguments
    )


async def end(client: seawall.AsyncClient, method: str, url: str, headers: dict[str, str]) -> tuple[object, int]:
    """Status or error, and how many attempts the client says it made."""
    try:
        response = await client.request(method, url, headers=headers, content=b"x" if method == "POST" else None)
        return response.status_code, len(response.extensions["seawall"])
    except httpx.RequestError as error:
        return error, len(getattr(error, "attempts", ()))  # a body that can't be decoded has none


def check(ends, expected) -> None:
    for outcome, _ in ends:
        assert outcome == expected if isinstance(expected, int) else isinstance(outcome, expected), outcome


@pytest.mark.parametrize(("step", "expected", "attempts"), OF_REQUESTS, ids=lambda value: str(value)[:24])
async def test_of_requests(server, step, expected, attempts):
    """Counted at the server: GET, POST, and POST with a key."""
    urls = [server.script(f"k{number}", step) for number in range(3)]
    async with patient(server) as client:
        ends = await asyncio.gather(
            *(end(client, method, url, headers) for url, (method, headers) in zip(urls, REQUESTS, strict=True))
        )
    check(ends, expected)
    seen = tuple(len(server.attempts(f"k{number}")) for number in range(3))
    assert seen == attempts == tuple(count for _, count in ends)


@pytest.mark.parametrize(("step", "expected", "attempts"), OF_PORTS, ids=lambda value: str(value)[:24])
async def test_of_ports(server, step, expected, attempts):
    """The same of what happens to connections."""
    ports = [server.listen(step) for _ in REQUESTS]
    async with patient(server) as client:
        ends = await asyncio.gather(
            *(
                end(client, method, f"{port.url}/x/ok", headers)
                for port, (method, headers) in zip(ports, REQUESTS, strict=True)
            )
        )
    check(ends, expected)
    assert tuple(count for _, count in ends) == attempts
    if step not in ("refuse", "blackhole"):
        assert tuple(port.connections for port in ports) == attempts


@pytest.mark.parametrize(("step", "expected", "attempts"), OF_HTTP2, ids=lambda value: str(value)[:24])
async def test_of_http2(server, step, expected, attempts):
    """The same of what HTTP/2's servers say of a stream."""
    port = server.listen("h2")
    paths = [server.script(f"k{number}", step).partition("/x")[2] for number in range(3)]
    async with patient(server, http2=True) as client:
        ends = [
            await end(client, method, f"{port.url}/x{path}", headers)
            for path, (method, headers) in zip(paths, REQUESTS, strict=True)
        ]
    check(ends, expected)
    assert tuple(count for _, count in ends) == attempts


@pytest.mark.parametrize("step", ["reset:body", "close:body", "close:chunk", "hang:body"])
async def test_cut_stream_says_how_much_had_come(server, step):
    """Under stream() it is the reader's: the error has the bytes, its message too."""
    url = server.script("k", step)
    async with patient(server) as client, client.stream("GET", url) as response:
        received, error = 0, None
        try:
            async for part in response.aiter_raw():
                received += len(part)
        except seawall.WireError as caught:
            error = caught
    assert error is not None
    assert error.received == received > 0
    length = f" of {response.headers['content-length']}" if "chunk" not in step else ""
    assert f"{received}{length} bytes of the body had come" in str(error)
    assert len(server.attempts("k")) == 1


FAULTS = (
    "close close:headers close:body close:chunk reset reset:headers reset:body reset:request hang "
    "hang:headers hang:body malformed:not_http malformed:chunk_junk truncate:body 500 502 503 504 408 425 ok "
    "extra half_close lie next:reset early:413:close info drip:body encoded:gzip_bad"
)


async def test_no_unsafe_request_is_seen_twice(server):
    """Random scripts of faults; ``python -m benchmarks unsafe`` has 10,000 of them."""
    rng = Random(20)
    async with seawall.AsyncClient(timeout=0.1, deadline=1.0, retry=FAST, breaker=None, budget=None) as client:

        async def one(number: int) -> None:
            url = server.script(f"k{number}", *rng.choices(FAULTS.split(), k=3))
            await end(client, rng.choice(["POST", "PATCH"]), url, {})

        for begin in range(0, 300, 50):
            await asyncio.gather(*(one(number) for number in range(begin, begin + 50)))
    seen = [len(server.attempts(f"k{number}")) for number in range(300)]
    assert max(seen) == 1
    assert sum(seen) > 200  # not, where a kept-alive connection was lost under it

"""How the public API is used, over httpx: for mypy and pyright, read, never run."""

from __future__ import annotations

from typing import assert_type

import httpx
import tenacity

import seawall
import seawall.stats
from seawall.integrations.prometheus import Prometheus


async def client_is_httpx() -> None:
    client = seawall.AsyncClient(
        base_url="https://api.example.com",
        timeout=httpx.Timeout(5.0),
        deadline=None,
        retry=seawall.Retry(max_attempts=2, wait=tenacity.wait_fixed(1), stop=tenacity.stop_after_delay(3)),
        bulkhead=None,
        breaker=seawall.Breaker(),
        budget=None,
        per_host={"*.internal": seawall.Policy(retry=None)},
        dns=seawall.DNS(nameservers=["127.0.0.1:53"]),
        resolver="system",
        observers=[listener, Prometheus()],
    )
    as_httpx: httpx.AsyncClient = client
    assert_type(await client.get("/"), httpx.Response)
    assert_type(await client.request("GET", "/"), httpx.Response)
    assert_type(await client.post("/", json={"id": 1}), httpx.Response)
    assert_type(client.build_request("GET", "/"), httpx.Request)
    assert_type(await client.send(client.build_request("GET", "/"), stream=True), httpx.Response)
    async with client.stream("GET", "/") as response:
        assert_type(response, httpx.Response)
    async with client as entered:
        assert_type(entered, seawall.AsyncClient)
    await as_httpx.get("/", extensions=seawall.options(deadline=1.0, retry=None))
    await client.send(httpx.Request("GET", "https://a", extensions=seawall.options(idempotency_key=False)))
    assert_type(client.stats().origins[seawall.Origin("https", "a", 443)].in_flight, int)


def arguments_are_typed() -> None:
    seawall.AsyncClient(timout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    seawall.AsyncClient(timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(base_url=12)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(resolver="google")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncTransport(deadline="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncTransport(base_url="http://a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    seawall.AsyncTransport(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.Engine(http2="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.Engine(mounts={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    seawall.AsyncClient(engine=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.options(deadline="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.options(criticality="urgent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.criticality(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.options(bulkhead=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def methods_are_typed(client: seawall.AsyncClient) -> None:
    await client.get(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.get("/", timout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.get("/", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.get("/", extensions=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send("/")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await client.send(httpx.Request("GET", "/"), follow_redirects="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.build_request("GET", "/", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def fetching_is_typed(client: seawall.AsyncClient) -> None:
    done = await client.download("/", "file", sha256="0" * 64, progress=lambda size, length: None, deadline=1.0)
    assert_type(done, seawall.Download)
    await client.download("/", "file", timout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async for result in client.map(["/"], ordered=True):
        assert_type(result, seawall.Result[str, httpx.Response])
    async for event in client.events("/", method="POST", json={"id": 1}, silence=None):
        assert_type(event, seawall.ServerSentEvent)


async def clients_share_an_engine() -> None:
    async with seawall.Engine(
        deadline=1.0, limits=httpx.Limits(max_connections=3), guard=seawall.Guard(deny=["10.0.0.0/8"])
    ) as engine:
        assert_type(engine, seawall.Engine)
        seawall.AsyncClient(engine=engine, base_url="https://api.example.com", auth=("user", "password"))
        seawall.AsyncTransport(httpx.MockTransport(lambda request: httpx.Response(200)), engine=engine)
        assert_type(engine.stats(), seawall.stats.Stats)
        engine.breakers["https://api.example.com"].force_open()


async def transport_is_httpx() -> None:
    inner = httpx.MockTransport(lambda request: httpx.Response(200))
    async with httpx.AsyncClient(transport=seawall.AsyncTransport(inner)) as client:
        await client.get("https://api.example.com/")


def listener(event: seawall.events.Event) -> None:
    if isinstance(event, seawall.Attempt):
        assert_type(event.phase, seawall.events.Phase)
        assert_type(event.address, seawall.dns.Address | None)


class Discovery:
    async def resolve(self, host: str, port: int, *, family: int = 0) -> seawall.dns.Answer:
        return seawall.dns.Answer((seawall.dns.Address("127.0.0.1"),), 1.0, "mine")

    async def aclose(self) -> None: ...


def resolver_is_a_protocol() -> seawall.dns.Resolver:
    return Discovery()


def errors_have_facts(error: seawall.BreakerOpen | seawall.DeadlineExceeded) -> float:
    assert_type(error.attempts, tuple[seawall.Attempt, ...])
    with seawall.deadline(2.0) as instant:
        assert_type(instant, float)
    return error.retry_after if isinstance(error, seawall.BreakerOpen) else error.timeout

"""How the front over httpx2 is used, and what of the other library it refuses: for mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2

import seawall
import seawall.httpx2


async def client_is_httpx2(engine: seawall.httpx2.Engine) -> None:
    client = seawall.httpx2.AsyncClient(
        base_url=httpx2.URL("https://api.example.com"),
        timeout=httpx2.Timeout(5.0, read=60.0),
        limits=httpx2.Limits(max_connections=10),
        auth=httpx2.BasicAuth("user", "password"),
        mounts={"all://*.internal": httpx2.MockTransport(lambda request: httpx2.Response(200))},
        deadline=10.0,
        retry=seawall.Retry(max_attempts=2),
        per_host={"*.internal": seawall.Policy(retry=None)},
    )
    as_httpx2: httpx2.AsyncClient = client
    assert_type(await as_httpx2.get("/", extensions=seawall.options(deadline=1.0)), httpx2.Response)
    assert_type(await client.get("/"), httpx2.Response)
    assert_type(await client.request("QUERY", "/"), httpx2.Response)
    assert_type(await client.post("/", json={"id": 1}), httpx2.Response)
    assert_type(client.build_request("GET", "/"), httpx2.Request)
    assert_type(await client.send(client.build_request("GET", "/"), stream=True), httpx2.Response)
    async with client.stream("GET", "/") as response:
        assert_type(response, httpx2.Response)
    async with client as entered:
        assert_type(entered, seawall.httpx2.AsyncClient)
    seawall.httpx2.AsyncClient(engine=engine)
    seawall.httpx2.AsyncTransport(httpx2.MockTransport(lambda request: httpx2.Response(200)), engine=engine)


def arguments_are_typed() -> None:
    seawall.httpx2.AsyncClient(timout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    seawall.httpx2.AsyncClient(timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.AsyncClient(base_url=12)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.Engine(http2="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def other_library_is_refused(client: seawall.httpx2.AsyncClient) -> None:
    seawall.httpx2.AsyncClient(timeout=httpx.Timeout(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.AsyncClient(limits=httpx.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.AsyncClient(auth=httpx.BasicAuth("user", "password"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.AsyncClient(transport=httpx.AsyncHTTPTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.AsyncTransport(httpx.AsyncHTTPTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.httpx2.Engine(limits=httpx.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(timeout=httpx2.Timeout(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(limits=httpx2.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(auth=httpx2.BasicAuth("user", "password"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncClient(transport=httpx2.AsyncHTTPTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.AsyncTransport(httpx2.AsyncHTTPTransport())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.Engine(limits=httpx2.Limits())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    _: httpx.AsyncClient = client  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


async def fetching_is_typed(client: seawall.httpx2.AsyncClient) -> None:
    done = await client.download("/", "file", sha256="0" * 64, progress=lambda size, length: None, deadline=1.0)
    assert_type(done, seawall.Download)
    await client.download("/", "file", timout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    async for result in client.map(["/"], ordered=True):
        assert_type(result, seawall.Result[str, httpx2.Response])
    async for event in client.events("/", method="POST", json={"id": 1}, silence=None):
        assert_type(event, seawall.ServerSentEvent)

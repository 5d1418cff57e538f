"""The same request through httpx.AsyncClient and seawall.AsyncClient, against the same server: the same result."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from inspect import isawaitable

import httpx
import pytest

import seawall
from seawall.testing import Request
from seawall.wire.coding import ACCEPTED

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


@pytest.fixture(autouse=True)
def codings(monkeypatch):
    """httpx asks for the codings that seawall asks for: these depend on the packages that each decodes with."""
    monkeypatch.setattr(httpx._client, "ACCEPT_ENCODING", ACCEPTED)


OK = b"HTTP/1.1 200 OK\r\n"
ZIPPED = gzip.compress(b"zip" * 100)
RAW = {
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
    "/until-close": OK + b"\r\nuntil close",
    "/1.0": b"HTTP/1.0 200 OK\r\n\r\nold",
    "/chunked": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\ntrailer: x\r\n\r\n",
    "/gzip": OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
    "/bad-gzip": OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd",
    "/103": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3 + OK + b"content-length: 2\r\n\r\nok",
    "/headers": b"HTTP/1.1 200 Fine Thanks\r\nX-Case: A\r\nx-case: b\r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n",
    "/no-colon": OK + b"foo\r\n\r\n",
    "/large-header": OK + b"content-length: 0\r\nfoo: " + b"x" * 90_000 + b"\r\n\r\n",
    "/huge-header": OK + b"foo: " + b"x" * 400_000 + b"\r\n\r\n",
    "/negative": OK + b"content-length: -1\r\n\r\n",
    "/not-http": b"SSH-2.0-OpenSSH\r\n\r\n",
}
COOKIES = b"".join(
    b"set-cookie: %b\r\n" % cookie
    for cookie in (b"a=1", b"a=2; Path=/", b"b=3; Path=/cookies/deep", b"c=4; Domain=other.test", b"d=5; Secure")
)
CLOSING = {"/until-close", "/1.0", "/bad-gzip", "/no-colon", "/huge-header", "/negative", "/not-http"}


async def handler(request: Request) -> None:
    if request.target in RAW:
        await request.send(RAW[request.target])
        if request.target in CLOSING:
            request.close()
    elif request.target == "/307":
        await request.reply(307, location="/echo")
    elif request.target.startswith("/cookies"):
        body = request.headers.get("cookie", "none").encode()
        await request.send(OK + COOKIES + b"content-length: %d\r\n\r\n" % len(body) + body)
    else:
        seen = (request.method, request.target, sorted(request.headers.items()), request.body)
        await request.reply(body=repr(seen).encode())


async def parts() -> AsyncIterator[bytes]:
    yield b"ab"
    yield b"cd"


CASES = [
    *[("GET", path, {}) for path in RAW],
    ("HEAD", "/x", {}),
    ("OPTIONS", "/x", {}),
    ("PURGE", "/x", {}),
    ("GET", "/x?a=1", {"params": {"b": "2"}, "headers": {"X-Mixed": "y"}}),
    ("GET", "/307", {}),
    ("POST", "/307", {"content": b"abc", "headers": {"authorization": "x"}}),
    ("GET", "/cookies/deep/x", {}),
    ("GET", "/cookies/deep/x", {"headers": {"cookie": "mine=1"}}),
    ("POST", "/307", {"content": b"abc", "follow_redirects": True}),
    ("POST", "/307", {"content": parts, "follow_redirects": True}),
    ("PUT", "/x", {"content": parts}),
    ("POST", "/x", {"data": {"a": "b"}}),
    ("POST", "/x", {"json": {"a": 1}}),
    ("POST", "/x", {"files": {"f": ("n", b"data")}, "headers": {"content-type": "multipart/form-data; boundary=b"}}),
    ("POST", "/x", {"content": b"zz", "headers": {"Expect": "100-continue"}}),
]


def facts(request: httpx.Request | None) -> object:
    return request and (request.method, request.url, request.headers.raw, getattr(request, "_content", None))


async def observe(client: httpx.AsyncClient, url: str, method: str, arguments: dict) -> object:
    """Everything of the response that an application can see, or the httpx class of the error."""
    content = arguments.get("content")
    try:
        async with client:
            for _ in range(3):  # the first goes httpx's own way, the last the short one where there is one
                if callable(content):
                    arguments = arguments | {"content": content()}
                response = await client.request(method, url, **arguments)
    except Exception as error:
        assert not isinstance(error, httpx.RequestError) or error.request is not None
        return next(cls for cls in type(error).__mro__ if not cls.__module__.startswith("seawall"))
    return {
        "status": (response.status_code, response.reason_phrase, response.http_version),
        "headers": response.headers.raw,
        "body": (response.content, response.text, response.encoding, response.num_bytes_downloaded),
        "state": (response.is_closed, response.is_stream_consumed, response.elapsed.total_seconds() > 0),
        "redirect": ([each.status_code for each in response.history], response.url, facts(response.next_request)),
        "extensions": set(response.extensions) - {"seawall"},
        "cookies": sorted((each.domain, each.path, each.name, each.value) for each in client.cookies.jar),
        "jars": (type(client.cookies.jar), type(response.cookies.jar), sorted(response.cookies)),
        "request": facts(response.request),
        "timeout": response.request.extensions["timeout"],
        "vars": set(vars(response)) - {"_decoder", "_elapsed"},  # httpx2 may keep the latter in its stream
    }


@pytest.mark.parametrize(
    ("method", "path", "arguments"), CASES, ids=lambda value: re.sub(r" at 0x\w+", "", str(value))[:40]
)
async def test_same_as_httpx(serve, method, path, arguments):
    """Status, headers, body, history, state, cookies; or the class of the error."""
    server = await serve(handler)
    theirs = await observe(httpx.AsyncClient(timeout=2), server.url + path, method, arguments)
    client = seawall.AsyncClient(retry=seawall.Retry(backoff=0), timeout=2)
    ours = await observe(client, server.url + path, method, arguments)
    assert ours == theirs


def own(base: type[httpx.AsyncClient], name: str) -> httpx.AsyncClient:
    """A client of a class that has its own of one part that requests are built with."""

    class Own(base):
        calls = 0

        def count(self) -> str:
            self.calls += 1
            return str(self.calls)

    def merged(self, headers=None):
        return httpx.Headers({**base._merge_headers(self, headers), "x-count": self.count()})

    def url(self, url):
        return base._merge_url(self, f"{url}{self.count()}")

    parts = {
        "timeout": property(lambda self: httpx.Timeout(int(self.count())), lambda self, value: None),
        "params": property(lambda self: httpx.QueryParams({"n": self.count()}), lambda self, value: None),
        "_merge_headers": merged,
        "_merge_url": url,
    }
    setattr(Own, name, parts[name])
    return Own()


@pytest.mark.parametrize("name", ["timeout", "params", "_merge_headers", "_merge_url"])
async def test_subclasses_build_as_they_like(serve, name):
    """Each request anew, as in httpx."""
    server = await serve(handler)
    seen = []
    for base in (httpx.AsyncClient, seawall.AsyncClient):
        async with own(base, name) as client:
            requests = [(await client.get(server.url + "/x")).request for _ in range(4)]
        seen.append([str((request.url, request.headers.raw, request.extensions["timeout"])) for request in requests])
    assert [len({*each}) for each in seen] == [4, 4]
    if name != "timeout":  # which seawall has looked at once more, to refuse what can't be
        assert seen[0] == seen[1]


async def test_request_is_given_back_whole(serve):
    """Its own stream, whatever came of the call: it failed, or was refused before it began."""
    async with seawall.AsyncClient(retry=None) as client:
        for close in (False, True):
            request = client.build_request("POST", "http://127.0.0.1:1/", content=parts())
            stream = request.stream
            if close:
                await client.engine.layers.in_flight.aclose()
            with pytest.raises(httpx.TransportError):
                await client.send(request)
            assert request.stream is stream


async def test_sync_methods_are_refused(serve):
    """As httpx refuses them, whichever way the answer came."""
    server = await serve(handler)
    async with seawall.AsyncClient() as client:
        for _ in range(3):
            response = await client.get(server.url + "/x")
            with pytest.raises(RuntimeError, match="sync"):
                response.close()


async def told(value) -> object:
    """What *value* returns, or the class and the text of the error."""
    try:
        result = value()
        return await result if isawaitable(result) else result
    except Exception as error:
        return type(error), str(error)


WAYS = {
    "bytes": lambda response: response.aiter_bytes(7),
    "raw": lambda response: response.aiter_raw(),
    "text": lambda response: response.aiter_text(5),
    "lines": lambda response: response.aiter_lines(),
}


@pytest.mark.parametrize("path", ["/gzip", "/chunked", "/until-close", "/204", "/x"])
async def test_same_stream(serve, path):
    """Before it is read, as it is read, and after its end: the state, `elapsed`, and which errors misuse gets."""
    server = await serve(handler)

    async def observed(client: httpx.AsyncClient) -> list[object]:
        seen: list[object] = []

        async def look(response: httpx.Response) -> None:
            seen.append(await told(lambda: response.content))
            seen.append(await told(lambda: response.elapsed.total_seconds() > 0))
            seen.append((response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded))

        async with client:
            for name, way in WAYS.items():
                async with client.stream("GET", server.url + path, headers={"user-agent": "same"}) as response:
                    await look(response)
                    parts = [part async for part in way(response)]
                    seen += [name, b"".join(parts) if name == "raw" else parts]
                    await look(response)
                    seen.append(await told(lambda: anext(way(response))))  # noqa: B023
                await look(response)
                seen.append(await told(response.aread))
        return seen

    theirs = await observed(httpx.AsyncClient())
    assert await observed(seawall.AsyncClient()) == theirs

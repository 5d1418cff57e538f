"""Calls of every kind, each with one line of what came of it; run by test_private_names.py in a process of its own."""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any

LIBRARY, URL, KEY = sys.argv[1:]
FAST = {"backoff": 0.0, "throttled_backoff": 0.0}


async def parts() -> Any:
    yield b"one"
    yield b"two"


def shown(response: Any) -> str:
    """What a caller sees of it."""
    headers = {name: value for name, value in response.headers.items() if name != "date"}
    facts = (response.status_code, response.url.path, headers, response.text[:400], response.num_bytes_downloaded)
    took = response.elapsed.total_seconds()
    flags = (response.is_closed, response.is_stream_consumed, 0 < took < 60, len(response.extensions["seawall"]))
    history = [(each.status_code, each.text, each.elapsed is not None) for each in response.history]
    return f"{facts} {flags} {history} {sorted(response.cookies.items())} {response.request.method}"


async def plain(client: Any) -> None:
    for path in ("/a", "/a", "/a", "/b?c=d", "/a"):
        print("get", shown(await client.get(URL + path)))
    print("params", shown(await client.get(f"{URL}/p", params={"q": "1 2"}, headers={"X-Mine": "ä".encode()})))
    print("post", shown(await client.post(f"{URL}/json", json={"a": [1]})))
    print("head", shown(await client.head(f"{URL}/h")))
    print("userinfo", shown(await client.get(URL.replace("//", "//user:word@") + "/u")))
    print("auth", shown(await client.get(f"{URL}/auth", auth=("me", "it"))))
    print("redirect", shown(await client.get(f"{URL}/redirect", follow_redirects=True)))
    unfollowed = await client.get(f"{URL}/redirect")
    print("redirect", shown(unfollowed), unfollowed.next_request.url.path)
    print("cookies set", shown(await client.get(f"{URL}/set")))
    print("cookies sent", shown(await client.get(f"{URL}/a")), sorted(client.cookies.items()))
    client.cookies.clear()
    print("retry", shown(await client.get(f"{URL}/retry?key={KEY}")))


async def coded(client: Any) -> None:
    for name in ("gzip", "deflate", "br", "zstd", "twice"):
        response = await client.get(f"{URL}/coded/{name}")
        again = pickle.loads(pickle.dumps(response))
        print(name, shown(response), again.text == response.text)
        async with client.stream("GET", f"{URL}/coded/{name}") as response:
            print(name, [len(part) async for part in response.aiter_bytes(1000)], response.num_bytes_downloaded)
        async with client.stream("GET", f"{URL}/coded/{name}") as response:
            print(name, sum([len(part) async for part in response.aiter_raw()]))
        async with client.stream("GET", f"{URL}/coded/{name}") as response:
            print(name, len([line async for line in response.aiter_lines()]), response.is_closed)
    await failing(lambda: client.get(f"{URL}/coded/cut"))
    await failing(lambda: streamed(client, f"{URL}/coded/cut"))
    await failing(lambda: streamed(client, f"{URL}/coded/bomb"))
    print("coded 503", shown(await client.get(f"{URL}/coded/503")))


async def streamed(client: Any, url: str) -> None:
    async with client.stream("GET", url) as response:
        async for _ in response.aiter_bytes():
            pass


async def bodies(client: Any, seawall: Any) -> None:
    async with client.stream("GET", f"{URL}/a") as response:
        await response.aread()
        print("stream", shown(response))
    form = {"content-type": "multipart/form-data; boundary=b"}
    files = {"f": ("name", io.BytesIO(b"file")), "g": b"bytes"}
    print("form", shown(await client.post(f"{URL}/form", data={"a": "b"}, files=files, headers=form)))
    print("parts", shown(await client.put(f"{URL}/parts", content=parts())))
    print("replayable", shown(await client.put(f"{URL}/parts", content=seawall.replayable(parts))))


async def failing(call: Callable[[], Any]) -> None:
    try:
        await call()
    except Exception as error:
        again = pickle.loads(pickle.dumps(error))
        text = re.sub(r"[0-9.e-]+ s\b|left [0-9.]+", "some", str(error))
        print(type(error).__name__, text, error.request.url.path, type(again) is type(error), again.request.url.path)
        print(
            *(cls.__name__ for cls in type(error).__mro__), len(error.attempts) if hasattr(error, "attempts") else None
        )
    else:
        print("no error")


async def settings(httpx: Any, seawall: Any) -> None:
    seen: list[Any] = []

    async def on_request(request: Any) -> None:
        seen.append(request.url.path)

    async def on_response(response: Any) -> None:
        seen.append(response.status_code)

    hooks = {"request": [on_request], "response": [on_response]}
    settings = {"params": {"p": "1"}, "headers": {"x-own": "2"}, "cookies": {"c": "3"}, "auth": ("me", "it")}
    async with seawall.AsyncClient(
        base_url=f"{URL}/base", event_hooks=hooks, timeout=httpx.Timeout(7), **settings
    ) as client:
        print("base", shown(await client.get("one")), shown(await client.get("/two")), seen)
        client.headers = {"x-other": "4"}
        client.params, client.base_url, client.event_hooks, client.auth = {"q": "5"}, f"{URL}/other", {}, None
        print("changed", shown(await client.get("/three")), seen, client.timeout, dict(client.headers))
    async with seawall.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, text="mock"))) as client:
        print("mock", (await client.get("http://mock/")).text)
    mounts = {"all://mounted": httpx.MockTransport(lambda _: httpx.Response(200, text="mounted"))}
    async with seawall.AsyncClient(mounts=mounts) as client:
        print("mounts", (await client.get("http://mounted/")).text, shown(await client.get(f"{URL}/a")))
    async with seawall.AsyncClient(proxy=URL, trust_env=False) as client:
        print("proxy", shown(await client.get("http://proxied/")))
    own, seen = httpx.AsyncHTTPTransport.handle_async_request, []

    async def patched(self: Any, request: Any) -> Any:
        seen.append(request.url.path)
        return await own(self, request)

    httpx.AsyncHTTPTransport.handle_async_request = patched
    async with seawall.AsyncClient() as client:
        print("patched", shown(await client.get(f"{URL}/a")), shown(await client.get(f"{URL}/coded/gzip")), seen)
    httpx.AsyncHTTPTransport.handle_async_request = own
    os.environ |= {"HTTP_PROXY": URL, "NO_PROXY": "127.0.0.1, localhost,::1,.a"}
    try:
        async with seawall.AsyncClient() as client:
            print("environment", shown(await client.get("http://proxied/")), shown(await client.get(f"{URL}/a")))
    except ValueError as error:
        print("environment", error)
    async with httpx.AsyncClient(transport=seawall.AsyncTransport()) as client:
        print("transport", shown(await client.get(f"{URL}/a")))


async def main() -> None:
    httpx = importlib.import_module(LIBRARY)
    seawall = importlib.import_module("seawall")
    front = importlib.import_module("seawall.httpx2") if LIBRARY == "httpx2" else seawall
    seawall.AsyncClient, seawall.AsyncTransport = front.AsyncClient, front.AsyncTransport
    async with seawall.AsyncClient(retry=seawall.Retry(**FAST)) as client:
        await plain(client)
        await coded(client)
        await bodies(client, seawall)
        await failing(lambda: client.get("http://127.0.0.1:1/refused"))
        await failing(lambda: client.get(f"{URL}/cut"))
        await failing(lambda: client.get(f"{URL}/bad-location", follow_redirects=True))
        await failing(lambda: client.get(f"{URL}/to-cut", follow_redirects=True))
        await failing(lambda: client.get("ftp://a/"))
        strict = seawall.options(retry=seawall.Retry(max_attempts=1, raise_on_status=True))
        await failing(lambda: client.get(f"{URL}/coded/503", extensions=strict))
    await settings(httpx, seawall)


asyncio.run(main())

"""The dashboard as an ASGI application: the page, its stream, and the same as JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, quote

from .control import Refused, force, is_same_origin
from .page import page
from .stream import LIFE, Streams, json_of
from .view import Query, View

__all__ = ["Dashboard", "Message"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

MAX_BODY: Final = 4096  # B of an order
MAX_WANTED: Final = 200
TEXT: Final = "text/plain; charset=utf-8"
READ: Final = ("GET", "HEAD")
CONTROL: Final = ("POST",)
HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

STREAM: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store, no-transform",  # a proxy that compresses would hold events back
    "x-accel-buffering": "no",
}


class Dashboard:
    """The ASGI application that `dashboard` makes."""

    def __init__(self, view: View, streams: Streams) -> None:
        self._view = view
        self._streams = streams
        self._routes: dict[str, tuple[tuple[str, ...], Callable[[Message, Receive, Send], Awaitable[None]]]] = {
            "/": (READ, self._page),
            "/stats": (READ, self._stats),
            "/stream": (READ, self._stream),
        }
        if view.can_control:
            self._routes["/control"] = (CONTROL, self._control)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            path = _path(scope)
            methods, route = self._routes.get(path, ((), _missing))
            if not path:  # of "/seawall", where the page's relative links would miss
                await _answer(scope, send, 307, TEXT, b"", {"location": f"{quote(scope['path'].rpartition('/')[2])}/"})
            elif methods and scope["method"] not in methods:
                allowed = {"allow": ", ".join(methods)}
                await _answer(scope, send, 405, TEXT, f"{allowed['allow']} only".encode(), allowed)
            else:
                await route(scope, receive, send)

    async def _page(self, scope: Message, receive: Receive, send: Send) -> None:
        html, policy = page()
        await _answer(scope, send, 200, "text/html; charset=utf-8", html, {"content-security-policy": policy})

    async def _stats(self, scope: Message, receive: Receive, send: Send) -> None:
        query = _query(scope)
        known = frozenset(row.id for row in self._view.rows()) if query.since else frozenset[str]()
        body = json_of(self._view.frame(query, known)).encode()
        await _answer(scope, send, 200, "application/json", body)

    async def _stream(self, scope: Message, receive: Receive, send: Send) -> None:
        if not self._streams.try_open():
            text = (
                f"{self._streams.max_streams} streams are open, the most at once: close a page that shows the "
                "dashboard, or read stats instead of stream"
            )
            await _answer(scope, send, 503, TEXT, text.encode(), {"retry-after": "5"})
            return
        try:
            frames = None if scope["method"] == "HEAD" else self._streams.frames(_query(scope))
            await _until_left(receive, _send_all(frames, send), timeout=2 * LIFE)
        finally:
            self._streams.close()

    async def _control(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if not is_same_origin(headers):
                raise Refused(403, "orders are taken from this dashboard's own page only")
            state = force(self._view, await _body(receive))
        except Refused as refusal:
            await _answer(scope, send, refusal.status, TEXT, str(refusal).encode())
            return
        await _answer(scope, send, 200, "application/json", json_of({"breaker": state}).encode())


async def _until_left(receive: Receive, sending: Coroutine[Any, Any, None], *, timeout: float) -> None:
    """
    Await *sending*, but no longer than the reader is there, nor than *timeout* s, because one that reads nothing would
    keep its place for good.
    """
    tasks = asyncio.create_task(sending), asyncio.create_task(_left(receive))
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send_all(frames: AsyncIterator[str] | None, send: Send) -> None:
    """The whole response to a request for a stream; None: without a body."""
    with contextlib.suppress(OSError):  # the reader has left; some servers say so here
        await send(_start(200, HEADERS | STREAM))
        if frames is not None:
            async for text in frames:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes:
    body, is_whole = b"", False
    while not is_whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the body is cut")
        body += message.get("body", b"")
        is_whole = not message.get("more_body")
        if len(body) > MAX_BODY:
            raise Refused(413, f"the body has over {MAX_BODY} bytes")
    return body


async def _missing(scope: Message, _: Receive, send: Send) -> None:
    await _answer(scope, send, 404, TEXT, b"a dashboard has /, /stats and /stream")


async def _answer(
    scope: Message, send: Send, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    length = {"content-type": kind, "content-length": str(len(body))}
    await send(_start(status, HEADERS | length | (headers or {})))
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _start(status: int, headers: dict[str, str]) -> Message:
    fields = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": fields}


async def _live(receive: Receive, send: Send) -> None:
    """Nothing begins or ends with the server."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


def _path(scope: Message) -> str:
    """
    The path below where the dashboard is mounted; empty if the mount's own slash is missing.

    Source: the ASGI specification, HTTP connection scope: *path* begins with *root_path*; older servers leave it out.
    """
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(f"{root}/")):
        return path[len(root) :]
    return path


def _query(scope: Message) -> Query:
    given = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    since = given.get("since", ["0"])[0]
    return Query(
        wanted=given.get("filter", [""])[0][:MAX_WANTED],
        is_troubled="troubled" in given,
        since=int(since) if since.isdecimal() and len(since) < 16 else 0,
    )

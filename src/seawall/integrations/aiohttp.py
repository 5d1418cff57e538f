"""`deadline_middleware`, `idempotency_middleware` and `dashboard_handler`, for aiohttp's server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from aiohttp import StreamReader, web

from ..config.propagation import CRITICALITY_HEADER, TIMEOUT_HEADER
from ..core.criticality import ranked
from ..core.deadline import Caller, deadline
from ..core.engine import Engine
from ..errors import DeadlineExceeded, Rejected
from ._inbound import MAX_TIMEOUT, TOO_LATE, Inbound, Verdict, told, verdict
from .dashboard import HasEngine, dashboard
from .dashboard.app import Message
from .idempotency.answer import Answer
from .idempotency.keys import LOCK_TTL, MAX_BODY, METHODS, TTL, Keys, credentials
from .idempotency.problem import NOT_KEPT, too_large
from .idempotency.run import Run
from .idempotency.store import Store

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

__all__ = ["IDEMPOTENCY", "dashboard_handler", "deadline_middleware", "idempotency_middleware"]

LOOK: Final = 0.1  # s between two looks at the connection, because aiohttp tells no middleware that it is lost

IDEMPOTENCY: Final[Any] = getattr(web, "RequestKey", lambda name, _: name)("seawall.idempotency", Run)
"""Where a request has its `Run`; aiohttp before 3.14 has names in place of such keys."""


def deadline_middleware(
    *,
    header: str = TIMEOUT_HEADER,
    min_timeout: float | None = None,
    max_timeout: float = MAX_TIMEOUT,
    default_timeout: float | None = None,
    cancel_on_disconnect: bool = True,
    criticality_header: str | None = CRITICALITY_HEADER,
    allow_critical: bool = False,
) -> Middleware:
    """
    For aiohttp's server: ``web.Application(middlewares=[deadline_middleware(max_timeout=10.0)])``.

    An inbound request's timeout becomes the deadline of all calls made to answer it, and their errors become answers.

    Args:
        header, min_timeout, max_timeout, default_timeout, criticality_header, allow_critical: See
            `seawall.integrations.asgi.DeadlineMiddleware`.
        cancel_on_disconnect: End the calls within 0.1 s when the inbound caller has left.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """
    inbound = Inbound(
        header, min_timeout, max_timeout, default_timeout, cancel_on_disconnect, criticality_header, allow_critical
    )

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if "Upgrade" in request.headers and web.WebSocketResponse().can_prepare(request):
            return await handler(request)  # a WebSocket lives on, and one deadline can't be that of all its calls
        timeout = inbound.timeout(request.headers.get(inbound.header))
        if timeout == 0:
            return _answer(TOO_LATE)
        name = inbound.criticality_header
        criticality = inbound.criticality(None if name is None else request.headers.get(name))
        with ExitStack() as stack:
            if timeout is not None:
                stack.enter_context(deadline(timeout))
            if criticality is not None:
                stack.enter_context(ranked(criticality))
            if cancel_on_disconnect:
                stack.enter_context(_Watched(request))
            try:
                return await handler(request)
            except (DeadlineExceeded, Rejected, BaseExceptionGroup) as error:
                answer = None if _has_begun(request) else verdict(error)
                if answer is None:
                    raise
                told(request.method, request.path, answer, error)
                return _answer(answer)

    return middleware


def idempotency_middleware(
    *,
    store: Store,
    methods: Collection[str] = METHODS,
    required: bool = False,
    ttl: float = TTL,
    lock_ttl: float = LOCK_TTL,
    max_body: int = MAX_BODY,
    scope: Callable[[web.Request], str] = lambda request: credentials(request.raw_headers),
) -> Middleware:
    """
    For aiohttp's server: ``web.Application(middlewares=[idempotency_middleware(store=SQLite("keys.db"))])``.

    A request with an Idempotency-Key runs once, and each repeat gets its answer. The run is at
    ``request[IDEMPOTENCY]``. An answer that the handler prepares itself, instead of returning a `web.Response`, is
    sent but not kept.

    Args:
        store, methods, required, ttl, lock_ttl, max_body: See `seawall.integrations.idempotency.IdempotencyMiddleware`.
        scope: As there, a function of the request.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """
    keys = Keys(store, methods=methods, required=required, ttl=ttl, lock_ttl=lock_ttl, max_body=max_body)

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        key = keys.key(request.method, request.headers.getall("Idempotency-Key", ()))
        if key is None:
            return await handler(request)
        if isinstance(key, Answer):
            return _response(key)
        body = await _body(request, max_body)
        if body is None:
            return _response(too_large(max_body))
        url = request.rel_url
        run = await keys.enter(scope(request), key, request.method, url.raw_path, url.raw_query_string.encode(), body)
        if isinstance(run, Answer):
            return _response(run)
        request[IDEMPOTENCY] = run
        try:
            response: web.StreamResponse | web.HTTPException
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = error
            whole = _whole(response, max_body)
            answer = await run.finish(whole)
            if answer is not whole and not response.prepared:
                return _response(answer)
        except BaseException:
            if _has_begun(request) and _has_left(request):
                await run.cut()
            raise
        finally:
            await run.abandon()  # no effect once the run has finished
        if isinstance(response, web.HTTPException):
            raise response
        return response

    return middleware


def dashboard_handler(
    client: HasEngine | Engine, *more_clients: HasEngine | Engine, **settings: Any
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """
    The dashboard: ``app.router.add_route("*", "/seawall/{path:.*}", dashboard_handler(client))``.

    Args:
        settings: See `seawall.integrations.dashboard.dashboard`.
    Raises:
        TypeError: One of the clients isn't seawall's.
    """
    app = dashboard(client, *more_clients, **settings)

    async def handler(request: web.Request) -> web.StreamResponse:
        exchange = _Exchange(request)
        await app(exchange.scope, exchange.receive, exchange.send)
        return exchange.response

    return handler


class _Exchange:
    """One request of aiohttp's, as ASGI has it."""

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse()
        self._request = request
        self._is_read = False
        self.scope: Message = {
            "type": "http",
            "method": request.method,
            "path": f"/{request.match_info.get('path', '')}",
            "query_string": request.rel_url.raw_query_string.encode(),
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
        }

    async def receive(self) -> Message:
        if not self._is_read:
            is_here = not self._request.can_read_body  # a middleware has read it, or there is none
            part = await (self._request.read() if is_here else self._request.content.readany())
            self._is_read = is_here or not part
            return {"type": "http.request", "body": part, "more_body": not self._is_read}
        while not _has_left(self._request):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(LOOK)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            self.response = web.StreamResponse(status=message["status"], headers=headers)
            await self.response.prepare(self._request)
        else:
            await self.response.write(message.get("body", b""))


class _Watched(Caller):
    """The caller of *request*, who has left once the connection is closed."""

    __slots__ = ("_handle", "_request")

    def __init__(self, request: web.Request) -> None:
        super().__init__()
        self._request = request
        self._handle: asyncio.TimerHandle | None = None  # stays None if the caller left before this began
        self._look()

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            self._handle.cancel()
        super().__exit__()

    def _look(self) -> None:
        if _has_left(self._request):
            self.leave()
        else:
            self._handle = asyncio.get_running_loop().call_later(LOOK, self._look)


def _answer(answer: Verdict) -> web.Response:
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    return web.Response(status=answer.status, text=answer.text, headers=headers)


async def _body(request: web.Request, limit: int) -> bytes | None:
    """A request's whole body, which the handler can read again; None if it is longer than *limit*, and not read on."""
    limit = min(limit, request.client_max_size or limit)  # the application's own; 0 sets none
    if (request.content_length or 0) > limit:
        return None
    if not request.can_read_body:
        body = await request.read()  # a middleware has read it, or there is none
        return body if len(body) <= limit else None
    parts = bytearray()
    content = request.content
    while part := await content.readany():
        parts += part
        if len(parts) > limit:
            return None
    # aiohttp's own read() keeps it for read() only, and not for multipart(), post() of a form with files, and content.
    again = StreamReader(request.protocol, max(1, len(parts)), loop=asyncio.get_running_loop())
    again.feed_data(bytes(parts))
    again.feed_eof()
    request._payload = again
    request._cache.pop("content", None)
    return bytes(parts)


def _whole(response: web.StreamResponse, limit: int) -> Answer:
    """The answer to keep for *response*."""
    headers = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in response.headers.items()]
    body = (response.body or b"") if isinstance(response, web.Response) and not response.prepared else None
    if isinstance(body, bytes | bytearray) and len(body) <= limit:
        return Answer.of(response.status, headers, bytes(body))
    whole = Answer.of(response.status, (), b"")
    return NOT_KEPT if whole.is_final else whole


def _response(answer: Answer) -> web.Response:
    headers = [(name.decode(), value.decode("utf-8", "surrogateescape")) for name, value in answer.headers]
    return web.Response(status=answer.status, headers=headers, body=answer.body)


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _has_begun(request: web.Request) -> bool:
    """Whether an answer's headers were written, or wait for the first bytes of its body."""
    return request.writer.output_size > 0 or getattr(request.writer, "_headers_buf", None) is not None

"""`IdempotencyMiddleware`, for ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from ..asgi import App, Message, Receive, Send
from .answer import Answer
from .keys import LOCK_TTL, MAX_BODY, METHODS, TTL, Keys, credentials
from .problem import NOT_KEPT, too_large
from .run import Run
from .store import Store

__all__ = ["IdempotencyMiddleware"]

BESIDE: Final = frozenset({"http.response.early_hint", "http.response.push", "http.response.debug"})
"""ASGI's messages that go beside an answer. Source: https://asgi.readthedocs.io/en/latest/extensions.html"""


class IdempotencyMiddleware:
    """
    For ASGI applications: ``app.add_middleware(IdempotencyMiddleware, store=SQLite("keys.db"), required=True)``.

    A request with an Idempotency-Key runs once, and each repeat gets its answer: the same status, body and headers,
    except Date, Server, Set-Cookie and those of the connection. A repeat of one that still runs gets 409 with a
    Retry-After; another request under the same key gets 422; a malformed key, or none where it is *required*, gets 400;
    all as application/problem+json (draft-ietf-httpapi-idempotency-key-header-07, section 2.7). A 5xx, 408, 409, 425 or
    429 isn't kept, and neither is anything of a handler that raises, so that a retry runs again. The `Run` is at
    ``request.state.idempotency``: its ``transaction()`` commits the application's rows with the answer. The application
    isn't told that its caller has left before its answer is out, because the caller's repeat would act again.

    Args:
        app: The application.
        store: Where keys and answers are kept.
        methods: Methods whose key is heeded; others run as if there were no key.
        required: Refuse requests without a key with 400.
        ttl: Seconds for which an answer is kept.
        lock_ttl: Seconds for which a request that never ends, because its process was killed, holds the key. It must be
            more than a handler ever takes, because after it a repeat runs beside a handler that is late.
        max_body: Bytes of a request's body, and of an answer's, which are held in memory. A longer request gets 413. A
            longer answer is sent but not kept: its key stays used, and a repeat gets 422. An answer is held back until
            it is whole or longer than this, so that it is kept before the caller has it.
        scope: A function of the ASGI scope that says whose key it is, because callers mustn't see each other's answers.
            By default callers are told apart by the headers Authorization and X-API-Key, or by Cookie where a request
            has neither. Give it where these change between two attempts, as a token does that is refreshed, or where a
            client certificate names the caller: ``lambda scope: scope["user"].account``.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self,
        app: App,
        *,
        store: Store,
        methods: Collection[str] = METHODS,
        required: bool = False,
        ttl: float = TTL,
        lock_ttl: float = LOCK_TTL,
        max_body: int = MAX_BODY,
        scope: Callable[[Message], str] = lambda scope: credentials(scope["headers"]),
    ) -> None:
        self._app = app
        self._owner = scope
        self._keys = Keys(store, methods=methods, required=required, ttl=ttl, lock_ttl=lock_ttl, max_body=max_body)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"]
        key = self._keys.key(scope["method"], values)
        if key is None:
            await self._app(scope, receive, send)
            return
        if isinstance(key, Answer):
            await _answer(send, key)
            return
        try:
            body = await _body(receive, self._keys.max_body)
        except _Left:
            return
        if body is None:
            await _answer(send, too_large(self._keys.max_body))
            return
        target = (scope["method"], scope["path"], scope.get("query_string", b""))
        run = await self._keys.enter(self._owner(scope), key, *target, body)
        if isinstance(run, Answer):
            await _answer(send, run)
        else:
            await self._run(run, body, scope, receive, send)

    async def _run(self, run: Run, body: bytes, scope: Message, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["idempotency"] = run
        held = _Held(run, send, self._keys.max_body)
        arriving = _Arriving(body, receive, held.is_out, self._keys.lock_ttl)
        try:
            await self._app(scope, arriving.receive, held.send)
        finally:  # does nothing once the run has finished: a failed background task must not cause another run
            await run.abandon()


class _Arriving:
    """
    What the application receives: the whole body, and then that its caller has left, but only once its answer is out.

    A framework cancels a streamed answer whose caller has left. The request would have acted and kept nothing, so that
    its repeat would act again. After *lock_ttl* seconds a repeat runs anyway, and so the application is told.
    """

    __slots__ = ("_is_out", "_left", "_parts", "_receive", "_until")

    def __init__(self, body: bytes, receive: Receive, is_out: asyncio.Event, lock_ttl: float) -> None:
        self._parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._receive = receive
        self._is_out = is_out
        self._until = asyncio.get_running_loop().time() + lock_ttl
        self._left: Message | None = None  # kept, because a task that waits below may be cancelled

    async def receive(self) -> Message:
        if self._parts:
            return self._parts.pop()
        message = self._left or await self._receive()
        if message["type"] == "http.disconnect":
            self._left = message
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._until):
                    await self._is_out.wait()
        return message


class _Held:
    """
    An answer that is held back until it is kept, or is too long for that.

    Attributes:
        is_out: It is held back no longer.
    """

    __slots__ = ("_body", "_is_open", "_max_body", "_run", "_send", "_start", "is_out")

    def __init__(self, run: Run, send: Send, max_body: int) -> None:
        self._run = run
        self._send = send
        self._max_body = max_body
        self._start: Message = {}
        self._body = bytearray()
        self._is_open = False
        self.is_out = asyncio.Event()

    async def send(self, message: Message) -> None:
        if self._is_open:
            await self._send(message)
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        if not self._start or message["type"] in BESIDE:  # it isn't of the answer, which a repeat gets all the same
            await self._send(message)
            return
        is_body = message["type"] == "http.response.body"  # or else a file's path, or trailers, which can't be kept
        if is_body:
            self._body += message.get("body", b"")
            if message.get("more_body") and len(self._body) <= self._max_body:
                return
        self._is_open = True
        status, headers = self._start["status"], self._start.get("headers", ())
        is_short = is_body and len(self._body) <= self._max_body and not self._start.get("trailers")
        whole = Answer.of(status, headers, bytes(self._body))
        kept = whole if is_short or not whole.is_final else NOT_KEPT
        try:
            answer = await self._run.finish(kept)
            if answer is not kept:
                await _answer(self._send, answer)
                self._send = _drop  # the rest of the application's own
                return
            await self._send(self._start)
            await self._send({**message, "body": bytes(self._body)} if is_body else message)
        finally:
            self.is_out.set()


async def _drop(message: Message) -> None:
    """In place of a server's send."""


class _Left(Exception):
    """The caller left before its request was whole."""


async def _body(receive: Receive, limit: int) -> bytes | None:
    """A request's whole body; None if it is longer than *limit*."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": "http.response.body", "body": answer.body})

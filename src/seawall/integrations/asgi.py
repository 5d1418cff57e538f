"""`DeadlineMiddleware`, for ASGI applications."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import ExitStack
from typing import Any, Final, TypeAlias

from ..config.propagation import CRITICALITY_HEADER, TIMEOUT_HEADER
from ..core.criticality import ranked
from ..core.deadline import Caller, deadline
from ..errors import DeadlineExceeded, Rejected
from ._inbound import MAX_TIMEOUT, TOO_LATE, Inbound, Verdict, told, verdict

__all__ = ["DeadlineMiddleware"]

Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

# What carries a response's body, those of the path send and zero-copy send extensions included
BODIES: Final = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})


class DeadlineMiddleware:
    """
    For ASGI applications (FastAPI, Starlette, ...): ``app.add_middleware(DeadlineMiddleware, max_timeout=10.0)``.

    An inbound request's timeout becomes the deadline of all calls made to answer it. An error of theirs that the
    application lets through becomes an answer, unless one was begun: 504 after a passed deadline, 503 with a
    Retry-After after a local refusal (an open breaker, a full bulkhead, a limit); the log has one line of it.

    Args:
        app: The application.
        header: The caller's header, in whole ms. As `Propagation.timeout_header`.
        min_timeout: Seconds below which a request is answered with 504 at once. None stands for 0.02, which an answer
            needs for its way back, or for *max_timeout* where that is less.
        max_timeout: Seconds that a request gets at most, whatever it asks for.
        default_timeout: Seconds for a request without the header; None sets no deadline.
        cancel_on_disconnect: End the calls with CallerLeft when the inbound caller leaves, because nobody would read
            the answer. The handler itself goes on. `seawall.detached` exempts what must be finished anyway.
        criticality_header: The caller's header that says how much its request matters, as
            `Propagation.criticality_header`: all calls made to answer it are of that class. "background" always
            counts. None: it isn't read.
        allow_critical: Whether "critical" counts too. False, because a stranger could have all others wait. True suits
            a service that only services of your own can reach.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self,
        app: App,
        *,
        header: str = TIMEOUT_HEADER,
        min_timeout: float | None = None,
        max_timeout: float = MAX_TIMEOUT,
        default_timeout: float | None = None,
        cancel_on_disconnect: bool = True,
        criticality_header: str | None = CRITICALITY_HEADER,
        allow_critical: bool = False,
    ) -> None:
        self._app = app
        self._inbound = Inbound(
            header,
            min_timeout,
            max_timeout,
            default_timeout,
            cancel_on_disconnect,
            criticality_header,
            allow_critical,
        )
        self._is_watching = cancel_on_disconnect

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inbound, headers = self._inbound, scope["headers"]
        timeout = inbound.timeout(_header(headers, inbound.header))
        if timeout == 0:
            await _answer(send, TOO_LATE)
            return
        criticality = inbound.criticality(_header(headers, inbound.criticality_header))
        has_begun = False
        watched = _Watched(receive, headers) if self._is_watching else None

        async def sending(message: Message) -> None:
            nonlocal has_begun
            has_begun |= message["type"] == "http.response.start"  # an early hint goes before it, and begins no answer
            if watched is not None and message["type"] in BODIES and not message.get("more_body"):
                watched.stop()  # from now on a server says that the caller has left, while background tasks go on
            await send(message)

        with ExitStack() as stack:
            if timeout is not None:
                stack.enter_context(deadline(timeout))
            if criticality is not None:
                stack.enter_context(ranked(criticality))
            if watched is not None:
                stack.enter_context(watched)
            try:
                await self._app(scope, receive if watched is None else watched.receive, sending)
            except (DeadlineExceeded, Rejected, BaseExceptionGroup) as error:
                answer = None if has_begun else verdict(error)
                if answer is None:
                    raise
                told(scope.get("method", ""), scope.get("path", ""), answer, error)
                await _answer(send, answer)


class _Watched(Caller):
    """
    The caller of a request, who has left once the server says so.

    It reads ahead of the application, but for no more than one part of the request's body. A request with an Expect
    header is read, and so watched, only once the application asks for its body, because the server would then answer
    "100 Continue" to a body that the application may refuse (RFC 9110, section 10.1.1).
    """

    __slots__ = ("_came", "_may_read", "_messages", "_receive", "_task")

    def __init__(self, receive: Receive, headers: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._receive = receive
        self._messages: list[Message] = []
        self._came = asyncio.Event()
        self._may_read = asyncio.Event()
        if all(name != b"expect" for name, _ in headers):
            self._may_read.set()
        self._task = asyncio.get_running_loop().create_task(self._watch())
        self._task.add_done_callback(lambda _: self._came.set())  # even if stopped before its first step

    def __exit__(self, *_: object) -> None:
        self.stop()
        super().__exit__()

    def stop(self) -> None:
        """Watch no longer."""
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # an application that didn't ask needn't know
        self._task.cancel()

    async def receive(self) -> Message:
        """As the server's own."""
        while not self._messages:
            self._may_read.set()
            if self._task.done():
                if not self._task.cancelled():
                    self._task.result()  # the server's own error
                return await self._receive()
            self._came.clear()
            await self._came.wait()
        message = self._messages[0]
        if message["type"] != "http.disconnect":  # which a server repeats
            del self._messages[0]
            self._may_read.set()
        return message

    async def _watch(self) -> None:
        is_whole = False
        while True:
            await self._may_read.wait()
            message = await self._receive()
            self._messages.append(message)
            self._came.set()
            if message["type"] == "http.disconnect":
                self.leave()
                return
            if message.get("more_body"):
                self._may_read.clear()
            elif is_whole:  # it tells no disconnect, as some adapters, and would be asked without an end
                return
            else:
                is_whole = True


def _header(headers: Iterable[tuple[bytes, bytes]], name: str | None) -> str | None:
    """The value of the first header of that name; None if there is none, or *name* is None."""
    wanted = None if name is None else name.lower().encode()
    return next((value.decode("latin-1") for each, value in headers if each == wanted), None)


async def _answer(send: Send, answer: Verdict) -> None:
    body = answer.text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if answer.retry_after is not None:
        headers.append((b"retry-after", b"%d" % answer.retry_after))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

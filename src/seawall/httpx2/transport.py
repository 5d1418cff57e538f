# Written by scripts/twin.py from ../_httpx/transport.py: change that file, and run the script.
"""`AsyncTransport`: all layers, as an httpx2 transport."""

from __future__ import annotations

import functools
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import httpx2

from ..core import engine as core
from ..core.call import CURRENT, Call
from ..core.fronts import check_own
from ..route import Route
from .arguments import EngineArguments, TransportArguments, check_names, spelled_out
from .compat import origin_and_path
from .engine import Engine, check_given, over
from .foreign import OverTransport
from .over_wire import UNSEEN, OverWire
from .routes import proxy_of, route_of

if TYPE_CHECKING:
    from httpx2._types import ProxyTypes

__all__ = ["AsyncTransport", "Proxied"]

WAYS: Final = ("proxy", "uds", "local_address", "socket_options")


class AsyncTransport(core.OfEngine, httpx2.AsyncBaseTransport):
    """
    All layers, as an httpx2 transport: ``httpx2.AsyncClient(transport=seawall.httpx2.AsyncTransport())``.

    A plain httpx2 client calls it for each redirect and each step of an authentication, and reads bodies after it has
    returned: then each hop is a call of its own, and a body cut in the middle is not retried. `AsyncClient` does both.

    Args:
        inner: The transport at the bottom in the place of our wire, such as ``httpx2.ASGITransport(app)``.
        engine: What it shares with others; None makes one of the arguments, which it closes.
        verify, cert, trust_env, http1, http2, limits, proxy, uds, local_address, socket_options: As in
            ``httpx2.AsyncHTTPTransport``.
        arguments: The settings; see `seawall.core.settings.Settings`.
    Attributes:
        exchange: Sends its hops: our wire, or *inner* under the layers.
        is_owner: Closing it closes the engine.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    @spelled_out(TransportArguments, httpx2.AsyncHTTPTransport)
    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport | None = None,
        *,
        engine: core.Engine | None = None,
        **arguments: Unpack[TransportArguments],
    ) -> None:
        check_names(AsyncTransport, arguments, TransportArguments)
        check_own(httpx2.__name__, inner=inner, proxy=arguments.get("proxy"))
        if inner is not None and not isinstance(inner, httpx2.AsyncBaseTransport):
            raise TypeError(f"inner must be an httpx2.AsyncBaseTransport, not {inner!r}")
        given: dict[str, Any] = {
            name: value for name, value in arguments.items() if name in EngineArguments.__optional_keys__
        }
        ways: dict[str, Any] = {name: arguments.get(name) for name in WAYS if arguments.get(name) is not None}
        if inner is not None:
            ours = {"http1": not arguments.get("http1", True), "http2": arguments.get("http2", False)}
            if misplaced := [*ways, *(name for name, is_used in ours.items() if is_used)]:
                raise ValueError(f"{', '.join(misplaced)}: give these to the inner transport, or leave that out")
        if engine is not None:
            check_given(engine, given)
        self.engine = Engine(**given) if engine is None else engine
        self.is_owner = engine is None
        guard = self.engine.guard
        if guard is not None:
            if inner is not None or "uds" in ways:
                raise ValueError("guard: it can't see what a Unix socket or another transport leads to")
            if "proxy" in ways and not guard.trust_proxy:
                raise ValueError(f"guard: {UNSEEN}")
        self._inner = inner
        self.exchange: OverWire | OverTransport
        if inner is None:
            route = route_of(**ways)
            self.exchange = OverWire(self.engine.wire, guard=guard, max_size=self.engine.max_size, route=route)
        else:
            below = _unwrapped(inner)
            self.exchange = over(
                self.engine,
                lambda request: inner.handle_async_request(request),
                is_trusted=_is_trusted(below),
                takes_proxy=isinstance(below, AsyncTransport | httpx2.MockTransport | httpx2.ASGITransport),
            )

    def __repr__(self) -> str:
        return f"<seawall.httpx2.AsyncTransport over {self._inner or 'its own wire'}>"

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """
        One hop of a call, through all layers: of the call that goes on here, else a call of its own.

        **Cancellation:** permits, connections and probes are given back.

        Raises:
            httpx2.TransportError: All of `seawall.errors` are one; ``attempts`` shows what was tried.
        """
        if not isinstance(request, httpx2.Request):
            check_own(httpx2.__name__, request=request)
        call = CURRENT.get()
        if call is not None and call.ready is not None:
            response: httpx2.Response = call.ready
            call.ready = None
            return response
        return await _hop(self.engine, self.exchange, request, call)

    async def __aenter__(self) -> Self:
        if self._inner is not None:
            await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            await self._end()
        finally:
            if self._inner is not None:
                await self.engine.within(self._inner.__aexit__(exc_type, exc_value, traceback))

    async def aclose(self, *, drain: float = 0.0) -> None:
        """
        Close the engine, if it is its owner, and the inner transport; takes at most 1 s after *drain*.

        The inner transport gets what is left of that second, and is then cancelled. Calls in flight end with
        ClientClosed; so do later ones.

        Args:
            drain: As of `Engine.aclose`, for the engine that it owns. A plain httpx2 client makes a call of each hop, so
                its redirects are refused meanwhile.
        """
        core.check_drain(drain)
        try:
            await self._end(drain=drain)
        finally:
            if self._inner is not None:
                await self.engine.within(self._inner.aclose())

    async def drain(self, timeout: float) -> None:
        """As `Engine.drain`, if it owns the engine."""
        if self.is_owner:
            await self.engine.drain(timeout)

    async def _end(self, *, drain: float = 0.0) -> None:
        if self.is_owner:
            await self.engine.aclose(drain=drain)


class Proxied(AsyncTransport, httpx2.AsyncHTTPTransport):
    """
    The transport of a client's proxy. Tools look for httpx2's own there, and for its pool.

    A guard that doesn't trust the proxy refuses each request, because the environment may name one that nobody uses.
    """

    def __init__(self, engine: core.Engine, proxy: ProxyTypes) -> None:
        super().__init__(engine=engine)
        route = Route(proxy=proxy_of(proxy))
        self.exchange = OverWire(engine.wire, guard=engine.guard, max_size=engine.max_size, route=route)
        self._given = proxy

    @functools.cached_property
    def _pool(self) -> Any:  # type: ignore[override]
        """What httpx2 would have here; nothing is sent through it, and nothing but a look at it loads httpcore2."""
        return httpx2.AsyncHTTPTransport(verify=False, trust_env=False, proxy=self._given)._pool


def _hop(
    engine: core.Engine, exchange: OverWire | OverTransport, request: httpx2.Request, call: Call | None
) -> Coroutine[Any, Any, httpx2.Response]:
    """One hop of *call* through the layers; a request that can't be sent ends the call that it would have been."""
    try:
        outgoing = exchange.outgoing(request)
    except Exception as error:
        engine.layers.refuse(call, request.method, *origin_and_path(request.url), error)
        raise
    return engine.layers.run(exchange, outgoing, call)


def _unwrapped(inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    """The transport under the wrappers that say that they change nothing of it."""
    while getattr(inner, "is_faithful", False):
        inner = inner.inner  # type: ignore[attr-defined]
    return inner


def _is_trusted(inner: httpx2.AsyncBaseTransport) -> bool:
    """
    Whether *inner* is one of httpx2's own: its error classes tell whether anything was sent.

    Not ASGITransport, because it may let through the ConnectError of a call that the application made.
    """
    return isinstance(inner, httpx2.AsyncHTTPTransport | httpx2.MockTransport)

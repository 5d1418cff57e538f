"""The two transports: `AsyncTransport`, and what stands in for httpx's own where a proxy is used."""

from __future__ import annotations

import ssl
from collections.abc import Coroutine, Iterable, Mapping
from random import Random
from types import TracebackType
from typing import Any, Self

import httpx

from ..config import DNS, UNSET, Breaker, Budget, Bulkhead, Policy, Propagation, Retry, Unset
from ..core.call import CURRENT, Call
from ..dns.guard import Guard
from ..events import Listener
from ..policy.breakers import Breakers
from ..stats import Stats
from .proxies import StockTransport
from .shared import LIMITS, ResolverTypes, Shared, fitting

__all__ = ["AsyncTransport", "Proxied"]


class AsyncTransport(httpx.AsyncBaseTransport):
    """
    All layers, as an httpx transport: ``httpx.AsyncClient(transport=seawall.AsyncTransport())``.

    A plain httpx client calls it for each redirect and each step of an authentication, and reads bodies after it has
    returned: then each hop is a call of its own, and a body cut in the middle is not retried. `AsyncClient` does both.

    Args:
        inner: The transport at the bottom in place of our wire, such as ``httpx.ASGITransport(app)``.
        verify, cert, trust_env, http1, http2, limits, proxy, uds, local_address, socket_options: As in
            ``httpx.AsyncHTTPTransport``, which serves proxy, uds, local_address and socket_options.
        deadline, retry, bulkhead, breaker, budget: See `Policy`.
        per_host: Policies by name or ``*.suffix``.
        dns: See `DNS`.
        resolver: "auto" (None): DNS servers, the system's resolver where they fail; "cares": DNS servers only;
            "system": the system's only; or a `Resolver`.
        guard: Refuses addresses that must not be dialled; see `Guard`. None: none does.
        propagation: What upstreams are told of deadline and attempt; see `Propagation`. None: nothing.
        max_connection_age: s after which a connection is used no more; None: it may be used for ever. An idle one is
            dropped anyway once its address has left the name's record.
        max_response_size: B of a response's body, decoded, beyond which it is an error; None: none is too large.
        listeners: Called with each event.
        rng: Chance, for tests.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = LIMITS,
        proxy: Any = None,
        uds: str | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
        deadline: float | Unset | None = UNSET,
        retry: Retry | None = Retry(),
        bulkhead: Bulkhead | None = Bulkhead(),
        breaker: Breaker | None = Breaker(),
        budget: Budget | None = Budget(),
        per_host: Mapping[str, Policy] | None = None,
        dns: DNS = DNS(),
        resolver: ResolverTypes = None,
        guard: Guard | None = None,
        propagation: Propagation | None = None,
        max_connection_age: float | None = None,
        max_response_size: int | None = None,
        listeners: Iterable[Listener] = (),
        rng: Random | None = None,
        _shared: Shared | None = None,
    ) -> None:
        if inner is not None and not isinstance(inner, httpx.AsyncBaseTransport):
            raise TypeError(f"inner must be an httpx.AsyncBaseTransport, not {inner!r}")
        stock = {"proxy": proxy, "uds": uds, "local_address": local_address, "socket_options": socket_options}
        used = [name for name, value in stock.items() if value is not None]
        ours = [name for name, is_used in {"http1": not http1, "http2": http2}.items() if is_used]
        if guard is not None and (inner is not None or used):
            raise ValueError("guard: it can't see what a proxy or another transport dials, so there can't be both")
        if inner is not None and (used or ours):
            raise ValueError(f"{', '.join(used + ours)}: give these to the inner transport, or leave that out")
        self.shared = _shared or Shared(
            tls={"verify": verify, "cert": cert, "trust_env": trust_env},
            http1=http1,
            http2=http2,
            limits=limits,
            deadline=deadline,
            retry=retry,
            bulkhead=bulkhead,
            breaker=breaker,
            budget=budget,
            per_host=per_host,
            dns=dns,
            resolver=resolver,
            guard=guard,
            propagation=propagation,
            max_connection_age=max_connection_age,
            max_response_size=max_response_size,
            listeners=listeners,
            rng=rng,
        )
        if used:
            inner = StockTransport(
                verify=verify,
                cert=cert,
                trust_env=trust_env,
                http1=http1,
                http2=http2,
                limits=fitting(limits),
                **stock,
            )
        self._inner = inner
        self._exchange = (
            self.shared.over_wire
            if inner is None
            else self.shared.over(lambda request: inner.handle_async_request(request), is_trusted=_is_trusted(inner))
        )

    def __repr__(self) -> str:
        return f"<seawall.AsyncTransport over {self._inner or 'its own wire'}>"

    @property
    def breakers(self) -> Breakers:
        """By origin: ``client.breakers["https://api.example.com"].force_open()``, ``force_closed()``, ``reset()``."""
        return Breakers(self.shared.layers.origins)

    def stats(self) -> Stats:
        """A frozen snapshot of permits, queues, breakers, budgets, connections and names."""
        return self.shared.stats()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        One hop of a call, through all layers.

        **Cancellation:** permits, connections and probes are given back.

        Raises:
            httpx.TransportError: All of `seawall.errors` are one; ``attempts`` shows what was tried.
        """
        call = CURRENT.get()
        if call is not None and call.ready is not None:
            response: httpx.Response = call.ready
            call.ready = None
            return response
        return await self.send(request, call)

    def send(self, request: httpx.Request, call: Call | None) -> Coroutine[Any, Any, httpx.Response]:
        """The same, as a hop of *call* if that is this transport's and goes on; else as a call of its own."""
        layers = self.shared.layers
        try:
            outgoing = self._exchange.outgoing(request)
        except Exception as error:
            layers.refuse(call, request.method, error)
            raise
        return layers.run(self._exchange, outgoing, call)

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
            await self.shared.aclose()
        finally:
            if self._inner is not None:
                await self.shared.within(self._inner.__aexit__(exc_type, exc_value, traceback))

    async def aclose(self) -> None:
        """
        Close all; takes at most 1 s, of which the inner transport gets what is left, and is then cancelled.

        Calls in flight end with ClientClosed; so do later ones.
        """
        try:
            await self.shared.aclose()
        finally:
            if self._inner is not None:
                await self.shared.within(self._inner.aclose())


class Proxied(StockTransport):
    """httpx's transport through a proxy, under the layers of a client."""

    def __init__(self, shared: Shared, *, limits: httpx.Limits, **arguments: Any) -> None:
        super().__init__(limits=fitting(limits), **arguments)
        self._shared = shared
        self._exchange = shared.over(super().handle_async_request, is_trusted=True)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        call, layers = CURRENT.get(), self._shared.layers
        try:
            outgoing = self._exchange.outgoing(request)
        except Exception as error:
            layers.refuse(call, request.method, error)
            raise
        response: httpx.Response = await layers.run(self._exchange, outgoing, call)
        return response

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._shared.within(super().__aexit__(exc_type, exc_value, traceback))

    async def aclose(self) -> None:
        """Takes what is left of the second that closing the client takes at most."""
        await self._shared.within(super().aclose())


def _is_trusted(inner: httpx.AsyncBaseTransport) -> bool:
    """
    One of httpx's own, or a wrapper that says to keep to its meaning: its error classes say whether anything was sent.

    Not ASGITransport: what comes out of it may be the ConnectError of a call that the application made.
    """
    while getattr(inner, "is_faithful", False):
        inner = inner.inner  # type: ignore[attr-defined]
    return isinstance(inner, httpx.AsyncHTTPTransport | httpx.MockTransport)

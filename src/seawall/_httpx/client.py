"""`AsyncClient`: httpx's front, on our transport. It settles what belongs to a call as a whole, and nothing else."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import inspect
import time
from collections.abc import Iterable, Mapping
from functools import partial
from random import Random
from typing import Any

import httpx
from httpx import USE_CLIENT_DEFAULT

from ..config import DNS, UNSET, Breaker, Budget, Bulkhead, Policy, Propagation, Retry, Unset
from ..core.call import CURRENT
from ..core.endings import fail
from ..dns.guard import Guard
from ..events import Listener
from ..policy.breakers import Breakers
from ..stats import Stats
from . import LIMITS, AsyncTransport, Proxied, ResolverTypes, Shared, check_timeouts
from .coding import ACCEPTED
from .compat import set_headers, unbind
from .convert import origin_and_path
from .errors import as_httpx
from .fast_path import Prepared, is_bare, is_untouched, is_whole, settle
from .location import bad_location

__all__ = ["AsyncClient"]


class AsyncClient(httpx.AsyncClient):
    """
    A drop-in for ``httpx.AsyncClient``: all that it takes, and the settings of the layers.

    asyncio only, one event loop, and made to be kept: use one for the life of a service.

    Args:
        deadline: s of wall clock for a whole call, redirects and authentication included; None: none. Left out: derived
            from the request's timeouts, (connect + read) x max_attempts, up to the response's headers.
        retry, bulkhead, breaker, budget: The layers; None switches one off.
        per_host: Policies by name or ``*.suffix``, over the client's.
        dns, resolver: How names become addresses; see `DNS` and `AsyncTransport`.
        guard: Refuses addresses that must not be dialled; see `Guard`. None: none does.
        propagation: What upstreams are told of deadline and attempt; see `Propagation`. None: nothing.
        max_connection_age: s after which a connection is used no more; None: it may be used for ever. An idle one is
            dropped anyway once its address has left the name's record.
        max_response_size: B of a response's body, decoded, beyond which it is an error; None: none is too large.
        listeners: Called with each event; see `seawall.events`.
        rng: Chance, for tests.
        arguments: Those of ``httpx.AsyncClient``. A *transport* and *mounts* go under the layers; an `AsyncTransport`
            is taken as it is, with its own layers.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    def __init__(
        self,
        *,
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
        **arguments: Any,
    ) -> None:
        _check_names(arguments)
        arguments.setdefault("limits", LIMITS)
        settings: dict[str, Any] = {
            "deadline": deadline,
            "retry": retry,
            "bulkhead": bulkhead,
            "breaker": breaker,
            "budget": budget,
            "per_host": per_host,
            "dns": dns,
            "resolver": resolver,
            "guard": guard,
            "propagation": propagation,
            "max_connection_age": max_connection_age,
            "max_response_size": max_response_size,
            "listeners": listeners,
            "rng": rng,
        }
        transport = arguments.get("transport")
        if isinstance(transport, AsyncTransport):
            _check_unused(settings)
            self._shared = transport.shared
        else:
            tls: dict[str, Any] = {
                name: arguments[name] for name in ("verify", "cert", "trust_env") if name in arguments
            }
            protocols = {"http1": arguments.get("http1", True), "http2": arguments.get("http2", False)}
            if guard is not None and (others := [name for name in UNSEEN if arguments.get(name)]):
                raise ValueError(f"guard: it can't see what {', '.join(others)} dials, so there can't be both")
            self._shared = Shared(tls=tls, limits=arguments["limits"], **protocols, **settings)
        super().__init__(**arguments)
        self._prepared = Prepared(AsyncClient)
        assert isinstance(self._transport, AsyncTransport)
        self._plain_transport = self._transport
        self._plain_encoding = arguments.get("default_encoding", "utf-8")
        self._has_sent = False
        check_timeouts(self.timeout.as_dict())
        for pattern, mounted in self._mounts.items():
            if mounted is not None and not isinstance(mounted, AsyncTransport | Proxied):
                self._mounts[pattern] = AsyncTransport(mounted, _shared=self._shared)

    @property
    def headers(self) -> httpx.Headers:
        """As in httpx; where they name no accept-encoding, it is what we decode without letting it grow unbounded."""
        return super().headers

    @headers.setter
    def headers(self, headers: Any) -> None:
        given = httpx.Headers(headers)
        set_headers(self, given)
        if "accept-encoding" not in given:
            self._headers["Accept-Encoding"] = ACCEPTED

    @property
    def breakers(self) -> Breakers:
        """By origin: ``client.breakers["https://api.example.com"].force_open()``, ``force_closed()``, ``reset()``."""
        return Breakers(self._shared.layers.origins)

    def stats(self) -> Stats:
        """A frozen snapshot of permits, queues, breakers, budgets, connections and names."""
        return self._shared.stats()

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: Any = USE_CLIENT_DEFAULT,
        follow_redirects: Any = USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """
        As in httpx. All hops of the call share one deadline and one history.

        Unless *stream*, the body belongs to the attempt: one that is cut in the middle is retried.
        """
        layers = self._shared.layers
        call = layers.begin(is_buffered=not stream, patience=self._timeout)
        if not call.is_silent:
            layers.announce(call, request.method, *origin_and_path(request.url))
        try:
            took = 0.0
            if not stream and auth is follow_redirects is USE_CLIENT_DEFAULT and self._is_plain(request):
                started_at = time.perf_counter()
                try:
                    response = await self._plain_transport.send(request, call)
                except httpx.RequestError as error:
                    error.request = request
                    raise
                if is_whole(response):
                    settle(response, request, started_at=started_at, default_encoding=self._plain_encoding)
                    return response
                call.ready = response  # for httpx to go on with
                took = time.perf_counter() - started_at
            self._has_sent = True
            token = CURRENT.set(call)
            try:
                last = await super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
            finally:
                CURRENT.reset(token)
            if took:
                with contextlib.suppress(RuntimeError):  # it was not closed yet, so has none
                    response.elapsed += datetime.timedelta(seconds=took)
            if isinstance(last, httpx.Response):  # a patched `httpx.AsyncClient.send` may return anything
                unbind(last)
            return last
        except BaseException as error:
            fail(call, error, partial(as_httpx, request=getattr(error, "_request", request)))
            raise
        finally:
            layers.finish(call)

    def build_request(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        content: Any = None,
        data: Any = None,
        files: Any = None,
        json: Any = None,
        params: Any = None,
        headers: Any = None,
        cookies: Any = None,
        timeout: Any = USE_CLIENT_DEFAULT,
        extensions: Any = None,
    ) -> httpx.Request:
        """As in httpx."""
        if (
            content is data is files is json is params is headers is cookies is extensions is None
            and timeout is USE_CLIENT_DEFAULT
        ):
            return self._prepared.request(self, method, url, super().build_request)
        return super().build_request(
            method,
            url,
            content=content,
            data=data,
            files=files,
            json=json,
            params=params,
            headers=headers,
            cookies=cookies,
            timeout=timeout,
            extensions=extensions,
        )

    def _build_redirect_request(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        """As in httpx, but for a Location that isn't a URL: whatever is wrong with it, it is a RemoteProtocolError."""
        try:
            return super()._build_redirect_request(request, response)
        except (httpx.InvalidURL, httpx.RemoteProtocolError, ValueError) as error:
            raise bad_location(request, response, error) from None

    def _is_plain(self, request: httpx.Request) -> bool:
        """Whether httpx would do no more for it than `settle` does."""
        return (
            self._has_sent  # the first is httpx's, which notes that the client is open
            and is_bare(self)
            and not self.is_closed
            and self._transport is self._plain_transport
            and type(self._plain_transport).handle_async_request is HANDLE
            and "handle_async_request" not in self._plain_transport.__dict__
            and "timeout" in request.extensions
            and not request.url.userinfo
            and isinstance(request.stream, httpx.AsyncByteStream)
            and is_untouched(self, AsyncClient)
        )

    # httpx's private hooks for what is at the bottom; httpx-aiohttp and others build on them too.

    def _init_transport(  # type: ignore[override]
        self, transport: httpx.AsyncBaseTransport | None = None, **arguments: Any
    ) -> AsyncTransport:
        if isinstance(transport, AsyncTransport):
            return transport
        if transport is not None:
            return AsyncTransport(transport, _shared=self._shared)
        return AsyncTransport(_shared=self._shared, **arguments)

    def _init_proxy_transport(self, proxy: httpx.Proxy, **arguments: Any) -> Proxied:  # type: ignore[override]
        return Proxied(self._shared, proxy=proxy, **arguments)


UNSEEN = ("transport", "mounts", "proxy")
HANDLE = AsyncTransport.handle_async_request
HTTPX_ARGUMENTS = list(inspect.signature(httpx.AsyncClient).parameters)
OUR_DEFAULTS = {
    name: each.default for name, each in inspect.signature(AsyncClient).parameters.items() if name != "arguments"
}


def _check_names(arguments: Mapping[str, object]) -> None:
    for name in arguments:
        if name not in HTTPX_ARGUMENTS:
            close = difflib.get_close_matches(name, [*HTTPX_ARGUMENTS, *OUR_DEFAULTS], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "; see help(seawall.AsyncClient)"
            raise TypeError(f"seawall.AsyncClient has no setting {name!r}{hint}")


def _check_unused(settings: Mapping[str, object]) -> None:
    given = [name for name, value in settings.items() if value is not OUR_DEFAULTS[name]]
    if given:
        raise ValueError(f"{', '.join(given)}: give it to the seawall.AsyncTransport, whose layers this client uses")

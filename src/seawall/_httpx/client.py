"""`AsyncClient`: httpx's front, on our transport. It settles what belongs to a call as a whole, and nothing else."""

from __future__ import annotations

import contextlib
import datetime
import time
from contextvars import Token
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack

import httpx
from httpx import USE_CLIENT_DEFAULT

from ..config.check import shown
from ..core import engine as core
from ..core.call import CURRENT, Call
from ..core.endings import fail
from ..core.fronts import check_own
from ..core.settings import SettingsArguments
from ..wire.coding import ACCEPTED
from .arguments import ClientArguments, EngineArguments, check_names, spelled_out
from .building import Builder
from .compat import origin_and_path, request_of, set_headers, unbind
from .convert import check_timeouts
from .engine import Engine, check_given
from .errors import as_httpx
from .fast_path import HAS_SHORT_WAY, Timed, is_untouched, send_on, settle
from .fetching import Fetching
from .location import bad_location
from .mounts import layered, mounted, tell_of_mounts
from .over_wire import NOT_TRUSTED
from .private import HOOKS, OPENED, TIMEOUT, has
from .transport import AsyncTransport, Proxied

if TYPE_CHECKING:
    from httpx._client import UseClientDefault
    from httpx._types import (
        AuthTypes,
        CookieTypes,
        HeaderTypes,
        QueryParamTypes,
        RequestContent,
        RequestData,
        RequestExtensions,
        RequestFiles,
        TimeoutTypes,
    )

__all__ = ["AsyncClient"]


class AsyncClient(core.OfEngine, Fetching):
    """
    A drop-in for ``httpx.AsyncClient``: it takes all that httpx's takes, and the settings of the layers.

    asyncio only, one event loop, and made to be kept: use one for the life of a service.

    Args:
        engine: What it shares with other clients; then all settings, and verify, cert, http1, http2 and limits, are the
            engine's, and closing the client leaves the engine open. None makes one of the arguments.
        arguments: Those of ``httpx.AsyncClient``, and the settings; see `seawall.core.settings.Settings`. A *transport*
            and *mounts* go under the layers; an `AsyncTransport` is taken as it is, with its own engine.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    if not has(TIMEOUT):
        _timeout = httpx.AsyncClient.timeout

    @spelled_out(ClientArguments, httpx.AsyncClient)
    def __init__(self, *, engine: core.Engine | None = None, **arguments: Unpack[ClientArguments]) -> None:
        check_names(AsyncClient, arguments, ClientArguments)
        theirs: dict[str, Any] = {
            name: value for name, value in arguments.items() if name not in SettingsArguments.__optional_keys__
        }
        check_own(httpx.__name__, **theirs)
        check_own(httpx.__name__, **dict(arguments.get("mounts") or {}))
        self._bottom = _bottom(engine, arguments)
        self.engine = self._bottom.engine
        super().__init__(**theirs if HAS_HOOKS else theirs | mounted(self._bottom, arguments))
        if getattr(self, "_transport", self._bottom) is not self._bottom:  # it would go past every layer and the guard
            raise TypeError(
                f"{type(self).__qualname__} makes a transport of its own: give it to seawall.AsyncClient as transport="
            )
        self._builder = Builder(AsyncClient, HEADERS)
        self._plain_encoding = arguments.get("default_encoding", "utf-8")
        check_timeouts(self.timeout.as_dict())
        if HAS_HOOKS:
            for pattern, inner in self._mounts.items():
                self._mounts[pattern] = layered(inner, self.engine)
        tell_of_mounts(self, self.engine, arguments.get("mounts"))

    @property
    def headers(self) -> httpx.Headers:
        """As in httpx; where they name no accept-encoding, it is what we decode without letting it grow unbounded."""
        return super().headers

    @headers.setter
    def headers(self, headers: HeaderTypes) -> None:
        given = httpx.Headers(headers)
        set_headers(self, given)
        if "accept-encoding" not in given:
            super().headers["Accept-Encoding"] = ACCEPTED

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: AuthTypes | UseClientDefault | None = USE_CLIENT_DEFAULT,
        follow_redirects: bool | UseClientDefault = USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """
        As in httpx. All hops of the call share one deadline and one history.

        Unless *stream*, the body belongs to the attempt: one that is cut in the middle is retried.
        """
        if not isinstance(request, httpx.Request):
            check_own(httpx.__name__, request=request)
        if auth is not USE_CLIENT_DEFAULT or follow_redirects is not USE_CLIENT_DEFAULT:
            check_own(httpx.__name__, auth=auth, follow_redirects=follow_redirects)
        layers = self.engine.layers
        call = layers.begin(is_buffered=not stream, patience=self._timeout)
        token: Token[Call | None] | None = None
        try:
            if not call.is_silent:
                layers.announce(call, request.method, *origin_and_path(request.url))
            took = 0.0
            bottom = None
            if auth is follow_redirects is USE_CLIENT_DEFAULT and self._is_plain(request):
                bottom = self._bottom if not self._mounts else self._mounted(request)
            if bottom is not None:
                started_at = time.perf_counter()
                try:
                    exchange = bottom.exchange
                    outgoing = exchange.outgoing(request)
                    if outgoing.streamed is not None or exchange.runs_code or layers.runs_code:
                        token = CURRENT.set(call)  # for calls that the body, a transport or a gate makes
                    response: httpx.Response = await layers.run(exchange, outgoing, call)
                except httpx.RequestError as error:
                    error.request = request
                    raise
                encoding = self._plain_encoding
                if settle(response, request, is_stream=stream, started_at=started_at, default_encoding=encoding):
                    return response
                call.ready = response  # for httpx to go on with
                took = time.perf_counter() - started_at
            token = token or CURRENT.set(call)
            is_open = bottom is None or self._state is OPENED  # else closed meanwhile; calls of an open engine go on
            last = await (
                super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
                if is_open
                else send_on(self, request, stream=stream)
            )
            if took and last is response and stream:
                last.stream = Timed(last.stream, last, started_at)  # type: ignore[arg-type]
            elif took:
                with contextlib.suppress(RuntimeError):  # it has none, because it is not closed yet
                    response.elapsed += datetime.timedelta(seconds=took)
            if isinstance(last, httpx.Response):  # a patched `httpx.AsyncClient.send` may return anything
                unbind(last)
            return last
        except BaseException as error:
            if isinstance(error, httpx.RequestError):
                request = request_of(error) or request  # the hop's
            fail(call, error, partial(as_httpx, request=request))
            raise
        finally:
            layers.finish(call)
            if token is not None:
                with contextlib.suppress(ValueError):  # it is closed in another context, as a task that is collected
                    CURRENT.reset(token)

    def build_request(
        self,
        method: str,
        url: httpx.URL | str,
        *,
        content: RequestContent | None = None,
        data: RequestData | None = None,
        files: RequestFiles | None = None,
        json: Any | None = None,
        params: QueryParamTypes | None = None,
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        timeout: TimeoutTypes | UseClientDefault = USE_CLIENT_DEFAULT,
        extensions: RequestExtensions | None = None,
    ) -> httpx.Request:
        """As in httpx."""
        if files is None and cookies is None and type(timeout) in PLAIN:
            request = self._builder.request(
                self,
                method,
                url,
                content=content,
                data=data,
                json=json,
                params=params,
                headers=headers,
                timeout=None if type(timeout) is PLAIN[0] else httpx.Timeout(timeout),  # type: ignore[arg-type]
                extensions=extensions,
            )
            if request is not None:
                return request
        check_own(httpx.__name__, url=url, timeout=timeout, params=params, cookies=cookies)
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

    async def aclose(self, *, drain: float = 0.0) -> None:
        """
        As in httpx: closes its transport, and the engine that it has made; takes at most 1 s after *drain*.

        The engine of several clients stays open, and their calls go on: drain that with `Engine.aclose`.

        **Cancellation:** it stops draining, and closes at once.

        Args:
            drain: Seconds, finite and >= 0, for which what is in flight may still end by itself, redirects, retries and
                streamed bodies included; 0 gives it none. New calls are refused with ClientClosed meanwhile.
        Raises:
            TypeError, ValueError: *drain* is not such a number; nothing is closed then.
        """
        core.check_drain(drain)
        try:
            await self._bottom.drain(drain)
        finally:
            await super().aclose()

    def _build_redirect_request(self, request: httpx.Request, response: httpx.Response) -> httpx.Request:
        """As in httpx, but for a Location that isn't a URL: whatever is wrong with it, it is a RemoteProtocolError."""
        try:
            following = super()._build_redirect_request(request, response)
        except (httpx.InvalidURL, httpx.RemoteProtocolError, ValueError) as error:
            raise bad_location(request, response, error) from None
        if (call := CURRENT.get()) is not None:
            call.redirected(request, following)
        return following

    def _is_plain(self, request: httpx.Request) -> bool:
        """Whether httpx would do no more for it than `settle` does: no authentication or hook is in the way."""
        if not HAS_SHORT_WAY:
            return False
        hooks = self._event_hooks
        return (
            self._state is OPENED  # httpx opens it, with the first request
            and type(hooks) is dict
            and not (self._auth or hooks["request"] or hooks["response"])
            and self._transport is self._bottom
            and type(self._bottom).handle_async_request is HANDLE
            and "handle_async_request" not in self._bottom.__dict__
            and "timeout" in request.extensions
            and not request.url._uri_reference.userinfo
            and isinstance(request.stream, httpx.AsyncByteStream)
            and is_untouched(self, AsyncClient)
        )

    def _mounted(self, request: httpx.Request) -> AsyncTransport | None:
        """The transport of *request*, as httpx chooses it, if that is ours and of this engine: a proxy's, mostly."""
        transport = self._transport_for_url(request.url)
        if (
            isinstance(transport, AsyncTransport)
            and transport.engine is self.engine
            and type(transport).handle_async_request is HANDLE
            and "handle_async_request" not in transport.__dict__
        ):
            return transport
        return None

    # httpx's private hooks for the transports at the bottom; packages of others build on them too.

    def _init_transport(self, *_: Any, **arguments: Any) -> AsyncTransport:
        return self._bottom

    def _init_proxy_transport(self, proxy: httpx.Proxy, **arguments: Any) -> AsyncTransport:  # type: ignore[override]
        return Proxied(self.engine, proxy)


HAS_HOOKS: Final = has(HOOKS)
PLAIN: Final = (type(USE_CLIENT_DEFAULT), float, int)  # timeouts
HANDLE: Final = AsyncTransport.handle_async_request
HEADERS: Final[Any] = AsyncClient.headers


def _bottom(engine: core.Engine | None, arguments: ClientArguments) -> AsyncTransport:
    """
    The transport of a client without proxy and mounts.

    Raises:
        TypeError, ValueError: A setting that can't be, or that belongs to the engine or to the transport given.
    """
    transport = arguments.get("transport")
    if isinstance(transport, AsyncTransport):
        settings = SettingsArguments.__optional_keys__
        if misplaced := ["engine"] * (engine is not None) + [name for name in arguments if name in settings]:
            raise ValueError(
                f"{', '.join(misplaced)}: give it to the seawall.AsyncTransport, whose layers this client uses"
            )
        if transport.engine.guard is not None:
            _check_mounts(arguments)
        return transport
    given: dict[str, Any] = {
        name: value for name, value in arguments.items() if name in EngineArguments.__optional_keys__
    }
    if engine is not None:
        given.pop("trust_env", None)  # the client's own too: whether it takes proxies and .netrc from the environment
        check_given(engine, given)
    if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport):
        hint = ", which AsyncHTTPTransport is" if isinstance(transport, httpx.BaseTransport) else ""
        raise TypeError(f"transport must be an httpx.AsyncBaseTransport{hint}, not {shown(transport)}")
    bottom = AsyncTransport(transport, engine=Engine(**given) if engine is None else engine)
    bottom.is_owner = engine is None
    guard = bottom.engine.guard
    if guard is not None:
        if transport is not None:
            raise ValueError("guard: it can't see what another transport dials, so there can't be both")
        _check_mounts(arguments)
        if arguments.get("proxy") is not None and not guard.trust_proxy:
            raise ValueError(f"guard: {NOT_TRUSTED}")
    return bottom


def _check_mounts(arguments: ClientArguments) -> None:
    """
    Raises:
        ValueError: A mount of a guarded client would dial what no guard sees.
    """
    for pattern, inner in (arguments.get("mounts") or {}).items():
        if not (inner is None or (isinstance(inner, AsyncTransport) and inner.engine.guard is not None)):
            raise ValueError(
                f"guard: it can't see what the mount {shown(pattern)} dials: mount a seawall.AsyncTransport that has a "
                "guard, or leave one of both out"
            )

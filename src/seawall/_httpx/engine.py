"""`Engine`, made of httpx's settings, and the exchange over another transport that its clients use."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Unpack

import httpx

from ..config import Limits
from ..config.check import shown
from ..core import engine as core
from ..core.fronts import check_own
from ..core.settings import Settings, SettingsArguments
from .arguments import EngineArguments, check_names, spelled_out
from .foreign import OverTransport

__all__ = ["Engine", "check_given", "over"]

TLS: Final = ("verify", "cert", "trust_env")


class Engine(core.Engine):
    """
    What clients share: one pool, one DNS cache, one breaker, bulkhead and budget per origin.

    ::

        async with seawall.Engine(deadline=10.0) as engine:
            one, two = seawall.AsyncClient(engine=engine), seawall.AsyncClient(engine=engine, base_url=...)

    Closing a client leaves the engine open; closing the engine ends the calls of all its clients. It lives on one event
    loop. A client that is given no engine makes its own, and closes it.

    Args:
        verify, cert, trust_env, http1, http2, limits: As in ``httpx.AsyncClient``.
        arguments: The settings; see `seawall.core.settings.Settings`.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """

    @spelled_out(EngineArguments, httpx.AsyncHTTPTransport)
    def __init__(self, **arguments: Unpack[EngineArguments]) -> None:
        check_names(Engine, arguments, EngineArguments)
        settings: dict[str, Any] = {
            name: value for name, value in arguments.items() if name in SettingsArguments.__optional_keys__
        }
        check_own(httpx.__name__, **{name: value for name, value in arguments.items() if name not in settings})
        with contextlib.suppress(ImportError):  # httpx loads it with its first context, and a call must load nothing
            importlib.import_module("certifi").where()
        super().__init__(
            Settings(**settings),
            limits=_limits(arguments["limits"]) if "limits" in arguments else Limits.fitting(),
            tls={name: value for name, value in arguments.items() if name in TLS},
            create=httpx.create_ssl_context,
            http1=arguments.get("http1", True),
            http2=arguments.get("http2", False),
        )


def _limits(given: object) -> Limits:
    """httpx takes anything within, and fails later or never."""
    if not isinstance(given, httpx.Limits):
        raise TypeError(f"limits must be an httpx.Limits, not {shown(given)}")
    return Limits(
        max_connections=given.max_connections,
        max_keepalive=given.max_keepalive_connections,
        keepalive_expiry=given.keepalive_expiry,
    )


def check_given(engine: object, given: Mapping[str, object]) -> None:
    """
    Raises:
        TypeError: *engine* isn't an engine.
        ValueError: There are settings beside it, which are its own.
    """
    if not isinstance(engine, core.Engine):
        raise TypeError(f"engine must be an Engine of seawall or seawall.httpx2, not {shown(engine)}")
    if given:
        raise ValueError(f"{', '.join(given)}: the clients of an engine share it, so give it to the engine")


def over(
    engine: core.Engine,
    send: Callable[[httpx.Request], Awaitable[httpx.Response]],
    *,
    is_trusted: bool,
    takes_proxy: bool,
) -> OverTransport:
    """An exchange with another transport's *send* in the place of our wire."""
    return OverTransport(
        send,
        engine.wire.pool,
        is_trusted=is_trusted,
        takes_proxy=takes_proxy,
        is_guarded=engine.guard is not None,
        max_size=engine.max_size,
        closing=engine.closing,
    )

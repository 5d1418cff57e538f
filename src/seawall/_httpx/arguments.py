"""
The keyword arguments of `Engine`, `AsyncTransport` and `AsyncClient`.

Rules: type checkers and editors read the ``TypedDict`` of each, which types httpx's arguments as httpx does. What
``help`` and `inspect.signature` show comes from httpx's own signature and from `Settings`, so no default stands twice.
"""

from __future__ import annotations

import difflib
import inspect
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from ..config import Limits
from ..core.settings import Settings, SettingsArguments

if TYPE_CHECKING:
    from httpcore import SOCKET_OPTION
    from httpx._types import (
        AuthTypes,
        CertTypes,
        CookieTypes,
        HeaderTypes,
        ProxyTypes,
        QueryParamTypes,
        TimeoutTypes,
    )

__all__ = ["ClientArguments", "EngineArguments", "TransportArguments", "check_names", "spelled_out"]

F = TypeVar("F", bound=Callable[..., None])


class EngineArguments(SettingsArguments, total=False):
    """The arguments that an engine takes beside `Settings`, as httpx has them."""

    verify: ssl.SSLContext | str | bool
    cert: CertTypes | None
    trust_env: bool
    http1: bool
    http2: bool
    limits: httpx.Limits


class TransportArguments(EngineArguments, total=False):
    """Those of ``httpx.AsyncHTTPTransport``, without ``retries``."""

    proxy: ProxyTypes | None
    uds: str | None
    local_address: str | None
    socket_options: Iterable[SOCKET_OPTION] | None


class ClientArguments(EngineArguments, total=False):
    """Those of ``httpx.AsyncClient``."""

    auth: AuthTypes | None
    params: QueryParamTypes | None
    headers: HeaderTypes | None
    cookies: CookieTypes | None
    proxy: ProxyTypes | None
    mounts: Mapping[str, httpx.AsyncBaseTransport | None] | None
    timeout: TimeoutTypes
    follow_redirects: bool
    max_redirects: int
    event_hooks: Mapping[str, list[Callable[..., Any]]] | None
    base_url: httpx.URL | str
    transport: httpx.AsyncBaseTransport | None
    default_encoding: str | Callable[[bytes], str]


DEFAULTS: Final = Limits()
LIMITS: Final = httpx.Limits(
    max_connections=DEFAULTS.max_connections,
    max_keepalive_connections=DEFAULTS.max_keepalive,
    keepalive_expiry=DEFAULTS.keepalive_expiry,
)
"""`seawall.config.Limits` as httpx spells them."""


def spelled_out(taken: Any, theirs: Callable[..., Any]) -> Callable[[F], F]:
    """
    Have ``help`` and `inspect.signature` show each argument in the place of ``**arguments``, with its default.

    Args:
        taken: The ``TypedDict`` of the arguments.
        theirs: httpx's class, whose signature has those that aren't `Settings`.
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        shown = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        try:
            named: Mapping[str, inspect.Parameter] = inspect.signature(theirs).parameters
        except ValueError:  # a tool has put something in the constructor's place that has no signature
            named = {}
        for name, each in named.items():
            if name in taken.__optional_keys__:
                default = LIMITS if name == "limits" else each.default
                shown.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=default))
        shown.extend(
            inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
            for each in fields(Settings)
        )
        function.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
        return function

    return decorate


def check_names(kind: type, arguments: Mapping[str, object], taken: Any) -> None:
    """
    Raises:
        TypeError: *kind* takes no argument of that name; the message has the closest name that it takes.
    """
    for name in arguments:
        if name not in taken.__optional_keys__:
            close = difflib.get_close_matches(name, list(inspect.signature(kind).parameters), n=1)
            ours = f"{kind.__module__}.{kind.__name__}"
            hint = f"; did you mean {close[0]!r}?" if close else f"; see help({ours})"
            raise TypeError(f"{ours} has no setting {name!r}{hint}")

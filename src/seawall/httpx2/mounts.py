# Written by scripts/twin.py from ../_httpx/mounts.py: change that file, and run the script.
"""A client's mounts: for which URLs it has other transports than its own; those of proxies are one kind."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.request import getproxies

import httpx2

from ..core.engine import Engine
from .arguments import ClientArguments
from .transport import AsyncTransport, Proxied

__all__ = ["layered", "mounted"]


def layered(inner: httpx2.AsyncBaseTransport | None, engine: Engine) -> httpx2.AsyncBaseTransport | None:
    """*inner* under the layers of a client, unless it is there; None: the client's own transport."""
    if inner is None or isinstance(inner, AsyncTransport | Proxied):
        return inner
    return AsyncTransport(inner, engine=engine)


def mounted(bottom: AsyncTransport, arguments: ClientArguments) -> dict[str, Any]:
    """
    The public arguments that give httpx2's client *bottom*, and proxies and mounts under our layers.

    For a release that doesn't call the private methods by which `AsyncClient` gives it these.
    """
    engine = bottom.engine
    proxy, mounts = arguments.get("proxy"), arguments.get("mounts") or {}
    proxies: Mapping[str, Any] = {}
    if proxy is not None:
        proxies = {"all://": proxy}
    elif arguments.get("trust_env", True) and arguments.get("transport") is None:
        proxies = _of_environment(getproxies())
    return {
        "transport": bottom,
        "proxy": None,
        "mounts": {
            **{pattern: each and Proxied(engine, proxy=_proxy(each)) for pattern, each in proxies.items()},
            **{pattern: layered(inner, engine) for pattern, inner in mounts.items()},
        },
    }


def _proxy(given: httpx2.Proxy | httpx2.URL | str) -> httpx2.Proxy:
    return given if isinstance(given, httpx2.Proxy) else httpx2.Proxy(given)


def _of_environment(variables: Mapping[str, str]) -> dict[str, str | None]:
    """The proxy of each pattern of URLs, as in httpx2; None: those of NO_PROXY."""
    proxies: dict[str, str | None] = {}
    for scheme in ("http", "https", "all"):
        if url := variables.get(scheme):
            proxies[f"{scheme}://"] = url if "://" in url else f"http://{url}"
    for host in filter(None, map(str.strip, variables.get("no", "").split(","))):
        if host == "*":
            return {}
        proxies[_pattern(host)] = None
    return proxies


def _pattern(host: str) -> str:
    """Of one host of NO_PROXY, and of its subdomains if it is a name."""
    if "://" in host:
        return host
    try:
        return f"all://[{host}]" if ip_address(host).version == 6 else f"all://{host}"
    except ValueError:
        return f"all://{host}" if host.lower() == "localhost" or host[0] in "[*" else f"all://*{host}"

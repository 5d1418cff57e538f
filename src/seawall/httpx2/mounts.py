# Written by scripts/twin.py from ../_httpx/mounts.py: change that file, and run the script.
"""A client's mounts: for which URLs it has other transports than its own; those of proxies are one kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies

import httpx2

from ..core.call import CURRENT
from ..core.engine import Engine
from .arguments import ClientArguments
from .private import CLIENT, INITS, MOUNTS, has
from .transport import AsyncTransport, Proxied

__all__ = ["layered", "mounted", "tell_of_mounts"]


def layered(inner: httpx2.AsyncBaseTransport | None, engine: Engine) -> httpx2.AsyncBaseTransport | None:
    """*inner* under the layers of a client, unless it is there; None: the client's own transport."""
    if inner is None or isinstance(inner, AsyncTransport):
        return inner
    return AsyncTransport(inner, engine=engine)


def tell_of_mounts(client: httpx2.AsyncClient, engine: Engine, mounts: Mapping[str, Any] | None) -> None:
    """
    Have a call know that its next hop is given to one of *mounts* that has an engine, and so layers, of its own.

    httpx2 chooses a transport just before it calls it. Where a release does otherwise, such a hop is a call of its own.
    """
    others = [
        each for each in (mounts or {}).values() if isinstance(each, AsyncTransport) and each.engine is not engine
    ]
    choose = getattr(client, "_transport_for_url", None)
    if not others or choose is None:
        return

    def chosen(url: httpx2.URL) -> Any:
        transport, call = choose(url), CURRENT.get()
        if call is not None:
            call.handed_to = transport.exchange if transport in others else None
        return transport

    vars(client)["_transport_for_url"] = chosen


def mounted(bottom: AsyncTransport, arguments: ClientArguments) -> dict[str, Any]:
    """
    The public arguments that give httpx2's client *bottom*, and proxies and mounts under our layers.

    For a release that lacks a private name by which `AsyncClient` gives it these. Which proxies the environment names
    for which URLs is httpx2's to say.

    Raises:
        ValueError: The environment names proxies, and there is a guard, or httpx2 doesn't show what they are for.
    """
    engine, proxy = bottom.engine, arguments.get("proxy")
    mounts = {pattern: layered(inner, engine) for pattern, inner in (arguments.get("mounts") or {}).items()}
    if has(INITS):
        return {"mounts": mounts}
    if proxy is not None:
        return {"transport": bottom, "proxy": None, "mounts": {"all://": Proxied(engine, proxy), **mounts}}
    is_asked = arguments.get("trust_env", True) and arguments.get("transport") is None
    if not is_asked or not any(getproxies().get(scheme) for scheme in ("http", "https", "all")):
        return {"transport": bottom, "mounts": mounts}
    if engine.guard is not None:
        raise ValueError(
            f"guard: it can't see what the transports dial that {httpx2.__name__} has for proxies of the environment; "
            "trust_env=False uses none"
        )
    if not has(MOUNTS):
        raise ValueError(
            f"{httpx2.__name__} {httpx2.__version__} doesn't show for which URLs the proxies of the environment are: "
            "give trust_env=False, and proxy= or mounts="
        )
    theirs = CLIENT(**{**engine.tls, "http1": engine.http1, "http2": engine.http2, "trust_env": True})._mounts
    proxies = {each.pattern: layered(inner, engine) for each, inner in theirs.items()}
    return {"transport": bottom, "mounts": {**proxies, **mounts}}

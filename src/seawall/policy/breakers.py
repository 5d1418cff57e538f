"""A client's breakers, to look at or to force by hand: ``client.breakers["https://api.example.com"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..config.hosts import canonical
from ..origin import Origin
from .breaker import BreakerState
from .origin import OriginState
from .origins import Origins

__all__ = ["Breakers"]

PORTS = {"http": 80, "https": 443}


class Breakers(Mapping[str, BreakerState]):
    """
    Maps an origin, given as a URL, to its breaker, which is made if the origin was never called.

    An origin through a proxy is ``"https://api.example.com:443 through http://proxy:3128"``, and found by its URL alone
    if there is one way to it only. A proxy that was dialled is found by its own URL, without credentials.

    Raises:
        KeyError: The origin's breaker is off, or there are several ways to it.
        ValueError: The key is not an origin: "api.example.com" has no scheme.
    """

    def __init__(self, origins: Origins, proxies: Mapping[str, BreakerState]) -> None:
        self._origins = origins
        self._proxies = proxies

    def __getitem__(self, url: str) -> BreakerState:
        named = next((state for state in list(self._origins) if str(state.origin) == url), None)
        if named is None:
            if (proxy := url.rstrip("/")) in self._proxies:
                return self._proxies[proxy]
            named = self._of(url)
        if named.breaker is None:
            raise KeyError(f"{url}: the breaker is off")
        return named.breaker

    def __iter__(self) -> Iterator[str]:
        states = list(self._origins)  # a copy, because another thread may ask
        return iter([*(str(each.origin) for each in states if each.breaker is not None), *self._proxies])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<Breakers {dict(self)}>"

    def _of(self, url: str) -> OriginState:
        site, _, way = url.partition(" through ")
        origin = _origin(site).through(way)
        if origin not in self._origins.states and not way:
            ways = [state for state in list(self._origins) if state.origin.through("") == origin]
            if len(ways) > 1:
                raise KeyError(f"{url}: there are several ways: {', '.join(str(state.origin) for state in ways)}")
            if ways:
                return ways[0]
        return self._origins[origin]


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        given = "a URL with credentials or a query" if "@" in url or "?" in url else repr(url)  # they are secrets
        raise ValueError(f"breakers: {given} is not an origin such as https://api.example.com or http://127.0.0.1:8080")
    host = parts.hostname
    if ":" not in host:  # with a final dot it is another origin
        host = canonical("breakers", host) + "." * host.endswith(".")
    return Origin(parts.scheme, host, parts.port or PORTS[parts.scheme])

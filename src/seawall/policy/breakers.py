"""A client's breakers, to look at or to force by hand: ``client.breakers["https://api.example.com"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..config.hosts import canonical
from ..origin import Origin
from .breaker import BreakerState
from .origins import Origins

__all__ = ["Breakers"]

PORTS = {"http": 80, "https": 443}


class Breakers(Mapping[str, BreakerState]):
    """
    Maps an origin, given as a URL, to its breaker, which is made if the origin was never called.

    Raises:
        KeyError: The origin's breaker is off.
        ValueError: The key is not an origin: "api.example.com" has no scheme.
    """

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    def __getitem__(self, url: str) -> BreakerState:
        known = _written(url)  # a host that was called may be one that no URL of a user's should have
        breaker = self._origins[known if known and known in self._origins.states else _origin(url)].breaker
        if breaker is None:
            raise KeyError(f"{url}: the breaker is off")
        return breaker

    def __iter__(self) -> Iterator[str]:
        return iter([str(state.origin) for state in self._origins if state.breaker is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"<Breakers {dict(self)}>"


def _written(url: str) -> Origin | None:
    """The origin that `str` writes as *url*."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    return Origin(scheme, host.removeprefix("[").removesuffix("]"), int(port)) if port.isdecimal() else None


def _origin(url: str) -> Origin:
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise ValueError(f"breakers: {url!r} is not an origin such as https://api.example.com or http://127.0.0.1:8080")
    host = parts.hostname
    if ":" not in host:  # with a final dot it is another origin
        host = canonical("breakers", host) + "." * host.endswith(".")
    return Origin(parts.scheme, host, parts.port or PORTS[parts.scheme])

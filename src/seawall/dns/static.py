"""Names that are known without DNS: a map, a function, or several resolvers one after another."""

from __future__ import annotations

import inspect
import ipaddress
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

from ..errors import NameNotFound, NoAddress
from ..origin import Address
from .resolver import Answer, Resolver

__all__ = ["ChainResolver", "FunctionResolver", "StaticResolver"]

Found: TypeAlias = str | Address | Iterable[str | Address] | Answer


class StaticResolver:
    """
    A map, as curl's ``--resolve``: ``StaticResolver({"api.test": "10.0.0.1", "*.db.test": ["10.0.0.2", "10.0.0.3"]})``.

    ``"*.test"`` matches all names that end so, ``"host:port"`` one port of a host; the longest match counts. A name
    that isn't in the map raises NameNotFound; put the map into a `ChainResolver` to have other names looked up.

    Args:
        names: Maps names to addresses ("10.0.0.1", "10.0.0.1:8080", "[::1]:8080"), or to a `Resolver` that is asked.
    Raises:
        ValueError, TypeError: A value isn't an address.
    """

    def __init__(self, names: Mapping[str, Found | Resolver]) -> None:
        self._names: dict[str, Answer | Resolver] = {}
        for name, found in names.items():
            kept = found if isinstance(found, Resolver) else _answer(found, math.inf, "static")
            self._names[name.lower().removesuffix(".")] = kept

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """As `Resolver.resolve`."""
        name = host.lower().removesuffix(".")
        parts = name.split(".")
        wild = ["*." + ".".join(parts[begin:]) for begin in range(1, len(parts))]
        for key in (f"{name}:{port}", name, *wild, "*"):
            if (found := self._names.get(key)) is not None:
                if isinstance(found, Answer):
                    return found
                return await found.resolve(host, port, family=family)
        raise NameNotFound(f"{host}: not in the map")

    async def aclose(self) -> None:
        await _closed(found for found in self._names.values() if not isinstance(found, Answer))


class FunctionResolver:
    """
    Asks a function where a service is: ``FunctionResolver(find, ttl=5.0)``.

    Args:
        function: Takes host and port, and returns addresses or an `Answer`; may be async. None and () mean NoAddress.
            It may raise NameNotFound.
        ttl: Seconds that the addresses may be kept.
    """

    def __init__(
        self, function: Callable[[str, int], Found | Awaitable[Found | None] | None], *, ttl: float = 5.0
    ) -> None:
        if not callable(function):
            raise TypeError(f"function must be callable with a host and a port, not {function!r}")
        if not ttl >= 0:
            raise ValueError(f"ttl must be >= 0 s, not {ttl!r}")
        self._function = function
        self._ttl = ttl

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """As `Resolver.resolve`."""
        found = self._function(host, port)
        if inspect.isawaitable(found):
            found = await found
        answer = None if found is None else _answer(found, self._ttl, "function")
        if answer is None or not answer.addresses:
            raise NoAddress(f"{host}: the function found no address")
        return answer

    async def aclose(self) -> None:
        """Does nothing, because it holds nothing."""


class ChainResolver:
    """
    Asks one resolver after another until one knows the name: ``ChainResolver(StaticResolver({...}), "auto")``.

    Each has a cache of its own. Only after NameNotFound is the next one asked. A failure ends the lookup, because the
    resolver that failed may know the name.

    Args:
        resolvers: Each is a `Resolver`, "auto", "cares" or "system".
    """

    def __init__(self, *resolvers: Resolver | str) -> None:
        if not resolvers:
            raise ValueError("ChainResolver needs at least one resolver")
        # A chain in a chain is the same as its resolvers there, where a client knows what its strings mean.
        parts = [each.resolvers if type(each) is ChainResolver else (each,) for each in resolvers]
        self.resolvers: tuple[Resolver | str, ...] = tuple(each for part in parts for each in part)

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """As `Resolver.resolve`, for callers without a client; only a client understands the strings."""
        error: NameNotFound | None = None
        for resolver in self.resolvers:
            if isinstance(resolver, str):
                raise TypeError(f"{resolver!r} in a ChainResolver needs a client")
            try:
                return await resolver.resolve(host, port, family=family)
            except NameNotFound as unknown:
                error = unknown
        assert error is not None
        raise error

    async def aclose(self) -> None:
        await _closed(resolver for resolver in self.resolvers if not isinstance(resolver, str))


async def _closed(resolvers: Iterable[Resolver]) -> None:
    """Close all of them, though one fails at it."""
    async with AsyncExitStack() as stack:
        for resolver in resolvers:
            stack.push_async_callback(resolver.aclose)


def _answer(found: Found, ttl: float, source: str) -> Answer:
    if isinstance(found, Answer):
        return found
    each = [found] if isinstance(found, str | Address) else list(found)
    return Answer(tuple(one if isinstance(one, Address) else _address(one) for one in each), ttl, source)


def _address(text: str) -> Address:
    """ "10.0.0.1", "10.0.0.1:8080", "::1", "[::1]:8080"."""
    ip, port = text, None
    if text.startswith("[") and "]:" in text:
        ip, _, port = text[1:].partition("]:")
    elif text.startswith("["):
        ip = text[1:].removesuffix("]")
    elif text.count(":") == 1:
        ip, _, port = text.partition(":")
    try:
        ipaddress.ip_address(ip.partition("%")[0])
        number = None if port is None else int(port)
        if number is not None and not 1 <= number <= 65535:
            raise ValueError(port)
    except (ValueError, AttributeError):
        raise ValueError(
            f'an address must look like "10.0.0.1", "10.0.0.1:8080" or "[::1]:8080", not {text!r}'
        ) from None
    return Address(ip, number)

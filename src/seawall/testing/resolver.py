"""Names that resolve as you say, without DNS."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import anyio

from ..dns.resolver import Answer
from ..errors import NameNotFound, NoAddress
from ..origin import Address

__all__ = ["FakeResolver", "Found", "Lookup"]

Item = str | Address | Answer | float | Exception | type[Exception]
Found = Item | tuple[Item, ...]
"""
What one lookup finds: one of these, or a tuple of them, done in order.

- An IP address, as text or `Address`; those of a tuple are answered together; none at all is NoAddress.
- An `Answer`, for a TTL of its own.
- A number: so many seconds pass; math.inf: it hangs for ever.
- An exception or its class: it is raised.
"""


class Lookup(NamedTuple):
    """A lookup that was begun *at* that instant of the loop's clock, s."""

    at: float
    host: str
    port: int
    family: int


class FakeResolver:
    """
    A `Resolver`: ``seawall.AsyncClient(resolver=FakeResolver({"api.test": "10.0.0.1"}))``.

    ::

        FakeResolver({
            "api.test": ("10.0.0.1", "10.0.0.2"),
            "slow.test": (0.5, "10.0.0.1"),
            "flaky.test": [seawall.ResolverFailure, "10.0.0.1"],  # a list: in turn, and the last repeats
        })

    Names that it doesn't know are NameNotFound. The turn is counted by name and family.

    Args:
        names: What each is, any time later too: `add`.
        ttl: s that addresses may be kept; None: as long as the setting for such answers says.
    Attributes:
        lookups: All of them, in order; a client's cache asks less often than its calls do.
        is_closed: Whoever owns it said `aclose`.
    """

    def __init__(self, names: Mapping[str, Found | list[Found]] | None = None, *, ttl: float | None = None) -> None:
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or not ttl >= 0):
            raise ValueError(f"ttl must be a number of seconds >= 0 or None, not {ttl!r}")
        self.lookups: list[Lookup] = []
        self.is_closed = False
        self._ttl = ttl
        self._names: dict[str, tuple[Found, ...]] = {}
        self._turns: Counter[tuple[str, int]] = Counter()
        for name, found in (names or {}).items():
            self.add(name, *(found if isinstance(found, list) else [found]))

    @property
    def instants(self) -> list[float]:
        """When each lookup was begun, rounded to ns: what a test compares."""
        return [round(lookup.at, 9) for lookup in self.lookups]

    def add(self, name: str, *founds: Found) -> None:
        """
        From now on, *name* is this: the n-th lookup finds the n-th, the last repeats.

        Raises:
            ValueError, TypeError: None is given, or one is nothing that can be found.
        """
        if not founds:
            raise ValueError(f"{name}: give what is found, or () for a name without address; see `remove`")
        for found in founds:
            for item in _items(found):
                _check(name, item)
        self._names[_key(name)] = founds
        for family in [family for host, family in self._turns if host == _key(name)]:
            del self._turns[_key(name), family]

    def remove(self, name: str) -> None:
        """From now on, *name* is NameNotFound."""
        self._names.pop(_key(name), None)

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """
        **Cancellation:** counts as a lookup.

        Raises:
            NameNotFound: Nobody added it.
            NoAddress: It has none of that family.
            Exception: As added.
        """
        self.lookups.append(Lookup(anyio.current_time(), host, port, family))
        key = _key(host)
        if key not in self._names:
            raise NameNotFound(f"{host}: FakeResolver knows it not; it knows {', '.join(self._names) or 'none'}")
        turn = self._turns[key, family]
        self._turns[key, family] += 1
        answer = Answer((), self._ttl, "fake")
        for item in _items(self._names[key][min(turn, len(self._names[key]) - 1)]):
            if isinstance(item, Answer):
                answer = item._replace(addresses=answer.addresses + item.addresses)
            elif isinstance(item, str | Address):
                answer = answer._replace(addresses=(*answer.addresses, _address(item)))
            elif isinstance(item, int | float):
                await (anyio.sleep_forever() if item == math.inf else anyio.sleep(item))
            else:
                raise item(f"{host}: FakeResolver was told so") if isinstance(item, type) else item
        addresses = tuple(address for address in answer.addresses if family in (0, address.family))
        if not addresses:
            raise NoAddress(f"{host}: FakeResolver knows no such address of it")
        return answer._replace(addresses=addresses)

    async def aclose(self) -> None:
        self.is_closed = True


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _items(found: Found) -> tuple[Item, ...]:
    """An `Address` and an `Answer` are tuples too."""
    return found if isinstance(found, tuple) and not isinstance(found, Address | Answer) else (found,)


def _address(item: str | Address) -> Address:
    return item if isinstance(item, Address) else Address(item)


def _check(name: str, item: object) -> None:
    if isinstance(item, bool) or not (
        isinstance(item, str | Address | Answer | int | float | Exception)
        or (isinstance(item, type) and issubclass(item, Exception))
    ):
        raise TypeError(
            f"{name}: {item!r} can't be found: give IP addresses, an Answer, seconds or an exception; a tuple for "
            "several at once, a list for one lookup after the other"
        )
    if isinstance(item, int | float) and not item >= 0:
        raise ValueError(f"{name}: a delay must be >= 0 s, not {item!r}")
    for address in item.addresses if isinstance(item, Answer) else [item] if isinstance(item, str | Address) else []:
        try:
            ipaddress.ip_address(_address(address).ip)
        except ValueError:
            raise ValueError(f"{name}: {_address(address).ip!r} is not an IP address") from None

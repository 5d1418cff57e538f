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
What one lookup finds: one of these, or a tuple of them that is worked off in order.

- An IP address, as text or `Address`. All addresses of a tuple are one answer; a tuple without any is NoAddress.
- An `Answer`, which has its own TTL.
- A number: that many seconds pass; with math.inf the lookup hangs for ever.
- An exception or its class: it is raised.
"""


class Lookup(NamedTuple):
    """A lookup; *at* is the instant when it began, in seconds on the loop's clock."""

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
            "flaky.test": [seawall.errors.ResolverFailure, "10.0.0.1"],  # a list: in turn, and the last repeats
        })

    A name that it doesn't know is NameNotFound. Turns are counted for each name and family.

    Args:
        names: What the lookups of each name find; `add` changes it later.
        ttl: Seconds for which addresses may be kept; None leaves it to the client's setting for answers without a TTL.
    Attributes:
        lookups: All lookups, in order. There are fewer than calls, because a client caches.
        is_closed: Whether its owner called `aclose`.
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
        """When each lookup began, rounded to nanoseconds so that tests can compare."""
        return [round(lookup.at, 9) for lookup in self.lookups]

    def add(self, name: str, *founds: Found) -> None:
        """
        From now on, the n-th lookup of *name* finds the n-th of these; the last one repeats.

        Raises:
            ValueError, TypeError: Nothing is given, or something that a lookup can't find.
        """
        if not founds:
            raise ValueError(f"{name}: give what is found, or () for a name without addresses; see also `remove`")
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
        **Cancellation:** a cancelled lookup counts too.

        Raises:
            NameNotFound: *host* was not added.
            NoAddress: It has no address of that family.
            Exception: Whatever was added.
        """
        self.lookups.append(Lookup(anyio.current_time(), host, port, family))
        key = _key(host)
        if key not in self._names:
            raise NameNotFound(f"{host}: FakeResolver doesn't know it; it knows {', '.join(self._names) or 'no name'}")
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
                raise item(f"{host}: raised by FakeResolver") if isinstance(item, type) else item
        addresses = tuple(address for address in answer.addresses if family in (0, address.family))
        if not addresses:
            raise NoAddress(f"{host}: FakeResolver has no address of that family for it")
        return answer._replace(addresses=addresses)

    async def aclose(self) -> None:
        self.is_closed = True


def _key(name: str) -> str:
    return name.lower().removesuffix(".")


def _items(found: Found) -> tuple[Item, ...]:
    """One item, or several: an `Address` and an `Answer` are tuples too, but one item."""
    return found if isinstance(found, tuple) and not isinstance(found, Address | Answer) else (found,)


def _address(item: str | Address) -> Address:
    return item if isinstance(item, Address) else Address(item)


def _check(name: str, item: object) -> None:
    if isinstance(item, bool) or not (
        isinstance(item, str | Address | Answer | int | float | Exception)
        or (isinstance(item, type) and issubclass(item, Exception))
    ):
        raise TypeError(
            f"{name}: a lookup can't find {item!r}: give IP addresses, an Answer, seconds or an exception; a tuple of "
            "these for one lookup, a list for several lookups in turn"
        )
    if isinstance(item, int | float) and not item >= 0:
        raise ValueError(f"{name}: a delay must be >= 0 s, not {item!r}")
    for address in item.addresses if isinstance(item, Answer) else [item] if isinstance(item, str | Address) else []:
        try:
            ipaddress.ip_address(_address(address).ip)
        except ValueError:
            raise ValueError(f"{name}: {_address(address).ip!r} is not an IP address") from None

"""How many clients a scraper keeps, one for each proxy."""

from __future__ import annotations

import asyncio

import pytest

from seawall.integrations._by_proxy import MAX_PROXIES, ByProxy

pytestmark = pytest.mark.anyio


class Client:
    def __init__(self, proxy: str | None) -> None:
        self.proxy = proxy
        self.is_closed = False

    async def aclose(self) -> None:
        assert not self.is_closed
        await asyncio.sleep(0)
        self.is_closed = True


class Made:
    """All that were made."""

    def __init__(self) -> None:
        self.all: list[Client] = []

    def __call__(self, proxy: str | None) -> Client:
        self.all.append(Client(proxy))
        return self.all[-1]

    @property
    def open(self) -> list[str | None]:
        return [each.proxy for each in self.all if not each.is_closed]


async def use(kept: ByProxy[Client], *proxies: str | None) -> None:
    for proxy in proxies:
        async with kept.using(proxy) as client:
            assert (client.proxy, client.is_closed) == (proxy, False)


async def test_the_least_recently_used_one_is_closed():
    """And made anew when its proxy comes again."""
    made = Made()
    kept = ByProxy(made, most=2)
    await use(kept, None, "a", None, "b")
    assert made.open == [None, "b"]
    await use(kept, "a")
    assert made.open == ["b", "a"]
    assert len(made.all) == 4
    await kept.aclose()
    assert made.open == []
    await use(kept, "c")
    assert made.open == ["c"]


async def test_one_in_use_is_left_open():
    """More than are kept are open only while each is in use, by one or two."""
    made = Made()
    kept = ByProxy(made, most=1)
    async with kept.using("a"), kept.using("b"):
        async with kept.using("a"):
            pass
        await use(kept, "c", "d")
        assert made.open == ["a", "b", "d"]
    await use(kept, "e")
    assert made.open == ["e"]


async def test_a_rotation_of_thousands():
    """The default bounds it."""
    made = Made()
    await use(ByProxy(made), *map(str, range(3 * MAX_PROXIES)))
    assert len(made.open) == MAX_PROXIES


async def test_closed_while_it_is_in_use():
    """Its user leaves it as before, and the next one gets another."""
    made = Made()
    kept = ByProxy(made, most=1)
    async with kept.using("a"):
        await kept.aclose()
    await use(kept, "a")
    assert len(made.all) == 2

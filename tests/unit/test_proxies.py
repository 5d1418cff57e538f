"""The breakers of proxies: a bounded table, in which an open one is forgotten last."""

from __future__ import annotations

from random import Random

import pytest

import seawall
from seawall.errors import ProxyUnreachable
from seawall.origin import Origin
from seawall.policy.proxies import MAX_PROXIES, Proxies
from seawall.route import Proxy

ORIGIN = Origin("http", "a.test", 80)


def proxy(number: int) -> Proxy:
    return Proxy("http", f"p{number}.test", 3128)


@pytest.fixture
def proxies() -> Proxies:
    policy = seawall.Policy(breaker=seawall.Breaker(min_calls=1, failure_rate=0.5))
    return Proxies(policy, {}, rng=Random(1), emit=lambda _: None, now=lambda: 1.0)


def dial(proxies: Proxies, number: int, error: Exception | None = None) -> None:
    proxies.enter(proxy(number), ORIGIN).end(error)


def test_an_open_breaker_is_forgotten_last(proxies):
    """Strangers that work don't drive it out; the table stays bounded."""
    dial(proxies, 0, ProxyUnreachable("refused", origin=ORIGIN))
    for number in range(1, 3 * MAX_PROXIES):
        dial(proxies, number)
    assert proxies[str(proxy(0))].state == "open"
    assert len(proxies) <= MAX_PROXIES + 1
    with pytest.raises(seawall.errors.ProxyOpen):
        proxies.enter(proxy(0), ORIGIN)


def test_open_breakers_are_bounded_too(proxies):
    """At twice the size one goes, whatever it remembers."""
    for number in range(3 * MAX_PROXIES):
        dial(proxies, number, ProxyUnreachable("refused", origin=ORIGIN))
    assert len(proxies) <= 2 * MAX_PROXIES

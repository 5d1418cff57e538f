"""Bad settings are refused when they are made, with the setting's name and its range."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import httpx
import pytest
import tenacity
import urllib3

import seawall
from seawall.config.check import shown
from seawall.config.per_host import check_patterns, policy_for


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: seawall.Retry(max_attempts=0), ValueError, r"Retry\.max_attempts must be >= 1, not 0"),
        (lambda: seawall.Retry(max_attempts=True), TypeError, r"Retry\.max_attempts"),
        (lambda: seawall.Retry(max_attempts=2.5), TypeError, r"Retry\.max_attempts must be a whole number >= 1"),
        (lambda: seawall.Retry(backoff=-1), ValueError, r"Retry\.backoff must be finite and >= 0, not -1"),
        (lambda: seawall.Retry(backoff=math.nan), ValueError, r"Retry\.backoff"),
        (lambda: seawall.Retry(backoff="1"), TypeError, r"Retry\.backoff must be a number >= 0"),
        (lambda: seawall.Retry(backoff=2, max_backoff=1), ValueError, r"Retry\.max_backoff must be finite and >= 2"),
        (lambda: seawall.Retry(statuses={99}), ValueError, r"Retry\.statuses must hold whole numbers from 100 to 599"),
        (lambda: seawall.Retry(methods="GET"), TypeError, r"Retry\.methods must be a set"),
        (lambda: seawall.Retry(statuses=500), TypeError, r"Retry\.statuses must be a set"),
        (lambda: seawall.Retry(methods=["G ET"]), ValueError, r"Retry\.methods must hold names"),
        (lambda: seawall.Retry(wait=tenacity.wait_fixed), TypeError, r"Retry\.wait must be a tenacity strategy"),
        (lambda: seawall.DNS(min_ttl="x"), TypeError, r"DNS\.min_ttl must be a number"),
        (lambda: seawall.DNS(nameservers=[5]), ValueError, r"DNS\.nameservers must hold IP addresses"),
        (lambda: seawall.AsyncClient(retry=seawall.UNSET), TypeError, r"retry: UNSET means"),
        (
            lambda: seawall.AsyncClient(per_host={"A.test": seawall.Policy(), "a.test": seawall.Policy()}),
            ValueError,
            r"there twice",
        ),
        (lambda: seawall.Retry(wait=3), TypeError, r"Retry\.wait must be a tenacity strategy"),
        (lambda: seawall.Bulkhead(max_concurrent=0), ValueError, r"Bulkhead\.max_concurrent must be >= 1"),
        (lambda: seawall.Bulkhead(adaptive=1), TypeError, r"Bulkhead\.adaptive must be True or False, not 1"),
        (lambda: seawall.Bulkhead(max_waiting=-1), ValueError, r"Bulkhead\.max_waiting must be >= 0"),
        (
            lambda: seawall.Breaker(failure_rate=1.5),
            ValueError,
            r"Breaker\.failure_rate must be .* > 0 and <= 1",
        ),
        (lambda: seawall.Breaker(window=0), ValueError, r"Breaker\.window must be finite and > 0"),
        (lambda: seawall.Budget(ratio=2), ValueError, r"Budget\.ratio must be finite and >= 0 and <= 1"),
        (lambda: seawall.Ready(max_wait=0), ValueError, r"Ready\.max_wait must be finite and > 0"),
        (lambda: seawall.Ready(max_wait=math.nan), ValueError, r"Ready\.max_wait must be finite"),
        (lambda: seawall.Ready(remembered_for=-1), ValueError, r"Ready\.remembered_for must be finite and > 0"),
        (lambda: seawall.Ready(remembered_for=None), TypeError, r"Ready\.remembered_for must be a number"),
        (lambda: seawall.AsyncClient(ready=5.0), TypeError, r"ready must be a seawall\.Ready or None"),
        (lambda: seawall.AsyncClient(ready=seawall.UNSET), TypeError, r"ready: UNSET means"),
        (lambda: seawall.DNS(timeout=math.inf), ValueError, r"DNS\.timeout must be finite and > 0"),
        (lambda: seawall.DNS(max_ttl=0.5), ValueError, r"DNS\.max_ttl must be finite and >= 1"),
        (lambda: seawall.DNS(nameservers=("ns.example.com",)), ValueError, r"DNS\.nameservers must hold IP addresses"),
        (lambda: seawall.DNS(nameservers=("127.0.0.1:99999",)), ValueError, r"DNS\.nameservers"),
        (lambda: seawall.DNS(nameservers="127.0.0.1"), TypeError, r"DNS\.nameservers must be a list"),
        (lambda: seawall.DNS(nameservers=()), ValueError, r"DNS\.nameservers must name at least one"),
        (lambda: seawall.Policy(deadline=0), ValueError, r"deadline must be finite and > 0"),
        (lambda: seawall.Policy(retry=3), TypeError, r"retry must be a seawall\.Retry or None"),
        (lambda: seawall.AsyncClient(deadline=-1), ValueError, r"deadline must be finite and > 0"),
        (lambda: seawall.AsyncClient(retries=3), TypeError, r"no setting 'retries'; did you mean 'retry'\?"),
        (lambda: seawall.AsyncClient(bulkhead=64), TypeError, r"bulkhead must be a seawall\.Bulkhead or None"),
        (lambda: seawall.AsyncClient(resolver="google"), TypeError, r'resolver must be "auto", "cares", "system"'),
        (lambda: seawall.AsyncClient(resolver=object()), TypeError, r"resolve\(\) and aclose\(\)"),
        (lambda: seawall.AsyncClient(dns=2.0), TypeError, r"dns must be a seawall\.DNS"),
        (
            lambda: seawall.AsyncClient(observers=[3]),
            TypeError,
            r"observers must be functions of an event or have a method on",
        ),
        (lambda: seawall.AsyncClient(per_host={"https://a.test": seawall.Policy()}), ValueError, r"no host can match"),
        (lambda: seawall.AsyncClient(per_host={"a.test:80": seawall.Policy()}), ValueError, r"no host can match"),
        (lambda: seawall.AsyncClient(per_host={"a.*.test": seawall.Policy()}), ValueError, r"no host can match"),
        (
            lambda: seawall.AsyncClient(per_host={"a.test": 3}),
            TypeError,
            r"per_host\['a\.test'\] must be a seawall\.Policy",
        ),
        (lambda: seawall.AsyncClient(limits=httpx.Limits(max_connections=0)), ValueError, r"Limits\.max_connections"),
        (
            lambda: seawall.AsyncClient(limits=httpx.Limits(max_keepalive_connections=-1)),
            ValueError,
            r"keepalive_connections",
        ),
        (lambda: seawall.AsyncClient(limits=httpx.Limits(keepalive_expiry=math.nan)), ValueError, r"keepalive_expiry"),
        (lambda: seawall.AsyncClient(timeout=-1), ValueError, r"timeout: connect must be >= 0 s or None, not -1"),
        (
            lambda: seawall.AsyncClient(timeout=httpx.Timeout(5, read=math.nan)),
            ValueError,
            r"timeout: read must be >= 0",
        ),
        (lambda: seawall.AsyncClient(http1=False), ValueError, r"http1 and http2 can't both be off"),
        (lambda: seawall.AsyncTransport(inner=3), TypeError, r"inner must be an httpx\.AsyncBaseTransport"),
        (
            lambda: seawall.AsyncTransport(inner=httpx.MockTransport(lambda request: httpx.Response(200)), http2=True),
            ValueError,
            r"http2: give these to the inner transport",
        ),
    ],
)
def test_bad_settings(make, error, message):
    """Each is an error of the right kind, naming what to change."""
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_response_size": 0},
        {"limits": httpx.Limits(max_connections=1)},
        {"limits": httpx.Limits(max_keepalive_connections=0)},
        {"limits": httpx.Limits(keepalive_expiry=0)},
        {"limits": httpx.Limits(keepalive_expiry=math.inf)},
        {"limits": httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None)},
        {"timeout": 0},
    ],
)
def test_least_and_greatest_settings(arguments):
    """What httpx takes and has a meaning is taken."""
    seawall.AsyncClient(**arguments)


def test_settings_are_values():
    """Frozen, comparable, and with a repr that shows them."""
    assert seawall.Retry() == seawall.Retry(max_attempts=3)
    with pytest.raises(AttributeError):
        seawall.Retry().max_attempts = 4  # type: ignore[misc]
    assert "max_concurrent=64" in repr(seawall.Bulkhead())


def test_settings_take_any_collection():
    """A generator is read once, and kept."""
    assert seawall.Retry(statuses=(status for status in (500, 502))).statuses == {500, 502}
    assert seawall.DNS(nameservers=(each for each in ["127.0.0.1:53"])).nameservers == ("127.0.0.1:53",)


def test_patterns_are_spelt_as_hosts_are():
    """IDNA, lower case, addresses in their shortest form."""
    policy = seawall.Policy(deadline=1.0)
    checked = check_patterns({"Bücher.example": policy, "0:0:0:0:0:0:0:1": policy, "*.API.test.": policy})
    assert list(checked) == ["xn--bcher-kva.example", "::1", "*.api.test"]


def test_policy_of_a_host():
    """Its name before the longest suffix; what is left out comes from the client; None stays "off"."""
    base = seawall.Policy(deadline=10.0, retry=seawall.Retry(), bulkhead=seawall.Bulkhead())
    per_host = {
        "*.test": seawall.Policy(deadline=1.0),
        "*.a.test": seawall.Policy(deadline=2.0, retry=None),
        "b.a.test": seawall.Policy(deadline=3.0),
    }
    assert policy_for("b.a.test", per_host, base).deadline == 3.0
    assert policy_for("c.a.test", per_host, base) == seawall.Policy(
        deadline=2.0, retry=None, bulkhead=seawall.Bulkhead()
    )
    assert policy_for("x.y.test.", per_host, base).deadline == 1.0
    assert policy_for("test", per_host, base) is base
    assert policy_for("other.example", per_host, base) is base


def test_deadline_outside_of_a_loop_or_range():
    """It needs a loop's clock, and a length."""
    for length in (-1, 0):
        with pytest.raises(ValueError, match="finite and > 0"), seawall.deadline(length):
            pass
    with pytest.raises(RuntimeError), seawall.deadline(1):
        pass


HUGE = 10**400  # no float can hold it
UNWRITTEN = 10**5000  # and Python refuses to write this one out
JUNK = ["1", b"1", "", None, [], [[]], {}, {5: 5}, (), math.nan, math.inf, -math.inf, -1, 0, 1, 1.5, True, HUGE, -HUGE]
JUNK += [UNWRITTEN, -UNWRITTEN, object(), "\udc80", "é" * 70, [UNWRITTEN], {"a.test": UNWRITTEN}, {"\udc80": 5}]


def limits(name: str) -> Callable[[Any], object]:
    return lambda value: seawall.AsyncClient(limits=httpx.Limits(**{name: value}))


def timeout(name: str) -> Callable[[Any], object]:
    return lambda value: seawall.AsyncClient(timeout=httpx.Timeout(5.0, **{name: value}))


def field(settings: type, name: str) -> Callable[[Any], object]:
    needed = {"hosts": ("a.test",)} if settings is seawall.Propagation and name != "hosts" else {}
    return lambda value: settings(**needed, **{name: value})


SETTINGS: dict[str, Callable[[Any], object]] = {
    **{
        name: lambda value, name=name: seawall.AsyncClient(**{name: value})
        for name in (
            "deadline", "retry", "bulkhead", "breaker", "budget", "per_host", "dns", "resolver", "guard", "propagation",
            "max_connection_age", "max_response_size", "observers", "clock", "rng", "wall", "limits", "timeout",
        )
    },
    **{
        f"{settings.__name__}.{each.name}": field(settings, each.name)
        for settings in (
            seawall.Retry, seawall.Bulkhead, seawall.Breaker, seawall.Budget, seawall.DNS, seawall.Policy,
            seawall.Propagation,
        )
        for each in dataclasses.fields(settings)
        if each.init
    },
    **{f"Limits.{name}": limits(name) for name in ("max_connections", "max_keepalive_connections", "keepalive_expiry")},
    **{f"timeout: {name}": timeout(name) for name in ("connect", "read", "write", "pool")},
    "Guard.allow": lambda value: seawall.Guard(allow=value),
    "Guard.deny": lambda value: seawall.Guard(deny=value),
    "options: idempotency_key": lambda value: seawall.options(idempotency_key=value),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_names_itself(name):
    """Whatever it is given, it takes that, or raises TypeError or ValueError with its name; and never anything else."""
    refused = 0
    for junk in JUNK:
        if name == "timeout" and isinstance(junk, tuple):
            continue  # httpx reads four numbers out of it
        try:
            SETTINGS[name](junk)
        except (TypeError, ValueError) as error:
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", str(error)), (shown(junk), error)
            refused += 1
    assert refused > 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: seawall.Breaker(window=HUGE), ValueError, r"Breaker\.window must be finite and > 0, not 10{400}$"),
        (lambda: seawall.Retry(max_attempts=HUGE), ValueError, r"Retry\.max_attempts must be <= \d+, not 10{400}$"),
        (
            lambda: seawall.AsyncClient(limits=httpx.Limits(max_connections="5")),
            TypeError,
            r"Limits\.max_connections.*'5'",
        ),
        (
            lambda: seawall.AsyncClient(limits=httpx.Limits(max_connections=1.5)),
            TypeError,
            r"must be a whole number >= 1",
        ),
        (lambda: seawall.AsyncClient(limits=5), TypeError, r"limits must be an httpx\.Limits, not 5"),
        (lambda: seawall.AsyncClient(per_host=[]), TypeError, r"per_host must map names of hosts"),
        (lambda: seawall.AsyncClient(per_host={5: seawall.Policy()}), ValueError, r"per_host: no host can match 5"),
        (lambda: seawall.AsyncClient(rng=0), TypeError, r"rng must be a random\.Random or None"),
        (lambda: seawall.AsyncClient(observers=5), TypeError, r"observers must be a list of observers or functions"),
        (
            lambda: seawall.AsyncClient(timeout="5"),
            TypeError,
            r"timeout: connect must be a number >= 0 s or None, not '5'",
        ),
        (
            lambda: seawall.AsyncClient(timeout=True),
            TypeError,
            r"timeout: connect must be a number >= 0 s or None, not True",
        ),
        (
            lambda: seawall.AsyncClient(timeout=HUGE),
            ValueError,
            r"timeout: connect must be >= 0 s or None, not 10{400}$",
        ),
        (lambda: seawall.Retry(statuses=[[]]), TypeError, r"Retry\.statuses must be a set"),
    ],
)
def test_huge_and_wrongly_typed_settings(make, error, message):
    """Each has our own message, which names the setting and what it takes."""
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("timeouts", "message"),
    [
        (5, r'extensions\["timeout"\] must map names to seconds or None, not 5'),
        ({"read": "5"}, r"timeout: read must be a number >= 0 s or None, not '5'"),
        ({"write": True}, r"timeout: write must be a number"),
        ({"pool": -1}, r"timeout: pool must be >= 0 s or None, not -1"),
        ({"pool": -0.5, "read": -0.5}, r"timeout: pool must be >= 0 s or None, not -0\.5"),
        ({"connect": HUGE}, r"timeout: connect must be >= 0 s or None, not 10{400}$"),
    ],
)
async def test_timeouts_of_one_request(timeouts, message):
    """They come in its extensions, and are looked at as the client's are."""
    async with seawall.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        with pytest.raises((TypeError, ValueError), match=message):
            await client.get("http://a.test/", extensions={"timeout": timeouts})
        for good in ({}, {"read": None}, {"read": 1, "write": 1.5, "pool": math.inf, "connect": Fraction(1, 2)}):
            assert (await client.get("http://a.test/", extensions={"timeout": good})).status_code == 200


@pytest.mark.parametrize("length", ["1", HUGE, True, math.inf], ids=["text", "huge", "bool", "inf"])
def test_deadline_of_another_kind(length):
    """It is refused as the setting of the same name is."""
    with pytest.raises((TypeError, ValueError), match=r"deadline must be"), seawall.deadline(length):
        pass


@pytest.mark.parametrize(
    "name", ["backoff_factor", "backoff_max", "backoff_jitter", "retry_after_max", "total", "read"]
)
def test_urllib3_with_junk(name):
    """A number of urllib3's Retry that can't be one is refused by its name."""
    theirs = urllib3.Retry(3)
    for junk in ("1", HUGE, math.nan, object()):
        setattr(theirs, name, junk)
        with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b|max_attempts"):
            seawall.Retry.from_urllib3(theirs, rng=Random(0))

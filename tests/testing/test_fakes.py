"""Chance, names and a wire that do as they are told."""

from __future__ import annotations

import asyncio
import hashlib
import math
import socket
from random import Random

import httpx
import pytest

import seawall
from seawall.testing import Body, ScriptedWire
from seawall.testing.chance import FixedRandom
from seawall.testing.clock import VIRTUAL
from seawall.testing.resolver import FakeResolver

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]


@pytest.fixture
def anyio_backend():
    return VIRTUAL


def now() -> float:
    return round(asyncio.get_running_loop().time(), 9)


async def ips(resolver: FakeResolver, host: str, family: int = 0) -> list[str]:
    return [address.ip for address in (await resolver.resolve(host, 80, family=family)).addresses]


# chance


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.3, 0.3), (0.0, 0.1, 0.1), (0.5, 0.19, 0.21)])
def test_fixed_random_draws_its_share(share, low, high):
    """At both ends exactly; other draws are those of a seed, and end."""
    rng = FixedRandom(share)
    assert low <= rng.uniform(0.1, 0.3) <= high
    assert rng.uniform(0.1, 0.3) == rng.uniform(0.1, 0.3)
    assert [rng.randrange(1000), rng.random()] == [(seeded := Random(0)).randrange(1000), seeded.random()]


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "1"])
def test_share_that_is_none(share):
    """Named, with what it may be."""
    with pytest.raises((ValueError, TypeError), match=r"FixedRandom.share must be .*>= 0 and <= 1"):
        FixedRandom(share)


# names


async def test_resolver_is_one():
    """A client takes it, and asks it as often as its cache allows."""
    resolver = FakeResolver({"api.test": "10.0.0.1"}, ttl=30)
    assert isinstance(resolver, seawall.dns.Resolver)
    answer = await resolver.resolve("API.test.", 443)
    assert answer == seawall.dns.Answer((seawall.dns.Address("10.0.0.1"),), 30, "fake")
    async with seawall.AsyncClient(
        resolver=FakeResolver({"api.test": seawall.errors.ResolverFailure("down")}), retry=None
    ) as c:
        with pytest.raises(seawall.errors.ResolverFailure, match="down"):
            await c.get("http://api.test")


async def test_names_in_turn_and_the_last_repeats():
    """An error, then an address, then another; each lookup with its instant."""
    resolver = FakeResolver({"a.test": [seawall.errors.ResolverFailure, (0.5, "10.0.0.1"), ("10.0.0.2", "::2")]})
    with pytest.raises(seawall.errors.ResolverFailure, match=r"a\.test"):
        await resolver.resolve("a.test", 80)
    assert await ips(resolver, "a.test") == ["10.0.0.1"]
    assert now() == 0.5
    assert await ips(resolver, "a.test") == await ips(resolver, "a.test") == ["10.0.0.2", "::2"]
    assert resolver.instants == [0.0, 0.0, 0.5, 0.5]
    assert resolver.lookups[0] == (0.0, "a.test", 80, 0)


async def test_names_may_change():
    """Added and removed while a client uses it; what is added begins at its first."""
    resolver = FakeResolver()
    with pytest.raises(seawall.errors.NameNotFound, match="it knows no name"):
        await resolver.resolve("a.test", 80)
    resolver.add("a.test", "10.0.0.1", "10.0.0.2")
    assert [await ips(resolver, "a.test") for _ in range(3)] == [["10.0.0.1"], ["10.0.0.2"], ["10.0.0.2"]]
    resolver.add("A.test", "10.0.0.3", "10.0.0.4")
    assert await ips(resolver, "a.test") == ["10.0.0.3"]
    resolver.remove("a.test")
    with pytest.raises(seawall.errors.NameNotFound):
        await resolver.resolve("a.test", 80)
    await resolver.aclose()
    assert resolver.is_closed


async def test_families_are_told_apart():
    """Each with a turn of its own; none left is NoAddress."""
    resolver = FakeResolver({"a.test": [("10.0.0.1", "::1"), "10.0.0.2"], "none.test": ()})
    assert await ips(resolver, "a.test", socket.AF_INET6) == ["::1"]
    assert await ips(resolver, "a.test", socket.AF_INET) == ["10.0.0.1"]
    with pytest.raises(seawall.errors.NoAddress):
        await resolver.resolve("a.test", 80, family=socket.AF_INET6)
    with pytest.raises(seawall.errors.NoAddress):
        await resolver.resolve("none.test", 80)


async def test_answer_with_a_ttl_of_its_own_and_a_lookup_that_hangs():
    """An Answer as it is; math.inf until somebody loses patience."""
    answer = seawall.dns.Answer((seawall.dns.Address("10.0.0.1", 8080),), 5.0, "consul")
    resolver = FakeResolver({"a.test": answer, "hang.test": math.inf})
    assert await resolver.resolve("a.test", 80) == answer
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await resolver.resolve("hang.test", 80)
    assert now() == 60.0


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"a.test": "localhost"}, "a.test: 'localhost' is not an IP address"),
        ({"a.test": -1.0}, "a delay must be >= 0 s"),
        ({"a.test": []}, "give what is found"),
        ({"a.test": None}, "a lookup can't find None: give IP addresses"),
        ({"a.test": (True, "::1")}, "a lookup can't find True"),
    ],
)
def test_names_that_are_none(names, says):
    """Refused at once, by name."""
    with pytest.raises((ValueError, TypeError), match=says):
        FakeResolver(names)


# the wire


async def test_wire_steps():
    """Each kind of step, in turn; the last repeats."""

    async def later(request: httpx.Request) -> object:
        await asyncio.sleep(0.25)
        return (0.25, 404)

    wire = ScriptedWire(
        503,
        1.5,
        httpx.Response(201, headers={"x": "y"}, json=1),
        Body(b"ab", 2.0, b"c"),
        (0.5, httpx.Response(202)),
        lambda request: httpx.Response(200, text=request.url.path),
        later,
        418,
    )
    async with httpx.AsyncClient(transport=wire) as client:
        got = [await client.get("http://a.test/p") for _ in range(9)]
    assert [response.status_code for response in got] == [503, 200, 201, 200, 202, 200, 404, 418, 418]
    assert (got[2].headers["x"], got[2].json(), got[3].content, got[5].text) == ("y", 1, b"abc", "/p")
    assert wire.instants == [0.0, 0.0, 1.5, 1.5, 3.5, 4.0, 4.0, 4.5, 4.5]


async def test_wire_raises_what_it_is_given():
    """An instance or a class, now or later, any number of times."""
    wire = ScriptedWire(httpx.ConnectError("no"), (2.0, httpx.ReadTimeout), ValueError)
    async with httpx.AsyncClient(transport=wire) as client:
        with pytest.raises(httpx.ConnectError, match="no"):
            await client.get("http://a.test")
        with pytest.raises(httpx.ReadTimeout) as caught:
            await client.get("http://a.test")
        assert (str(caught.value.request.url), now()) == ("http://a.test", 2.0)
        for _ in range(2):
            with pytest.raises(ValueError, match="ScriptedWire"):
                await client.get("http://a.test")


async def test_error_that_is_raised_again_grows_no_traceback():
    """One instance for a thousand attempts holds the frames of the last alone."""
    error = httpx.ConnectError("no")
    lengths = set()
    async with httpx.AsyncClient(transport=ScriptedWire(error)) as client:
        for _ in range(3):
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get("http://a.test")
            lengths.add(len(caught.traceback))
    assert len(lengths) == 1


async def test_bodies_in_parts():
    """Cut after some bytes, with pauses, for ever; read as often as it is sent."""
    wire = ScriptedWire(Body(b"half", 1.0, httpx.ReadError), Body(b"x", math.inf))
    async with httpx.AsyncClient(transport=wire) as client:
        async with client.stream("GET", "http://a.test") as response:
            parts = response.aiter_raw()
            assert await anext(parts) == b"half"
            with pytest.raises(httpx.ReadError):
                await anext(parts)
        for _ in range(2):
            async with client.stream("GET", "http://a.test") as response:
                parts = response.aiter_raw()
                assert await anext(parts) == b"x"
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(parts), 9)
    assert now() == 19.0


async def test_response_is_a_copy_whenever_it_is_sent():
    """Read, closed and decoded by one call, it is as new for the next, and for two at once."""
    answer = httpx.Response(200, headers={"content-encoding": "gzip"}, content=b"")
    plain = httpx.Response(200, text="hello")
    async with httpx.AsyncClient(transport=ScriptedWire(answer, plain)) as client:
        await client.get("http://a.test")
        texts = await asyncio.gather(*(client.get("http://a.test") for _ in range(3)))
    assert [response.text for response in texts] == ["hello"] * 3
    assert len({id(response) for response in [*texts, plain]}) == 4


async def test_scripts_of_hosts():
    """They take no turn of the others'; a new script begins at its first step."""
    wire = ScriptedWire(500, 501, per_host={"b.test": [404, 405]})
    async with httpx.AsyncClient(transport=wire) as client:

        async def status(host: str) -> int:
            return (await client.get(f"http://{host}")).status_code

        assert [await status(h) for h in ("a.test", "b.test", "c.test", "b.test", "a.test")] == [
            500,
            404,
            501,
            405,
            501,
        ]
        wire.script(200, host="B.test")  # httpx writes a host in lower case
        wire.script(201, 202)
        assert [await status(h) for h in ("a.test", "b.test", "c.test")] == [201, 200, 202]


async def test_attempts_are_recorded():
    """With the instant at which all of the body was there."""

    async def parts():
        yield b"one"
        await asyncio.sleep(3)
        yield b"two"

    wire = ScriptedWire()
    async with httpx.AsyncClient(transport=wire) as client:
        assert (await client.put("http://a.test/x?y=1", content=parts(), headers={"a": "b"})).status_code == 200
    (sent,) = wire.attempts
    assert (sent.at, sent.method, str(sent.url), sent.headers["a"]) == (3.0, "PUT", "http://a.test/x?y=1", "b")
    assert (sent.length, sent.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())


@pytest.mark.parametrize(("error", "attempts"), [(httpx.ConnectError, 3), (httpx.ReadError, 1)])
async def test_client_believes_what_was_sent(error, attempts):
    """A POST is repeated after an error that says "not sent", and after no other."""
    wire = ScriptedWire(error)
    async with seawall.AsyncClient(transport=wire) as client:
        with pytest.raises(error):
            await client.post("http://a.test", content=b"x")
    assert len(wire.attempts) == attempts


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([5], "a status must be from 200 to 599, not 5; for seconds, write 5.0"),
        ([-0.5], "a delay must be >= 0 s"),
        (["503"], "'503' is not a step: give a status"),
        ([True], "True is not a step"),
        ([(1.0, 200, 200)], r"a tuple must be \(delay, step\)"),
        ([("1", 200)], "'1' is neither"),
        ([(1.0, (1.0, None))], "None is not a step"),
    ],
)
def test_steps_that_are_none(steps, says):
    """Refused where they are written, and not where a request meets them."""
    with pytest.raises((ValueError, TypeError), match=says):
        ScriptedWire(*steps)
    with pytest.raises((ValueError, TypeError), match=says):
        ScriptedWire(per_host={"a.test": steps})


async def test_function_that_returns_no_step():
    """Says so, and what it may be."""
    async with httpx.AsyncClient(transport=ScriptedWire(lambda request: None)) as client:
        with pytest.raises(TypeError, match="None is not a step"):
            await client.get("http://a.test")


def test_bodies_and_hosts_that_are_none():
    """As with steps."""
    with pytest.raises(TypeError, match="Body: 'text' is neither bytes, nor seconds"):
        Body("text")
    with pytest.raises(TypeError, match=r"per_host\['a.test'\] must be a list"):
        ScriptedWire(per_host={"a.test": 503})
    with pytest.raises(ValueError, match="at least one step"):
        ScriptedWire().script()

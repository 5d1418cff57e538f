"""Codings and the decoder of a body: whole, bounded, the same however the bytes arrive."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import tracemalloc
import types
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NoReturn

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seawall
from seawall._httpx.decoder import Paced, codings, set_decoder
from seawall.wire import coding as coding_module
from seawall.wire.coding import ACCEPTED, BROTLI, PIECE, SLICE, ZSTD, Coding, CodingError, bounded, coding, known
from seawall.wire.decoder import (
    FREE,
    FREE_BETWEEN,
    FREE_MEMBERS,
    MAX_AHEAD,
    MAX_RATIO,
    STEP,
    TURN,
    Decoded,
    Decoder,
)
from tests.bodies import CODINGS, NAMES, brotli, encoded, hollow, named, raw_deflate, skippable, zeros, zstd

TEXT = b"seawall " * 5000
NOISE = random.Random(7).randbytes(20_000)
NESTS = [names for size in (1, 2, 3) for names in itertools.product(NAMES, repeat=size)]


def refuse(why: str) -> NoReturn:
    raise seawall.errors.ResponseTooLarge(why)


class Measured:
    """A coding, and what each of its steps took and gave."""

    def __init__(self, inner: Coding, log: list[tuple[int, int]]) -> None:
        self._inner = inner
        self._log = log

    def step(self, data: bytes | memoryview) -> bytes:
        assert len(data) == 0 if self._inner.is_behind else 0 < len(data) <= SLICE
        self._log.append((len(data), 0))
        made = self._inner.step(data)
        self._log[-1] = len(data), len(made)
        return made

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def decoder(
    content_encoding: str,
    *,
    max_size: int | None = None,
    is_part: bool = False,
    log: list[tuple[int, int]] | None = None,
) -> Decoder:
    found: Sequence[Coding] = codings(httpx.Headers({"content-encoding": content_encoding}))
    if log is not None:
        found = [Measured(each, log) for each in found]  # type: ignore[misc]
    return Decoder(found, where="http://a.test:80", max_size=max_size, is_part=is_part, refuse=refuse)


def drained(machine: Decoder, *parts: bytes) -> bytes:
    """As `Paced` and httpx do it: each part, and then for as long as there is work."""
    made = []
    for part in parts:
        made.append(machine.decode(part))
        while machine.is_behind:
            made.append(machine.decode(b""))
    return b"".join([*made, machine.flush()])


def split(data: bytes, at: Sequence[int]) -> list[bytes]:
    points = sorted({0, len(data), *(point % (len(data) + 1) for point in at)})
    return [data[begin:end] for begin, end in itertools.pairwise(points)]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def result(make: Callable[[], Decoder], parts: Sequence[bytes]) -> bytes | type[Exception]:
    try:
        return drained(make(), *parts)
    except (CodingError, seawall.errors.ResponseTooLarge) as error:
        return type(error)


@pytest.mark.parametrize("names", [(name,) for name in CODINGS] + NESTS[4:], ids="-".join)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE], ids=["empty", "byte", "text", "noise"])
def test_each_coding_and_each_nest_of_two_and_three(names, data):
    """Is undone, in one piece and byte by byte."""
    body = encoded(names, data)
    assert drained(decoder(named(names)), body) == data
    if len(body) < 1000:
        assert drained(decoder(named(names)), *bytewise(body)) == data


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(CODINGS)), min_size=1, max_size=5),
    data=st.one_of(
        st.binary(max_size=300),
        st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(0, 20_000)),
        st.builds(lambda part, times: part * times, st.binary(max_size=20), st.integers(0, 20_000)),
    ),
    at=st.lists(st.integers(0, 100_000), max_size=30),
    cut=st.integers(0, 50),
    more=st.sampled_from([b"", b"\0", b"\x1f", b"\x1f\x8b", b"garbage", skippable(b"abc"), bytes(5000)]),
    is_part=st.booleans(),
    max_size=st.sampled_from([None, 10, 1000, 100_000]),
)
def test_however_it_arrives(names, data, at, cut, more, is_part, max_size):
    """The same bytes, or the same class of error: whole, cut short, with something after its end, and too large."""
    body = encoded(names, data)
    body = body[: max(0, len(body) - cut)] + more
    if more and (cut or "br" in names):
        max_size = None  # what is damaged and too large is either: a decompressor keeps what it made before an error

    def make() -> Decoder:
        return decoder(named(names), max_size=max_size, is_part=is_part)

    whole = result(make, [body])
    assert result(make, split(body, at)) == whole
    if len(body) < 300:
        assert result(make, bytewise(body)) == whole
    if not cut and not more:
        too_large = max_size is not None and len(data) > max_size
        assert whole == (seawall.errors.ResponseTooLarge if too_large else data)


@settings(max_examples=150, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(CODINGS)), min_size=1, max_size=3),
    at=st.lists(st.integers(0, 100_000), max_size=30),
    where=st.integers(0, 100_000),
    flip=st.integers(1, 255),
)
def test_however_what_is_damaged_arrives(names, at, where, flip):
    """The same bytes, or the same class of error."""
    body = bytearray(encoded(names, NOISE[:5000] + TEXT[:5000]))
    body[where % len(body)] ^= flip

    def make() -> Decoder:
        return decoder(named(names))

    assert result(make, split(bytes(body), at)) == result(make, [bytes(body)])


@pytest.mark.parametrize("name", CODINGS)
def test_every_length_too_short(name):
    """An error, but not in a part of a body, of which what is there is decoded; nothing at all is whole."""
    data = random.Random(1).randbytes(300)
    body = encoded([name], data)
    assert drained(decoder(named([name]))) == b""
    longest = 0
    for length in range(1, len(body)):
        with pytest.raises(CodingError, match="ends before"):
            drained(decoder(named([name])), body[:length])
        part = drained(decoder(named([name]), is_part=True), body[:length])
        assert data.startswith(part)
        longest = max(longest, len(part))
    assert longest > (-1 if name == "zstd" else 200)  # whose blocks are decoded as a whole


@pytest.mark.parametrize("piece", [1, 7, 64, 257])
def test_part_is_all_that_is_there(monkeypatch, piece):
    """However small the pieces are in which a decompressor may give it."""
    body = raw_deflate(bytes(2000) + NOISE[:100] + bytes(2000))
    expected = [zlib.decompressobj(-zlib.MAX_WBITS).decompress(body[:length]) for length in range(len(body))]
    framed = [zlib.decompressobj(31).decompress(encoded(["gzip"], bytes(3000))[:length]) for length in range(30)]
    monkeypatch.setattr(coding_module, "PIECE", piece)
    for length, data in enumerate(expected):
        assert drained(decoder("deflate", is_part=True), body[:length]) == data
    for length, data in enumerate(framed):
        assert drained(decoder("gzip", is_part=True), encoded(["gzip"], bytes(3000))[:length]) == data


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("size", [PIECE, 2 * PIECE, 32_000, 64_000, 32_752, 65_504])
def test_body_that_ends_with_a_piece(name, size):
    """Nothing follows it."""
    for data in (bytes(size), random.Random(size).randbytes(size)):
        assert drained(decoder(named([name])), encoded([name], data)) == data


@pytest.mark.parametrize("names", [("br", "gzip"), ("gzip", "br"), ("zstd", "br"), ("zstd", "gzip")], ids="-".join)
def test_inner_coding_too_short(names):
    """The outer one is whole."""
    body = encoded(names[1:], encoded(names[:1], TEXT)[:-1])
    with pytest.raises(CodingError, match="ends before"):
        drained(decoder(named(names)), body)
    assert TEXT.startswith(drained(decoder(named(names), is_part=True), body))


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("gzip", bytes(9000), TEXT),
        ("gzip", b"\x1f", TEXT),
        ("gzip", encoded(["gzip"], b"x") + b"pad" + encoded(["gzip"], b"y"), TEXT + b"x"),
        ("gzip", b"\x1f\x8bgarbage", CodingError),
        ("deflate", b"garbage", TEXT),
        ("raw", b"garbage", TEXT),
        ("br", b"\0", CodingError),
        ("zstd", b"\0", CodingError),
        ("zstd", b"garbage", CodingError),
        ("zstd", zstd.compress(b"x") + skippable(b"y" * 9000) + zstd.compress(b"z"), TEXT + b"xz"),
    ],
    ids=["padding", "half", "members", "broken", "framed", "raw", "br", "byte", "garbage", "frames"],
)
def test_what_follows_the_end(name, more, expected):
    """Padding, members, frames; and what no decoder takes."""
    body = encoded([name], TEXT) + more
    for parts in ([body], bytewise(body), [body[: -len(more)], more]):
        assert result(lambda: decoder(named([name])), parts) == expected


@pytest.mark.parametrize(
    ("said", "applied"),
    [
        ("GZip", ["gzip"]),
        (" gzip ,, deflate,", ["gzip", "deflate"]),
        ("aws-chunked, gzip, unheard-of", ["gzip"]),
        ("identity, br, identity", ["br"]),
        ("zstd, br", ["zstd", "br"]),
        ("zstd, gzip", ["zstd", "gzip"]),
        ("br, zstd, gzip, deflate, br", ["br", "zstd", "gzip", "deflate", "br"]),
    ],
)
def test_what_a_header_may_say(said, applied):
    """Upper case, spaces, nothing, identity, what nobody knows."""
    assert drained(decoder(said), encoded(applied, TEXT)) == TEXT


def test_no_coding_that_is_known():
    """Then there is no decoder."""
    for said in ("", ",", "identity", "unheard-of", "utf-8, none", "compress"):
        assert codings(httpx.Headers({"content-encoding": said})) == []


def test_codings_in_two_headers():
    """They are one list."""
    found = codings(httpx.Headers([("content-encoding", "zstd"), ("content-encoding", "gzip")]))
    assert [type(each).__name__ for each in found] == ["Zstd", "Gzip"]


def test_too_many_codings():
    """Five are undone, six refused."""
    assert drained(decoder("gzip, " * 5), encoded(["gzip"] * 5, b"x")) == b"x"
    with pytest.raises(seawall.errors.ResponseTooLarge, match="6 codings"):
        decoder("gzip, " * 6)


# Bounds


@pytest.mark.parametrize(
    ("names", "max_size"),
    [(names, 1000) for names in NESTS] + [(names, None) for names in NESTS if len(set(names)) == 1],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_bombs(names, max_size):
    """Of 32 MiB, in each nest: no step takes or gives much, and they are few until it is refused."""
    log: list[tuple[int, int]] = []
    machine = decoder(named(names), max_size=max_size, log=log)
    body = zeros(names)
    tracemalloc.start()
    try:
        with pytest.raises(seawall.errors.ResponseTooLarge):
            drained(machine, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    most = MAX_RATIO * len(body) + FREE if max_size is None else max_size
    given = sum(made for _, made in log)
    assert max(made for _, made in log) <= PIECE
    assert given <= FREE_BETWEEN + MAX_RATIO * (len(body) + SLICE) + most + PIECE
    assert len(log) <= 10 + given // 20_000 + given // (SLICE // 2)
    assert peak < most + 2 * FREE


@pytest.mark.parametrize("names", [names for names in NESTS if len(names) > 1], ids="-".join)
def test_bombs_of_nothing(names):
    """8 MiB that yield nothing are refused as they are made; members sooner."""
    log: list[tuple[int, int]] = []
    body = hollow(names[0], names[1:])
    with pytest.raises(seawall.errors.ResponseTooLarge, match="a bomb"):
        drained(decoder(named(names), log=log), body)
    between = sum(made for _, made in log)
    assert between <= FREE_BETWEEN + MAX_RATIO * (len(body) + SLICE) + PIECE
    if names[0] in ("gzip", "zstd"):
        assert len(log) <= 20 + FREE_MEMBERS + between // (SLICE // 2)


@pytest.mark.parametrize(
    "empty", [encoded(["gzip"], b""), zstd.compress(b""), skippable(b"")], ids=["gzip", "zstd", "skippable"]
)
def test_empty_members(empty):
    """As many as anybody needs, and no more."""
    name = "gzip" if empty.startswith(b"\x1f\x8b") else "zstd"
    assert drained(decoder(name), empty * FREE_MEMBERS) == b""
    with pytest.raises(seawall.errors.ResponseTooLarge, match=f"{FREE_MEMBERS + 1} members of its body hold nothing"):
        drained(decoder(name), empty * (FREE_MEMBERS + 1))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_members_that_hold_little(name):
    """Alone any number, for each has come; inside another coding, no more than could have come."""
    body = encoded([name], b"x") * 20_000
    assert drained(decoder(name), body) == b"x" * 20_000
    with pytest.raises(seawall.errors.ResponseTooLarge, match="members: a bomb"):
        drained(decoder(f"{name}, br"), encoded(["br"], body))
    few = encoded([name], b"x") * FREE_MEMBERS
    assert drained(decoder(f"{name}, gzip"), encoded(["gzip"], few)) == b"x" * FREE_MEMBERS


def test_ratio_is_looked_at_in_the_same_places():
    """A body that begins with more than 200:1 and goes on with noise is refused, or taken, however it arrives."""
    for size, expected in ((FREE // 2**20 - 1, bytes), (FREE // 2**20 + 1, seawall.errors.ResponseTooLarge)):
        machine = zlib.compressobj(9)
        body = b"".join(machine.compress(bytes(2**20)) for _ in range(size)) + machine.compress(NOISE * 20)
        body += machine.flush()
        for parts in ([body], split(body, range(0, len(body), 997)), [body[:1], body[1:]]):
            found = result(lambda: decoder("deflate"), parts)
            assert (type(found) is bytes) if expected is bytes else found is expected


class Doubling:
    """A coding in which an exclamation mark means 64 KiB, and all else nothing."""

    ahead = members = empties = 0
    is_whole = True

    def __init__(self) -> None:
        self._marks = 0

    @property
    def is_behind(self) -> bool:
        return self._marks > 0

    def step(self, data: bytes | memoryview) -> bytes:
        self._marks += bytes(data).count(b"!")
        given, self._marks = min(1, self._marks), max(0, self._marks - 1)
        return bytes(PIECE * given)


def test_ratio_is_looked_at_once_in_a_slice():
    """So what is refused in one piece is refused in two, whose slices would else end later."""
    slices = FREE // MAX_RATIO // SLICE + 1
    marks = slices * SLICE * MAX_RATIO // PIECE + 1
    body = bytes(slices * SLICE - marks) + b"!" * marks + bytes(SLICE)
    for parts in ([body], [body[:1], body[1:]], [body[:-1], body[-1:]]):
        with pytest.raises(seawall.errors.ResponseTooLarge):
            drained(
                Decoder([Doubling()], where="http://a.test:80", max_size=None, is_part=False, refuse=refuse), *parts
            )
    fewer = body.replace(b"!", b"", 1)
    assert (
        len(
            drained(Decoder([Doubling()], where="http://a.test:80", max_size=None, is_part=False, refuse=refuse), fewer)
        )
        > FREE
    )


def windowed(bits: int) -> bytes:
    machine = brotli.Compressor(quality=5, lgwin=bits)
    return machine.process(bytes(1000)) + machine.finish()


@pytest.mark.parametrize("bits", range(10, 25))
def test_window_of_brotli(bits):
    """It is known from the first byte, for a step may fill it."""
    machine = coding("br")
    assert machine is not None
    machine.step(windowed(bits)[:1])
    assert machine.ahead == 2**bits


def test_windows_in_a_nest():
    """All of them together are bounded, each br's being memory that is filled."""
    body = b"x"
    for _ in range(3):
        machine = brotli.Compressor(quality=5, lgwin=23)
        body = machine.process(body) + machine.finish()
    assert MAX_AHEAD == 3 * 2**23
    assert drained(decoder("br, br, br"), body) == b"x"
    with pytest.raises(seawall.errors.ResponseTooLarge, match="windows"):
        drained(decoder("br, br"), encoded(["br"], windowed(24))[:0] + _wrapped(windowed(24), 24))


def _wrapped(data: bytes, bits: int) -> bytes:
    machine = brotli.Compressor(quality=5, lgwin=bits)
    return machine.process(data) + machine.finish()


def test_window_too_large():
    """Of zstd, beyond RFC 9659's 8 MiB; br's "large window" is another format."""
    for bits, is_good in ((23, True), (24, False)):
        machine = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: bits})
        body = machine.compress(TEXT) + machine.flush()
        if is_good:
            assert drained(decoder("zstd"), body) == TEXT
        else:
            with pytest.raises(CodingError, match="memory"):
                drained(decoder("zstd"), body)
    with pytest.raises(CodingError):
        drained(decoder("br"), b"\x11" + windowed(22))


# Turns


def test_a_call_does_a_turns_work():
    """And no more, whatever it was given; the rest is done by later ones, or at the end."""
    log: list[tuple[int, int]] = []
    machine = decoder("gzip", log=log)
    body = encoded(["gzip"], NOISE * 50)
    made = [machine.decode(body)]
    while machine.is_behind:
        before = len(log)
        made.append(machine.decode(b""))
        units = [STEP + taken + given // 4 for taken, given in log[before:]]
        assert sum(units[:-1]) < TURN
    assert len(made) > 10
    assert b"".join(made) == NOISE * 50
    assert machine.flush() == b""
    lazy = decoder("gzip")
    assert lazy.decode(body) + lazy.flush() == NOISE * 50


def test_brotli_that_fills_its_window_ends_the_turn():
    """Because a step may have made all of it."""
    log: list[tuple[int, int]] = []
    machine = decoder("br", log=log)
    machine.decode(zeros(("br",)))
    assert len(log) == 1
    machine.decode(b"")
    assert len(log) == 2


@pytest.mark.parametrize("names", [("gzip",), ("br",), ("zstd",), ("deflate", "gzip", "gzip")], ids="-".join)
async def test_turns_of_the_loop(names):
    """Between two of a whole body there is a turn's work at most."""
    turn, turns, log = 0, [], []

    class Noted(list):
        def append(self, step: tuple[int, int]) -> None:
            turns.append(turn)
            super().append(step)

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    log = Noted()
    task = asyncio.create_task(others())
    made: list[int] = []
    body = encoded(names, NOISE * 20)
    assert await decoder(named(names), log=log).whole(body, made.append) == NOISE * 20
    task.cancel()
    assert turn > 5
    assert 0 < sum(made) <= len(NOISE) * 20
    for each in range(turn + 1):
        units = [STEP + taken + given // 4 for (taken, given), when in zip(log, turns, strict=True) if when == each]
        assert sum(units[:-1]) < TURN


class Parts(httpx.AsyncByteStream):
    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


class Filtering(httpx.AsyncByteStream):
    """A wrapper that hands on only what has bytes."""

    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            if len(part):
                yield bytes(part)


def paced(body: bytes, name: str = "gzip", *, is_filtered: bool = False) -> httpx.Response:
    machine = decoder(name)
    stream: httpx.AsyncByteStream = Paced(Parts(body[:3], body[3:]), machine)
    response = httpx.Response(200, stream=Filtering(stream) if is_filtered else stream)
    set_decoder(response, machine)
    return response


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_filtered", [False, True])
async def test_paced(name, is_filtered):
    """httpx gets all of a body in pieces that are not large; and all of it too where a wrapper drops what is empty."""
    body = encoded([name], NOISE * 50)
    pieces = [piece async for piece in paced(body, name, is_filtered=is_filtered).aiter_bytes()]
    assert b"".join(pieces) == NOISE * 50
    if not is_filtered:
        assert max(map(len, pieces)) <= 2 * PIECE
    assert await paced(body, name, is_filtered=is_filtered).aread() == NOISE * 50


async def test_raw_body_is_as_it_came():
    """Where nobody decodes, nothing is added, and nothing is decoded."""
    body = zeros(("gzip",))
    response = paced(body)
    assert [part async for part in response.aiter_raw()] == [body[:3], body[3:]]
    read = paced(body[:-9] + encoded(["gzip"], b"x"))
    assert response.num_bytes_downloaded == len(body)
    with pytest.raises(seawall.errors.ResponseTooLarge):
        await read.aread()
    assert read.num_bytes_downloaded == len(body) - 9 + len(encoded(["gzip"], b"x"))


def test_decoded():
    """All at once, once; or the error."""
    there = Decoded(b"content")
    assert [there.decode(b"raw"), there.decode(b"more"), there.flush()] == [b"content", b"", b""]
    bad = Decoded(error=CodingError("bad"))
    with pytest.raises(CodingError, match="bad"):
        bad.decode(b"raw")


# Packages


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_all_are_asked_for():
    """With the extra."""
    assert ACCEPTED == "gzip, deflate, br, zstd"
    assert seawall.AsyncClient().headers["accept-encoding"] == ACCEPTED


def test_without_packages(monkeypatch):
    """br and zstd are then unknown, as to httpx."""
    without(monkeypatch, *BROTLI, *ZSTD)
    assert sorted(known()) == ["deflate", "gzip", "x-gzip"]


@pytest.mark.parametrize("name", ["br", "zstd"])
def test_packages_without_bounds(monkeypatch, name):
    """What httpx would decode with them is an error that names what to install."""
    without(monkeypatch, *BROTLI, *ZSTD)
    old = types.ModuleType("brotli")
    old.Decompressor = type("Decompressor", (), {"process": None})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brotli", old)
    assert bounded(BROTLI, "can_accept_more_data") is None
    monkeypatch.setattr(coding_module, "KNOWN", known())
    assert coding(name) is None
    machine = Decoder([coding(name, {name})], where="http://a.test:80", max_size=None, is_part=False, refuse=refuse)
    with pytest.raises(CodingError, match=rf"coded with {name}.*install seawall\[compression\]"):
        drained(machine, encoded([name], b"x"))


def test_second_package_that_has_bounds(monkeypatch):
    """It is taken where the first has none."""
    old, new = types.ModuleType("brotli"), types.ModuleType("brotlicffi")
    old.Decompressor = type("Decompressor", (), {"process": None})  # type: ignore[attr-defined]
    new.Decompressor = brotli.Decompressor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "brotli", old)
    monkeypatch.setitem(sys.modules, "brotlicffi", new)
    assert bounded(BROTLI, "can_accept_more_data") is new


def test_headers_of_a_client(monkeypatch):
    """Only what is decoded is asked for by default, whenever headers are set; what the caller says stays."""
    monkeypatch.setattr("seawall._httpx.client.ACCEPTED", "gzip, deflate")
    client = seawall.AsyncClient(headers={"x": "y"})
    assert (client.headers["accept-encoding"], client.headers["x"]) == ("gzip, deflate", "y")
    assert [name for name, _ in client.headers.raw] == [
        name for name, _ in httpx.AsyncClient(headers={"x": "y"}).headers.raw
    ]
    client.headers = {"a": "b"}
    assert client.headers["accept-encoding"] == "gzip, deflate"
    client.headers = {"Accept-Encoding": "br"}
    assert client.headers["accept-encoding"] == "br"
    assert seawall.AsyncClient(headers={"accept-encoding": "zstd"}).headers["accept-encoding"] == "zstd"
    request = client.build_request("GET", "http://a/", headers={"accept-encoding": "x"})
    assert request.headers["accept-encoding"] == "x"

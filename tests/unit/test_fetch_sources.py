"""What a list of URLs may be, and what becomes of one that is broken."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from seawall.fetch import chunks as chunks_module
from seawall.fetch import sources as sources_module
from seawall.fetch.sources import BadSource, Source, Sources
from seawall.fetch.target import Refused, Target, is_of_site, target

pytestmark = pytest.mark.anyio

SITEMAP = b'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">%s</urlset>'
INDEX = b'<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">%s</sitemapindex>'


def located(*urls: str, kind: str = "url") -> bytes:
    return "".join(f"<{kind}><loc> {url} </loc><lastmod>2026-01-01</lastmod></{kind}>" for url in urls).encode()


class Answer:
    def __init__(self, body: bytes, status: int = 200) -> None:
        self.body, self.status_code = body, status

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.body), 50):
            yield self.body[at : at + 50]


class Pages:
    """A client of servers that have these pages; it lists what it was asked for."""

    def __init__(self, pages: Mapping[str, Answer | Exception] = {}) -> None:
        self.pages, self.asked = pages, list[str]()

    @asynccontextmanager
    async def stream(self, method: str, url: str, **_: Any) -> AsyncIterator[Answer]:
        self.asked.append(url)
        page = self.pages.get(url, Answer(b"", 404))
        if isinstance(page, Exception):
            raise page
        yield page


async def entries(*sources: Source, client: Any = None, **arguments: Any) -> list[str]:
    """URLs as they are, and what is refused as its reason after a mark."""
    found = [each async for each in Sources(client or Pages(), sources, **arguments)]
    return [each.url if isinstance(each, Target) else f"! {each.text}: {each.reason}" for each in found]


async def test_a_list(tmp_path):
    """A URL a line; what is empty or begins with # is skipped, what isn't a URL is refused with its reason."""
    path = tmp_path / "urls.txt"
    path.write_bytes(
        b"\xef\xbb\xbfhttp://a.test/\r\n\n# not this\n  http://b.test  \nftp://c.test/\nhttp://d.test/\x00\n\xff\n"
    )
    found = await entries(Source(str(path)))
    assert found[:2] == ["http://a.test/", "http://b.test/"]
    assert [line[:2] for line in found[2:]] == ["! "] * 3
    for line, said in zip(found[2:], ["scheme is ftp", r"\x00", "line 7 of"], strict=True):
        assert said in line


@pytest.mark.parametrize("coding", ["latin-1", "utf-16"])
async def test_a_list_that_is_not_utf_8(tmp_path, coding):
    """The line and the file are named, with what to do; nothing is asked for that doesn't stand there."""
    path = tmp_path / "urls.txt"
    path.write_bytes("http://a.test/é\nhttp://b.test/".encode(coding))
    first, *_, last = await entries(Source(str(path)))
    assert first.endswith(f"line 1 of {path} isn't UTF-8: convert it, such as with iconv -f WINDOWS-1252 -t UTF-8")
    assert last.startswith("!") is (coding == "utf-16")


async def test_a_column_that_is_not_utf_8(tmp_path):
    """As of a list; where only other columns aren't, it doesn't matter."""
    path = tmp_path / "urls.csv"
    path.write_bytes("näme,url\né,http://a.test/\ne,http://b.test/é\n".encode("latin-1"))
    first, second = await entries(Source(str(path), "url"))
    assert first == "http://a.test/"
    assert second.startswith(f"! http://b.test/é: line 3 of {path} isn't UTF-8: convert it")


@pytest.mark.parametrize("coding", ["latin-1", "utf-16"])
def test_a_head_that_is_not_utf_8(tmp_path, coding):
    """It is said where the column can't be found."""
    path = tmp_path / "urls.csv"
    path.write_bytes("näme,url\n".encode(coding))
    with pytest.raises(BadSource, match="has no column 'näme', and its line 1 isn't UTF-8: convert it"):
        Sources(Pages(), [Source(str(path), "näme")])  # type: ignore[arg-type]


async def test_a_line_of_10_mb(tmp_path):
    """It is refused with its number and size, and those around it are fetched."""
    path = tmp_path / "urls.txt"
    path.write_bytes(b"http://a.test/\nhttp://b.test/" + b"x" * 10_000_000 + b"\nhttp://c.test/")
    first, long, last = await entries(Source(str(path)))
    assert (first, last) == ("http://a.test/", "http://c.test/")
    assert "line 2: the line has 10,000,014 bytes" in long


async def test_how_far_it_is(tmp_path):
    """What was read of all files tells how much is to come; nobody knows of a pipe."""
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_text("http://a.test/\n" * 3)
    sources = Sources(Pages(), [Source(str(path)) for path in paths])  # type: ignore[arg-type]
    assert (sources.read, sources.size) == (0, 90)
    assert len([each async for each in sources]) == 6
    assert sources.read == 90
    assert Sources(Pages(), [Source(str(paths[0])), Source("-")]).size is None  # type: ignore[arg-type]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_sitemap_in_a_file(tmp_path, packed):
    """It needs no name: its first bytes show what it is, gzip too, in several members."""
    path = tmp_path / "any"
    data = SITEMAP % located("http://a.test/?x=1&amp;y=2", "http://b.test/")
    path.write_bytes(gzip.compress(data[:100]) + gzip.compress(data[100:]) if packed else b"\n " + data[21:])
    assert await entries(Source(str(path))) == ["http://a.test/?x=1&y=2", "http://b.test/"]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_sitemap_whose_pieces_are_short(packed, size):
    """A network may cut it anywhere: in its byte order mark, behind that, or behind the head of its gzip."""
    data = b"\xef\xbb\xbf\n" + SITEMAP[21:] % located("http://a.test/")
    whole = gzip.compress(data) if packed else data

    class Cut(Answer):
        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            yield self.body[:size]
            yield b""
            yield self.body[size:]

    client = Pages({"http://a.test/map": Cut(whole)})
    assert await entries(Source("sitemap:http://a.test/map"), client=client) == ["http://a.test/"]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"\xef", b"\xbb\xbf", b"\n", b"\nhttp://a.test/\n\xff"), ["http://a.test/", "line 4 of x isn't UTF-8"]),
        ((b"\xef\xbb\xbf",), []),
        ((b"\n",), []),
        ((b"\x1f",), ["a URL can't have the control character '\\x1f' in it"]),
        ((), []),
    ],
)
async def test_a_list_in_short_pieces(pieces, expected):
    """It is one all the same, with its blank lines counted, also where it ends at once."""

    async def cut() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    found = [each async for each in sources_module._entries("x", chunks_module.unpacked(cut()), [])]
    said = [each.url if isinstance(each, Target) else each.reason for each in found]
    assert [each.partition(": convert")[0] for each in said] == expected


async def test_white_space_without_end():
    """What a source is must show within 64 KiB."""
    size = 0

    async def blanks() -> AsyncIterator[bytes]:
        nonlocal size
        while True:
            size += 1_000
            yield b" " * 1_000

    head = await chunks_module.begun(blanks(), lambda head: bool(head.strip()))
    assert len(head) == size < chunks_module.CHUNK + 1_000


async def test_a_file_that_cannot_be_read_any_longer(tmp_path, monkeypatch):
    """The job fetches what it had read, writes a row that says why it read no more, and goes on to the next source."""
    paths = [tmp_path / name for name in ("a", "b", "c.csv")]
    for path in paths:
        path.write_bytes(b"http://a.test/1\n" * 1_000 if path.suffix == "" else b"url\nhttp://c.test/")
    client: Any = Pages()
    sources = Sources(client, [Source(str(paths[0])), Source(str(paths[1])), Source(str(paths[2]), "url")])
    paths[1].unlink()
    real, reads = sources_module.Sources._stored, 0

    async def broken(self: Sources, file: Any) -> AsyncIterator[bytes]:
        nonlocal reads
        async for piece in real(self, file):
            reads += 1
            if reads == 2:
                raise OSError(5, "Input/output error")
            yield piece

    monkeypatch.setattr(Sources, "_stored", broken)
    found = [each async for each in sources]
    reasons = [each.reason for each in found if isinstance(each, Refused)]
    assert reasons == [
        "it can't be read any longer: Input/output error; what came before is fetched",
        "it can't be read any longer: No such file or directory; what came before is fetched",
    ]
    assert isinstance(found[0], Target)
    assert isinstance(found[-1], Target)
    assert found[-1].url == "http://c.test/"


async def test_an_index_of_sitemaps(tmp_path):
    """Each of its sitemaps is fetched once, in order, packed or not, a plain list too; those that fail are refused."""
    client = Pages(
        {
            "http://s.test/index": Answer(
                INDEX
                % located(
                    *(f"http://s.test/{each}" for each in ("1", "2.gz", "1", "404", "cut", "txt")), kind="sitemap"
                )
            ),
            "http://s.test/1": Answer(SITEMAP % located("http://s.test/a1")),
            "http://s.test/2.gz": Answer(gzip.compress(SITEMAP % located("http://s.test/a2", "ftp://a.test/"))),
            "http://s.test/cut": Answer((SITEMAP % located("http://s.test/a3", "http://s.test/a4"))[:150]),
            "http://s.test/txt": Answer(b"http://s.test/a5\nhttp://s.test/a6"),
            "http://s.test/down": ConnectionError("refused"),
        }
    )
    found = await entries(Source("sitemap:http://s.test/index"), Source("sitemap:http://s.test/down"), client=client)
    good = [line for line in found if not line.startswith("!")]
    assert good == [f"http://s.test/a{number}" for number in (1, 2, 3, 5, 6)]
    said = [line for line in found if line.startswith("!")]
    assert ["ftp" in said[0], "404" in said[1], "what came before" in said[2], "refused" in said[3]] == [True] * 4
    assert client.asked.count("http://s.test/1") == 1


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://tests.test/",
    "http://test/",
    "http://other.test/",
]


@pytest.mark.parametrize("kind", ["a sitemap", "a list", "a sitemap of an index", "an index"])
async def test_what_a_sitemap_may_list(kind):
    """URLs of the host that the user named, and of those above and below it; others are skipped, sitemaps too."""
    own = ["http://s.test/1", "https://s.test:8443/2", "http://www.s.test/3", "http://a.b.s.test/4"]
    pages = {
        "a list": {"http://www.s.test/": "\n".join([*own, *ELSEWHERE]).encode()},
        "a sitemap": {"http://www.s.test/": SITEMAP % located(*own, *ELSEWHERE)},
        "a sitemap of an index": {
            "http://www.s.test/": INDEX % located("http://maps.s.test/", kind="sitemap"),
            "http://maps.s.test/": SITEMAP % located(*own, *ELSEWHERE),
        },
        "an index": {
            "http://www.s.test/": INDEX % located("http://s.test/map", *ELSEWHERE, kind="sitemap"),
            "http://s.test/map": SITEMAP % located(*own),
        },
    }[kind]
    client = Pages({url: Answer(body) for url, body in pages.items()})
    sources = Sources(client, [Source("sitemap:http://www.s.test/")])  # type: ignore[arg-type]
    found = [each async for each in sources]
    assert [each.url for each in found if isinstance(each, Target)] == own
    skipped = [each for each in found if isinstance(each, Refused)]
    assert [each.text for each in skipped] == ELSEWHERE
    assert {(each.is_elsewhere, each.reason) for each in skipped} == {
        (True, "a sitemap of http://www.s.test lists it, and it is of another host")
    }
    assert client.asked == list(pages)
    assert not {each.key for each in skipped} & {target(url).key for url in ELSEWHERE}


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        ("http://a.test", "http://a.test", True),
        ("http://www.a.test", "https://a.test:8443", True),
        ("http://b.a.test", "http://a.test", True),
        ("http://b.a.test", "http://www.a.test", True),
        ("http://b.a.test", "http://c.a.test", False),
        ("http://ba.test", "http://a.test", False),
        ("http://a.test", "http://test", False),
        ("http://www.test", "http://a.test", False),
        ("http://10.0.0.1", "http://10.0.0.1:81", True),
        ("http://10.0.0.1", "http://10.0.0.2", False),
        ("http://[::1]", "http://[::1]:81", True),
        ("http://169.254.169.254", "http://254.169.254", False),
        ("http://www.a.test.", "http://b.a.test", True),
    ],
)
def test_hosts_of_one_site(one, other, is_so):
    """In both directions."""
    assert is_of_site(one, other) is is_of_site(other, one) is is_so


async def test_an_index_in_a_file_names_servers(tmp_path):
    """Its sitemaps are fetched."""
    path = tmp_path / "index.xml"
    path.write_bytes(INDEX % located("http://s.test/1", kind="sitemap"))
    client = Pages({"http://s.test/1": Answer(SITEMAP % located("http://s.test/a1"))})
    assert await entries(Source(f"sitemap:{path}"), client=client) == ["http://s.test/a1"]


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><urlset><url><loc>http://a.test/&b;</loc></url></urlset>'
)
OUTSIDE = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (LAUGHS, "document type"),
        (OUTSIDE, "document type"),
        (b"<html><a href='http://a.test/'></html>", "<html>"),
        (b"<urlset>" + b"<x>" * 100, "nests deeper"),
        (b"<urlset><url><loc>http://a.test/" + b"x" * 70_000, "longer than"),
        (b"<urlset><url>", "its XML is wrong"),
        (b'<?xml version="1.0" encoding="koi9"?><urlset/>', "convert it to UTF-8"),
        (b'<?xml version="1.0" encoding="shift_jis"?><urlset/>', "convert it to UTF-8"),
        (gzip.compress(b"<urlset></urlset>", mtime=0)[:-5], "breaks off"),
        (gzip.compress(b"<urlset></urlset>" * 100, mtime=0)[:20] + b"xxxxxxxxxxxxxxx", "rror"),
    ],
)
async def test_a_sitemap_that_is_an_attack_or_broken(tmp_path, data, said):
    """No entity is expanded, no file is opened, nothing is believed that isn't whole; one line says what is wrong."""
    path = tmp_path / "sitemap.xml"
    path.write_bytes(data)
    (found,) = await entries(Source(str(path)))
    assert said in found
    assert found.startswith(f"! {path}: ")


async def test_a_bomb_from_a_server(monkeypatch):
    """A sitemap is read up to a size, unpacked, in small pieces; what it had until then is fetched."""
    monkeypatch.setattr(sources_module, "MAX_UNPACKED", 200_000)
    data = b"<urlset><url><loc>http://s.test/a</loc></url>" + b" " * 10_000_000
    client = Pages({"http://s.test/": Answer(gzip.compress(data))})
    first, second = await entries(Source("sitemap:http://s.test/"), client=client)
    assert first == "http://s.test/a"
    assert "larger than" in second


async def test_a_sitemap_that_trickles(monkeypatch):
    """What has come is fetched, and a server that goes on for ever doesn't hold up the rest of the list."""

    class Trickling(Answer):
        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            yield self.body
            await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(sources_module, "PATIENCE", 0.01)
    client = Pages({"http://s.test/": Trickling(b"<urlset><url><loc>http://s.test/a</loc></url>")})
    first, second = await entries(Source("sitemap:http://s.test/"), client=client)
    assert first == "http://s.test/a"
    assert "takes longer than 0.01 s" in second


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_sitemap_is_read_before_its_entries_are_taken(breaks):
    """They may be taken over hours, and no server waits for so long with its connection open."""
    is_open = False

    class Breaking(Answer):
        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            async for piece in super().aiter_bytes():
                yield piece
            if breaks:
                raise OSError("it was reset")

    class Watched(Pages):
        @asynccontextmanager
        async def stream(self, method: str, url: str, **_: Any) -> AsyncIterator[Answer]:
            nonlocal is_open
            is_open = True
            try:
                yield Breaking(SITEMAP % located("http://s.test/a", "http://s.test/b"))
            finally:
                is_open = False

    found = []
    async for entry in Sources(Watched(), [Source("sitemap:http://s.test/")]):  # type: ignore[arg-type]
        assert not is_open
        found.append(entry.url if isinstance(entry, Target) else entry.reason)
    assert found[:2] == ["http://s.test/a", "http://s.test/b"]
    assert found[2:] == (["it is a sitemap, and can't be read: it was reset"] if breaks else [])


async def test_sitemaps_without_end(monkeypatch):
    """An index that names another one for ever is followed three times."""

    class Endless(Pages):
        @asynccontextmanager
        async def stream(self, method: str, url: str, **_: Any) -> AsyncIterator[Answer]:
            self.asked.append(url)
            yield Answer(INDEX % located(f"{url}x", kind="sitemap"))

    client = Endless()
    (found,) = await entries(Source("sitemap:http://s.test/"), client=client)
    assert "nests deeper than 3" in found
    assert len(client.asked) == 4


async def test_a_column(tmp_path):
    """Quotes and line ends in cells count; an empty cell, a row that isn't CSV and a long line are refused."""
    path = tmp_path / "urls.csv"
    rows = ['id,"the, url",note', "1,http://a.test/,x", '2," http://b.test/ ","two\nlines"', "3,,", '4,"x"y,z', "5"]
    path.write_text("\n".join([*rows, f"6,http://c.test/{'x' * 70_000},", "7,http://d.test/,"]))
    found = await entries(Source(str(path), "the, url"))
    assert [line for line in found if not line.startswith("!")] == [
        "http://a.test/",
        "http://b.test/",
        "http://d.test/",
    ]
    said = [line for line in found if line.startswith("!")]
    for line, words in zip(said, ["is empty", "isn't CSV", "is empty", "70,0"], strict=True):
        assert words in line


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source("nowhere"), "nowhere: No such file"),
        (Source("sitemap:nowhere"), "No such file"),
        (Source("nowhere", "url"), "No such file"),
        (Source("-", "url"), "--csv takes a file"),
        (Source(os.path.dirname(__file__)), "directory"),
        (Source(__file__, "url"), "has no column 'url'"),
    ],
)
def test_a_source_that_cannot_be_read(source, said):
    """It is said before anything is fetched."""
    with pytest.raises(BadSource, match=said):
        Sources(Pages(), [source])  # type: ignore[arg-type]


@pytest.mark.parametrize("head", [b'"a"b,url', b"url\rhttp://a.test/\r", b'"url'])
def test_a_head_that_is_not_csv(tmp_path, head):
    """So are names of columns that Python's reader can't make sense of, in whatever way it raises that."""
    (tmp_path / "x.csv").write_bytes(head + b"\nx,http://a.test/\n")
    with pytest.raises(BadSource, match=r"x.csv has no names of columns, because its head isn't CSV: "):
        Sources(Pages(), [Source(str(tmp_path / "x.csv"), "url")])  # type: ignore[arg-type]


async def test_a_head_of_two_lines(tmp_path):
    """The name of a column may have a line's end in it."""
    (tmp_path / "x.csv").write_text('"a\nb",url\nx,http://a.test/\n')
    assert await entries(Source(str(tmp_path / "x.csv"), "url")) == ["http://a.test/"]


async def test_a_pipe(monkeypatch):
    """What is written is an entry as soon as its line has ended, though the pipe stays open."""
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb") as stdin, os.fdopen(sender, "wb", buffering=0) as out:
        found = aiter(Sources(Pages(), [Source("-")], stdin=stdin))  # type: ignore[arg-type]
        for number in range(3):
            out.write(f"http://a.test/{number}\nhttp".encode() if number == 0 else f"://a.test/{number}\nhttp".encode())
            entry = await anext(found)
            assert isinstance(entry, Target)
            assert entry.url == f"http://a.test/{number}"
        out.close()
        last = await anext(found)
        assert isinstance(last, Refused)
        assert await anext(found, None) is None


async def test_a_named_pipe(tmp_path):
    """As the shell's <(...) makes them: its lines are there as they come, and the loop isn't held up meanwhile."""
    path, has_come, came = tmp_path / "pipe", threading.Event(), list[bool]()
    os.mkfifo(path)

    def write() -> None:
        for _ in range(2):  # again, should the first reader have left
            with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as pipe:
                pipe.write(b"http://a.test/\n")
                came.append(has_come.wait(5.0))
                pipe.write(b"http://b.test/\n")
                return

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    sources = Sources(Pages(), [Source(str(path))])  # type: ignore[arg-type]
    found = []
    async for entry in sources:
        found.append(entry.url)
        has_come.set()
    writer.join()
    assert (found, came, sources.size) == (["http://a.test/", "http://b.test/"], [True], None)


async def test_a_named_pipe_that_nobody_writes_to(tmp_path):
    """The loop goes on until somebody does."""
    path, goes_on, came = tmp_path / "pipe", threading.Event(), list[bool]()
    os.mkfifo(path)

    def write() -> None:
        came.append(goes_on.wait(5.0))
        with path.open("wb", buffering=0) as pipe:
            pipe.write(b"http://a.test/\n")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    asyncio.get_running_loop().call_later(0.0, goes_on.set)
    found = await entries(Source(str(path)))
    writer.join()
    assert (found, came) == (["http://a.test/"], [True])


async def test_gzip_in_small_pieces():
    """One member may be far larger than what is held of it."""
    size = 0

    async def data() -> AsyncIterator[bytes]:
        yield gzip.compress(b"x" * 20_000_000)

    async for piece in chunks_module.unpacked(data()):
        assert len(piece) <= chunks_module.CHUNK
        size += len(piece)
    assert size == 20_000_000

"""`Sources`: what to fetch, from files, standard input, sitemaps and columns of CSV files, read as it is asked for."""

from __future__ import annotations

import csv
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from .chunks import Chunks, begun, bounded, piped, unpacked, within
from .client import Client
from .lines import MAX_LINE, Line, Lines
from .sitemap import NotASitemap, Sitemap
from .target import Entry, Refused, is_of_site, key_of, refused, target

__all__ = ["STDIN", "BadSource", "Source", "Sources"]

STDIN: Final = "-"
SITEMAP: Final = "sitemap:"
PIECE: Final = 4_096  # bytes that are read of a file at once: some hundred URLs, so that `read` tells how far a job is
MAX_UNPACKED: Final = 64 * 1024**2  # bytes of one sitemap from a server; sitemaps.org allows 50 MB
PATIENCE: Final = 300.0  # seconds that a server has for one sitemap
MAX_NESTING: Final = 3  # of an index in an index; sitemaps.org allows none
MAX_SITEMAPS: Final = 50_000  # of one source
NOT_UTF8: Final = "isn't UTF-8: convert it, such as with iconv -f WINDOWS-1252 -t UTF-8"
BOM: Final = b"\xef\xbb\xbf"


class BadSource(Exception):
    """A source can't be read at all; said before anything is fetched."""


class Source(NamedTuple):
    """
    Attributes:
        where: A file's path; "-" for standard input; "sitemap:" before the URL or path of a sitemap.
        column: The column of a CSV file; None for any other source.
    """

    where: str
    column: str | None = None

    @property
    def path(self) -> Path | None:
        """Where it is a file."""
        where = self.where.removeprefix(SITEMAP)
        return None if where == STDIN or self.url else Path(where)

    @property
    def url(self) -> str | None:
        """Where it is a sitemap of a server."""
        where = self.where.removeprefix(SITEMAP)
        is_url = where != self.where and where.partition("://")[0].lower() in ("http", "https")
        return where if is_url else None


class Sources:
    """
    The entries of *sources*, one after another. What a source is shows in its first bytes: gzip is unpacked, XML is a
    sitemap, anything else is a URL a line; empty lines and those that begin with # are skipped. What a server's sitemap
    lists is taken only if it is of the host where the user had us look, or of one above or below it, because else it
    could have us ask for anything that we can reach (sitemaps.org, "Sitemap file location").

    Attributes:
        read: Bytes of files that have been read.
        size: Bytes of all files; None where a source is not a file, so that nobody knows how much is to come.
    """

    def __init__(self, client: Client, sources: Iterable[Source], *, stdin: BinaryIO | None = None) -> None:
        self._client = client
        self._sources = tuple(sources)
        self._stdin = stdin
        self.read = 0
        self.size: int | None = 0
        for source in self._sources:
            size = _size(source)
            self.size = None if size is None or self.size is None else self.size + size

    async def __aiter__(self) -> AsyncIterator[Entry]:
        for source in self._sources:
            try:
                async for entry in self._from(source):
                    yield entry
            except OSError as error:  # it could be read when the job began
                said = error.strerror or type(error).__name__
                yield refused(source.where, f"it can't be read any longer: {said}; what came before is fetched")

    async def _from(self, source: Source) -> AsyncIterator[Entry]:
        sitemaps = [source.url] if source.url else list[str]()
        if source.column is not None:
            for cell in self._cells(source.where, source.column):
                yield cell
        elif source.path is not None and source.path.is_fifo():
            async for entry in _entries(source.where, unpacked(piped(source.path)), sitemaps):
                yield entry
        elif source.path is not None:
            with source.path.open("rb", buffering=0) as file:
                async for entry in _entries(source.where, unpacked(self._stored(file)), sitemaps):
                    yield entry
        elif self._stdin is not None and not source.url:
            async for entry in _entries(source.where, unpacked(piped(self._stdin.fileno())), sitemaps):
                yield entry
        async for entry in self._sitemaps(sitemaps):
            yield entry

    async def _sitemaps(self, urls: list[str]) -> AsyncIterator[Entry]:
        """The entries of sitemaps that servers have, and of those that these name."""
        queue, seen = [(url, 0, "") for url in reversed(urls)], set[bytes]()
        while queue:
            url, depth, site = queue.pop()
            asked = _of(site, target(url)) if site else target(url)
            if asked.key in seen:
                continue
            seen.add(asked.key)
            if isinstance(asked, Refused):
                said = asked.reason if asked.is_elsewhere else f"it is named as a sitemap, and {asked.reason}"
                yield asked._replace(reason=said)
                continue
            further, site = list[str](), site or asked.origin
            try:
                body = await self._read(asked.url)
                if isinstance(body, int):
                    yield refused(url, f"it is a sitemap, and the server answered {body}")
                else:
                    async for entry in _entries(url, bounded(unpacked(body), MAX_UNPACKED), further):
                        yield _of(site, entry)
            except Exception as error:  # noqa: BLE001 - each HTTP library has errors of its own
                yield refused(url, f"it is a sitemap, and can't be read: {error or type(error).__name__}")
            room = 0 if depth == MAX_NESTING else MAX_SITEMAPS - len(seen) - len(queue)
            if len(further) > room:
                yield refused(url, f"it names more than {MAX_SITEMAPS} sitemaps, or nests deeper than {MAX_NESTING}")
            queue += [(each, depth + 1, site) for each in reversed(further[:room])]

    async def _read(self, url: str) -> Chunks | int:
        """
        All bytes of a server's sitemap, as far as they come, or the status in place of 200.

        They are held, because its entries may be taken over hours, and a server cuts off whoever doesn't read on.
        """
        pieces, problem = deque[bytes](), None
        try:
            async with self._client.stream("GET", url, follow_redirects=True) as response:
                if response.status_code != 200:
                    return response.status_code
                async for data in bounded(within(response.aiter_bytes(), PATIENCE), MAX_UNPACKED):
                    pieces.append(data)
        except Exception as error:  # noqa: BLE001 - each HTTP library has errors of its own
            problem = error
        return _held(pieces, problem)

    def _cells(self, where: str, column: str) -> Iterator[Entry]:
        too_long: list[Refused] = []
        with open(where, "rb") as file:
            rows = csv.reader(self._csv_lines(where, file, too_long), strict=True)
            place = _place(where, next(rows, []), column)
            while True:
                try:
                    row = next(rows)
                except StopIteration:
                    break
                except csv.Error as error:
                    yield refused(f"{where}, before line {rows.line_num + 1}", f"this row isn't CSV: {error}")
                    continue
                finally:
                    yield from too_long
                    too_long.clear()
                cell = row[place].strip() if place < len(row) else ""
                if bad := _bytes_of(cell):
                    yield refused(bad.decode("latin-1"), f"line {rows.line_num} of {where} {NOT_UTF8}")
                elif cell:
                    yield target(cell)
                elif row:
                    yield refused(f"{where}, line {rows.line_num}", f"its column {column!r} is empty")

    def _csv_lines(self, where: str, file: BinaryIO, too_long: list[Refused]) -> Iterator[str]:
        number = 0
        while data := file.readline(MAX_LINE):
            number, size, more = number + 1, len(data), data
            while more and not more.endswith(b"\n"):
                more = file.readline(MAX_LINE)
                size += len(more)
            self.read += size
            if size > MAX_LINE:
                too_long.append(_too_long(where, number, size))
                yield "\n"
            else:
                yield data.decode("utf-8-sig", "surrogateescape")

    async def _stored(self, file: FileIO) -> Chunks:
        while data := file.read(PIECE):
            self.read += len(data)
            yield data


async def _held(pieces: deque[bytes], problem: Exception | None) -> Chunks:
    """
    Raises:
        Exception: *problem*, behind all *pieces*.
    """
    while pieces:
        yield pieces.popleft()
    if problem is not None:
        raise problem


def _size(source: Source) -> int | None:
    """
    Bytes, if that can be known.

    Raises:
        BadSource: It can't be read, or has no such column.
    """
    path = source.path
    if path is None or path.is_fifo():  # a pipe isn't opened here, because its writer would lose what it wrote
        if source.column is not None:
            raise BadSource("--csv takes a file, because columns of standard input and of sitemaps can't be known")
        return None
    try:
        with path.open("rb") as file:
            if source.column is not None:
                lines = (
                    line.decode("utf-8-sig", "surrogateescape") for line in iter(lambda: file.readline(MAX_LINE), b"")
                )
                _place(source.where, next(csv.reader(lines, strict=True), []), source.column)
            return path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise BadSource(f"{source.where}: {error.strerror}") from None
    except csv.Error as error:
        raise BadSource(f"{source.where} has no names of columns, because its head isn't CSV: {error}") from None


def _place(where: str, head: list[str], column: str) -> int:
    names = [name.strip() for name in head]
    if column in names:
        return names.index(column)
    if any(map(_bytes_of, names)):
        raise BadSource(f"{where} has no column {column!r}, and its line 1 {NOT_UTF8}")
    raise BadSource(f"{where} has no column {column!r}; it has {', '.join(names[:20]) or 'none'}")


async def _entries(where: str, chunks: Chunks, sitemaps: list[str]) -> AsyncIterator[Entry]:
    """The entries of a list with a URL a line, or of a sitemap; what an index names goes to *sitemaps*."""
    try:
        first = await begun(chunks, lambda head: not BOM.startswith(head) and bool(_bare(head)))
        if not _bare(first).startswith(b"<"):
            async for entry in _listed(where, first.removeprefix(BOM), chunks):
                yield entry
            return
        sitemap = Sitemap()
        async for url in _located(sitemap, first, chunks):
            if sitemap.is_index:
                sitemaps.append(url)
            else:
                yield target(url)
    except (NotASitemap, EOFError, zlib.error) as error:
        yield refused(where, f"{error}; what came before is fetched")


def _bare(head: bytes) -> bytes:
    return head.removeprefix(BOM).lstrip()


async def _listed(where: str, first: bytes, chunks: Chunks) -> AsyncIterator[Entry]:
    lines = Lines()
    found = lines.feed(first)
    while True:
        for line in found:
            if entry := _entry(where, line):
                yield entry
        data = await anext(chunks, None)
        if data is None:
            break
        found = lines.feed(data)
    for line in lines.end():
        if entry := _entry(where, line):
            yield entry


async def _located(sitemap: Sitemap, first: bytes, chunks: Chunks) -> AsyncIterator[str]:
    """
    Raises:
        NotASitemap: It isn't one, or not whole, after what it had until then.
    """
    data: bytes | None = first
    while True:
        problem = None
        try:
            sitemap.feed(data) if data is not None else sitemap.end()
        except NotASitemap as error:
            problem = error
        for url in sitemap.take():
            yield url
        if problem is not None:
            raise problem
        if data is None:
            return
        data = await anext(chunks, None)


def _of(site: str, entry: Entry) -> Entry:
    """*entry*, unless a sitemap of *site* may not list it."""
    if isinstance(entry, Refused) or is_of_site(entry.origin, site):
        return entry
    said = f"a sitemap of {site} lists it, and it is of another host"
    key = key_of(f"{site} lists {entry.url}")  # another one than that of the URL, which may be in another list
    return refused(entry.url, said)._replace(key=key, is_elsewhere=True)


def _entry(where: str, line: Line) -> Entry | None:
    text = line.text.strip()
    if not text or text.startswith(b"#"):
        return None
    if line.size > MAX_LINE:
        return _too_long(where, line.number, line.size)
    try:
        return target(text.decode())
    except UnicodeDecodeError:
        return refused(text.decode("latin-1"), f"line {line.number} of {where} {NOT_UTF8}")


def _bytes_of(cell: str) -> bytes:
    """What stands in a file for *cell*, if it isn't UTF-8; else nothing."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape")
    return b""


def _too_long(where: str, number: int, size: int) -> Refused:
    return refused(f"{where}, line {number}", f"the line has {size:,} bytes, and a URL has at most {MAX_LINE:,}")

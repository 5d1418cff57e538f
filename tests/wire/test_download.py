"""Downloads over real sockets: each way in which a server cuts, changes or misreads a range, or the caller leaves."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import hashlib
import os
import random
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

import seawall
from seawall.core.deadline import Caller
from seawall.errors import BadAnswer, CallerLeft, DeadlineExceeded
from seawall.fetch import download as download_module
from seawall.fetch import part as part_module
from seawall.testing import Request
from seawall.testing.cancel import cancel_everywhere
from seawall.testing.leaks import held

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

KB = 1024
DATA = random.Random(1).randbytes(200 * KB)
OTHER = random.Random(2).randbytes(200 * KB)
AT_ONCE = seawall.Retry(backoff=0.0, throttled_backoff=0.0, max_attempts=5)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Site:
    """
    A server of one file that answers each request in the next way; the last way repeats.

    Attributes:
        asked: The Range and If-Range of each request.
        sent: Bytes of bodies.
    """

    def __init__(self, *ways, data: bytes = DATA, etag: str | None = '"v1"') -> None:
        self.ways, self.data, self.etag = list(ways), data, etag
        self.asked: list[tuple[str | None, str | None]] = []
        self.sent = 0

    async def __call__(self, request: Request) -> None:
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        self.asked.append((request.headers.get("range"), request.headers.get("if-range")))
        assert request.headers["accept-encoding"] == "identity"
        await way(self, request)

    @property
    def validators(self) -> dict[str, str]:
        return {} if self.etag is None else {"etag": self.etag}

    def start(self, request: Request) -> int:
        """Where its body begins, as a server has it that knows ranges."""
        is_same = request.headers.get("if-range") == self.etag
        return int(request.headers["range"][6:-1]) if "range" in request.headers and is_same else 0

    def head(self, at: int, stop: int | None = None) -> tuple[int, dict[str, str]]:
        stop = len(self.data) if stop is None else stop
        fields = self.validators | {"content-length": str(stop - at)}
        if at or stop < len(self.data):
            return 206, fields | {"content-range": f"bytes {at}-{stop - 1}/{len(self.data)}"}
        return 200, fields

    async def send(self, request: Request, body: bytes) -> None:
        self.sent += len(body)
        await request.send(body)


async def good(site: Site, request: Request) -> None:
    at = site.start(request)
    if at == len(site.data) > 0:
        await request.reply(416, b"no", {"content-range": f"bytes */{at}"})
        return
    await request.begin(*site.head(at))
    await site.send(request, site.data[at:])


def cut(size: int, end: str = "close"):
    """Send *size* bytes of what was asked for, then close or reset the connection."""

    async def way(site: Site, request: Request) -> None:
        at = site.start(request)
        await request.begin(*site.head(at))
        await site.send(request, site.data[at : at + size])
        await request.wire.flushed()
        getattr(request, end)()

    return way


def says(status: int, fields: dict[str, str], body: bytes = b"", *, cut: bool = False):
    """Send just this."""

    async def way(site: Site, request: Request) -> None:
        await request.reply(status, body, fields)

    return way


@pytest.fixture
def download(tmp_path, client, serve, front):
    """Downloads from a site, with 5 attempts and no delay."""

    servers = {}

    async def download(site: Site, name: str = "file", **arguments):
        if site not in servers:
            servers[site] = await serve(site)
        extensions = front.seawall.options(retry=AT_ONCE)
        return await client.download(f"{servers[site].url}/f", tmp_path / name, extensions=extensions, **arguments)

    return download


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_whole(download, tmp_path, client):
    """One answer is one call, and nothing but the file is left."""
    site, seen = Site(good), []
    done = await download(site, progress=lambda size, length: seen.append((size, length)))
    assert (tmp_path / "file").read_bytes() == DATA
    assert names(tmp_path) == ["file"]
    assert (done.path, done.size, done.received, done.resumptions) == (tmp_path / "file", len(DATA), len(DATA), 0)
    assert (done.etag, done.verified, [each.status for each in done.attempts]) == ('"v1"', (), [200])
    assert seen[-1] == (len(DATA), len(DATA))
    assert [size for size, _ in seen] == sorted(size for size, _ in seen)
    assert held(client.stats()) == []


async def test_empty(download, tmp_path):
    """A file of no bytes is one too."""
    assert (await download(Site(good, data=b""))).size == 0
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_cut(download, tmp_path, client, end):
    """It goes on from the byte where it was cut, under the strong ETag, at every attempt."""
    site = Site(cut(50 * KB, end), cut(30 * KB, end), good)
    done = await download(site)
    assert (tmp_path / "file").read_bytes() == DATA
    assert site.asked[0] == (None, None)
    starts = [int(asked[6:-1]) for asked, _ in site.asked[1:]]
    assert [condition for _, condition in site.asked[1:]] == ['"v1"'] * 2
    assert 0 < starts[0] < starts[1]
    assert done.received == len(DATA)
    assert (done.resumptions, [each.status for each in done.attempts]) == (2, [200, 206, 206])
    assert held(client.stats()) == []


async def test_twenty_cuts(download, tmp_path):
    """Each with a MiB of progress: 3 attempts suffice, and not a byte is transferred twice that had come."""
    data = random.Random(3).randbytes(22 * 2**20)
    site = Site(*[cut(2**20)] * 20, good, data=data)
    done = await download(site, sha256=hashlib.sha256(data).hexdigest())
    assert (done.resumptions, done.verified) == (20, ("sha256=",))
    assert done.received == len(data)
    assert site.sent <= 1.01 * len(data)


async def test_attempts_end_without_progress(download, tmp_path):
    """Less than a MiB gives none back; what has come stays for the next download."""
    site = Site(cut(10 * KB))
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await download(site)
    assert len(site.asked) == len(caught.value.attempts) == 5
    assert names(tmp_path) == ["file.part", "file.part.json"]
    assert any("max_attempts=5 reached" in note for note in caught.value.__notes__)
    assert any(f"{50 * KB} bytes are kept" in note for note in caught.value.__notes__)
    site.ways = [good]
    assert (await download(site)).received == len(DATA) - 50 * KB
    assert (tmp_path / "file").read_bytes() == DATA


async def test_budget(tmp_path, stack, serve, front):
    """A resumption takes a token, but not after a MiB of progress, because then nothing is asked for twice."""
    budget = seawall.Budget(ratio=0.0, rate=0.0, max_balance=1.0, client_rate=0.0)
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=AT_ONCE, budget=budget))
    data = bytes(5 * 2**20)
    server = await serve(site := Site(*[cut(2**20)] * 4, good, data=data))
    assert (await client.download(f"{server.url}/a", tmp_path / "a")).resumptions == 4
    site.data, site.ways = DATA, [cut(10 * KB)]
    with pytest.raises(httpx.RemoteProtocolError) as caught:
        await client.download(f"{server.url}/b", tmp_path / "b")
    assert any("retry budget is empty" in note for note in caught.value.__notes__)
    assert len(site.asked) == 5 + 2


async def test_no_progress_is_made_by_starting_over(download):
    """A server without ranges that cuts behind the first MiB doesn't have it sent for ever."""
    site = Site(cut(2 * 2**20), data=bytes(3 * 2**20), etag=None)
    with pytest.raises(httpx.RemoteProtocolError):
        await download(site)
    assert len(site.asked) == 5


async def test_range_ignored(download, tmp_path):
    """A 200 in place of the rest is the whole file: what was there is cut off."""

    async def whole(site: Site, request: Request) -> None:
        await request.begin(*site.head(0))
        await site.send(request, site.data)

    assert (await download(Site(cut(50 * KB), whole))).received == len(DATA) + 50 * KB
    assert (tmp_path / "file").read_bytes() == DATA


async def test_range_of_another_start(download, tmp_path):
    """It is not appended; the download starts over, without a range."""
    shifted = says(206, {"content-range": f"bytes 5-9/{len(DATA)}", "etag": '"v1"'}, DATA[5:10])
    site = Site(cut(50 * KB), shifted, good)
    await download(site)
    assert (tmp_path / "file").read_bytes() == DATA
    assert site.asked[2] == (None, None)


@pytest.mark.parametrize("tells", ["200", "206"])
async def test_changed(download, tmp_path, tells):
    """Another ETag is another file, told by a 200, or by a server that passes If-Range over."""

    async def changed(site: Site, request: Request) -> None:
        site.data, site.etag = OTHER, '"v2"'
        at = 0 if tells == "200" else int(request.headers["range"][6:-1])
        await request.begin(*site.head(at))
        await site.send(request, site.data[at:])

    done = await download(Site(cut(50 * KB), changed, good))
    assert (tmp_path / "file").read_bytes() == OTHER
    assert done.etag == '"v2"'


async def test_changes_all_the_time(download, tmp_path):
    """Three times is a deployment; then the error says what happens."""

    async def changed(site: Site, request: Request) -> None:
        site.etag = f'"{len(site.asked)}"'
        await cut(2 * 2**20)(site, request)

    with pytest.raises(BadAnswer, match="the file changed 4 times on the server"):
        await download(Site(changed, data=bytes(4 * 2**20)))


async def test_200_with_content_range(download, tmp_path):
    """A 200 that says that it is the rest is taken for it, as ModelScope's are."""

    async def rest(site: Site, request: Request) -> None:
        at = site.start(request)
        await request.begin(200, site.head(at)[1])
        await site.send(request, site.data[at:])

    assert (await download(Site(cut(50 * KB), rest))).received == len(DATA)
    assert (tmp_path / "file").read_bytes() == DATA


async def test_416_at_the_end(download, tmp_path, client, serve):
    """All bytes had come when the last process was killed: the server is asked, and the file is whole."""
    server = await serve(site := Site(cut(len(DATA) - 1), good))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.download(server.url, tmp_path / "file", extensions=seawall.options(retry=None))
    with (tmp_path / "file.part").open("ab") as file:
        file.write(DATA[-1:])
    done = await client.download(server.url, tmp_path / "file", sha256=SHA256)
    assert (site.asked[-1][0], done.received, done.etag) == (f"bytes={len(DATA)}-", 0, '"v1"')
    assert (tmp_path / "file").read_bytes() == DATA


async def test_416_elsewhere(download, tmp_path):
    """The file is shorter than what is there: it starts over."""
    site = Site(cut(50 * KB), says(416, {"content-range": "bytes */10"}, b"no"), good)
    await download(site)
    assert site.asked[2] == (None, None)
    assert (tmp_path / "file").read_bytes() == DATA


async def test_short_part(download, tmp_path):
    """A 206 that sends less than was asked for is a part, and the next call gets the next."""

    async def short(site: Site, request: Request) -> None:
        at = site.start(request)
        stop = min(at + 2**20, len(site.data))
        status, fields = site.head(at, stop)
        await request.begin(status, fields)
        await site.send(request, site.data[at:stop])

    data = bytes(8 * 2**20)
    done = await download(Site(short, data=data))
    assert (done.size, done.received, done.resumptions) == (len(data), len(data), 7)


async def test_multipart(download, tmp_path):
    """It starts over, because nobody asked for two ranges."""
    parts = says(206, {"content-type": "multipart/byteranges; boundary=x", "etag": '"v1"'}, b"--x")
    await download(Site(cut(50 * KB), parts, good))
    assert (tmp_path / "file").read_bytes() == DATA


async def test_gzip_that_nobody_asked_for(download, tmp_path):
    """The file is what it decodes to; it is never continued, because an offset would count coded bytes."""
    coded = gzip.compress(DATA)

    async def zipped(site: Site, request: Request) -> None:
        assert "range" not in request.headers
        await request.begin(200, site.validators | {"content-encoding": "gzip", "content-length": str(len(coded))})
        await request.send(coded if len(site.asked) > 1 else coded[: len(coded) // 2])
        if len(site.asked) == 1:
            await request.wire.flushed()
            request.close()

    await download(site := Site(zipped))
    assert (tmp_path / "file").read_bytes() == DATA
    assert len(site.asked) == 2


async def test_gzip_of_a_range(download, tmp_path):
    """A part in a coding starts over."""
    fields = {"content-range": f"bytes {50 * KB}-{len(DATA) - 1}/{len(DATA)}", "content-encoding": "gzip"}
    await download(Site(cut(50 * KB), says(206, fields, gzip.compress(b"x")), good))
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
async def test_no_strong_validator(download, tmp_path, etag):
    """Nothing is continued that can't be told from another version, and nothing is left for the next download."""
    site = Site(cut(50 * KB), good, etag=etag)
    await download(site)
    assert site.asked == [(None, None)] * 2
    site.ways = [cut(50 * KB)]
    with pytest.raises(httpx.RemoteProtocolError):
        await download(site, "other")
    assert names(tmp_path) == ["file"]


async def test_last_modified(download, tmp_path):
    """One that is a minute older than Date serves in the place of a strong ETag."""

    class Dated(Site):
        validators: ClassVar = {
            "last-modified": "Sat, 28 Nov 2026 09:00:00 GMT",
            "date": "Sat, 28 Nov 2026 10:00:00 GMT",
        }

        def start(self, request: Request) -> int:
            return int(request.headers["range"][6:-1]) if "range" in request.headers else 0

    site = Dated(cut(50 * KB), good)
    await download(site)
    assert site.asked[1][1] == "Sat, 28 Nov 2026 09:00:00 GMT"
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("status", [404, 410, 412, 302])
async def test_bad_status(download, tmp_path, status):
    """Its body isn't written; what was there before stays."""
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(httpx.HTTPStatusError) as caught:
        await download(Site(says(status, {"location": "/x"}, b"an error")))
    assert caught.value.response.status_code == status
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


async def test_bad_status_after_a_cut(download, tmp_path):
    """503 is retried as in any call, within the attempts that are left; the part stays through it."""
    site = Site(cut(50 * KB), says(503, {"retry-after": "0"}, b"busy"), good)
    done = await download(site)
    assert [each.status for each in done.attempts] == [200, 503, 206]
    assert done.received == len(DATA)


async def test_status_that_is_not_a_file(download, tmp_path):
    """202 and 204 are no errors, but no file either."""
    with pytest.raises(BadAnswer, match="its status 202 is neither"):
        await download(Site(says(202, {}, b"later")))
    assert names(tmp_path) == []


def digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


async def test_digests(download, tmp_path):
    """The caller's, and those of the server: of the whole file, and of each answer that came whole."""

    def tagged(way_of):
        async def way(site: Site, request: Request) -> None:
            at = site.start(request)
            status, fields = site.head(at)
            fields |= {"repr-digest": f"md5=:AAAA:, {digest(DATA)}", "content-digest": digest(DATA[at:])}
            await request.begin(status, fields)
            await site.send(request, DATA[at : at + way_of])
            if at + way_of < len(DATA):
                await request.wire.flushed()
                request.close()

        return way

    done = await download(Site(tagged(50 * KB), tagged(len(DATA))), sha256=SHA256.upper())
    assert sorted(done.verified) == ["Content-Digest", "Repr-Digest", "sha256="]


async def test_a_name_that_is_too_long(download, tmp_path):
    """For what lies beside the file meanwhile: said before anything is sent, each time, and nothing is left."""
    site = Site(good)
    for size in (246, 252, 255):
        for _ in range(2):
            with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
                await download(site, "x" * size)
    assert (site.asked, names(tmp_path)) == ([], [])


async def test_a_digest_that_only_the_first_answer_has(download, tmp_path):
    """It is that of the whole file, so it holds for what further answers put together, and bad pieces show."""

    async def first(site: Site, request: Request) -> None:
        status, fields = site.head(0)
        await request.begin(status, fields | {"repr-digest": digest(DATA)})
        await site.send(request, DATA[: 50 * KB])
        await request.wire.flushed()
        request.close()

    async def lie(site: Site, request: Request) -> None:
        at = site.start(request)
        await request.begin(*site.head(at))
        await request.send(OTHER[at:])

    done = await download(Site(first, good))
    assert done.verified == ("Repr-Digest",)
    await download(site := Site(first, lie, good), "other")
    assert (tmp_path / "other").read_bytes() == DATA
    assert [each[0] for each in site.asked] == [None, f"bytes={50 * KB}-", None]


def checksums(data: bytes) -> dict[str, str]:
    """As Amazon S3 sends them, with ``x-amz-checksum-mode: ENABLED``."""
    values = {"crc32": zlib.crc32(data).to_bytes(4, "big")} | {
        name: hashlib.new(name, data).digest() for name in ("sha1", "sha256")
    }
    return {f"x-amz-checksum-{name}": base64.b64encode(value).decode() for name, value in values.items()}


async def test_amazons_checksums(download):
    """They are those of the whole file, also where only the first of several answers has them."""

    async def first(site: Site, request: Request) -> None:
        status, fields = site.head(0)
        await request.begin(status, fields | checksums(DATA))
        await site.send(request, DATA[: 50 * KB])
        await request.wire.flushed()
        request.close()

    done = await download(Site(first, good))
    assert done.verified == tuple(checksums(DATA))


@pytest.mark.parametrize("name", checksums(b""))
async def test_a_wrong_checksum_of_amazons(download, tmp_path, name):
    """It is an error as any wrong digest is."""
    wrong = says(200, {name: checksums(b"other")[name]}, DATA)
    with pytest.raises(BadAnswer, match=name):
        await download(Site(wrong))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "fields",
    [
        {name: f"{value}-3" for name, value in checksums(b"other").items()},  # of three parts
        checksums(b"other") | {"x-amz-checksum-type": "COMPOSITE"},
        dict.fromkeys(checksums(b""), "AAAA"),
        dict.fromkeys(checksums(b""), "é"),
    ],
)
async def test_what_is_no_checksum_of_the_file(download, fields):
    """That of a file's parts, and garbage, are passed over."""
    done = await download(Site(says(200, fields, DATA)))
    assert (done.size, done.verified) == (len(DATA), ())


async def test_wrong_digest(download, tmp_path):
    """An answer that is whole and wrong is an error, and nothing of it stays."""
    with pytest.raises(BadAnswer, match="don't have the digest of sha256="):
        await download(site := Site(good), sha256="0" * 64)
    assert (names(tmp_path), len(site.asked)) == ([], 1)
    wrong = says(200, {"repr-digest": digest(b"other")}, DATA)
    with pytest.raises(BadAnswer, match="Repr-Digest"):
        await download(Site(wrong))
    assert names(tmp_path) == []


async def test_wrong_digest_of_pieces(download, tmp_path):
    """A file put together from two answers is asked for once more, as one."""

    async def lie(site: Site, request: Request) -> None:
        at = site.start(request)
        await request.begin(*site.head(at))
        await request.send(OTHER[at:])

    done = await download(site := Site(cut(50 * KB), lie, good), sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == DATA
    assert (site.asked[2], done.verified) == ((None, None), ("sha256=",))


CHILD = """
import asyncio, os, signal, sys
import seawall

async def main(url, path):
    def progress(size, length):
        if size >= 50_000:
            os.kill(os.getpid(), signal.SIGKILL)
    async with seawall.AsyncClient() as client:
        await client.download(url, path, progress=progress)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_another_process(tmp_path, client, serve):
    """One was killed in the middle: the next goes on where it was, though it has never seen the server."""
    server = await serve(site := Site(good))
    command = [sys.executable, "-c", CHILD, f"{server.url}/f?key=secret", str(tmp_path / "file")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    kept = (tmp_path / "file.part").stat().st_size
    assert 50_000 <= kept < len(DATA)
    assert "secret" not in (tmp_path / "file.part.json").read_text()
    found = await client.download(f"{server.url}/f?key=secret", tmp_path / "file", sha256=SHA256)
    assert (found.received, site.asked[1]) == (len(DATA) - kept, (f"bytes={kept}-", '"v1"'))


async def test_another_url(tmp_path, client, serve):
    """A part of another URL is not continued, whatever its ETag, nor said to be kept for this one."""
    server = await serve(site := Site(cut(50 * KB), says(404, {}), good))
    with pytest.raises(httpx.RemoteProtocolError) as cut_off:
        await client.download(f"{server.url}/a", tmp_path / "file", extensions=seawall.options(retry=None))
    with pytest.raises(httpx.HTTPStatusError) as missing:
        await client.download(f"{server.url}/b", tmp_path / "file")
    noted = ["are kept in" in "".join(getattr(each.value, "__notes__", ())) for each in (cut_off, missing)]
    assert noted == [True, False]
    await client.download(f"{server.url}/b", tmp_path / "file")
    assert site.asked == [(None, None)] * 3


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"url": 1}', b"\xff", b"null", b"[" * 99_999])
async def test_a_description_that_is_garbage(tmp_path, client, serve, said):
    """It starts over."""
    (tmp_path / "file.part").write_bytes(b"garbage")
    (tmp_path / "file.part.json").write_bytes(said)
    server = await serve(Site(good))
    await client.download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


async def test_two_at_once(tmp_path, client, serve):
    """The second says who has the file, and takes nothing from the first."""
    may_end = asyncio.Event()

    async def slow(site: Site, request: Request) -> None:
        await request.begin(*site.head(0))
        await request.send(DATA[:1000])
        await may_end.wait()
        await request.send(DATA[1000:])

    has_begun = asyncio.Event()
    server = await serve(Site(slow))
    first = asyncio.create_task(client.download(server.url, tmp_path / "file", progress=lambda *_: has_begun.set()))
    await has_begun.wait()
    with pytest.raises(BlockingIOError, match="another download writes this file"):
        await client.download(server.url, tmp_path / "file")
    may_end.set()
    await first
    assert (tmp_path / "file").read_bytes() == DATA


async def test_the_file_that_another_download_has_just_published(tmp_path, client, serve, monkeypatch):
    """Its part, opened before it took the file's name and locked after, is not written to."""
    real = part_module._lock

    def lock(descriptor: int, path: Path) -> None:
        monkeypatch.setattr(part_module, "_lock", real)
        path.rename(tmp_path / "published")
        real(descriptor, path)

    monkeypatch.setattr(part_module, "_lock", lock)
    (tmp_path / "file.part").write_bytes(b"whole")
    server = await serve(Site(good))
    await client.download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    assert (tmp_path / "published").read_bytes() == b"whole"


async def test_a_process_that_was_forked_meanwhile(tmp_path):
    """It shares the lock, but doesn't keep it."""
    part = part_module.Part(tmp_path / "file")
    forked = os.dup(part._fd)  # shares the lock as a forked process' descriptor does
    part.close()
    part_module.Part(tmp_path / "file").close()
    os.close(forked)


@pytest.mark.parametrize("lacks", ["flock", "fcntl"])
async def test_a_file_system_without_locks(tmp_path, client, serve, monkeypatch, lacks):
    """It has downloads all the same; so has a system without locks."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    if lacks == "flock":
        monkeypatch.setattr(part_module.fcntl, "flock", flock)
    else:
        monkeypatch.setattr(part_module, "fcntl", None)
    server = await serve(Site(good))
    await client.download(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


async def test_no_folder(tmp_path, client):
    """It is said before anything is sent."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await client.download("http://good.test/", tmp_path / "nowhere" / "file")
    with pytest.raises(IsADirectoryError):
        await client.download("http://good.test/", tmp_path)
    assert client.stats().totals.calls == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_no_permission(tmp_path, client):
    """The same."""
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        await client.download("http://good.test/", tmp_path / "file")


async def test_full_disk(tmp_path, client, serve, monkeypatch):
    """The error is the system's; what was written stays, and the next call goes on from there."""
    real, room = os.write, 70_000

    def write(descriptor: int, data) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[:room])
        room -= written
        return written

    server = await serve(site := Site(good))
    monkeypatch.setattr(part_module.os, "write", write)
    with pytest.raises(OSError, match="No space left") as caught:
        await client.download(server.url, tmp_path / "file")
    monkeypatch.undo()
    assert any("70000 bytes are kept" in note for note in caught.value.__notes__)
    assert held(client.stats()) == []
    await client.download(server.url, tmp_path / "file", sha256=SHA256)
    assert site.asked[1][0] == "bytes=70000-"


async def test_deadline(download, tmp_path, front):
    """It is of all of it, the body too; without one, a body takes as long as it takes."""

    async def hang(site: Site, request: Request) -> None:
        await request.begin(*site.head(0))
        await request.send(DATA[:1000])
        await request.hang()

    with pytest.raises(DeadlineExceeded, match="with 1000 bytes downloaded") as caught:
        await download(Site(hang), deadline=1.0)
    assert isinstance(caught.value, httpx.TimeoutException)
    assert names(tmp_path) == ["file.part", "file.part.json"]
    with pytest.raises(DeadlineExceeded), front.seawall.deadline(0.2):
        await download(Site(hang))


async def test_caller_that_leaves(tmp_path, client, serve):
    """The inbound caller, for whom a service downloads: the download ends in the middle of the body."""

    async def hang(site: Site, request: Request) -> None:
        await request.begin(*site.head(0))
        await request.send(DATA[:1000])
        await request.hang()

    server, caller = await serve(Site(hang)), Caller()
    with caller, pytest.raises(CallerLeft, match="the inbound caller left"):
        await client.download(server.url, tmp_path / "file", progress=lambda *_: caller.leave())
    assert held(client.stats()) == []


async def test_caller_that_leaves_a_whole_file(tmp_path, client, serve, monkeypatch):
    """Once the file has its name, nothing but its folder is waited for, and the download has succeeded."""
    loop, caller, has_left = asyncio.get_running_loop(), Caller(), threading.Event()

    def leave() -> None:
        caller.leave()
        loop.call_later(0.0, has_left.set)  # after what the leaving wakes

    def sync_folder(folder: Path) -> None:
        loop.call_soon_threadsafe(leave)
        assert has_left.wait(10.0)

    monkeypatch.setattr(download_module, "sync_folder", sync_folder)
    server = await serve(Site(good))
    with caller:
        done = await client.download(server.url, tmp_path / "file")
    assert done.path.read_bytes() == DATA
    assert names(tmp_path) == ["file"]


async def test_full_disk_before_the_first_byte(tmp_path, client, serve, monkeypatch):
    """Where not even the description fits, nothing is left; a part that has one goes on without writing it again."""
    server = await serve(site := Site(cut(50 * KB), good))

    def full(said, file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(part_module.json, "dump", full)
        with pytest.raises(OSError, match="No space left"):
            await client.download(server.url, tmp_path / "file")
        assert names(tmp_path) == []
        patch.undo()
        site.ways = [cut(50 * KB), good]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.download(server.url, tmp_path / "file", extensions=seawall.options(retry=None))
        patch.setattr(part_module.json, "dump", full)
        await client.download(server.url, tmp_path / "file", sha256=SHA256)


async def test_cancelled_anywhere(tmp_path, stack, serve, front, monkeypatch):
    """No permit, lock or file is left but the part, and the next call makes it whole."""
    client = await stack.enter_async_context(front.seawall.AsyncClient(retry=AT_ONCE, budget=None, breaker=None))
    server = await serve(site := Site(cut(50 * KB), good))

    async def at_once(function, *arguments):
        await asyncio.sleep(0)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)  # each round of waiting for a thread would be a point

    async def call() -> None:
        await client.download(server.url, tmp_path / "file", sha256=SHA256)

    def before() -> None:
        site.ways = [cut(50 * KB), good]

    def after() -> None:
        assert held(client.stats()) == []
        assert set(names(tmp_path)) <= {"file", "file.part", "file.part.json"}

    assert await cancel_everywhere(call, before=before, after=after) > 10
    assert (tmp_path / "file").read_bytes() == DATA


async def test_post(download, tmp_path):
    """It is no part of a file: nothing is continued, and nothing is sent twice unless it may be."""
    with pytest.raises(httpx.RemoteProtocolError):
        await download(site := Site(cut(50 * KB), good), method="POST", json={"id": 1})
    assert (len(site.asked), names(tmp_path)) == (1, [])
    await download(site := Site(cut(50 * KB), good), method="POST", headers={"Idempotency-Key": "1"})
    assert site.asked == [(None, None)] * 2


@pytest.mark.parametrize(
    "arguments",
    [{"sha256": "abc"}, {"deadline": 0}, {"headers": {"range": "bytes=1-"}}, {"headers": {"Accept-Encoding": "br"}}],
)
async def test_arguments(tmp_path, client, arguments):
    """What can't be is said before a file is made."""
    with pytest.raises(ValueError, match=r"sha256|deadline|Range|Accept-Encoding"):
        await client.download("http://good.test/", tmp_path / "file", **arguments)
    assert names(tmp_path) == []


async def test_client_closed(tmp_path, client, serve):
    """A download in flight ends with it."""
    has_begun = asyncio.Event()

    async def hang(site: Site, request: Request) -> None:
        await request.begin(*site.head(0))
        await request.send(DATA[:1000])
        await request.hang()

    server = await serve(Site(hang))
    task = asyncio.create_task(client.download(server.url, tmp_path / "file", progress=lambda *_: has_begun.set()))
    await has_begun.wait()
    await client.aclose()
    with pytest.raises(httpx.TransportError):
        await task
    assert names(tmp_path) == ["file.part", "file.part.json"]

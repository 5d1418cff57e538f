"""A release of httpx or httpx2 that lacks a private name: seawall gets slower, says so once, and does the same."""

from __future__ import annotations

import functools
import gzip
import http
import importlib
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import pytest
from backports import zstd

import seawall
import seawall.httpx2
from seawall._httpx import private
from seawall.httpx2 import private as private2
from seawall.testing import Server
from seawall.testing.http.server import Request

SCRIPT = Path(__file__).with_name("private_names.py")
CORE_SCRIPT = Path(__file__).with_name("core_names.py")
SOURCE = Path(seawall.__file__).parents[1]
TEXT = b"a line of text\n" * 200
ATTRIBUTES = {"fields": "_multipart.py", "file": "_multipart.py"} | dict.fromkeys(
    ("host", "path", "port", "query", "scheme", "userinfo"), "_urlparse.py"
)
"""Private by their class only, and named as public things are: where the class is."""

TOLD = (
    "AsyncClient._init_transport",
    "AsyncClient._state",
    "CookieJar._cookies",
    "Headers._list",
    "Response._content",
    "Response._decoder",
    "URL._uri_reference",
)
"""One of each use, for the library whose front is written from the other's."""

CODED = {
    "gzip": ("gzip", gzip.compress(TEXT, mtime=0)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "br": ("br", brotli.compress(TEXT)),
    "zstd": ("zstd", zstd.compress(TEXT)),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(TEXT), mtime=0)),
    "cut": ("gzip", gzip.compress(TEXT, mtime=0)[:-9]),
    "bomb": ("gzip", gzip.compress(bytes(20_000_000), mtime=0)),
    "503": ("gzip", gzip.compress(TEXT, mtime=0)),
}


AS_EVER = """\
AsyncHTTPTransport 200
AsyncHTTPTransport guarded AddressNotAllowed
AsyncConnectionPool 200
AsyncConnectionPool guarded AddressNotAllowed
AsyncHTTPConnection 200
AsyncHTTPConnection guarded AddressNotAllowed
CONNECT [::1]:443 HTTP/1.1
tunnelled ProxyRefused
CONNECT a.test:443 HTTP/1.1
tunnelled ProxyRefused
"""
UNDIALLED = re.sub(r"^(AsyncHTTPConnection.*) .*$", r"\1 RuntimeError", AS_EVER, flags=re.MULTILINE)
ELSEWHERE = {
    ("httpcore", "connection.py", "_connection"): UNDIALLED,
    ("httpcore", "connection_pool.py", "_connections"): AS_EVER,
    ("httpcore", "connection_pool.py", "_requests"): AS_EVER,
    ("httpx", "default.py", "_pool"): AS_EVER,
}
"""What comes of it where a file of a library keeps something under another name."""


class Answers:
    """A server's answers, by path; *seen* counts those to the first of several attempts, by the key of a run."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    async def __call__(self, request: Request) -> None:
        await request.read()
        path, _, query = request.target.partition("?")
        kind = path.removeprefix("/")
        if kind.startswith("coded/"):
            coding, body = CODED[kind.removeprefix("coded/")]
            await request.reply(503 if kind == "coded/503" else 200, body, {"content-encoding": coding})
        elif kind in ("redirect", "to-cut", "bad-location"):
            target = {"redirect": "/a", "to-cut": "/cut", "bad-location": "http://[bad"}[kind]
            await request.reply(302, b"elsewhere", {"location": target})
        elif kind == "set":
            await request.reply(fields={"set-cookie": "c=1"})
        elif kind == "cut":
            await request.reply(200, b"cut", {"content-length": "10"})
            request.close()
        elif kind == "retry" and self.seen[query] == 0:
            self.seen[query] += 1
            await request.reply(503)
        else:
            query = "" if kind == "retry" else query
            fields = [(name, value) for name, value in request.fields if name.lower() != "host"]
            await request.reply(200, repr((request.method, path, query, fields, request.body)).encode())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Answers()) as server:
        yield server


def released(folder: Path, library: str, dotted: str | None) -> None:
    """Put the installed *library* into *folder*, without the private name *dotted*, which may be *http*'s."""
    for package in (http, importlib.import_module(library)):
        source = Path(package.__file__).parent
        if package is not http or dotted == "CookieJar._cookies":
            shutil.copytree(source, folder / source.name)
    if dotted is None:
        return
    name = dotted.partition(".")[2]
    for path in folder.rglob("*.py"):
        if dotted == "AsyncClient._cookies" and path.name == "_cookies.py":
            continue  # its jar has that name of http's
        if name not in ATTRIBUTES:
            pattern = rf"(?<!from \.)\b{name}\b"
        elif path.name == ATTRIBUTES[name]:
            pattern = rf"(?<=\bself\.){name}\b|(?<=\n    ){name}(?=: )"
        else:
            pattern = rf"(?<=_uri_reference\.){name}\b"
        text = path.read_text(encoding="utf-8")
        if (changed := re.sub(pattern, r"\g<0>_no_more", text)) != text:
            path.write_text(changed, encoding="utf-8")


def run(folder: Path, script: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """What the script prints, and what it logs."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(SOURCE)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def installed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """What the script prints with a library as it is."""

    @functools.cache
    def lines(library: str) -> list[str]:
        folder = tmp_path_factory.mktemp("installed")
        released(folder, library, None)
        lines, logged = run(folder, SCRIPT, library, server.url, folder.name)
        assert logged == []
        return lines

    return lines


@pytest.mark.parametrize(
    ("library", "dotted"), [("httpx", each) for each in sorted(private.PRIVATE)] + [("httpx2", each) for each in TOLD]
)
def test_release_without_a_private_name(installed, server, tmp_path, library, dotted):
    """All calls end as they do with the installed release, and one line says which name is missed."""
    released(tmp_path, library, dotted)
    lines, logged = run(tmp_path, SCRIPT, library, server.url, tmp_path.name)
    assert [pair for pair in zip(lines, installed(library), strict=True) if pair[0] != pair[1]] == []
    told = [line for line in logged if line.startswith(f"{library} {importlib.import_module(library).__version__} ")]
    assert len(told) == 1
    assert dotted in told[0]
    assert logged == told or dotted.startswith("CookieJar.")  # which both libraries have


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_release_without_mounts_and_hooks(installed, server, tmp_path, library):
    """Which calls go to the environment's proxies is then the library's secret, so a client says what to give it."""
    released(tmp_path, library, "AsyncClient.(?:_mounts|_init_transport|_init_proxy_transport)")
    lines, logged = run(tmp_path, SCRIPT, library, server.url, tmp_path.name)
    ((known, unknown),) = (pair for pair in zip(installed(library), lines, strict=True) if pair[0] != pair[1])
    assert known.startswith("environment (200, ")
    assert unknown.startswith(f"environment {library} ")
    assert "give trust_env=False, and proxy= or mounts=" in unknown
    assert len(logged) == 1


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_release_without_a_hook_for_redirects(installed, server, tmp_path, library):
    """Nothing is slower, so nothing is logged; of a bad Location the library says the same."""
    released(tmp_path, library, "AsyncClient._build_redirect_request")
    assert run(tmp_path, SCRIPT, library, server.url, tmp_path.name) == (installed(library), [])


@pytest.mark.parametrize(("package", "file", "name"), ELSEWHERE)
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_release_that_keeps_things_elsewhere(server, tmp_path, library, package, file, name):
    """No call goes round our wire and its guard: at worst one that a tool watches fails; and no warning, at import."""
    source = Path(importlib.import_module(library.replace("httpx", package)).__file__).parent
    shutil.copytree(source, tmp_path / source.name)
    (path,) = (path for path in (tmp_path / source.name).rglob(file) if path.parent.name != "_sync")
    path.write_text(re.sub(rf"\b{name}\b", f"{name}_no_more", path.read_text(encoding="utf-8")), encoding="utf-8")
    lines, logged = run(tmp_path, CORE_SCRIPT, library, server.url)
    assert lines == ELSEWHERE[package, file, name].splitlines()
    assert logged == []


def test_names_are_the_same_for_both():
    """One source, two libraries."""
    assert private.PRIVATE == private2.PRIVATE
    assert private.MISSING == private2.MISSING == frozenset()

"""Objects of the other library, and an application that puts httpx2 in httpx's place."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.fronts import FRONTS, Front

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:1/"


@pytest.fixture
def other(lib: Front) -> Any:
    """The library that *lib* isn't over."""
    return next(front.httpx for front in FRONTS.values() if front is not lib)


def taken_from(lib: Front, kind: str) -> str:
    """What the error says: which class to give instead, and which of our modules takes the other's."""
    name = lib.httpx.__name__
    ours, theirs = ("seawall", "seawall.httpx2") if name == "httpx" else ("seawall.httpx2", "seawall")
    return f"{ours} is over {name}: give an {name}.{kind}, or take the client from {theirs}$"


CLIENT = {
    "timeout": lambda httpx: httpx.Timeout(5.0),
    "limits": lambda httpx: httpx.Limits(),
    "auth": lambda httpx: httpx.BasicAuth("user", "password"),
    "base_url": lambda httpx: httpx.URL(URL),
    "cookies": lambda httpx: httpx.Cookies({"a": "b"}),
    "params": lambda httpx: httpx.QueryParams([("a", "b"), ("a", "c")]),
    "proxy": lambda httpx: httpx.Proxy(URL),
    "transport": lambda httpx: httpx.AsyncHTTPTransport(),
}


@pytest.mark.parametrize("name", CLIENT)
def test_client_is_given_one(lib, other, name):
    """The constructor says which module takes it."""
    thing = CLIENT[name](other)
    with pytest.raises(TypeError, match=f"^{name}: an .*" + taken_from(lib, type(thing).__name__)):
        lib.seawall.AsyncClient(**{name: thing})
    lib.seawall.AsyncClient(**{name: CLIENT[name](lib.httpx)})


def test_transports_and_engines_are_given_one(lib, other):
    """So do those of mounts, of a transport and of an engine; our own transport is of its library too."""
    inner = other.MockTransport(lambda request: other.Response(200))
    with pytest.raises(TypeError, match="^all://: an .*" + taken_from(lib, "MockTransport")):
        lib.seawall.AsyncClient(mounts={"all://": inner})
    with pytest.raises(TypeError, match="^inner: an .*" + taken_from(lib, "MockTransport")):
        lib.seawall.AsyncTransport(inner)
    with pytest.raises(TypeError, match="^limits: an .*" + taken_from(lib, "Limits")):
        lib.seawall.Engine(limits=other.Limits())
    ours = next(front.seawall for front in FRONTS.values() if front.httpx is other).AsyncTransport()
    with pytest.raises(TypeError, match="^transport: an .*" + taken_from(lib, "AsyncBaseTransport")):
        lib.seawall.AsyncClient(transport=ours)


async def test_call_is_given_one(lib, other):
    """Each call says so before anything is sent."""
    async with lib.seawall.AsyncClient() as client:
        with pytest.raises(TypeError, match="^request: an .*" + taken_from(lib, "Request")):
            await client.send(other.Request("GET", URL))
        with pytest.raises(TypeError, match="^auth: an .*" + taken_from(lib, "BasicAuth")):
            await client.get(URL, auth=other.BasicAuth("user", "password"))
        with pytest.raises(TypeError, match="^follow_redirects: an .*" + taken_from(lib, "UseClientDefault")):
            await client.get(URL, follow_redirects=other.USE_CLIENT_DEFAULT)
        with pytest.raises(TypeError, match="^params: an .*" + taken_from(lib, "QueryParams")):
            await client.get(URL, params=other.QueryParams("a=b"))
        with pytest.raises(TypeError, match="^timeout: an .*" + taken_from(lib, "Timeout")):
            await client.post(URL, timeout=other.Timeout(5.0))
        for url in (URL, other.URL(URL)):
            with pytest.raises(TypeError, match="^(url|timeout): an .*" + taken_from(lib, "(URL|Timeout)")):
                await client.get(url, timeout=other.Timeout(5.0))
        client.timeout = other.Timeout(5.0)
        with pytest.raises(TypeError, match="^timeout: an .*" + taken_from(lib, "Timeout")):
            await client.get(URL)
        assert client.stats().totals.calls == 1  # that of the timeout set on the client, which ended before an attempt
    async with other.AsyncClient(transport=lib.seawall.AsyncTransport()) as stock:
        with pytest.raises(TypeError, match="^request: an .*" + taken_from(lib, "Request")):
            await stock.get(URL)


async def test_mappings_are_taken(lib, other):
    """Headers of the other library serve as any mapping does, as in the library itself."""
    client = lib.seawall.AsyncClient(headers=other.Headers({"a": "b"}))
    request = client.build_request("GET", URL, headers=other.Headers({"g": "h"}))
    assert (request.headers["a"], request.headers["g"]) == ("b", "h")


def test_settings_of_ours_may_be_anything(lib, other):
    """A resolver that is a client of the other library, for instance."""

    class OverHTTPS(other.AsyncClient):
        async def resolve(self, host: str) -> list[str]:
            return ["127.0.0.1"]

        async def aclose(self) -> None: ...

    lib.seawall.AsyncClient(resolver=OverHTTPS())


def test_transport_of_a_subclass(lib):
    """One that a subclass makes in our place would go past every layer and the guard."""

    class Own(lib.seawall.AsyncClient):
        def _init_transport(self, *_, **arguments):
            return lib.httpx.AsyncHTTPTransport()

    with pytest.raises(TypeError, match=r"Own makes a transport of its own: give it to .*AsyncClient as transport="):
        Own()


def printed(code: str) -> list[str]:
    """The lines that a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_alias_before_the_import():
    """httpx2 in httpx's place: one front is both, with its classes, its errors and its settings."""
    code = f"""
import httpx2
httpx2.alias_httpx()
import asyncio, pickle, seawall, seawall.httpx2, httpx
from seawall.httpx2 import AsyncClient
from seawall.testing import FaultServer

async def main():
    print(seawall.AsyncClient is AsyncClient, issubclass(AsyncClient, httpx2.AsyncClient), httpx is httpx2)
    async with FaultServer() as server, seawall.AsyncClient(timeout=httpx2.Timeout(5.0)) as client:
        url = server.script("a", "503", "200")
        response = await client.get(url)
        print(type(response) is httpx2.Response, response.status_code, response.elapsed.total_seconds() > 0)
        try:
            await client.get("{URL}")
        except httpx2.ConnectError as error:
            print(type(error).__name__, isinstance(pickle.loads(pickle.dumps(error)), httpx.ConnectError))

asyncio.run(main())
"""
    assert printed(code) == ["True True True", "True 200 True", "DialError True"]


def test_alias_before_the_first_client():
    """seawall itself doesn't import httpx, so it isn't too late: the first client finds httpx2 in httpx's place."""
    code = """
import seawall, httpx2
httpx2.alias_httpx()
print(issubclass(seawall.AsyncClient, httpx2.AsyncClient))
import seawall.httpx2
print(seawall.httpx2.AsyncClient is seawall.AsyncClient)
"""
    assert printed(code) == ["True", "True"]


def test_alias_after_the_import():
    """Too late: httpx2 says so, and nothing of ours changes."""
    code = """
import seawall, seawall.httpx2, httpx, httpx2
before = (seawall.AsyncClient.__mro__, seawall.httpx2.AsyncClient.__mro__)
try:
    httpx2.alias_httpx()
except RuntimeError as error:
    print(error)
import httpx as again
print(again is httpx, before == (seawall.AsyncClient.__mro__, seawall.httpx2.AsyncClient.__mro__))
print(issubclass(seawall.AsyncClient, httpx.AsyncClient), issubclass(seawall.AsyncClient, httpx2.AsyncClient))
"""
    first, *rest = printed(code)
    assert first.startswith("httpx was already imported")
    assert rest == ["True True", "True False"]


@pytest.mark.parametrize(
    ("before", "first"), [("import httpx", "AsyncClient"), ("", "httpx.AsyncClient is replaced by")]
)
def test_a_class_that_a_test_replaces(before, first):
    """Where httpx was imported first, the front has its own class already; else it says so, and is whole afterwards."""
    code = f"""
{before}
import asyncio, seawall
from unittest.mock import patch
with patch("httpx.AsyncClient"):
    try:
        print(seawall.AsyncClient.__name__)
    except ImportError as error:
        print(error)
import httpx
from seawall.testing import ScriptedWire

async def main():
    async with seawall.AsyncClient(transport=ScriptedWire(200), headers={{"x-mine": "1"}}) as client:
        print((await client.get("http://a.test")).request.headers["x-mine"])

asyncio.run(main())
"""
    said, *rest = printed(code)
    assert said.startswith(first)
    assert rest == ["1"]


def test_httpx2_is_not_installed():
    """seawall itself doesn't need it, and the front over it says what to install."""
    code = """
import sys
sys.modules["httpx2"] = None
import seawall
try:
    import seawall.httpx2
except ImportError as error:
    print(error)
"""
    assert printed(code) == ["seawall.httpx2 is over httpx2, which isn't installed: pip install httpx2"]

"""What people read where a call can't be made or fails: the file, the host, plain words, and what to change."""

from __future__ import annotations

import ssl

import httpx
import httpx2
import pytest

import seawall
from seawall.testing import FaultServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server():
    async with FaultServer(assert_all_called=False) as server:
        yield server


@pytest.mark.parametrize(
    "arguments", [{"verify": "/nope.pem"}, {"cert": "/nope.pem"}, {"cert": ("/nope.pem", "/no.key")}]
)
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_file_that_is_not_there(arguments):
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '/nope\.pem'"):
        seawall.AsyncClient(**arguments)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_a_file_that_holds_no_certificates(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError, match=r"ca\.pem"):
        seawall.AsyncClient(verify=str(tmp_path / "ca.pem"))


def test_a_file_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ssl.SSLError, match=r"ca\.pem"):
        seawall.AsyncClient()


@pytest.mark.parametrize("step", ["encoded:gzip_bad", "encoded:gzip_truncated"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_body_that_cannot_be_decoded(server, step, is_stream):
    """It names the host, buffered or not."""
    async with seawall.AsyncClient() as client:
        request = client.build_request("GET", f"{server.url}/x/{step}")

        async def read() -> None:
            response = await client.send(request, stream=is_stream)
            try:
                await response.aread()
            finally:
                await response.aclose()

        with pytest.raises(httpx.DecodingError, match=rf"^http://127\.0\.0\.1:{server.port}: the body "):
            await read()


async def test_http2_to_a_server_that_speaks_none(server):
    async with seawall.AsyncClient(http1=False, http2=True, retry=None) as client:
        with pytest.raises(
            seawall.errors.BadAnswer, match=r"answers in HTTP/1\.1, and speaks no HTTP/2 here; leave http1"
        ):
            await client.get(f"{server.url}/x/ok")


async def test_another_kind_of_server(server):
    async with seawall.AsyncClient(retry=None) as client:
        with pytest.raises(seawall.errors.BadAnswer, match=r"isn't HTTP; does another kind of server listen there"):
            await client.get(server.listen("accept_garbage").url)


async def test_a_dial_that_hangs(server):
    async with seawall.AsyncClient(retry=None, timeout=0.2) as client:
        with pytest.raises(seawall.errors.DialTimeout, match=r"at 127\.0\.0\.\d+: connecting took longer"):
            await client.get(server.listen("blackhole").url)


@pytest.mark.parametrize(
    ("transport", "why"),
    [
        (httpx.HTTPTransport(), "transport must be an httpx.AsyncBaseTransport, which AsyncHTTPTransport is"),
        (object(), r"transport must be an httpx\.AsyncBaseTransport, not <object"),
        (httpx2.AsyncHTTPTransport(), "take the client from seawall.httpx2"),
    ],
)
def test_a_transport_that_is_none_of_ours(transport, why):
    with pytest.raises(TypeError, match=why):
        seawall.AsyncClient(transport=transport)


def test_a_setting_is_named_as_the_user_wrote_it():
    with pytest.raises(ValueError, match=r"^deadline must be finite and > 0, not 0$"):
        seawall.AsyncClient(deadline=0)

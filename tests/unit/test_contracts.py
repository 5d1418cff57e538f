"""What this code takes for granted of others, and of itself."""

from __future__ import annotations

import inspect

import httpcore
import httpx
import pytest

import seawall
from seawall import errors, plain
from seawall.transport.adopt import HTTPX
from seawall.transport.patched import is_patched


def test_private_names_of_httpx():
    """Those that Client and its transports stand on."""
    parameters = inspect.signature(httpx.AsyncClient._init_transport).parameters
    assert {"verify", "cert", "trust_env", "http1", "http2", "limits", "transport"} <= set(parameters)
    assert "proxy" in inspect.signature(httpx.AsyncClient._init_proxy_transport).parameters
    client = httpx.AsyncClient()
    assert client._mounts == {}
    assert isinstance(client._transport, httpx.AsyncHTTPTransport)
    assert isinstance(client._transport._pool, httpcore.AsyncConnectionPool)
    assert httpx.RequestError("x")._request is None


def test_private_names_that_the_short_way_needs():
    """httpx's steps that it leaves out are methods of these names, its own; a response is read by these attributes."""
    client = seawall.Client()
    assert plain.is_untouched(client, seawall.Client)
    assert plain.BUILD.__module__ == "httpx._client"
    response = httpx.Response(200, stream=httpx.ByteStream(b"ok"))
    response.read()
    assert (response._content, response._num_bytes_downloaded) == (b"ok", 2)
    assert (response.is_closed, response.is_stream_consumed) == (True, True)


@pytest.mark.parametrize("name", plain.NAMES)
def test_patch_switches_the_short_way_off(monkeypatch, name):
    """Whatever step is patched, at any time."""
    client = seawall.Client()
    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncClient, name, lambda *args, **kwargs: None)
        assert not plain.is_untouched(client, seawall.Client)
    with monkeypatch.context() as patch:
        patch.setattr(client, name, lambda *args, **kwargs: None)
        assert not plain.is_untouched(client, seawall.Client)
    subclass = type("Own", (seawall.Client,), {name: lambda *args, **kwargs: None})
    assert not plain.is_untouched(subclass(), seawall.Client)
    assert plain.is_untouched(type("Own", (seawall.Client,), {})(), seawall.Client)


def test_nobody_has_patched_anything():
    """What is httpx's and httpcore's own is told as such."""
    assert not is_patched(httpx.AsyncHTTPTransport)
    assert not is_patched(httpcore.AsyncConnectionPool)


def test_every_error_has_its_httpx_class():
    """Each leaf of the tree, by its own line in the table or its parent's."""
    concrete = [getattr(errors, name) for name in errors.__all__]
    roots = {errors.SeawallError, errors.Unsent, errors.ResolveError, errors.TLSError, errors.WireError}
    for error in set(concrete) - roots:
        assert any(base in HTTPX for base in error.__mro__), error


def test_public_names():
    """All there, all documented but the two aliases and the sentinel."""
    for name in set(seawall.__all__) - {"UNSET", "Event", "Listener"}:
        assert getattr(seawall, name).__doc__.strip(), name


@pytest.mark.parametrize("kind", [seawall.Client, seawall.Transport])
def test_every_argument_of_httpx_is_taken(kind):
    """A drop-in takes what httpx takes."""
    stock = {seawall.Client: httpx.AsyncClient, seawall.Transport: httpx.AsyncHTTPTransport}[kind]
    ours = inspect.signature(kind).parameters
    if "arguments" not in ours:
        assert set(inspect.signature(stock).parameters) - set(ours) == {"retries"}
    else:
        kind(**{name: each.default for name, each in inspect.signature(stock).parameters.items()})

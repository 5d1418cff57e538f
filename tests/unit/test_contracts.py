"""What this code takes for granted of others, and of itself."""

from __future__ import annotations

import ast
import copy
import dataclasses
import importlib
import inspect
import io
import sys
import time
from pathlib import Path

import hpack
import hpack.huffman_table
import hpack.table
import httpcore
import httpx
import pytest

import seawall
from seawall import errors
from seawall._httpx import arguments, building, compat, decoder, fast_path, mocks, mounts, private
from seawall._httpx import errors as adopted
from seawall.core.settings import Settings, SettingsArguments
from seawall.testing import Server
from seawall.wire.coding import CodingError
from seawall.wire.decoder import Decoded

pytestmark = pytest.mark.each_front


def test_private_names_of_httpx():
    """Those that AsyncClient and its transports stand on."""
    parameters = inspect.signature(httpx.AsyncClient._init_transport).parameters
    assert {"verify", "cert", "trust_env", "http1", "http2", "limits", "transport"} <= set(parameters)
    assert "proxy" in inspect.signature(httpx.AsyncClient._init_proxy_transport).parameters
    client = httpx.AsyncClient()
    assert client._mounts == {}
    assert isinstance(client._transport, httpx.AsyncHTTPTransport)
    assert isinstance(client._transport._pool, httpcore.AsyncConnectionPool)
    assert httpx.RequestError("x")._request is None
    parameters = inspect.signature(httpx.AsyncClient._build_redirect_request).parameters
    assert list(parameters) == ["self", "request", "response"]


def test_private_names_of_a_tunnel_of_httpcore():
    """`authority.mend_connect` takes the connection to the proxy out of it, before it is connected."""
    proxy = httpcore.AsyncHTTPProxy("http://127.0.0.1:1")
    tunnel = proxy.create_connection(httpcore.Origin(b"https", b"::1", 443))
    assert isinstance(tunnel._connection, httpcore.AsyncHTTPConnection)
    assert tunnel._connected is False
    forwarding = proxy.create_connection(httpcore.Origin(b"http", b"::1", 80))
    assert not hasattr(forwarding, "_connected")


async def test_stream_that_the_library_binds_to_a_response():
    """httpx's holds the response that holds it, so `compat.unbind` takes it away; httpx2's knows the time it took."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(b"")))
    async with httpx.AsyncClient(transport=transport) as client:
        response = await client.get("http://a/")
    bound, elapsed = response.stream, response.elapsed
    assert (getattr(bound, "_response", None) is response) != (getattr(bound, "elapsed", None) is not None)
    compat.unbind(response)
    assert (response.stream is compat.SPENT) == hasattr(bound, "_response")
    assert response.elapsed == elapsed


@pytest.mark.parametrize("is_buffered", [True, False])
@pytest.mark.parametrize("is_short", [True, False])
async def test_elapsed(is_buffered, is_short):
    """The time until a response was read or closed, whichever way it came; not to be had before."""
    async with Server(lambda request: request.reply()) as server, seawall.AsyncClient() as client:
        for _ in range(2):
            started_at = time.perf_counter()
            arguments = {} if is_short else {"auth": ("me", "it")}
            if is_buffered:
                response = await client.get(server.url, **arguments)
            else:
                async with client.stream("GET", server.url, **arguments) as response:
                    with pytest.raises(RuntimeError, match="elapsed"):
                        assert response.elapsed
                    await response.aread()
            took = time.perf_counter() - started_at
            assert 0 < response.elapsed.total_seconds() <= took


async def test_short_way_is_taken():
    """With the client's cookie jar as it is made; not once the jar has a cookie."""
    async with Server(lambda request: request.reply()) as server, seawall.AsyncClient() as client:
        await client.get(server.url)
        assert client._is_plain(client.build_request("GET", server.url))
        assert client.build_request("GET", server.url).stream is compat.EMPTY
        assert client._builder.request(client, "GET", server.url) is not None
        client.cookies.set("a", "b")
        assert client._builder.request(client, "GET", server.url) is None


def test_private_names_that_the_short_way_needs():
    """httpx's steps that it leaves out are methods of these names, its own; a client is read by these attributes."""
    client = seawall.AsyncClient(base_url="http://a/", headers={"a": "b"})
    assert fast_path.is_untouched(client, seawall.AsyncClient)
    assert fast_path.is_built_by_httpx(client, seawall.AsyncClient, seawall.AsyncClient.headers)
    assert (client._params, client._auth, client._mounts) == (client.params, client.auth, {})
    assert (client._base_url, client._timeout, client._headers) == (client.base_url, client.timeout, client.headers)
    assert client._event_hooks == {"request": [], "response": []}
    assert building.IS_ON
    assert client._builder.request(client, "GET", "/") is not None
    client.cookies.set("a", "b")
    assert client._builder.request(client, "GET", "/") is None


def test_builder_sees_what_changes():
    """The client's headers, in place or anew, its base URL, its params, its timeout; and somebody's JSON."""
    client = seawall.AsyncClient(base_url="http://a.test", headers={"a": "b"})

    def built() -> httpx.Request:
        request = client._builder.request(client, "POST", "/x", json={"a": [1, None]})
        assert request is not None
        theirs = httpx.AsyncClient.build_request(client, "POST", "/x", json={"a": [1, None]})
        assert (request.url, request.headers.raw, request.content) == (theirs.url, theirs.headers.raw, theirs.content)
        assert request.extensions == theirs.extensions
        return request

    assert built().headers["a"] == "b"
    client.headers["a"] = "c"
    assert built().headers["a"] == "c"
    client.headers = {"d": "e"}
    assert "a" not in built().headers
    client.base_url = "https://b.test/sub"
    assert built().url == "https://b.test/sub/x"
    client.timeout = 3.0
    assert built().extensions["timeout"]["read"] == 3.0
    client.headers["Host"] = "c.test"
    assert client._builder.request(client, "GET", "/") is None
    del client.headers["Host"]
    client.params = {"a": "b"}
    assert client._builder.request(client, "GET", "/") is None


@pytest.mark.parametrize("name", ["build_request", "_merge_url", "_merge_headers", "headers"])
def test_patch_switches_our_building_off(monkeypatch, name):
    """Of the library's class; a subclass's own part does too."""
    client = seawall.AsyncClient()
    theirs = inspect.getattr_static(httpx.AsyncClient, name)
    own = property(lambda self: None) if type(theirs) is property else lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncClient, name, own)
        assert client._builder.request(client, "GET", "http://a/") is None
    assert client._builder.request(client, "GET", "http://a/") is not None


@pytest.mark.parametrize("name", fast_path.BUILT_WITH)
def test_subclass_with_a_part_of_its_own_builds_as_the_library_does(name):
    client = seawall.AsyncClient()
    theirs = inspect.getattr_static(httpx.AsyncClient, name)
    own = property(theirs.fget, theirs.fset) if type(theirs) is property else lambda *given: theirs(*given)
    client.__class__ = type("Sub", (seawall.AsyncClient,), {name: own})
    assert client._builder.request(client, "GET", "http://a/") is None


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in building.PARTIES.items() for name in names]
)
def test_what_somebody_else_has_put_in_its_place_is_asked(monkeypatch, module, name):
    """A faster JSON, a tracer's request: the library builds then, with it."""
    client = seawall.AsyncClient()
    module = sys.modules[f"{httpx.__name__}.{module}"]
    if not hasattr(module, name):
        pytest.skip(f"this release has no {name} there")
    monkeypatch.setattr(module, name, lambda *given, **more: None)
    assert client._builder.request(client, "POST", "http://a/", json={}) is None
    monkeypatch.undo()
    assert client._builder.request(client, "POST", "http://a/", json={}) is not None
    monkeypatch.setattr(httpx.Request, "__init__", lambda *given, **more: None)
    assert client._builder.request(client, "GET", "http://a/") is None


def test_json_that_somebody_else_writes(monkeypatch):
    client = seawall.AsyncClient()
    monkeypatch.setattr(httpx._content, "json_dumps", lambda value, **more: "theirs")
    assert client.build_request("POST", "http://a/", json={}).content == b"theirs"


def test_parts_of_an_instance_and_of_a_class_beside_ours():
    """A client's own `_merge_headers`, and a mixin's `build_request`, `send` and headers, are asked."""
    client = seawall.AsyncClient()
    client._merge_headers = lambda headers: httpx.Headers({"signed": "yes"})
    assert client.build_request("GET", "http://a/").headers["signed"] == "yes"

    class Mixin(httpx.AsyncClient):
        def build_request(self, *arguments, **more):
            request = super().build_request(*arguments, **more)
            request.headers["mixed"] = "in"
            return request

        def send(self, *arguments, **more):
            raise NotImplementedError

    class Both(seawall.AsyncClient, Mixin):
        """Asks ours first, and ours the mixin."""

    both = Both()
    assert both.build_request("GET", "http://a/").headers["mixed"] == "in"
    assert not fast_path.is_untouched(both, seawall.AsyncClient)


def test_odd_arguments_are_left_to_the_library():
    """Methods that only equal a str, composed URLs beyond its limit, a default of another making."""
    client = seawall.AsyncClient(base_url="HTTP://A:80/")

    class Method(str):
        def upper(self):
            return "REPORT"

    assert client.build_request(Method("GET"), "http://a/").method == "REPORT"
    with pytest.raises(httpx.InvalidURL):
        client.build_request("GET", "http://a/", params={"a": 70_000 * "x"})
    other = copy.deepcopy(httpx.USE_CLIENT_DEFAULT)
    assert client.build_request("GET", "/x", timeout=other).extensions["timeout"]["read"] == 5.0
    request = client.build_request("GET", "/x")
    assert (str(request.url), request.headers["host"]) == ("http://a/x", "a")


def test_places_are_bounded():
    client = seawall.AsyncClient()
    for number in range(2000):
        assert client._builder.request(client, "GET", f"http://a{number}/") is not None
    assert 0 < len(client._builder._places) <= building.MAX_PLACES


@pytest.mark.parametrize("name", ["build_request", "send"])
def test_arguments_are_those_of_httpx(name):
    """Ours name them all, with the same defaults."""
    ours, theirs = (
        inspect.signature(getattr(cls, name)).parameters for cls in (seawall.AsyncClient, httpx.AsyncClient)
    )
    assert {n: (p.kind, p.default) for n, p in ours.items()} == {n: (p.kind, p.default) for n, p in theirs.items()}


def test_bodies_are_what_httpx_makes_of_them():
    """What a caller gave can be found, and the files of a form."""
    client, file = httpx.AsyncClient(), io.BytesIO(b"x")

    async def parts():
        yield b"x"

    given = parts()
    assert compat.given(client.build_request("PUT", "http://a", content=given).stream) is given
    form = client.build_request("PUT", "http://a", files={"f": file}, data={"a": "b"}).stream
    assert compat.files_of(form) == [b"", file]
    assert compat.files_of(compat.EMPTY) is None


def test_requests_and_responses_are_as_httpx_makes_them():
    """Made without its constructors, they have the attributes that it gives them, in value and in number."""
    assert compat.IS_KNOWN
    url = httpx.URL("http://a:81/b?c=d")
    theirs = httpx.Request("GET", url, headers={"X": "y"}, extensions={"timeout": {}})
    ours = compat.ask("GET", url, list(compat.triples(theirs.headers)), {"timeout": {}})
    assert vars(ours).keys() == vars(theirs).keys()
    assert vars(ours.headers) == vars(theirs.headers)
    assert (ours.content, ours.url, ours.method) == (theirs.content, theirs.url, theirs.method)
    assert compat.origin_of(url) == ("http", "a", 81, "/b")
    assert compat.target_of(url).encode() == url.raw_path

    theirs, ours = (
        httpx.Response(200, headers=[(b"X", b"y")], stream=httpx.ByteStream(b"ok"), extensions={"a": 1}),
        compat.answer(200, [(b"X", b"x", b"y")], httpx.ByteStream(b"ok"), {"a": 1}),
    )
    assert ours.headers.multi_items() == theirs.headers.multi_items()
    assert {**vars(ours), "stream": 0, "headers": 0} == {**vars(theirs), "stream": 0, "headers": 0}
    theirs.read()
    compat.take_in(ours)
    vars(theirs).pop("_decoder")
    assert {**vars(ours), "stream": 0, "headers": 0} == {**vars(theirs), "stream": 0, "headers": 0}
    assert isinstance(ours.stream, httpx.AsyncByteStream)


@pytest.mark.parametrize("kind", ["Headers", "Request", "Response"])
def test_release_that_adds_an_attribute(monkeypatch, kind):
    """Its constructors are called then, so that a response has the attribute; requests are built by the library."""
    constructor = getattr(httpx, kind).__init__

    def adding(self, *args, **kwargs):
        constructor(self, *args, **kwargs)
        self.added = True

    assert compat._is_known()
    monkeypatch.setattr(getattr(httpx, kind), "__init__", adding)
    assert not compat._is_known()
    answered = compat._answer(200, [(b"A", b"a", b"b")], compat.EMPTY, {"a": 1})
    assert kind == "Request" or {"Headers": answered.headers, "Response": answered}[kind].added
    assert (answered.headers.raw, answered.extensions) == ([(b"A", b"b")], {"a": 1})


def test_private_names_of_decoding():
    """httpx keeps a response's decoder where we set it, asks it for all that is read, and knows codings by name."""
    response = httpx.Response(200, stream=httpx.ByteStream(b"raw"))
    assert (decoder.decoder_of(response), compat.is_read(response)) == (None, False)
    decoded = Decoded(b"content")
    decoder.set_decoder(response, decoded)
    assert decoder.decoder_of(response) is decoded
    assert (response.read(), response.num_bytes_downloaded, compat.is_read(response)) == (b"content", 3, True)
    supported = importlib.import_module(f"{httpx.__name__}._decoders").SUPPORTED_DECODERS
    assert supported.keys() == {"identity", "gzip", "deflate"} | decoder.DECODED
    response = httpx.Response(200, stream=httpx.ByteStream(b"raw"))
    decoder.set_decoder(response, Decoded(error=CodingError("bad")))
    with pytest.raises(httpx.DecodingError, match=r"^bad$"):
        response.read()


def test_each_private_name_is_looked_for(monkeypatch):
    """In instances, because most are attributes that a constructor sets; and some by what they hold."""
    assert frozenset() == private.MISSING
    held = private.SAMPLES | {"Headers": httpx.Headers([("c", "d")])}
    wanted = {dotted.replace(".", "._unheard_of") for dotted in private.PRIVATE - private.DECODERS}
    monkeypatch.setattr(private, "PRIVATE", private.PRIVATE | wanted)
    assert private._missing(private.SAMPLES) == wanted
    assert private._missing(held) == wanted | private.HEADERS


NO_PROXY = [
    "10.0.0.0/8", "127.0.0.0/8", "1.2.3.4", "::1", "::1/128", "fd00::/8", "[::1]", "[fd00::]/8", "*", "a,*", " a , b",
    "example.com,.a.b", "*.x.com", "LOCALHOST", "localhost", "http://a", "a/b", "host:8080", "",
]  # fmt: skip


@pytest.mark.parametrize("no_proxy", NO_PROXY)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_proxies_of_the_environment_for_a_release_without_hooks(monkeypatch, no_proxy, name):
    """They are for the URLs that httpx has them for, whatever it makes of NO_PROXY, and under our layers."""
    monkeypatch.setattr(mounts, "has", lambda names: names == private.MOUNTS)
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    bottom = seawall.AsyncTransport()
    try:
        theirs = {pattern.pattern: each for pattern, each in httpx.AsyncClient()._mounts.items()}
    except httpx.InvalidURL:
        with pytest.raises(httpx.InvalidURL):
            mounts.mounted(bottom, {})
        return
    given = mounts.mounted(bottom, {})
    assert given["transport"] is bottom
    assert {pattern: each is None for pattern, each in given["mounts"].items()} == {
        pattern: each is None for pattern, each in theirs.items()
    }
    for each in filter(None, given["mounts"].values()):
        assert isinstance(each, seawall.AsyncTransport)
        assert isinstance(each._inner._pool, httpcore.AsyncHTTPProxy)
        assert each.engine is bottom.engine
    guarded = seawall.AsyncTransport(guard=seawall.Guard())
    with pytest.raises(ValueError, match="trust_env=False"):
        mounts.mounted(guarded, {})
    assert mounts.mounted(guarded, {"trust_env": False}) == {"transport": guarded, "mounts": {}}
    monkeypatch.setattr(mounts, "has", lambda names: False)
    with pytest.raises(ValueError, match="which URLs the proxies of the environment are"):
        mounts.mounted(bottom, {})
    monkeypatch.delenv(name)
    assert mounts.mounted(bottom, {}) == {"transport": bottom, "mounts": {}}


def test_hook_that_is_called_and_not_heeded(monkeypatch):
    """It counts as missing: what the client keeps decides, not what it calls."""

    class Deaf(httpx.AsyncClient):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self._transport = httpx.AsyncBaseTransport()

    assert private._heeded() == private.INITS
    monkeypatch.setattr(private, "CLIENT", Deaf)
    assert private._missing(private.SAMPLES) == {"AsyncClient._init_transport"}


def test_private_names_are_all_listed():
    """Every attribute with a leading underscore in `_httpx/` is ours, or httpcore's, or one that `compat` looks for."""
    accessed, ours = set(), set()
    folder = Path(seawall._httpx.__file__).parent
    for path in [*folder.glob("*.py"), folder.parent / "wire/body.py", folder.parent / "wire/decoder.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                ours.add(node.name)
            elif isinstance(node, ast.Dict):  # of a class that is made by `type`
                ours |= {each.value for each in node.keys if isinstance(each, ast.Constant)}
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [each for target in targets for each in ast.walk(target)]
                ours |= {each.id for each in names if isinstance(each, ast.Name)}
                ours |= {each.attr for each in names if isinstance(each, ast.Attribute)}
                if any(isinstance(each, ast.Name) and each.id == "__slots__" for each in names):
                    ours |= set(ast.literal_eval(node.value))
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                accessed.add(node.attr)
    httpcores = {"_connection", "_pool"}
    assert accessed - ours - httpcores <= {dotted.partition(".")[2] for dotted in private.PRIVATE}


@pytest.mark.parametrize("name", fast_path.NAMES)
def test_patch_switches_the_short_way_off(monkeypatch, name):
    """Whatever step is patched, at any time."""
    client = seawall.AsyncClient()
    with monkeypatch.context() as patch:
        patch.setattr(httpx.AsyncClient, name, lambda *args, **kwargs: None)
        assert not fast_path.is_untouched(client, seawall.AsyncClient)
    with monkeypatch.context() as patch:
        patch.setattr(client, name, lambda *args, **kwargs: None)
        assert not fast_path.is_untouched(client, seawall.AsyncClient)
    subclass = type("Own", (seawall.AsyncClient,), {name: lambda *args, **kwargs: None})
    assert not fast_path.is_untouched(subclass(), seawall.AsyncClient)
    assert fast_path.is_untouched(type("Own", (seawall.AsyncClient,), {})(), seawall.AsyncClient)


def test_private_names_of_hpack():
    """Its tables and its Huffman code, by which we compress headers."""
    table = hpack.table.HeaderTable()
    table.add(b"a", b"b")
    assert (table.get_by_index(62), table.search(b"a", b"b"), table.search(b"a", b"c")) == (
        (b"a", b"b"),
        (62, b"a", b"b"),
        (62, b"a", None),
    )
    assert (table.get_by_index(8), table.search(b":status", b"200")) == ((b":status", b"200"), (8, b":status", b"200"))
    assert table.search(b"c", b"") is None
    with pytest.raises(hpack.HPACKError):
        table.get_by_index(63)
    assert (table.maxsize, hpack.table.table_entry_size(b"a", b"b")) == (4096, 34)
    table.maxsize = 33
    assert list(table.dynamic_entries) == []
    assert hpack.huffman_table.decode_huffman(hpack.Encoder().huffman_coder.encode(b"seawall")) == b"seawall"


def test_nobody_has_patched_anything():
    """What is httpx's and httpcore's own is told as such."""
    assert not mocks.is_patched(httpx.AsyncHTTPTransport)
    assert not mocks.is_patched(httpcore.AsyncConnectionPool)
    assert not mocks.is_patched(httpcore.AsyncHTTPConnection)
    assert httpcore.AsyncHTTPConnection(httpcore.Origin(b"http", b"a", 80))._connection is None


def test_every_error_has_its_httpx_class():
    """Each leaf of the tree, by its own line in the table or its parent's; PartlySent has its reason's."""
    concrete = [getattr(errors, name) for name in errors.__all__]
    roots = {errors.SeawallError, errors.Unsent, errors.ResolveError, errors.TLSError, errors.WireError}
    for error in set(concrete) - roots - {errors.PartlySent}:
        assert any(base in adopted.HTTPX for base in error.__mro__), error


def test_public_names():
    """All there, all documented but the two aliases and the sentinel."""
    for name in set(seawall.__all__) - {"UNSET", "Event", "Listener"}:
        assert getattr(seawall, name).__doc__.strip(), name


@pytest.mark.parametrize("kind", [seawall.AsyncClient, seawall.AsyncTransport])
def test_every_argument_of_httpx_is_taken(kind):
    """A drop-in takes what httpx takes, and shows it with httpx's defaults, but for the limits."""
    stock = {seawall.AsyncClient: httpx.AsyncClient, seawall.AsyncTransport: httpx.AsyncHTTPTransport}[kind]
    theirs, ours = ({n: p.default for n, p in inspect.signature(cls).parameters.items()} for cls in (stock, kind))
    theirs.pop("retries", None)
    kind(**theirs)
    assert {name: ours[name] for name in theirs} == theirs | {"limits": arguments.LIMITS}


@pytest.mark.parametrize(
    ("kind", "taken", "others"),
    [
        (seawall.AsyncClient, arguments.ClientArguments, {"engine"}),
        (seawall.AsyncTransport, arguments.TransportArguments, {"engine", "inner"}),
        (seawall.Engine, arguments.EngineArguments, set()),
    ],
)
def test_arguments_are_typed_and_shown(kind, taken, others):
    """What type checkers know of is what ``inspect.signature`` shows, defaults of `Settings` included."""
    shown = inspect.signature(kind).parameters
    assert set(taken.__annotations__) == set(shown) - others
    defaults = {each.name: each.default for each in dataclasses.fields(Settings)}
    assert {name: shown[name].default for name in defaults} == defaults
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())


def test_settings_are_typed_twice_alike():
    """Their names and types as keyword arguments are those of the dataclass, in its order."""
    typed = {name: each.__forward_arg__ for name, each in SettingsArguments.__annotations__.items()}
    assert list(typed.items()) == [(each.name, each.type) for each in dataclasses.fields(Settings)]
    assert not SettingsArguments.__required_keys__

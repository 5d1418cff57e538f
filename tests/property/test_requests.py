"""Requests that we build are those that the library builds of the same arguments, whatever these are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st

from seawall._httpx import compat as of_httpx
from seawall.httpx2 import compat as of_httpx2
from seawall.testing import VirtualLoop
from tests.fronts import FRONTS

TEXT = st.text(st.sampled_from("ab/.:?#%@&=+ ~_-é\t\n{}[]\\\"'<>^`|;,!$*()0"), max_size=12)
WORD = st.text(st.sampled_from("abcXYZ019_-.~"), min_size=1, max_size=8)
PLAIN = st.lists(WORD, max_size=3).map(lambda parts: "/" + "/".join(parts))
GOOD = ["http://a.test", "https://A.test:8443", "http://a.test:80", "http://127.0.0.1:1", "http://[::1]:5", ""]
ODD = [
    "http://a:",
    "http://u:p@a",
    "ftp://a",
    "//a",
    "http:",
    "HTTP://a",
    "http://ü.de",
    "http://xn--u.de",
    "http://a:x",
]
ORIGIN = st.one_of(st.sampled_from(GOOD), st.sampled_from(ODD))
URL = st.one_of(
    st.builds("{}{}".format, st.sampled_from(GOOD), PLAIN),
    st.builds("{}{}{}".format, ORIGIN, st.one_of(PLAIN, TEXT), st.one_of(st.just(""), TEXT.map("?{}".format))),
    TEXT,
)
VALUE = st.one_of(TEXT, WORD, st.integers(), st.floats(), st.booleans(), st.none())
FIELDS = st.dictionaries(
    st.one_of(WORD, TEXT), st.one_of(VALUE, st.lists(VALUE, max_size=3), st.tuples(VALUE)), max_size=4
)
NAME = st.sampled_from(
    ["X-A", "x-a", "Accept", "User-Agent", "Content-Type", "content-length", "Host", "Cookie", "Transfer-Encoding", "é"]
)
HEADERS = st.dictionaries(NAME, st.one_of(WORD, TEXT), max_size=3)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORD, inner, max_size=3)),
    max_leaves=5,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "params": st.one_of(FIELDS, st.lists(st.tuples(WORD, WORD), max_size=2), WORD),
        "headers": st.one_of(HEADERS, st.lists(st.tuples(NAME, WORD), max_size=2)),
        "content": st.one_of(TEXT, st.binary(max_size=5)),
        "data": FIELDS,
        "json": JSON,
        "timeout": st.one_of(st.none(), st.floats(0, 9), st.integers(0, 9)),
        "extensions": st.dictionaries(st.sampled_from(["sni_hostname", "timeout", "x"]), st.just({}), max_size=2),
    },
)
CLIENT = st.fixed_dictionaries(
    {},
    optional={
        "base_url": st.sampled_from(
            ["http://a.test/sub", "http://a.test/sub/", "https://b:8443", "http://a/?q", "http://u@a"]
        ),
        "headers": st.dictionaries(NAME.filter(str.isascii), WORD, max_size=2),
        "params": st.sampled_from([{}, {"a": "b"}]),
        "cookies": st.sampled_from([{}, {"a": "b"}]),
    },
)
METHOD = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY", "get", "X"])


@pytest.fixture(scope="module")
def taken() -> Iterator[Counter[bool]]:
    """How many requests were built by us, and how many by the library."""
    taken: Counter[bool] = Counter()
    yield taken
    assert taken[True] >= 0.1 * taken.total()


def built(build, *arguments, **more) -> object:
    """A request's parts, or the error's class."""
    try:
        request = build(*arguments, **more)
    except Exception as error:
        return type(error)
    extensions = repr(request.extensions)  # because NaN isn't NaN
    return (
        request.method,
        request.url._uri_reference,
        vars(request.url).keys(),
        request.headers._list,
        request.headers._encoding,
        extensions,
        getattr(request, "_content", None),
        type(request.stream),
        b"".join(request.stream),
        sorted(vars(request)),
    )


@pytest.mark.parametrize("name", FRONTS)
@hypothesis.settings(max_examples=500, deadline=None)
@hypothesis.given(
    method=METHOD, url=URL, arguments=st.one_of(st.just({}), ARGUMENTS), settings=st.one_of(st.just({}), CLIENT)
)
@hypothesis.example(method="GET", url="http://a.test/%zz%41?%zz&b=%41#f", arguments={}, settings={})
@hypothesis.example(method="GET", url="http://a.test?a=b", arguments={"params": {}}, settings={})
@hypothesis.example(method="GET", url="a:b", arguments={}, settings={"base_url": "http://a.test/sub"})
@hypothesis.example(method="GET", url="./a", arguments={}, settings={"base_url": "http://a.test/sub"})
@hypothesis.example(method="GET", url="///a", arguments={}, settings={"base_url": "http://a.test/sub"})
@hypothesis.example(method="GET", url="/a//b/", arguments={}, settings={"base_url": "http://a.test/sub"})
@hypothesis.example(method="GET", url="http://a.test/" + 65536 * "a", arguments={}, settings={})
@hypothesis.example(method="POST", url="http://a.test/", arguments={"json": math.nan}, settings={})
@hypothesis.example(method="POST", url="http://a.test/", arguments={"content": b"", "json": {}}, settings={})
@hypothesis.example(method="POST", url="http://a.test/", arguments={"data": {"a": "\ud800"}}, settings={})
@hypothesis.example(
    method="POST", url="http://a.test/", arguments={"json": {}, "headers": {"content-TYPE": "a/b"}}, settings={}
)
def test_requests_are_those_of_the_library(taken, name, method, url, arguments, settings):
    """Down to the order and case of the headers; what the library refuses is refused by the same error."""
    front = FRONTS[name]
    loop = VirtualLoop()

    async def run() -> None:
        try:
            client = front.seawall.AsyncClient(**settings, trust_env=False)
        except Exception:
            hypothesis.reject()
        async with client:
            theirs = built(front.httpx.AsyncClient.build_request, client, method, url, **arguments)
            for _ in range(2):  # the second finds what the first has left
                assert built(client.build_request, method, url, **arguments) == theirs
            plain = {"timeout", *arguments} - {"timeout", "cookies", "files"}
            if not isinstance(theirs, type):
                taken[client._builder.request(client, method, url, **{k: arguments[k] for k in plain}) is not None] += 1

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


NAME = st.sampled_from(["A", "a", "B", "X-c", "x-C", "Traceparent"])


@hypothesis.given(given=st.lists(st.tuples(NAME, WORD)), added=st.dictionaries(NAME, WORD))
@pytest.mark.parametrize("compat", [of_httpx, of_httpx2], ids=["httpx", "httpx2"])
def test_headers_of_an_attempt_are_merged_as_the_library_merges(compat, given, added):
    """Those that an attempt adds, such as a trace's, take the place of the caller's, which stay as they are."""
    headers = compat.httpx.Headers(given) if compat is of_httpx else compat.httpx2.Headers(given)
    before = headers.raw
    assert compat._merged_directly(headers, added).raw == compat._merged(headers, added).raw
    assert headers.raw == before

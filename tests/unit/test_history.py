"""`seawall.history`: the attempts of a call, from what it ended with."""

from __future__ import annotations

import pytest

import seawall
from seawall.core.adoption import adopted
from tests.fronts import Front


@pytest.fixture
def kept() -> seawall.History:
    """A history that can't be taken for another."""
    history = seawall.History()
    history.note = "this one"
    return history


def test_of_a_response(lib: Front, kept):
    """It is in the response's extensions."""
    assert seawall.history(lib.httpx.Response(200, extensions={"seawall": kept})) is kept


def test_of_an_error(lib: Front, kept):
    """It is the error's own, even beside that of its response."""
    response = lib.httpx.Response(503, extensions={"seawall": seawall.History()})
    error = seawall.errors.StatusError("a", attempts=kept, response=response)
    assert seawall.history(error) is kept
    assert seawall.history(adopted(error, lib.httpx.HTTPStatusError)) is kept


def test_of_the_error_of_raise_for_status(lib: Front, kept):
    """It is the response's, because such an error has none of its own."""
    response = lib.httpx.Response(503, extensions={"seawall": kept}, request=lib.httpx.Request("GET", "http://a/"))
    with pytest.raises(lib.httpx.HTTPStatusError) as caught:
        response.raise_for_status()
    assert seawall.history(caught.value) is kept


def test_of_what_has_none(lib: Front):
    """A stock response, a stock error, an error of another kind, and one of ours before a call: empty."""
    for thing in (
        lib.httpx.Response(200),
        lib.httpx.Response(200, extensions={"seawall": "not a history"}),
        lib.httpx.ConnectError("a"),
        lib.httpx.HTTPStatusError("a", request=lib.httpx.Request("GET", "http://a/"), response=lib.httpx.Response(500)),
        ValueError("a"),
        seawall.DialError("a"),
    ):
        history = seawall.history(thing)
        assert type(history) is seawall.History
        assert history == ()


def test_of_anything_else(lib: Front):
    """A request has extensions too, but they are settings."""
    for thing in (None, 503, lib.httpx.Request("GET", "http://a/", extensions=seawall.options(deadline=1.0))):
        with pytest.raises(TypeError, match="takes a response of httpx or httpx2, or an error, not "):
            seawall.history(thing)

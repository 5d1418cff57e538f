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


def test_server_timing_of_the_response(lib: Front, kept):
    """It is read when somebody asks for the history, from all headers of that name; an error gives its response's."""
    headers = [("server-timing", "db;dur=40"), ("Server-Timing", 'cache;desc="hit, warm", total;dur=50')]
    response = lib.httpx.Response(503, headers=headers, extensions={"seawall": kept})
    assert kept.server_timing == ()
    assert seawall.history(response).server_timing == (
        ("db", 0.04, ""),
        ("cache", None, "hit, warm"),
        ("total", 0.05, ""),
    )
    raised = seawall.History()
    assert seawall.history(seawall.errors.StatusError("a", attempts=raised, response=response)) is raised
    assert [timing.name for timing in raised.server_timing] == ["db", "cache", "total"]
    assert seawall.history(lib.httpx.Response(200, headers=headers)).server_timing == ()


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

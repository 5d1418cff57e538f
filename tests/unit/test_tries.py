"""Which name server a question goes to, and when."""

from __future__ import annotations

import pytest

from seawall.dns.tries import MAX_TRIES, PAUSES, QUESTION_TIMEOUT, RECENT, SILENT_FOR, Standing, Tries


def taken(tries: Tries, most: int = 10) -> list[str]:
    return [server for _ in range(most) if (server := tries.take()) is not None]


@pytest.mark.parametrize(
    ("servers", "order"),
    [("a", "aaa"), ("ab", "aba"), ("abc", "abc"), ("abcd", "abc"), ("aab", "aba"), ("", "")],
)
def test_servers_come_in_turn(servers, order):
    """Three tries in all, however many servers there are; one that is listed twice is one server."""
    tries = Tries(servers)
    assert "".join(taken(tries)) == order
    assert tries.made == len(order)
    assert tries.is_over


def test_server_that_failed_is_not_asked_again():
    """The others are, and where there are none the tries are over."""
    tries = Tries("ab")
    assert tries.take() == "a"
    tries.drop("a")
    tries.drop("a")
    assert (tries.take(), tries.is_over) == ("b", False)
    tries.drop("b")
    assert (tries.take(), tries.is_over, tries.made) == (None, True, 2)


def test_servers_can_be_left_out():
    """They keep their turn, and no try is used up where all of them are left out."""
    tries = Tries("abc")
    assert tries.take(but="a") == "b"
    assert tries.take(but="abc") is None
    assert (tries.made, tries.is_over) == (1, False)
    assert taken(tries) == ["a", "c"]


def test_schedule():
    """0.5 and 1.5 s after the first try, and the end after 5 s; six datagrams for both families."""
    assert PAUSES == (0.5, 1.0)
    assert (MAX_TRIES, QUESTION_TIMEOUT) == (3, 5.0)


def test_server_works_through_a_queue():
    """It has answered just now, and nothing that was sent later than the question."""
    server = Standing()
    assert not server.has_queue(10.0, 10.5)  # it has never answered
    server.answered(9.0, 10.4)
    assert server.has_queue(10.0, 10.5)
    assert server.has_queue(10.0, 10.4 + RECENT - 0.01)
    assert not server.has_queue(10.0, 10.4 + RECENT)  # it has stopped
    server.answered(10.1, 10.6)
    server.answered(9.5, 10.7)
    assert not server.has_queue(10.0, 10.7)  # it has passed the question over, so a datagram is lost
    assert server.has_queue(10.2, 10.7)
    assert server.has_queue(10.1, 10.7)  # sent at the same time: a coarse clock tells no order


def test_server_that_left_a_question_to_another_is_silent():
    """For a while, unless it answers; not where it had too little time, or has answered anything since."""
    server = Standing()
    assert not server.is_silent(0.0)
    server.left(10.0, 10.0 + PAUSES[0] - 0.01)
    assert not server.is_silent(10.5)
    server.left(10.0, 10.0 + PAUSES[0])
    assert server.is_silent(10.5)
    assert server.is_silent(10.5 + SILENT_FOR - 0.01)
    assert not server.is_silent(10.5 + SILENT_FOR)
    server.answered(10.0, 11.0)
    assert not server.is_silent(11.0)
    server.left(10.5, 12.0)
    assert not server.is_silent(12.0)
    server.left(11.5, 12.0)
    assert server.is_silent(12.0)

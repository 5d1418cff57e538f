"""The table of failures: each row is met, and no verdict is ever unsafe."""

from __future__ import annotations

from itertools import product

import httpx
import pytest

import seawall
from seawall.events import Phase
from seawall.policy.failures import FAILURES, Safe, failure_of
from seawall.policy.outcome import (
    Kind,
    Outcome,
    Request,
    is_failure,
    is_final,
    is_worth_retrying,
    kind_of,
    why_unsafe,
)

RETRY = seawall.Retry()
REQUESTS = [Request(*flags) for flags in product([True, False], repeat=3)]


def error_of(row) -> Exception:
    """An error as the row describes it."""
    if row.error is Exception:
        return httpx.ReadError("foreign")
    error = row.error("boom")
    if row.flag:
        setattr(error, row.flag, True)
    return error


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.what)
def test_each_row_is_met(row):
    """No row before it takes what is its own."""
    assert failure_of(error_of(row), row.since) is row


@pytest.mark.parametrize("name", list(seawall.errors.__all__))
def test_each_error_has_a_row(name):
    """Whatever is raised, in whatever phase."""
    for phase in Phase:
        assert failure_of(getattr(seawall.errors, name)("boom"), phase) in FAILURES


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
@pytest.mark.parametrize("row", FAILURES, ids=lambda row: row.what)
def test_verdict(row, request_):
    """Of each (failure, phase, method, key, body): once something was sent, only what is idempotent or has a key."""
    for phase in (phase for phase in Phase if phase >= row.since):
        outcome = Outcome(phase, error=error_of(row))
        is_again = not is_final(outcome) and not why_unsafe(outcome, RETRY, request_)
        expected = (
            failure_of(error_of(row), phase).safe is not Safe.NEVER
            and request_.is_replayable
            and (request_.is_idempotent or request_.has_key or phase < Phase.SENDING)
        )
        assert is_again is expected


@pytest.mark.parametrize("status", range(200, 600))
def test_answers(status):
    """Which are worth a retry, and whose, by default."""
    worth = {408, 425, 429, 500, 502, 503, 504}
    plain, with_key = Request(False, False, True), Request(False, True, True)
    outcome, later = Outcome(Phase.HEADERS, status=status), Outcome(Phase.HEADERS, status=status, retry_after=1.0)
    assert is_worth_retrying(outcome, RETRY, has_key=False) is (status in worth)
    assert is_worth_retrying(later, RETRY, has_key=False) is (status in worth | {413})
    assert is_worth_retrying(outcome, RETRY, has_key=True) is (status in worth | {409})
    assert (not why_unsafe(outcome, RETRY, plain)) is (status == 429)
    assert not why_unsafe(outcome, RETRY, with_key)
    assert is_failure(outcome) is (status >= 500 and status != 501)


def test_what_a_retry_is_counted_as():
    """As urllib3 has it: connect, read, status, other."""
    assert kind_of(Outcome(Phase.TLS, error=seawall.DialError("no")), RETRY, has_key=False) is Kind.CONNECT
    assert kind_of(Outcome(Phase.SENT, error=seawall.errors.ReadTimeout("no")), RETRY, has_key=False) is Kind.READ
    assert kind_of(Outcome(Phase.HEADERS, status=503), RETRY, has_key=False) is Kind.STATUS
    assert kind_of(Outcome(Phase.HEADERS, status=200), RETRY, has_key=False) is Kind.OTHER


def test_user_says_more_is_idempotent():
    """methods=None: all; but what can't be sent again is not sent again."""
    retry = seawall.Retry(methods=None)
    assert retry.is_idempotent("POST")
    outcome = Outcome(Phase.SENT, error=seawall.errors.ReadTimeout("no"))
    assert why_unsafe(outcome, retry, Request(True, True, False)) != ""

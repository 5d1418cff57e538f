"""Forcing breakers from the page, if the application allows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ...policy.breaker import BreakerState
from .view import View

__all__ = ["Refused", "force", "is_same_origin"]

ACTIONS: Final = ("force_open", "force_closed", "reset")
HEADER: Final = "x-seawall"
"""A page of another origin can't send it, because the browser would ask first, and nothing here would say yes."""


class Refused(Exception):
    """
    The order isn't followed.

    Attributes:
        status: That of the answer.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """
    Whether a browser sent the request for a page of the same origin.

    Browsers set Sec-Fetch-Site on https and on loopback, Origin everywhere; no script can set either.

    Source: https://www.w3.org/TR/fetch-metadata/; RFC 6454 section 7.
    """
    if HEADER not in headers:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host = headers.get("origin", "").partition("://")[2]
    return bool(host) and host == headers.get("host")


def force(view: View, body: bytes) -> str:
    """
    Follow the order in *body*: ``{"id": "0 https://api.example.com:443", "action": "reset"}``.

    Returns:
        The breaker's state.
    Raises:
        Refused: It is not an order, or its row or breaker doesn't exist.
    """
    wanted, action = _order(body)
    row = next((row for row in view.rows() if row.id == wanted and row.stats is not None), None)
    if row is None:
        raise Refused(404, "no client keeps state of this origin")
    breaker: BreakerState
    try:
        breaker = view.clients[row.client].engine.breakers[row.name]
    except KeyError:
        raise Refused(409, "the breaker of this origin is off") from None
    getattr(breaker, action)()
    return str(breaker.state)


def _order(body: bytes) -> tuple[str, str]:
    try:
        order: Any = json.loads(body)
        wanted, action = order["id"], order["action"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Refused(400, 'the body must be JSON with "id" and "action"') from None
    if action not in ACTIONS or not isinstance(wanted, str):
        raise Refused(400, f"action must be one of {', '.join(ACTIONS)}")
    return wanted, action

"""The header Server-Timing: how long a server says that it took for a response."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

__all__ = ["ServerTiming", "parse"]

MAX_TIMINGS: Final = 20  # of one response; servers send few, and a hostile one is not listened to

QUOTED: Final = r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
"""A quoted string, which the end of the header closes too. Source: RFC 9110 section 5.6.4."""

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
BETWEEN: Final = {mark: re.compile(rf'(?:[^"{mark}]|{QUOTED})+', re.DOTALL) for mark in ",;"}
"""What stands between two commas, or two semicolons, outside quotes."""


class ServerTiming(NamedTuple):
    """
    One metric of a response's Server-Timing.

    Attributes:
        duration: In seconds; None if the server gives none, or one that isn't a number.
        description: Empty if the server gives none.
    """

    name: str
    duration: float | None
    description: str


def parse(headers: Iterable[str]) -> tuple[ServerTiming, ...]:
    """
    The metrics that the values of all Server-Timing *headers* give, in order; at most `MAX_TIMINGS`.

    What isn't a metric is left out. Of a parameter that is given twice, the first counts.

    Source: https://www.w3.org/TR/server-timing/#the-server-timing-header-field
    """
    found: list[ServerTiming] = []
    for metric in _metrics(headers):
        if len(found) == MAX_TIMINGS:
            break
        name, *parameters = BETWEEN[";"].findall(metric) or [""]
        if TOKEN.fullmatch(name := name.strip()):
            given = dict(map(_parameter, reversed(parameters)))
            found.append(ServerTiming(name, _seconds(given.get("dur", "")), given.get("desc", "")))
    return tuple(found)


def _metrics(headers: Iterable[str]) -> Iterator[str]:
    for header in headers:
        for metric in BETWEEN[","].finditer(header):
            yield metric[0]


def _parameter(text: str) -> tuple[str, str]:
    """Name, in lower case, and value, without quotes and with what else stands there left out."""
    name, _, value = text.partition("=")
    value = value.strip()
    if value.startswith('"'):
        quoted = re.match(QUOTED, value, re.DOTALL)
        value = ESCAPED.sub(r"\1", "" if quoted is None else quoted[0][1:].removesuffix('"'))
    else:
        token = TOKEN.match(value)
        value = "" if token is None else token[0]
    return name.strip().lower(), value


def _seconds(milliseconds: str) -> float | None:
    seconds = float(milliseconds) / 1e3 if DURATION.fullmatch(milliseconds) else math.nan
    return seconds if math.isfinite(seconds) else None

"""
Which requests get which script by their method and path, and which requests came. No I/O here.

Rules: of several paths that fit, the one counts that has fixed text where the others have a parameter, from the left;
of two routes for one path, the one with the request's method. A new route with a key replaces the earlier one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from .request import Request
from .scripts import MAX_RECORDS, Received

__all__ = ["Call", "Calls", "Route", "Routes"]

Look = Callable[[Callable[[], Any]], Any]

MAX_STRAYS: Final = 20
MAX_SHOWN: Final = 20  # calls in a message
MAX_WIDTH: Final = 100  # characters of a step in a message
PARAMETER: Final = re.compile(r"\{(\w+)\}")
RESERVED: Final = ("/x", "/ctl")


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request that came to a route.

    Attributes:
        request: Its method, path, params, query, headers, body, text and json(); the body grows while it is read.
        number: Its number among the route's requests, from 1.
        step: The text of the step that was done to it.
        at: When it came, in seconds on the clock of the server's loop.
    """

    request: Request
    number: int
    step: str
    at: float

    def __str__(self) -> str:
        step = "".join(each if each.isprintable() else repr(each)[1:-1] for each in unquote(self.step))
        return f"{self.number}  {self.request.method} {self.request.target} -> {step[:MAX_WIDTH]}"


class Calls(list[Call]):
    """The requests that came to a route, in order; an index that is too high says how many there are."""

    def __init__(self, name: str, calls: deque[Call]) -> None:
        super().__init__(calls)
        self._name = name

    def __getitem__(self, index: Any) -> Any:
        try:
            return super().__getitem__(index)
        except IndexError:
            raise IndexError(f"calls[{index}]: {self._name} was called {times(len(self))}") from None

    @property
    def last(self) -> Call:
        """The last one."""
        call: Call = self[-1]
        return call


class Route:
    """
    A script for the requests with one path, which `FaultServer.route` makes, and what came to it.

    Attributes:
        path, method: As they were given; without a method the route takes all.
        key: The key of its script and records, for `FaultServer.attempts`: ``"GET /orders/{id}"``.
    """

    def __init__(self, path: str, method: str | None, look: Look, strays: deque[str]) -> None:
        self.path = path
        self.method = method
        self.key = path if method is None else f"{method} {path}"
        self._look = look
        self._strays = strays
        self._calls: deque[Call] = deque(maxlen=MAX_RECORDS)
        self._count = 0
        self._pattern, self.rank = _compiled(path)

    def __repr__(self) -> str:
        return f"<Route {self.key}, called {times(self._count)}>"

    # What a test asks

    @property
    def calls(self) -> Calls:
        """The requests that came, in order (the last 10,000)."""
        calls: Calls = self._look(lambda: Calls(self.key, self._calls))
        return calls

    @property
    def call_count(self) -> int:
        """How many requests came."""
        return self._count

    @property
    def called(self) -> bool:
        """Whether a request came."""
        return self._count > 0

    def assert_called(self) -> None:
        """Raise AssertionError if no request came."""
        if not self.called:
            raise AssertionError(self._said("at least once"))

    def assert_called_once(self) -> None:
        """Raise AssertionError unless one request came."""
        self.assert_call_count(1)

    def assert_not_called(self) -> None:
        """Raise AssertionError if a request came."""
        self.assert_call_count(0)

    def assert_call_count(self, count: int) -> None:
        """Raise AssertionError unless so many requests came."""
        if self._count != count:
            raise AssertionError(self._said(times(count)))

    def _said(self, expected: str) -> str:
        """What came, for whoever expected something else."""
        calls = self.calls
        lines = [f"{self.key} was called {times(self._count)}; expected: {expected}"]
        lines += [f"  {call}" for call in calls[:MAX_SHOWN]]
        if len(calls) > MAX_SHOWN:
            lines.append(f"  ... and {len(calls) - MAX_SHOWN} more")
        strays = self._look(lambda: list(self._strays))
        return "\n".join([*lines, *(f"  without a route: {each}" for each in strays)])

    # What the server asks

    def params(self, path: str) -> dict[str, str] | None:
        """The parameters of a path in `normal` form; None if the path isn't this route's."""
        found = self._pattern.fullmatch(path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}

    def record(self, request: Request, received: Received) -> None:
        """Keep a request among its calls."""
        self._count += 1
        self._calls.append(Call(request, self._count, received.step, received.at))


class Routes:
    """
    All routes of a server.

    Args:
        look: Reads in the thread of the server, as `Service` does.
    Attributes:
        strays: The last requests for paths without a route, as texts.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._routes: list[Route] = []
        self.strays: deque[str] = deque(maxlen=MAX_STRAYS)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def make(self, path: str, method: str | None) -> Route:
        """
        A route that takes no requests yet, because its script may not be valid.

        Raises:
            ValueError: *path* or *method* isn't one, or another route takes the same requests by other parameters.
        """
        if method is not None:
            if not isinstance(method, str) or not re.fullmatch(r"[A-Za-z-]+", method):
                raise ValueError(f'method must be one such as "POST", or None for all, not {method!r}')
            method = method.upper()
        route = Route(path, method, self._look, self.strays)
        for other in self._routes:
            if (other.rank, other.method) == (route.rank, method) and other.path != path:
                raise ValueError(f"{route.key} takes the same requests as {other.key}: use one path for both")
        return route

    def add(self, route: Route) -> None:
        """Give it its requests from now on, in place of an earlier route of the same key."""
        self._routes = [each for each in self._routes if each.key != route.key] + [route]
        self._routes.sort(key=lambda each: (each.rank, each.method is None))

    def find(self, request: Request) -> Route | None:
        """The route of a request, which gets its parameters; without one, the request is noted among the strays."""
        path = normal(request.path)
        if _is_reserved(path):
            return None
        for route in self._routes:
            params = route.params(path) if route.method in (None, request.method) else None
            if params is not None:
                request.params = params
                return route
        self.strays.append(f"{request.method} {request.target}")
        return None

    def methods(self, request: Request) -> list[str]:
        """The methods that a request's path has routes for."""
        path = normal(request.path)
        return sorted({route.method for route in self._routes if route.method and route.params(path) is not None})

    def reset(self) -> None:
        """Forget all routes."""
        self._routes.clear()
        self.strays.clear()


def times(count: int) -> str:
    """A number of times in words."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def normal(path: str) -> str:
    """A path of which each segment is percent-encoded in the same way, however the client has done it."""
    return "/".join(quote(unquote(segment), safe="") for segment in path.split("/"))


def _is_reserved(path: str) -> bool:
    return "/".join(path.split("/")[:2]) in RESERVED


def _compiled(path: object) -> tuple[re.Pattern[str], tuple[tuple[int, str], ...]]:
    """The pattern of a route's path, and what it is sorted by: of each segment, whether it is fixed, and its text."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(f'path must begin with a slash, as "/orders/{{id}}", not {path!r}')
    if "?" in path or "#" in path:
        raise ValueError(f"path {path!r} must not have a query: a route takes all, and calls[0].request.query has it")
    names = PARAMETER.findall(path)
    if re.search(r"[{}]", PARAMETER.sub("", path)) or not all(map(str.isidentifier, names)):
        raise ValueError(f"path {path!r}: a parameter must be a name in braces, as {{id}}")
    if len(set(names)) < len(names):
        raise ValueError(f"path {path!r} has two parameters of one name")
    if _is_reserved(path):
        raise ValueError(f"path {path!r}: the server itself answers {' and '.join(RESERVED)} and what is below them")
    patterns, ranks = [], []
    for segment in path.split("/"):
        fixed = [quote(unquote(part), safe="") for part in PARAMETER.split(segment)[::2]]
        named = PARAMETER.findall(segment)
        groups = [*(f"(?P<{name}>[^/]+)" for name in named), ""]
        patterns.append("".join(re.escape(part) + group for part, group in zip(fixed, groups, strict=True)))
        ranks.append((0 if not named else 1 if any(fixed) else 2, "{}".join(fixed)))
    return re.compile("/".join(patterns)), tuple(ranks)

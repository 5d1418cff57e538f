# Written by scripts/twin.py from ../_httpx/wire.py: change that file, and run the script.
"""A transport that follows a script, without a network."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2

__all__ = ["Body", "ScriptedWire", "Sent", "WireStep"]


class Body(httpx2.AsyncByteStream):
    """
    A body in parts: bytes, pauses in seconds (math.inf never ends), and an exception or its class, which is raised.

    ``Body(b"half", httpx2.ReadError)`` is cut after 4 bytes; ``Body(*[1.0, b"x" * 1000] * 60)`` takes a minute. It can
    be read any number of times.
    """

    def __init__(self, *parts: bytes | float | Exception | type[Exception]) -> None:
        for part in parts:
            if not isinstance(part, bytes) and not _is_error(part):
                _check_delay("Body", part)
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, bytes):
                yield part
            elif isinstance(part, int | float):
                await _pass(part)
            else:
                raise _error(part)


WireStep = (
    int
    | float
    | httpx2.Response
    | Body
    | Exception
    | type[Exception]
    | Callable[[httpx2.Request], Any]
    | tuple[float, "WireStep"]
)
"""
What happens to one attempt.

- An int: an answer with that status and no body.
- A float: that many seconds pass, then 200; with math.inf it hangs for ever. httpx2's timeouts don't end it, because
  they are the business of a transport; write ``(5.0, httpx2.ReadTimeout)``.
- An ``httpx2.Response``: a copy of it, each time.
- A `Body`: 200 with that body.
- An exception or its class: it is raised; httpx2's classes say whether anything was sent.
- A function of the request, sync or async: it returns the step.
- A tuple (delay, step): that many seconds pass, then the step.
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """
    One attempt.

    Attributes:
        at: When it had arrived with all its body, in seconds on the loop's clock.
        length, sha256: Of its body.
    """

    at: float
    method: str
    url: httpx2.URL
    headers: httpx2.Headers
    length: int
    sha256: str


class ScriptedWire(httpx2.MockTransport):
    """
    A client's transport: ``seawall.httpx2.AsyncClient(transport=ScriptedWire(503, (0.5, httpx2.ReadTimeout), 200))``.

    The n-th attempt gets the n-th step, and the last one repeats; without steps, every answer is 200. It is an
    ``httpx2.MockTransport``, whose errors a client trusts: ConnectError, ConnectTimeout and PoolTimeout mean that
    nothing was sent, so the client may repeat the request; all others mean that it was sent.

    Args:
        per_host: Scripts for single hosts; their attempts take no turn of the common script.
    Attributes:
        attempts: All attempts, in order.
    """

    def __init__(self, *steps: WireStep, per_host: Mapping[str, list[WireStep]] | None = None) -> None:
        super().__init__(self._answer)
        self.attempts: list[Sent] = []
        self._scripts: dict[str | None, tuple[WireStep, ...]] = {}
        self._turns: dict[str | None, int] = {}
        self.script(*steps or (200,))
        for host, theirs in (per_host or {}).items():
            if not isinstance(theirs, list):
                raise TypeError(f"per_host[{host!r}] must be a list of steps, not {theirs!r}")
            self.script(*theirs, host=host)

    @property
    def instants(self) -> list[float]:
        """When each attempt arrived, rounded to nanoseconds so that tests can compare."""
        return [round(attempt.at, 9) for attempt in self.attempts]

    def script(self, *steps: WireStep, host: str | None = None) -> None:
        """
        From now on follow these steps, beginning with the first.

        Args:
            host: The host whose script it is; None means all hosts without a script of their own.
        Raises:
            TypeError, ValueError: No step is given, or something that is not a step.
        """
        if not steps:
            raise ValueError("give at least one step; the last one repeats")
        for step in steps:
            _check(step)
        key = None if host is None else host.lower()  # as httpx2 has it in a URL
        self._scripts[key], self._turns[key] = steps, 0

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        """Called by ``httpx2.MockTransport``, which has read the body of *request*."""
        self.attempts.append(
            Sent(
                anyio.current_time(),
                request.method,
                request.url,
                request.headers.copy(),
                len(request.content),
                hashlib.sha256(request.content).hexdigest(),
            )
        )
        host = request.url.host if request.url.host in self._scripts else None
        steps, turn = self._scripts[host], self._turns[host]
        self._turns[host] = turn + 1
        return await _take(steps[min(turn, len(steps) - 1)], request)


async def _take(step: Any, request: httpx2.Request) -> httpx2.Response:
    if isinstance(step, tuple):
        await _pass(step[0])
        return await _take(step[1], request)
    if isinstance(step, float):
        await _pass(step)
        step = 200
    if isinstance(step, int):
        return httpx2.Response(step)
    if isinstance(step, httpx2.Response):
        return httpx2.Response(
            step.status_code, headers=step.headers, stream=step.stream, extensions=dict(step.extensions)
        )
    if isinstance(step, Body):
        return httpx2.Response(200, stream=step)
    if _is_error(step):
        raise _error(step, request)
    made = step(request)
    if inspect.isawaitable(made):
        made = await made
    _check(made)
    return made if isinstance(made, httpx2.Response) else await _take(made, request)


async def _pass(delay: float) -> None:
    await (anyio.sleep_forever() if delay == math.inf else anyio.sleep(delay))


def _error(error: Exception | type[Exception], request: httpx2.Request | None = None) -> Exception:
    """The error to raise; an instance loses its old traceback, because it may be raised more than once."""
    if isinstance(error, Exception):
        return error.with_traceback(None)
    says = "raised by ScriptedWire"
    return error(says, request=request) if issubclass(error, httpx2.RequestError) else error(says)


def _is_error(value: object) -> bool:
    return isinstance(value, Exception) or (isinstance(value, type) and issubclass(value, Exception))


def _check_delay(owner: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}: {value!r} is neither bytes, nor seconds, nor an exception")
    if not value >= 0:
        raise ValueError(f"{owner}: a delay must be >= 0 s, not {value!r}")


def _check(step: object) -> None:
    """Refuse what is not a step when the script is set, not when a request comes."""
    if isinstance(step, tuple):
        if len(step) != 2:
            raise TypeError(f"a tuple must be (delay, step), not {step!r}")
        _check_delay("(delay, step)", step[0])
        _check(step[1])
    elif isinstance(step, float):
        _check_delay("a step", step)
    elif isinstance(step, int) and not isinstance(step, bool):
        if not 200 <= step <= 599:
            raise ValueError(f"a status must be from 200 to 599, not {step}; for seconds, write {float(step)}")
    elif isinstance(step, bool) or not (isinstance(step, httpx2.Response | Body) or _is_error(step) or callable(step)):
        raise TypeError(
            f"{step!r} is not a step: give a status, seconds as a float, a Body, an httpx2.Response, an exception, a "
            "function of the request, or (delay, step)"
        )

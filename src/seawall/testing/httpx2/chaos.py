# Written by scripts/twin.py from ../_httpx/chaos.py: change that file, and run the script.
"""
Faults at a given rate, between a client and its transport: Polly's Simmy (https://www.pollydocs.org/chaos/) for httpx2.

Rules: the fault of a request is decided once, before anything is done, and always takes the same number of draws, so
the same seed and order of requests give the same faults. A fault happens where it does in life: an error that means
"not sent" is raised before the inner transport is asked, any other after it, so that the request does reach its server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Final, Self

import anyio
import httpx2

from ...config.check import count, number

__all__ = ["Chaos", "ChaosTransport", "Plan", "plan"]

UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
TIMEOUTS: Final = {
    httpx2.ConnectTimeout: "connect",
    httpx2.ReadTimeout: "read",
    httpx2.WriteTimeout: "write",
    httpx2.PoolTimeout: "pool",
}
SAYS: Final = "injected by ChaosTransport"

Errors = tuple[type[httpx2.TransportError], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """
    What goes wrong, and how often. Rates are shares of all requests, from 0 to 1.

    An error, a status and a cut exclude each other, so their rates add up to at most 1; latency is independent of them.

    Args:
        latency_rate, latency: A delay before anything else, in seconds: one number, or a range (low, high). httpx2's
            timeouts don't cover it; a deadline does.
        error_rate, errors: One of these httpx2 errors is raised. A timeout is raised after the request's own timeout of
            that kind, at once if it has none.
        status_rate, statuses: One of these statuses is returned, without asking the inner transport.
        cut_rate, cut_after, cut_errors: The body ends with one of these errors after that many bytes, or a number from
            a range (low, high), or at its own end if that comes first.
    """

    latency_rate: float = 0.0
    latency: float | tuple[float, float] = 0.0
    error_rate: float = 0.0
    errors: Errors = (httpx2.ConnectError, httpx2.ReadError, httpx2.ReadTimeout)
    status_rate: float = 0.0
    statuses: tuple[int, ...] = (503,)
    cut_rate: float = 0.0
    cut_after: int | tuple[int, int] = (0, 1024)
    cut_errors: Errors = (httpx2.ReadError, httpx2.RemoteProtocolError)

    def __post_init__(self) -> None:
        for name in ("latency_rate", "error_rate", "status_rate", "cut_rate"):
            number("Chaos", name, getattr(self, name), low=0, high=1)
        if self.error_rate + self.status_rate + self.cut_rate > 1 + 1e-9:
            raise ValueError("Chaos.error_rate, status_rate and cut_rate must add up to at most 1")
        for value in (low_high := _range(self.latency)):
            number("Chaos", "latency", value, low=0)
        for value in (cut_low_high := _range(self.cut_after)):
            count("Chaos", "cut_after", value, low=0)
        for name, (low, high) in (("latency", low_high), ("cut_after", cut_low_high)):
            if low > high:
                raise ValueError(f"Chaos.{name} must be (low, high) with low <= high, not {(low, high)}")
        for name in ("errors", "cut_errors"):
            errors = getattr(self, name)
            if not isinstance(errors, tuple) or not errors or not all(_is_error(error) for error in errors):
                raise TypeError(f"Chaos.{name} must be a tuple of subclasses of httpx2.TransportError, not {errors!r}")
        if not isinstance(self.statuses, tuple) or not self.statuses:
            raise TypeError(f"Chaos.statuses must be a tuple such as (503,), not {self.statuses!r}")
        for status in self.statuses:
            if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
                raise ValueError(f"Chaos.statuses must hold whole numbers from 200 to 599, not {status!r}")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What happens to one request.

    Attributes:
        delay: Before anything else, in seconds.
        error: Raised instead of an answer; with *cut*, raised from the body of the answer.
        status: Of the answer that is made up.
        cut: Bytes of the body that arrive.
    """

    delay: float = 0.0
    error: type[httpx2.TransportError] | None = None
    status: int | None = None
    cut: int | None = None

    @property
    def names(self) -> list[str]:
        """The names under which `ChaosTransport.injected` counts it."""
        names = ["latency"] if self.delay else []
        if self.cut is not None:
            names.append("cut")
        elif self.error is not None:
            names.append(self.error.__name__)
        elif self.status is not None:
            names.append(str(self.status))
        return names


def plan(chaos: Chaos, rng: Random) -> Plan:
    """Decide what happens to the next request, always with five draws."""
    is_slow, slowness, fault, choice, place = (rng.random() for _ in range(5))
    low, high = _range(chaos.latency)
    delay = low + (high - low) * slowness if is_slow < chaos.latency_rate else 0.0
    if fault < chaos.error_rate:
        return Plan(delay, error=chaos.errors[int(choice * len(chaos.errors))])
    fault -= chaos.error_rate
    if fault < chaos.status_rate:
        return Plan(delay, status=chaos.statuses[int(choice * len(chaos.statuses))])
    if fault - chaos.status_rate < chaos.cut_rate:
        least, most = _range(chaos.cut_after)
        error = chaos.cut_errors[int(choice * len(chaos.cut_errors))]
        return Plan(delay, error=error, cut=int(least + (most + 1 - least) * place))
    return Plan(delay)


class ChaosTransport(httpx2.AsyncBaseTransport):
    """
    An httpx2 transport that injects faults into another one.

    ``ChaosTransport(httpx2.AsyncHTTPTransport(), Chaos(error_rate=0.01))`` serves any ``httpx2.AsyncClient``, or is the
    innermost layer of a ``seawall.httpx2.AsyncClient(transport=...)``.

    Its errors say "injected by ChaosTransport" and carry the request.

    Args:
        is_enabled: Whether faults are injected, or a function of the request that says so. While it is false, nothing
            is drawn from *rng*.
        rng: The random generator; ``Random(seed)`` gives the same faults in each run.
    Attributes:
        is_faithful: Its errors tell as reliably as *inner*'s whether anything was sent, so seawall trusts them.
        chaos, is_enabled: May be changed at any time.
        requests: The number of requests so far.
        injected: How often each fault was chosen: "latency", "cut", names of errors, statuses as text.
    """

    is_faithful = True

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        chaos: Chaos,
        *,
        is_enabled: bool | Callable[[httpx2.Request], bool] = True,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(inner, httpx2.AsyncBaseTransport):
            raise TypeError(f"inner must be an httpx2.AsyncBaseTransport, not {inner!r}")
        if not isinstance(chaos, Chaos):
            raise TypeError(f"chaos must be a Chaos(...), not {chaos!r}")
        if not isinstance(is_enabled, bool) and not callable(is_enabled):
            raise TypeError(f"is_enabled must be a bool, or a function of the request, not {is_enabled!r}")
        self.inner = inner
        self.chaos = chaos
        self.is_enabled = is_enabled
        self.requests = 0
        self.injected: Counter[str] = Counter()
        self._rng = rng or Random()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """
        **Cancellation:** closes the inner response.

        Raises:
            httpx2.TransportError: One of *errors*, or what *inner* raises.
        """
        self.requests += 1
        planned = plan(self.chaos, self._rng) if self._strikes(request) else Plan()
        self.injected.update(planned.names)
        if planned.delay:
            await anyio.sleep(planned.delay)
        if planned.status is not None:
            return httpx2.Response(planned.status, text=SAYS, request=request)
        if planned.error is None:
            return await self.inner.handle_async_request(request)
        error = planned.error(SAYS, request=request)
        if planned.cut is not None:
            return _cut(await self.inner.handle_async_request(request), planned.cut, error)
        if not isinstance(error, UNSENT):
            response = await self.inner.handle_async_request(request)
            await response.aclose()
        await anyio.sleep(_patience(request, planned.error))
        raise error

    def _strikes(self, request: httpx2.Request) -> bool:
        return self.is_enabled(request) if callable(self.is_enabled) else self.is_enabled

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.inner.__aexit__(exc_type, exc_value, traceback)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Cut(httpx2.AsyncByteStream):
    """The first *left* bytes of *inner*, then the error; closes *inner* once."""

    def __init__(self, inner: httpx2.AsyncByteStream, left: int, error: httpx2.TransportError) -> None:
        self._inner = inner
        self._left = left
        self._error = error
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._left:
            async for part in self._inner:
                yield part[: self._left]
                self._left -= len(part)
                if self._left <= 0:
                    break
        await self.aclose()
        raise self._error

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            await self._inner.aclose()


def _cut(response: httpx2.Response, size: int, error: httpx2.TransportError) -> httpx2.Response:
    """A new response, because httpx2 takes an inner one that was read already for whole."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    stream = _Cut(response.stream, size, error)
    return httpx2.Response(response.status_code, headers=response.headers, stream=stream, extensions=response.extensions)


def _patience(request: httpx2.Request, error: type[httpx2.TransportError]) -> float:
    """Seconds after which this request raises *error*: its own timeout of that kind."""
    kinds = [kind for timeout, kind in TIMEOUTS.items() if issubclass(error, timeout)]
    timeouts = request.extensions.get("timeout", {})
    return timeouts.get(kinds[0]) or 0.0 if kinds else 0.0


def _range(value: object) -> tuple[float, float]:
    """One number as (number, number), or two as they are; the caller checks them."""
    return value if isinstance(value, tuple) and len(value) == 2 else (value, value)  # type: ignore[return-value]


def _is_error(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, httpx2.TransportError)

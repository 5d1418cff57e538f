"""`Fetcher`: one URL of a job, from robots.txt to the page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from operator import attrgetter
from typing import Final, TypeVar

from ..config import options
from ..errors import ResponseTooLarge
from .cache import Cache
from .client import Client, Response
from .fan_out import asked_delay, fan_out
from .order import Order
from .page import Kind, Page, Problem
from .robots import Robots
from .target import Entry, Refused, Target

__all__ = ["Fetcher", "failed", "not_a_url", "pages"]

E = TypeVar("E", bound=Entry)

PATIENCE: Final = 20  # URLs of an origin that fail in a row without a response
REMEMBERED: Final = 100_000  # origins that fail


class Fetcher:
    """
    Fetches entries, any number at once.

    An origin that gives no response to 20 URLs in a row is given up, because a dead one with
    10,000 URLs would keep the job busy for days; those URLs fail, and can be retried later.
    """

    def __init__(self, client: Client, order: Order, *, robots: Robots | None) -> None:
        self._client = client
        self._order = order
        self._robots = robots
        self._silent: Cache[str, int] = Cache(REMEMBERED)

    async def fetch(self, entry: Entry) -> Page:
        """
        What became of *entry*. Whatever error it meets, it is a page that failed, because one URL must not end a job.

        Raises:
            BulkheadFull, LimitExceeded, OriginPaused, Shed: The origin isn't ready, and says when it will be.
        """
        if isinstance(entry, Refused):
            return not_a_url(entry)
        try:
            return await self._fetched(entry)
        except Exception as error:
            if asked_delay(error) is not None:
                raise  # `fan_out` begins the URL anew, once its host is ready
            return _failed_with(error, entry)

    async def _fetched(self, entry: Target) -> Page:
        silent = self._silent.get(entry.origin) or 0
        if silent >= PATIENCE:
            said = f"{entry.origin} gave no response to {PATIENCE} URLs in a row, so this one wasn't tried"
            return failed(entry.url, entry.key, "OriginGivenUp", said)
        denial = None if self._robots is None else await self._robots.denial(entry)
        if denial is not None:
            return Page(entry.url, entry.key, denial.kind, problem=denial.problem)
        try:
            response = await self._request(entry)
        except Exception as error:
            if asked_delay(error) is not None:
                raise
            silent = 0 if _has_answered(error) else (self._silent.get(entry.origin) or 0) + 1
            self._silent.put(entry.origin, silent, weight=1)
            return _failed_with(error, entry)
        if self._silent.get(entry.origin):
            self._silent.put(entry.origin, 0, weight=1)
        return self._page(entry, response)

    async def _request(self, entry: Target) -> Response:
        order, deadline = self._order, self._order.deadline
        if deadline is not None:  # a few of its origin may be before it in the limit's queue
            delay = 0.0 if self._robots is None else self._robots.delay(entry.origin)
            deadline += order.per_host * max(order.interval, delay)
        return await self._client.request(
            order.method,
            entry.url,
            content=order.content,
            headers=list(order.headers),
            follow_redirects=order.follow,
            extensions=options(deadline=deadline),
        )

    def _page(self, entry: Target, response: Response) -> Page:
        status, size, max_size = response.status_code, len(response.content), self._order.max_size
        attempts = len(response.extensions.get("seawall", ())) or 1
        if max_size is not None and size > max_size:
            said = f"{entry.origin}: the body has {size} bytes, more than max_size={max_size}"
            page = failed(entry.url, entry.key, ResponseTooLarge.__name__, said)
            return page._replace(attempts=attempts)
        is_good = status in self._order.accept
        said = f"the status {status} isn't among those that count as good: {self._order.accept.text}"
        return Page(
            entry.url,
            entry.key,
            Kind.GOOD if is_good else Kind.FAILED,
            status,
            str(response.url),
            tuple(response.headers.multi_items()),
            response.content if is_good else b"",
            attempts,
            None if is_good else Problem(str(status), said),
        )


async def pages(
    entries: Iterable[E] | AsyncIterable[E], fetch: Callable[[E], Awaitable[Page]], *, concurrency: int
) -> AsyncGenerator[Page, None]:
    """What becomes of *entries* with *fetch*, as they are done; so many at once, fair to their origins."""
    async with aclosing(fan_out(entries, attrgetter("origin"), fetch, concurrency=concurrency)) as results:
        async for result in results:
            if result.error is not None:
                raise result.error  # `Fetcher.fetch` makes pages of all errors, so this is a bug
            assert result.response is not None
            yield result.response


def _has_answered(error: Exception) -> bool:
    """Whether the URL's own origin gave a response: one that is too large, or one that led elsewhere."""
    attempts = getattr(error, "attempts", None)  # none if no attempt failed, as of too many redirects
    if attempts is None or isinstance(error, ResponseTooLarge):
        return True
    return any(each.status is not None and each.error is None for each in attempts)


def _failed_with(error: Exception, entry: Target) -> Page:
    page = failed(entry.url, entry.key, type(error).__name__, str(error) or repr(error))
    return page._replace(attempts=len(getattr(error, "attempts", ())))


def not_a_url(entry: Refused) -> Page:
    """The page of an entry that stood in a list and can't be fetched, or in a sitemap that may not list it."""
    if entry.is_elsewhere:
        return Page(entry.text, entry.key, Kind.SKIPPED, problem=Problem("AnotherHost", entry.reason))
    return failed(entry.text, entry.key, "NotAURL", entry.reason)


def failed(url: str, key: bytes, name: str, said: str) -> Page:
    """The page of a URL for which nothing came, with the name by which it is counted, and what is said of it."""
    return Page(url, key, Kind.FAILED, problem=Problem(name, said))

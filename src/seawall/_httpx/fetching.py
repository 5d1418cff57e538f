"""`Fetching`: what the client does with more than one request: `map`, `download`, `events`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Hashable, Iterable
from typing import Any, TypeVar

import httpx

from ..config.check import count, shown
from ..config.options import options
from ..core.fronts import check_own
from ..fetch.fan_out import fan_out
from ..fetch.result import Result

__all__ = ["Fetching"]

Given = TypeVar("Given", str, httpx.URL, httpx.Request, str | httpx.URL | httpx.Request)


class Fetching(httpx.AsyncClient):
    """The methods of `AsyncClient` that make many requests, or one request many times."""

    def map(
        self, requests: Iterable[Given] | AsyncIterable[Given], *, concurrency: int = 100, ordered: bool = False
    ) -> AsyncGenerator[Result[Given, httpx.Response], None]:
        """
        Send many requests, and give what became of each: ``async for result in client.map(urls): ...``

        An error is a value, and ends nothing but its own request. Calls wait for permits, limits, breakers and origins
        that are away, in place of failing early, for as long as their deadlines allow (see ``waits`` of `Policy`). A
        host that is slow, limited or down doesn't hold up others, because what waits for it takes no place in
        *concurrency*. `Policy.batch` suits clients that do nothing else.

        **Cancellation**, and closing the iterator, cancel all calls in flight. Leave the loop early under
        ``contextlib.aclosing(client.map(urls))``, or they are cancelled only when the iterator is collected.

        Args:
            requests: URLs, which are asked by GET, and Requests; pulled as they are needed, so there may be millions.
            concurrency: Calls in flight that don't wait on this side, >= 1. 100, as httpx has connections. Calls that
                wait may be ten times as many.
            ordered: Give results in the order of *requests*, in place of that in which they come. A slow one then holds
                up those behind it, of which at most 100 x *concurrency* are kept.
        Raises:
            TypeError, ValueError: A setting that can't be; at once.
            Exception: What *requests* itself raised, after the results of all before.
        """
        if isinstance(requests, str | bytes | httpx.URL | httpx.Request):
            raise TypeError(f"map: requests must be an iterable of URLs or Requests, not {shown(requests)}")
        if not isinstance(requests, Iterable | AsyncIterable):
            raise TypeError(f"map: requests must be an iterable, which may be async, not {shown(requests)}")
        count("map", "concurrency", concurrency, low=1)
        if not isinstance(ordered, bool):
            raise TypeError(f"map: ordered must be True or False, not {shown(ordered)}")
        return fan_out(requests, _host_of, self._ask, concurrency=concurrency, ordered=ordered)

    async def _ask(self, given: str | httpx.URL | httpx.Request) -> httpx.Response:
        """Send one of the requests of `map`."""
        if isinstance(given, str | httpx.URL):
            request = self.build_request("GET", given, extensions=options(waits=True))
        elif isinstance(given, httpx.Request):
            request = given if "seawall" in given.extensions else _waiting(given)
        else:
            check_own(httpx.__name__, request=given)
            raise TypeError(f"map takes URLs and Requests, not {shown(given)}")
        return await self.send(request)


def _host_of(given: object) -> Hashable:
    """What `map` is fair to: mostly an origin, as it is written; a URL is parsed once only, when it is sent."""
    if isinstance(given, str):
        return "/".join(given.split("/", 3)[:3])
    url = given.url if isinstance(given, httpx.Request) else given
    return (url.scheme, url.netloc) if isinstance(url, httpx.URL) else None


def _waiting(request: httpx.Request) -> httpx.Request:
    """*request* with the option to wait; the caller's own stays as it is."""
    copy: Any = object.__new__(type(request))
    copy.__dict__.update(request.__dict__)
    copy.extensions = {**request.extensions, **options(waits=True)}
    return copy  # type: ignore[no-any-return]

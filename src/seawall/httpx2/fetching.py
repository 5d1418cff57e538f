# Written by scripts/twin.py from ../_httpx/fetching.py: change that file, and run the script.
"""`Fetching`: what the client does with more than one request: `map`, `download`, `events`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Hashable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

import httpx2
from httpx2 import USE_CLIENT_DEFAULT

from ..config.check import count, number, shown
from ..config.options import options
from ..core.engine import Engine
from ..core.fronts import check_own
from ..fetch.digest import sha256_of
from ..fetch.download import Progress, download
from ..fetch.downloaded import Download
from ..fetch.event_stream import MAX_OUTAGE, MAX_SIZE, SILENCE, events
from ..fetch.fan_out import fan_out
from ..fetch.result import Result
from ..fetch.server_sent import UNSENDABLE, ServerSentEvent
from .repeated import Repeated, RequestArguments

__all__ = ["Fetching"]

ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
LATER: Final = 5.0  # s; up to the headers a silence is the wire's to notice, and from then on not the origin's fault
Given = TypeVar("Given", str, httpx2.URL, httpx2.Request, str | httpx2.URL | httpx2.Request)


class Fetching(httpx2.AsyncClient):
    """The methods of `AsyncClient` that make many requests, or one request many times."""

    if TYPE_CHECKING:
        engine: Engine

    def map(
        self, requests: Iterable[Given] | AsyncIterable[Given], *, concurrency: int = 100, ordered: bool = False
    ) -> AsyncGenerator[Result[Given, httpx2.Response], None]:
        """
        Send many requests, and give what became of each: ``async for result in client.map(urls): ...``

        An error is a value, and ends nothing but its own request. Calls wait for permits, limits, breakers and origins
        that are away, instead of failing early, for as long as their deadlines allow (see ``waits`` of `Policy`). A
        host that is slow, limited or down doesn't hold up others, because what waits for it takes no place in
        *concurrency*; but once 100 x *concurrency* of its URLs have been pulled and wait, no more are pulled, so mix
        a long list. `Policy.batch` suits clients that do nothing else.

        **Cancellation**, and closing the iterator, cancel all calls in flight. Leave the loop early under
        ``contextlib.aclosing(client.map(urls))``, or they are cancelled only when the iterator is collected.

        Args:
            requests: URLs, which are asked by GET, and Requests; pulled as they are needed, so there may be millions.
            concurrency: Calls in flight that don't wait on this side, >= 1. 100, as httpx2 has connections. Calls that
                wait may be ten times as many.
            ordered: Give results in the order of *requests*, in place of that in which they come. A slow one then holds
                up those behind it, of which at most 100 x *concurrency* are kept.
        Raises:
            TypeError, ValueError: A setting that can't be; at once.
            Exception: What *requests* itself raised, after the results of all before.
        """
        if isinstance(requests, str | bytes | httpx2.URL | httpx2.Request):
            raise TypeError(f"map: requests must be an iterable of URLs or Requests, not {shown(requests)}")
        if not isinstance(requests, Iterable | AsyncIterable):
            raise TypeError(f"map: requests must be an iterable, which may be async, not {shown(requests)}")
        count("map", "concurrency", concurrency, low=1)
        if not isinstance(ordered, bool):
            raise TypeError(f"map: ordered must be True or False, not {shown(ordered)}")
        return fan_out(requests, _host_of, self._ask, concurrency=concurrency, ordered=ordered)

    async def download(
        self,
        url: httpx2.URL | str,
        path: str | PathLike[str],
        *,
        method: str = "GET",
        sha256: str | None = None,
        progress: Progress | None = None,
        deadline: float | None = None,
        **arguments: Unpack[RequestArguments],
    ) -> Download:
        """
        Have *path* hold what *url* has, whole or not at all, over as many attempts as it takes.

        The bytes grow in ``PATH.part``, which takes the name *path* once all have come and are on the disk. A body that
        breaks off is asked for from there on, by this call and, after an error, a cancellation or a kill, by the next
        one of the same URL, in any process; but only if a strong ETag or an old Last-Modified says that it is still the
        same file, else it starts over. A GET only; other methods start over, if they may be repeated at all.

        Each resumption is an attempt by the client's `Retry` and `Budget`; 1 MiB of progress gives all attempts back.
        The client's deadline holds up to the headers of each response, and its read timeout for each silence, because
        no fixed time suits files of 10 kB and of 10 GB. *deadline*, and one that is inherited, hold for all of it.

        **Cancellation:** what has come stays in ``PATH.part``.

        Args:
            path: A file in a folder that exists; one that is there is replaced at the end.
            sha256: What the file must have, in 64 hexadecimal digits. A server's Repr-Digest and Content-Digest
                (RFC 9530) are checked anyway.
            progress: Called with the bytes that are there, and those of the whole file or None. It gets fewer than
                before when the file starts over.
            deadline: Seconds for all of it; None sets no limit.
            arguments: Those of ``client.stream``; not the headers that a resumption needs.
        Raises:
            httpx2.HTTPStatusError: The last status is an error; its body is not read.
            httpx2.TransportError: As of any call; `BadAnswer` too if a digest doesn't fit, or if the file has changed
                more than three times meanwhile.
            OSError: The file can't be written; BlockingIOError: another download writes it (not seen on Windows).
            TypeError, ValueError: An argument that can't be.
        """
        if deadline is not None:
            number("download", "deadline", deadline, low=0, above=True)
        digest = None if sha256 is None else sha256_of(sha256)
        ours = ("Range", "If-Range", "Accept-Encoding")
        request = Repeated(self, self.engine.layers, method, url, ours=ours, **arguments)
        return await download(request, path, sha256=digest, progress=progress, timeout=deadline)

    def events(
        self,
        url: httpx2.URL | str,
        *,
        method: str = "GET",
        silence: float | None = SILENCE,
        max_outage: float | None = MAX_OUTAGE,
        max_size: int = MAX_SIZE,
        last_event_id: str = "",
        **arguments: Unpack[RequestArguments],
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """
        The server-sent events of *url*: ``async for event in client.events(url)``, in an ``aclosing()`` if it is left.

        A stream of a GET that ends, breaks off or falls silent is opened anew, after the time that the server asks for
        (``retry:``, else 1 s) or longer, with the id of the last event. 204 ends it. The first call is made as any
        other is; what fails there is raised. Later only what time doesn't cure is: 4xx, another content type.

        A stream of another method is never opened anew, not even with an Idempotency-Key: that makes the server act
        once, but send the events again that the reader has seen. Its error is raised.

        Deadlines hold up to the headers of a response, and no longer. The stream holds a permit of its origin.

        **Cancellation:** as leaving the iterator, closes the connection and gives back the permit.

        Args:
            silence: Seconds without a byte, comments included, after which the stream counts as broken; None sets no
                limit. It takes the place of the read timeout.
            max_outage: Seconds without a stream after which the last error is raised; None sets no limit. 0 never opens
                it anew: the end of the stream ends the iteration.
            max_size: Bytes of one event, beyond which it is an error.
            last_event_id: The id to begin after, without control characters.
            arguments: Those of ``client.stream``.
        Raises:
            httpx2.HTTPStatusError, httpx2.TransportError: As above; `ResponseTooLarge` if an event is.
            TypeError, ValueError: An argument that can't be.
        Source: WHATWG HTML standard, section 9.2.
        """
        for name, value in (("silence", silence), ("max_outage", max_outage)):
            if value is not None:
                number("events", name, value, low=0, above=name == "silence")
        count("events", "max_size", max_size, low=1)
        if not isinstance(last_event_id, str):
            raise TypeError(f"events: last_event_id must be a string, not {shown(last_event_id)}")
        if UNSENDABLE.search(last_event_id):
            raise ValueError(f"events: last_event_id can't have control characters: {shown(last_event_id)}")
        timeout: Any = arguments.get("timeout", USE_CLIENT_DEFAULT)
        patience = self.timeout if timeout is USE_CLIENT_DEFAULT else httpx2.Timeout(timeout)
        read = None if silence is None else silence + LATER
        arguments["timeout"] = httpx2.Timeout(**{**patience.as_dict(), "read": read})
        ours = ("Last-Event-ID", "Accept-Encoding")
        request = Repeated(self, self.engine.layers, method, url, ours=ours, **arguments)
        return events(request, silence=silence, max_outage=max_outage, max_size=max_size, last_event_id=last_event_id)

    async def _ask(self, given: str | httpx2.URL | httpx2.Request) -> httpx2.Response:
        """Send one of the requests of `map`."""
        if isinstance(given, str | httpx2.URL):
            request = self.build_request("GET", given, extensions=options(waits=True))
        elif isinstance(given, httpx2.Request):
            request = given if "seawall" in given.extensions else _waiting(given)
        else:
            check_own(httpx2.__name__, request=given)
            raise TypeError(f"map takes URLs and Requests, not {shown(given)}")
        return await self.send(request)


def _host_of(given: object) -> Hashable:
    """What `map` is fair to: mostly an origin, as it is written; a URL is parsed once only, when it is sent."""
    if isinstance(given, str):
        found = ORIGIN.match(given)
        return "" if found is None else found[0].lower()  # relative to the client's base_url
    url = given.url if isinstance(given, httpx2.Request) else given
    return (url.scheme, url.netloc) if isinstance(url, httpx2.URL) else None


def _waiting(request: httpx2.Request) -> httpx2.Request:
    """*request* with the option to wait; the caller's own stays as it is."""
    copy: Any = object.__new__(type(request))
    copy.__dict__.update(request.__dict__)
    copy.extensions = {**request.extensions, **options(waits=True)}
    return copy  # type: ignore[no-any-return]

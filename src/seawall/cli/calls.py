"""``seawall get``: its calls, one after another, and what becomes of each."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from .. import AsyncClient, Retry, history
from ..config import UNSET
from ..errors import DeadlineExceeded
from ..events import Phase
from ..server_timing import parse
from .certificate import tls_facts
from .complaint import Watched, complaint, denial, malformed, tries
from .environment import BadEnvironment, made
from .exit_codes import ExitCode, exit_code
from .printing import Output, head_of
from .sent import Sent
from .stdout import abandon_output
from .text import printable
from .watch import Watch
from .waterfall import Hop, hops_of, waterfall

__all__ = ["Wanted", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    The command line.

    Attributes:
        outputs: A file for each URL, or none at all.
        has_head: The response's head is printed too.
        is_streamed: Parts of the body are printed as they come.
        fails: A status of 400 or above is a failure.
        deadline: Of each call, in seconds; None leaves it to the timeouts.
        timeout: To connect, and of each silence, in seconds.
    """

    urls: Sequence[str]
    request: Sent
    outputs: Sequence[Path]
    has_head: bool = False
    is_streamed: bool = False
    follows: bool = True
    fails: bool = False
    retries: int = 2
    deadline: float | None = None
    timeout: float = 5.0
    http2: bool = False
    insecure: bool = False
    is_timed: bool = False
    is_verbose: bool = False


async def run(wanted: Wanted) -> ExitCode:
    """
    Make the calls, in order.

    Returns:
        How the first that failed has failed; OK if none did.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(line: str) -> None:
        text = Text(f"seawall get: {printable(line)}")
        console.print(text, soft_wrap=not console.is_terminal)  # whole words on a terminal, one line elsewhere

    watch, failed = Watch(say), ExitCode.OK
    outputs = [Output(path) for path in wanted.outputs] or [Output(None) for _ in wanted.urls]
    try:
        client = made(lambda: _client(wanted, watch))
    except BadEnvironment as error:
        say(str(error))
        return error.code
    async with client:
        getter = Getter(client, wanted, watch, console, say)
        for url, output in zip(wanted.urls, outputs, strict=True):
            code = await getter.get(url, output)
            failed = failed or code
            if code is ExitCode.WRITE:
                break  # the next would find the output closed too
    return failed


def _client(wanted: Wanted, watch: Watch) -> AsyncClient:
    # A command makes few calls, and its user says how often: nothing is held back for the sake of other callers.
    longest = Retry().max_retry_after if wanted.deadline is None else wanted.deadline
    return AsyncClient(
        timeout=wanted.timeout,
        deadline=UNSET if wanted.deadline is None else wanted.deadline,
        retry=Retry(max_attempts=wanted.retries + 1, max_retry_after=longest),
        budget=None,
        breaker=None,
        ready=None,
        http2=wanted.http2,
        verify=not wanted.insecure,
        follow_redirects=wanted.follows,
        observers=[watch],
    )


class Getter:
    """Makes one call after another."""

    def __init__(
        self, client: AsyncClient, wanted: Wanted, watch: Watch, console: Console, say: Callable[[str], None]
    ) -> None:
        self._client = client
        self._wanted = wanted
        self._watch = watch
        self._console = console
        self._say = say
        self._unanswered: httpx.Request | None = None  # the last call's, if it failed

    async def get(self, url: str, output: Output) -> ExitCode:
        """Make the call of *url*, and say how it failed if it did."""
        words, is_scheme = malformed(url)
        if words:
            self._say(words)
            return ExitCode.UNSUPPORTED if is_scheme else ExitCode.MALFORMED_URL
        self._watch.begin()
        self._unanswered = None
        response: httpx.Response | None = None
        try:
            output.check()
            # It bounds what a streamed body takes too, which the client's own deadline doesn't.
            async with asyncio.timeout(self._wanted.deadline if self._wanted.is_streamed else None):
                response = await self._send(url)
                code = await self._show(response, output)
            output.close()  # here, because a full disk may show only now
            return code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return self._failed(error, url)
        except TimeoutError:
            return self._failed(
                DeadlineExceeded("", timeout=self._wanted.deadline), url, is_receiving=response is not None
            )
        except OSError as error:
            if output.is_standard:
                abandon_output()
            if not isinstance(error, BrokenPipeError):  # else its reader has seen enough
                self._say(f"{error.filename or output.name}: {error.strerror}")
            return ExitCode.WRITE
        finally:
            with suppress(OSError):
                output.close()
            if response is not None:
                await response.aclose()
            self._explain(response)

    async def _send(self, url: str) -> httpx.Response:
        asked = self._wanted.request
        request = self._client.build_request(asked.method, url, headers=asked.headers, content=asked.content)
        for name in asked.without:
            request.headers.pop(name, None)
        return await self._client.send(request, stream=self._wanted.is_streamed)

    async def _show(self, response: httpx.Response, output: Output) -> ExitCode:
        wanted, status = self._wanted, response.status_code
        if wanted.has_head:
            output.head(response)
        if wanted.fails and status >= 400:
            self._tell_status(response, response.reason_phrase)
            return ExitCode.STATUS
        hidden = await output.stream(response) if wanted.is_streamed else output.body(response)
        if hidden:
            self._say(hidden)
        if self._watch.denied is not None and wanted.retries:
            self._tell_status(response)
        return ExitCode.OK

    def _failed(self, error: Exception, url: str, *, is_receiving: bool = False) -> ExitCode:
        wanted, attempts = self._wanted, self._watch.attempts
        watched = Watched(attempts, self._denied(), is_receiving)
        shown = _shown(httpx.URL(url))
        self._say(complaint(error, shown, deadline=wanted.deadline, watched=watched))
        with suppress(RuntimeError):  # it has none
            self._unanswered = error.request if isinstance(error, httpx.RequestError) else None
        return exit_code(error, bytes_in=attempts[-1].bytes_in if attempts else 0)

    def _tell_status(self, response: httpx.Response, reason: str = "") -> None:
        said = f"{_shown(response.url)}: {response.status_code} {reason}".rstrip()
        parts = (said, tries(len(self._watch.attempts)), self._denied(response))
        self._say("; ".join(filter(None, parts)))

    def _denied(self, response: httpx.Response | None = None) -> str:
        """Why no retry followed; empty if that needs no words."""
        event = self._watch.denied
        if event is None:
            return ""
        asked = None if response is None else history(response).retry_after
        return denial(event, retries=self._wanted.retries, deadline=self._wanted.deadline, retry_after=asked)

    def _explain(self, response: httpx.Response | None) -> None:
        """What --verbose and --timing ask for."""
        hops = hops_of(self._watch.attempts)
        responses = [] if response is None else [*response.history, response]
        now = datetime.datetime.now(datetime.UTC)
        for index, answer in enumerate(responses[: len(hops)]):
            hops[index] = hops[index]._replace(
                facts=tls_facts(answer.extensions.get("network_stream"), now),
                timings=parse(answer.headers.get_list("server-timing")),
            )
        if self._wanted.is_verbose:
            for index, hop in enumerate(hops):
                self._tell(hop, responses[index] if index < len(responses) else None)
        if self._wanted.is_timed and hops:
            pieces = {} if self._console.encoding.startswith("utf") else {"bar": "#", "wait": "."}
            for line in waterfall(hops, width=self._console.width, **pieces):
                self._console.print(line)

    def _tell(self, hop: Hop, response: httpx.Response | None) -> None:
        """As curl's -v: `*` is what is known of the connection, `>` what was sent, `<` what came."""
        lines = []
        for _, attempt in hop.attempts:
            lines += [f"* {dial.address}: {dial.outcome}" for dial in attempt.dials if dial.outcome != "connected"]
            if attempt.address is not None and not attempt.is_reused:
                lines.append(f"* connected to {attempt.address}, port {attempt.origin.port}")
        lines += [f"* {fact}" for fact in hop.facts]
        request, version = (self._unanswered, "") if response is None else (response.request, response.http_version)
        if request is not None and hop.attempts[-1][1].phase >= Phase.SENDING:
            lines += [f"> {line}" for line in [*head_of(request, version), ""]]
        if response is not None:
            lines += [f"< {line}" for line in [*head_of(response), ""]]
        for line in lines:
            self._console.print(Text(printable(line.rstrip()), "" if line[0] == "<" else "dim"))


def _shown(url: httpx.URL) -> str:
    """*url* without userinfo and query, which may hold credentials."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))

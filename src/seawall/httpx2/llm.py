# Written by scripts/twin.py from ../_httpx/llm.py: change that file, and run the script.
"""A client for the SDKs of LLM APIs, which take one in the place of their own."""

from __future__ import annotations

from typing import Final, Unpack

import httpx2

from ..config import Budget, Bulkhead, Retry
from ..core.engine import Engine
from ..policy.outcome import Outcome
from .arguments import ClientArguments
from .client import AsyncClient
from .transport import AsyncTransport

__all__ = ["llm_client"]

MAX_CONNECTIONS: Final = 1000
OF_A_CLIENT: Final = ("timeout", "follow_redirects")
SAYS: Final = {"true": True, "false": False}


def llm_client(*, engine: Engine | None = None, **arguments: Unpack[ClientArguments]) -> AsyncClient:
    """
    An `AsyncClient` with what the SDKs of LLM APIs set for their own: ``http_client=seawall.httpx2.llm_client()``.

    Set the SDK's own ``max_retries`` to 0, because attempts multiply: three of the SDK's are nine requests here.

    - timeout: 600 s, 5 s of them to connect, and limits: 1,000 connections, 100 of them kept, and follow_redirects, as
      the clients have it that openai and anthropic make. A timeout that the SDK is given goes with each request.
    - deadline: 600 s for all attempts up to the headers of a stream, whose body may take longer. Give a longer one
      where the SDK's own timeout is longer.
    - bulkhead: 1,000 permits, as many as connections, because a call that lasts a minute holds its permit for a minute.
    - budget: a retry for each call, and 1,000 at once, because a rate limit refuses whole bursts, each of whose calls
      may try again.
    - retry: 3 attempts of any method, because a second completion costs money only. Give ``retry=seawall.Retry()``
      where a second POST does something twice: a tool of MCP, a row of a table. Where a server sends
      ``x-should-retry``, that decides; else 408, 409, 429 and 5xx are retried. Where one call was told to wait,
      for up to 60 s, all wait; ``retry-after-ms`` counts before ``Retry-After``.

    A stream is retried up to its headers only, because its reader has seen the rest.

    Args:
        engine: What it shares with other clients; then all but timeout and follow_redirects are the engine's.
        arguments: Those of `AsyncClient`; each takes the place of the one above. With an `AsyncTransport` as
            *transport*, all but timeout and follow_redirects are its.
    Raises:
        TypeError, ValueError: A setting that can't be; the message names it and its range.
    """
    ours: ClientArguments = {
        "timeout": httpx2.Timeout(600.0, connect=5.0),
        "limits": httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100),
        "follow_redirects": True,
        "deadline": 600.0,
        "bulkhead": Bulkhead(max_concurrent=MAX_CONNECTIONS),
        "budget": Budget(ratio=1.0, max_balance=MAX_CONNECTIONS, max_client_balance=MAX_CONNECTIONS),
        "retry": Retry(
            methods=None,
            statuses={408, 409, 429, *range(500, 600)},
            backoff=0.5,
            max_backoff=8.0,
            max_retry_after=60.0,
            pause_origin=True,
            retry=server_says,
        ),
    }
    if engine is not None or isinstance(arguments.get("transport"), AsyncTransport):
        ours = {name: value for name, value in ours.items() if name in OF_A_CLIENT}  # type: ignore[assignment]
    ours.update(arguments)
    return AsyncClient(engine=engine, **ours)


def server_says(outcome: Outcome) -> bool | None:
    """What the ``x-should-retry`` of a bad response says; None: as the other settings say."""
    response = outcome.response
    return None if response is None or response.is_success else SAYS.get(response.headers.get("x-should-retry", ""))

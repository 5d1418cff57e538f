"""`Keys`: what the middlewares have in common. It decides which request runs, and how the others are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from ...careful import Careful
from ...config.check import collection, count, number, shown
from .._inbound import on_one_line
from .answer import Answer, Fields
from .claim import Claim, fingerprint
from .header import HeaderError, parse_key
from .patience import patiently
from .problem import MISMATCH, MISSING, RUNNING, UNAVAILABLE, malformed
from .run import Run
from .store import State, Store, StoreFailed

__all__ = ["LOCK_TTL", "MAX_BODY", "METHODS", "TTL", "Keys", "credentials"]

logger = Careful("seawall.call")

METHODS: Final = ("POST", "PATCH")
TTL: Final = 86_400.0  # s; a day, as Stripe's: longer than anybody retries
LOCK_TTL: Final = 60.0  # s; nginx's and most load balancers' own timeout, after which nobody waits
MAX_BODY: Final = 2**20  # bytes

CREDENTIALS: Final = (b"authorization", b"x-api-key")
REFUSALS: Final = {State.RUNNING: RUNNING, State.MISMATCH: MISMATCH}


def credentials(headers: Fields) -> str:
    """
    Whose key it is, where the application doesn't say: whoever shows the same credentials.

    Cookies count only where there is nothing else, because many of them are not credentials, and change with each
    answer, as a load balancer's does.
    """
    lower = sorted((name.lower(), value) for name, value in headers)
    found = [pair for pair in lower if pair[0] in CREDENTIALS]
    return repr(found or [pair for pair in lower if pair[0] == b"cookie"])


class Keys:
    """
    The settings, and the way into a run.

    Attributes:
        lock_ttl, max_body: As `IdempotencyMiddleware` has them.
    Raises:
        TypeError, ValueError: A setting that can't be.
    """

    def __init__(
        self,
        store: Store,
        *,
        methods: Collection[str],
        required: object,
        ttl: float,
        lock_ttl: float,
        max_body: int,
    ) -> None:
        number("idempotency", "ttl", ttl, low=0, above=True)
        number("idempotency", "lock_ttl", lock_ttl, low=0, above=True)
        count("idempotency", "max_body", max_body, low=0)
        if not isinstance(required, bool):
            raise TypeError(f"idempotency.required must be True or False, not {shown(required)}")
        self.lock_ttl = lock_ttl
        self.max_body = max_body
        names = collection("idempotency.methods", methods, 'names of methods, such as ("POST", "PATCH")')
        for each in names:
            if not isinstance(each, str) or not each:
                raise ValueError(f"idempotency.methods must hold names such as 'POST', not {shown(each)}")
        self._methods = frozenset(each.upper() for each in names)  # as `Retry.methods`
        self._is_required = required
        self._store = store
        self._ttl = ttl

    def key(self, method: str, values: Sequence[str]) -> str | Answer | None:
        """The key in the header's *values*; an answer that refuses the request; None where it runs without a key."""
        if method not in self._methods:
            return None
        try:
            key = parse_key(values)
        except HeaderError as error:
            return malformed(str(error))
        return MISSING if key is None and self._is_required else key

    async def enter(self, scope: str, key: str, method: str, path: str, query: bytes, body: bytes) -> Run | Answer:
        """The run that this request is, or the answer that it gets in place of one."""
        claim = Claim.of(scope, key, fingerprint(method, path, query, body))
        run = Run(key, claim, self._store, self._ttl)
        beginning = asyncio.ensure_future(self._store.begin(claim, self.lock_ttl))
        try:
            state = await patiently(beginning)
        except StoreFailed as error:
            where = on_one_line(path)
            logger.warning("%s %s was not run, because its key can't be checked: %s", method, where, error)
            return UNAVAILABLE
        except asyncio.CancelledError:  # it may have begun
            await patiently(_undone(run, beginning))
            raise
        if isinstance(state, Answer):
            return state
        return run if state is State.STARTED else REFUSALS[state]


async def _undone(run: Run, beginning: asyncio.Future[State | Answer]) -> None:
    """Abandon *run*, but only once it has begun, because anyio cancels again and again, and ends the wait for that."""
    await asyncio.wait([beginning])
    await run.abandon()

"""Whether a stream that broke off is asked for again, and when: by the settings that retry attempts inside a call."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ..attempts import BODY, Attempt, History, history
from ..config import Policy, Retry
from ..core import clock
from ..core.deadline import inherited
from ..core.endings import closed
from ..policy.denial import Denial
from ..policy.outcome import Outcome
from ..policy.outcome import Request as Facts
from .request import Reply, Request

if TYPE_CHECKING:
    from ..policy.tenacity import Retries

__all__ = ["PROGRESS", "Resumptions"]

PROGRESS: Final = 2**20  # bytes; 10 GB over a bad link take more than 3 attempts, and a drip must not take for ever


class Resumptions:
    """
    The calls of one download, of which each but the first resumes it.

    They share the attempts that `Retry` allows, until `progressed` gives them all back. A resumption waits for what a
    retry waits for, and is made before the deadline or not at all. It takes a token of the budget as a retry does, but
    not after progress, because it then asks for nothing twice, and an origin that sends a MiB is not down.

    Attributes:
        attempts: Those of all calls that had an answer.
        count: How many resumptions were begun.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._origins = request.layers.origins
        self._began_at = clock.now()
        self._retries: Retries | None = None
        self._made = 0
        self._has_progressed = False
        self.attempts: list[Attempt] = []
        self.count = 0

    async def send(self, headers: dict[str, str]) -> Reply:
        """Make the next call, with as many attempts as are left."""
        options, settings = self._request.options, self._settings
        if self.count and settings is not None:
            left = max(1, settings.max_attempts - self._made)
            options = replace(options or Policy(), retry=replace(settings, max_attempts=left), waits=True)
        try:
            reply = await self._request.send(headers, options)
        except Exception as error:
            self._tell(error, history(error))
            raise
        made = history(reply)
        self.attempts += made
        self._made += len(made)
        return reply

    def progressed(self) -> None:
        """At least `PROGRESS` bytes have come that had never come before: the last attempt counts as the first."""
        self._made = 1
        self._has_progressed = True
        self.close()

    async def after(self, error: Exception) -> None:
        """
        Wait until the next call may be made, after a body that broke off with *error*.

        Raises:
            Exception: *error*, because no call may follow; a note says why. ClientClosed, if that is why.
        """
        if self._request.layers.in_flight.is_draining:
            raise self._request.adopt(closed(self._request.origin)) from error
        settings, why = self._settings, ""
        if settings is not None and self._made < settings.max_attempts:
            if self._retries is None:
                self._retries = self._begun(settings)
            wait = await self._retries.after(Outcome(BODY, error), clock.now())
            self._has_progressed = False
            if wait is not None:
                self.count += 1
                await asyncio.sleep(wait)
                return
            why = "" if self._retries.denial is None else self._retries.denial.text
        elif settings is not None:
            why = f"max_attempts={settings.max_attempts} reached, without {PROGRESS} bytes of progress in between"
        if why:
            error.add_note(f"seawall: not resumed: {why}")
        self._tell(error, History())
        raise error

    def again(self) -> None:
        """The next call follows at once, because the one before did what was asked of it."""
        self.count += 1

    def history(self) -> History:
        return History(self.attempts)

    def _tell(self, error: Exception, last: History) -> None:
        """Give *error* the attempts of all calls; *last*: those that its call made."""
        if self.attempts:
            attempts = History((*self.attempts, *last))
            attempts.__dict__.update(last.__dict__)
            error.attempts = attempts  # type: ignore[attr-defined]

    def close(self) -> None:
        """Break the cycles of the objects that decide, because a garbage collection may be long in coming."""
        if self._retries is not None:
            self._retries.close()
            self._retries = None

    @property
    def _settings(self) -> Retry | None:
        policy, options = self._origins[self._request.origin].policy, self._request.options
        retry = (policy if options is None else options.over(policy)).retry
        return retry if isinstance(retry, Retry) else None

    def _begun(self, settings: Retry) -> Retries:
        from ..policy.tenacity import Retries  # not above, because importing seawall must not load tenacity

        request = self._request

        async def afford(outcome: Outcome, delay: float, *, is_free: bool) -> Denial | None:  # noqa: ARG001
            state = self._origins[self.attempts[-1].origin if self.attempts else request.origin]
            is_free = is_free or self._has_progressed
            return self._origins.afford(state, clock.now(), delay, deadline_at=inherited(), is_free=is_free)[0]

        return Retries(
            settings,
            name=f"{request.method} {request.origin}",
            started_at=self._began_at,
            rng=request.layers.rng,
            request=lambda: Facts(settings.is_idempotent(request.method), request.has_key, is_replayable=True),
            afford=afford,
        )

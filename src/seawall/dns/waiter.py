"""One caller that waits for a name, and the errors that it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..origin import Origin
from .lookups import Lookup
from .resolver import Answer, Found

__all__ = ["Waiter", "again"]


class Waiter:
    """
    One caller's view of a name: what was known, and the lookups that may add to it.

    Args:
        known: The failure because of which the name isn't looked up now.

    Attributes:
        lookups: The lookups that the caller waits for.
    """

    def __init__(self, now: Callable[[], float], known: ResolveError | None) -> None:
        self.lookups: list[Lookup] = []
        self._now = now
        self._known = [] if known is None else [_copied(known, *known.args, is_resting=True)]

    @property
    def is_decided(self) -> bool:
        """Addresses were found, or the name or its addresses denied. Else nobody knows yet, or every lookup failed."""
        return any(isinstance(result, Found | NameNotFound | NoAddress) for result in self._results())

    @property
    def heard(self) -> list[ResolveError]:
        """The results that stand unless more comes."""
        return [lookup.heard for lookup in self.lookups if lookup.found is None and lookup.heard is not None]

    async def wait(self, until: float) -> None:
        """Return once it is decided, all lookups have ended, or the instant *until* has come."""
        while not self.is_decided and (pending := [each for each in self.lookups if each.found is None]):
            left = until - self._now()
            if left <= 0:
                return
            for lookup in pending:
                lookup.hold()
            try:
                decided = [lookup.is_decided for lookup in pending]
                await asyncio.wait(decided, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for lookup in pending:
                    lookup.release()

    def answer(self, host: str, timeout: float, origin: Origin) -> Answer:
        """
        The addresses.

        Raises:
            ResolveError: There are none; of several failures, the one that says most.
        """
        results = self._results()
        for result in results:
            if isinstance(result, Found):
                return result.answer._replace(ttl=None)
        if any(lookup.found is None for lookup in self.lookups) and not self.is_decided:
            results = [*self.heard]
            if not results:
                raise ResolveTimeout(
                    f"{host}: no answer from DNS within {timeout:g} s (DNS.timeout)", origin=origin, elapsed=timeout
                )
        for kind in (NameNotFound, NoAddress, ResolverFailure, ResolveTimeout):
            for result in results:
                if isinstance(result, kind):
                    raise again(result, host) from result
        raise NoAddress(f"{host}: no address")

    def _results(self) -> list[Found | ResolveError]:
        return [*self._known, *(lookup.found for lookup in self.lookups if lookup.found is not None)]


def again(error: ResolveError, host: str) -> ResolveError:
    """A copy of *error* for one more call to raise."""
    return _copied(error, f"{host}: {str(error).removeprefix(f'{host}: ')}")


def _copied(error: ResolveError, *args: object, **facts: object) -> ResolveError:
    """A copy made without ``__init__``, because the class of a user's resolver may give that any arguments."""
    copy = type(error).__new__(type(error), *args)
    vars(copy).update(vars(error), **facts)
    return copy

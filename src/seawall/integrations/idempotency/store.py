"""`Store`: where keys and answers are kept."""

from __future__ import annotations

import enum
from typing import Any, Protocol, runtime_checkable

from .answer import Answer
from .claim import Claim

__all__ = ["State", "Store", "StoreFailed", "Transaction", "TransactionalStore", "judged"]


class State(enum.Enum):
    """What a store says to a claim, unless it has an answer."""

    STARTED = enum.auto()
    """The request runs now, and holds the key until it ends or the lock expires."""
    RUNNING = enum.auto()
    """Another request holds the key."""
    MISMATCH = enum.auto()
    """The key was used for a request with another fingerprint."""


class StoreFailed(Exception):
    """A store couldn't be reached, or refused. The library's own error is its cause."""


class Store(Protocol):
    """
    Where keys and answers are kept.

    Each method is atomic, over all processes that share the store, and raises `StoreFailed` where the store fails. What
    has expired is as if it had never been.
    """

    async def begin(self, claim: Claim, lock_ttl: float) -> State | Answer:
        """The key's answer, or STARTED for the one claim that holds it from now on, for *lock_ttl* seconds at most."""
        ...

    async def finish(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """Keep *answer* for *ttl* seconds; False where another claim has taken the key, since the lock had expired."""
        ...

    async def abandon(self, claim: Claim) -> None:
        """Let the key go, if this claim still holds it, so that a retry runs."""
        ...


class Transaction(Protocol):
    """
    A database transaction that is open.

    Attributes:
        connection: Where the application writes.
    """

    connection: Any

    async def commit(self, claim: Claim, answer: Answer, ttl: float) -> bool:
        """As `Store.finish`, and commit what the application wrote; where another claim has the key, roll it back."""
        ...

    async def rollback(self) -> None:
        """Undo what the application wrote."""
        ...


@runtime_checkable
class TransactionalStore(Store, Protocol):
    """A store whose database the application writes to as well."""

    async def transaction(self) -> Transaction:
        """Begin one."""
        ...


def judged(claim: Claim, fingerprint: str, packed: bytes | None) -> State | Answer:
    """What a claim is told about a key that another has: *fingerprint* and packed answer are the other's."""
    if fingerprint != claim.fingerprint:
        return State.MISMATCH
    return State.RUNNING if packed is None else Answer.unpack(packed)

"""`Run`: one request that holds its key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ...careful import Careful
from .answer import Answer
from .claim import Claim
from .patience import patiently
from .problem import LOST, NOT_KEPT, UNAVAILABLE
from .store import Store, StoreFailed, Transaction, TransactionalStore

__all__ = ["Run"]

logger = Careful("seawall.call")


class Run:
    """
    One request that holds its key, from its start to its answer.

    Attributes:
        key: The caller's, without quotes; for logs, and as a key for services that are called in turn.
    """

    def __init__(self, key: str, claim: Claim, store: Store, ttl: float) -> None:
        self.key = key
        self._claim = claim
        self._store = store
        self._ttl = ttl
        self._transaction: Transaction | None = None
        self._opening = asyncio.Lock()  # two blocks may begin at once, and another transaction would never end
        self._has_ended = False
        self._was_undone = False  # an error rolled the transaction back

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """
        The connection of a transaction that holds the key's answer as well: ``async with run.transaction() as
        connection``.

        It stays open after the block, and is committed with the answer, before that is sent, because only then does a
        crash at any moment leave both or neither. An exception that leaves the block rolls it back at once; a 5xx or
        another answer that isn't kept does so later. A second block, also one beside it, goes on in the same
        transaction.

        Raises:
            TypeError: The store has no transactions.
            RuntimeError: The request was answered already.
        """
        if not isinstance(self._store, TransactionalStore):
            raise TypeError(f"{type(self._store).__name__} has no transactions; use PostgreSQL or SQLite as the store")
        async with self._opening:
            transaction = self._transaction or await self._opened(self._store)
        try:
            yield transaction.connection
        except BaseException:
            await self._roll_back()
            raise

    async def _opened(self, store: TransactionalStore) -> Transaction:
        if not self._has_ended:
            opened = await store.transaction()
            if not self._has_ended:
                self._transaction = opened
                return opened
            await _undo(opened)  # it was opened by a task that the handler didn't wait for
        raise RuntimeError("the answer is on its way, so nothing can be committed with it any more")

    async def finish(self, answer: Answer) -> Answer:
        """Keep *answer* if it is final, and return the one to send. A cancelled caller doesn't stop it."""
        if not answer.is_final:
            await self.abandon()
            return answer
        self._has_ended = True
        transaction, self._transaction = self._transaction, None
        ending = self._store.finish if transaction is None else transaction.commit
        try:
            is_kept = await patiently(ending(self._claim, answer, self._ttl))
        except StoreFailed as error:
            logger.warning("an answer of status %d was not kept under its key: %s", answer.status, error)
            # Without a transaction the request has acted, and its caller should know how it ended.
            return answer if transaction is None else UNAVAILABLE
        return answer if is_kept else LOST

    async def cut(self) -> None:
        """
        The caller left an answer that had begun: keep that the request has acted, so that a repeat doesn't run.

        Nothing is kept if its transaction was rolled back, because then it hasn't acted.
        """
        if not (self._has_ended or self._was_undone):
            await self.finish(NOT_KEPT)

    async def abandon(self) -> None:
        """Keep nothing: roll back the transaction, and let a repeat run. A cancelled caller doesn't stop it."""
        if not self._has_ended:
            self._has_ended = True
            await patiently(self._abandon())

    async def _abandon(self) -> None:
        try:
            await self._roll_back()
            await self._store.abandon(self._claim)
        except StoreFailed as error:  # the lock expires by itself
            logger.warning("a key stays locked until its lock expires: %s", error)

    async def _roll_back(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            self._was_undone = True
            await _undo(transaction)


async def _undo(transaction: Transaction) -> None:
    """Roll it back. A failure is logged only, because it mustn't hide an error or a cancellation that asks for it."""
    try:
        await patiently(transaction.rollback())
    except StoreFailed as error:
        logger.warning("a transaction couldn't be rolled back; the database does it with its connection: %s", error)

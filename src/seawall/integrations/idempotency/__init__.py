"""
The service's side of an Idempotency-Key, after draft-ietf-httpapi-idempotency-key-header-07: the first request runs,
and a repeat gets its answer.

`seawall.integrations.aiohttp` has the same for aiohttp. The stores in `.postgres` and `.redis` need the extras
``postgres`` and ``redis``.
"""

from .answer import Answer
from .asgi import IdempotencyMiddleware
from .claim import Claim
from .run import Run
from .sqlite import SQLite
from .store import State, Store, StoreFailed, Transaction, TransactionalStore

__all__ = [
    "Answer",
    "Claim",
    "IdempotencyMiddleware",
    "Run",
    "SQLite",
    "State",
    "Store",
    "StoreFailed",
    "Transaction",
    "TransactionalStore",
]

"""
The shared allowance of retries: it keeps callers from making an outage worse while they wait for its end.

At 100 % failure, n calls in t seconds make at most ``1.1 n + t + 30`` attempts to one origin.
"""

from __future__ import annotations

__all__ = ["BudgetState"]


class BudgetState:
    """
    A token bucket, full at first: `deposit` at a first attempt, `withdraw` before a retry.

    Source: Finagle's RetryBudget; AWS SDKs' retry quota.
    """

    __slots__ = ("_balance", "_max", "_rate", "_ratio", "_updated_at")

    def __init__(self, *, ratio: float, rate: float, max_balance: float, now: float) -> None:
        self._ratio = ratio
        self._rate = rate
        self._max = max_balance
        self._balance = max_balance
        self._updated_at = now

    @property
    def max_balance(self) -> float:
        return self._max

    def balance(self, now: float) -> float:
        """Tokens at *now*; 0 <= balance <= max."""
        if now > self._updated_at:
            self._balance = min(self._max, self._balance + (now - self._updated_at) * self._rate)
            self._updated_at = now
        return self._balance

    def is_spent(self, now: float) -> bool:
        """Whether it would be fuller if it were made anew."""
        return self.balance(now) < self._max

    def deposit(self, now: float) -> None:
        if self._balance < self._max:  # a full bucket stays full until a withdrawal
            self._balance = min(self._max, self.balance(now) + self._ratio)

    def can_withdraw(self, now: float) -> bool:
        return self.balance(now) >= 1.0

    def withdraw(self, now: float) -> None:
        """Take one token. Ask `can_withdraw` first: with two buckets, both are asked before either is charged."""
        self._balance = self.balance(now) - 1.0

    def refund(self, now: float) -> None:
        """Put back a token that was not needed."""
        self._balance = min(self._max, self.balance(now) + 1.0)

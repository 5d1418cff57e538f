"""How many retries calls may cost."""

from __future__ import annotations

from dataclasses import dataclass

from .check import number

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """
    The allowance of retries: a token bucket per origin and one per client; a retry needs a token from both.

    Where most attempts at an origin have failed for 5 s, none is repeated, because many clients of few calls each
    would not use up their buckets, and together keep up the outage (``python -m benchmarks simulate``).

    Args:
        ratio: Tokens that a first attempt deposits, >= 0 and <= 1. 0.1: SRE book.
        rate: Tokens a second per origin. 1: a client with few calls may still retry.
        max_balance: Upper bound of an origin's tokens; the bucket starts full.
        client_rate: Tokens a second for all origins together.
        max_client_balance: Upper bound of the tokens for all origins together; the bucket starts full.
    """

    ratio: float = 0.1
    rate: float = 1.0
    max_balance: float = 30.0
    client_rate: float = 10.0
    max_client_balance: float = 100.0

    def __post_init__(self) -> None:
        number("Budget", "ratio", self.ratio, low=0, high=1)
        for name in ("rate", "max_balance", "client_rate", "max_client_balance"):
            number("Budget", name, getattr(self, name), low=0)

# Written by scripts/twin.py from ../_httpx/decoder.py: change that file, and run the script.
"""Compressed bodies, as httpx2 has them."""

from __future__ import annotations

import httpx2

from ..wire import decoder
from ..wire.coding import Coding
from .compat import DECODED

__all__ = ["Paced", "codings"]


class Paced(decoder.Paced, httpx2.AsyncByteStream):
    """A paced body, as httpx2 wants a stream."""


def codings(headers: httpx2.Headers) -> list[Coding]:
    """Those of a body that we know, and those that only httpx2 would decode, which are refused."""
    return decoder.codings(headers.get_list("content-encoding", split_commas=True), DECODED)

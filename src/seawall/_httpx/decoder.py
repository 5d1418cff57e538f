"""Compressed bodies, as httpx has them."""

from __future__ import annotations

import httpx

from ..wire import decoder
from ..wire.coding import Coding
from .compat import DECODED

__all__ = ["Paced", "codings"]


class Paced(decoder.Paced, httpx.AsyncByteStream):
    """A paced body, as httpx wants a stream."""


def codings(headers: httpx.Headers) -> list[Coding]:
    """Those of a body that we know, and those that only httpx would decode, which are refused."""
    return decoder.codings(headers.get_list("content-encoding", split_commas=True), DECODED)

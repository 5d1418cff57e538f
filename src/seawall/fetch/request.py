"""A request that a fetch sends again and again: the seam below `seawall.fetch`, which a front fills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from ..config import Policy
from ..core.pipeline import Pipeline
from ..errors import SeawallError
from ..origin import Origin

__all__ = ["Reply", "Request"]


class Reply(Protocol):
    """A response whose body was not read yet; ``httpx.Response`` is one."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...

    def aiter_raw(self) -> AsyncIterator[bytes]: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...
    def raise_for_status(self) -> object: ...
    async def aclose(self) -> None: ...


class Request(Protocol):
    """
    One request of a caller's, which can be sent many times.

    Attributes:
        url: Without userinfo and fragment.
        options: What the caller set for it; None if nothing.
        layers: Those that it goes through.
    """

    method: str
    url: str
    origin: Origin
    has_key: bool
    options: Policy | None
    layers: Pipeline

    async def send(self, headers: Mapping[str, str], options: Policy | None) -> Reply:
        """
        Send it as a call of its own, and return once the headers of the response have come.

        Args:
            headers: Take the place of the caller's of the same names.
            options: Take the place of the caller's.
        """
        ...

    def adopt(self, error: SeawallError) -> Exception:
        """*error*, as the library's callers can catch it."""
        ...

    def is_failure(self, error: Exception) -> bool:
        """Whether *error* is a failure of the transport, and not a bug or the caller's."""
        ...

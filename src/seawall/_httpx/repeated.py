"""A request that is sent more than once: `fetch.request.Request`, over httpx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import httpx
from httpx import USE_CLIENT_DEFAULT

from ..config import Policy
from ..core.pipeline import Pipeline
from ..errors import SeawallError
from .compat import origin_and_path
from .convert import KEY
from .errors import as_httpx

if TYPE_CHECKING:
    from httpx._client import UseClientDefault
    from httpx._types import (
        AuthTypes,
        CookieTypes,
        HeaderTypes,
        QueryParamTypes,
        RequestContent,
        RequestData,
        RequestExtensions,
        RequestFiles,
        TimeoutTypes,
    )

__all__ = ["Repeated", "RequestArguments"]


class RequestArguments(TypedDict, total=False):
    """The arguments of ``httpx.AsyncClient.stream`` beside method and URL."""

    content: RequestContent | None
    data: RequestData | None
    files: RequestFiles | None
    json: Any
    params: QueryParamTypes | None
    headers: HeaderTypes | None
    cookies: CookieTypes | None
    auth: AuthTypes | UseClientDefault | None
    follow_redirects: bool | UseClientDefault
    timeout: TimeoutTypes | UseClientDefault
    extensions: RequestExtensions | None


class Repeated:
    """
    What the caller asks *client* for; see `fetch.request.Request`.

    Args:
        ours: Headers that the caller can't give, because they are set for each call.
    Raises:
        TypeError, ValueError: Something that can't be sent.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        layers: Pipeline,
        method: str,
        url: httpx.URL | str,
        *,
        ours: tuple[str, ...],
        **arguments: Unpack[RequestArguments],
    ) -> None:
        given: dict[str, Any] = {"method": method, "url": url, **arguments}
        self._sending: Final = {name: given.pop(name, USE_CLIENT_DEFAULT) for name in ("auth", "follow_redirects")}
        self._headers: Final = httpx.Headers(given.pop("headers", None))
        self._extensions: Final = given.pop("extensions", None) or {}
        if misplaced := [name for name in ours if name in self._headers]:
            raise ValueError(f"headers: {', '.join(misplaced)} can't be given here, because each call sets its own")
        self._client = client
        self._given = given
        first = self._built({}, None)
        self.method = first.method
        self.url = str(first.url.copy_with(userinfo=b"", fragment=None))
        self.origin = origin_and_path(first.url)[0]
        self.has_key = KEY in self._headers
        options = self._extensions.get("seawall")
        self.options: Policy | None = options if isinstance(options, Policy) else None
        self.layers = layers

    async def send(self, headers: Mapping[str, str], options: Policy | None) -> httpx.Response:
        return await self._client.send(self._built(headers, options), stream=True, **self._sending)

    def adopt(self, error: SeawallError) -> Exception:
        return as_httpx(error, self._built({}, None))

    def is_failure(self, error: Exception) -> bool:
        return isinstance(error, httpx.TransportError)

    def _built(self, ours: Mapping[str, str], options: Policy | None) -> httpx.Request:
        headers = self._headers.copy()
        headers.update([(name.encode(), value.encode()) for name, value in ours.items()])
        extensions = dict(self._extensions) if options is None else {**self._extensions, "seawall": options}
        return self._client.build_request(**self._given, headers=headers, extensions=extensions)

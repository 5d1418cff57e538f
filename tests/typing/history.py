"""How `seawall.history` is used with either library, for mypy and pyright, read, never run."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2

import seawall


async def what_is_caught_is_the_librarys(client: seawall.AsyncClient) -> None:
    try:
        response = await client.get("/")
        assert_type(seawall.history(response), seawall.History)
    except httpx.HTTPError as error:
        assert_type(seawall.history(error).note, str)


def of_either(response: httpx.Response | httpx2.Response, error: httpx2.HTTPError | Exception) -> None:
    assert_type(seawall.history(response), seawall.History)
    assert_type(seawall.history(error), seawall.History)
    seawall.history(httpx.Request("GET", "/"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    seawall.history(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

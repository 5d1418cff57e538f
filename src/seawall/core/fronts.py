"""The libraries that seawall has a front for. Their objects look alike, but neither library can use the other's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["FRONTS", "check_own"]

FRONTS: Final[Mapping[str, str]] = {"httpx": "seawall", "httpx2": "seawall.httpx2"}
"""Our module by the library's name."""

LOSING: Final = ("cookies", "params")


def check_own(library: str, /, **things: object) -> None:
    """
    Check what a caller gives to the front over *library*.

    A mapping of the other library's, such as its ``Headers``, is taken as any mapping is; but for two that lose by it:
    ``Cookies``, taken for a cookie jar, and ``QueryParams``, of which only the first value of each name would stay.

    Raises:
        TypeError: One of *things* is an object of the other library's; the message names the module that takes it.
    """
    for name, thing in things.items():
        if isinstance(thing, Mapping) and name not in LOSING:
            continue
        origins = {cls.__module__.partition(".")[0]: cls for cls in reversed(type(thing).__mro__)}
        if library in origins:
            continue
        for other in FRONTS.keys() & origins.keys():
            kind = origins[other].__name__
            raise TypeError(
                f"{name}: an {other}.{kind} can't be used here, because {FRONTS[library]} is over {library}: "
                f"give an {library}.{kind}, or take the client from {FRONTS[other]}"
            )

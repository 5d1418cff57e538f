"""The HTTP libraries that seawall has a front for, and a test that runs over each."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import httpx
import httpx2
import pytest

import seawall
import seawall.httpx2
import seawall.testing._httpx
import seawall.testing.httpx2


class Front(NamedTuple):
    """
    One library, and seawall over it.

    Attributes:
        httpx: The library.
        seawall: Has the public names of `seawall`, with the clients and transports of this front.
        testing: Has its fakes.
    """

    httpx: Any
    seawall: Any
    testing: Any


OVER_HTTPX2 = SimpleNamespace(
    **{**vars(seawall), **{name: getattr(seawall.httpx2, name) for name in seawall.httpx2.__all__}}
)
FRONTS = {
    "httpx": Front(httpx, seawall, seawall.testing._httpx),
    "httpx2": Front(httpx2, OVER_HTTPX2, seawall.testing.httpx2),
}


@pytest.fixture(params=FRONTS)
def lib(request: pytest.FixtureRequest) -> Front:
    """Each front in turn."""
    return FRONTS[request.param]


@pytest.fixture
def each_front(lib: Front, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Front:
    """Runs the test over each front: what its module calls ``httpx`` and ``seawall`` is the front's; fakes too."""
    module: ModuleType = request.module
    names = {
        "httpx": lib.httpx,
        "seawall": lib.seawall,
        **{name: getattr(lib.testing, name) for name in lib.testing.__all__},
    }
    for name, thing in names.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, thing)
    return lib

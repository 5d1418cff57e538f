"""What the tests of mocks and instrumentation share: fixtures that run them over both fronts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import respx
from respx.mocks import HTTPCoreMocker, Mocker

import seawall
from seawall.testing.dns import DNSServer
from tests.fronts import Front

__all__ = ["client", "core", "each_lib", "mocked"]

if "httpcore2" not in Mocker.registry:  # pytest-httpx2 has the same, and registers it once pytest has started

    class HTTPCore2Mocker(HTTPCoreMocker):
        name = "httpcore2"
        targets = [target.replace("httpcore", "httpcore2") for target in HTTPCoreMocker.targets]  # noqa: RUF012


@pytest.fixture
def each_lib(lib: Front, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Front:
    """
    Runs the test over each front: what its module calls ``httpx`` and ``seawall`` is the front's.

    Names are swapped in place of renaming the source, because a tool patches the one library or the other by name.
    """
    for name in ("httpx", "seawall"):
        if hasattr(request.module, name):
            monkeypatch.setattr(request.module, name, getattr(lib, name))
    return lib


@pytest.fixture
def core(each_lib: Front, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The front's httpcore; also what the test's module calls ``httpcore``."""
    module = importlib.import_module(each_lib.httpx.__name__.replace("httpx", "httpcore"))
    monkeypatch.setattr(request.module, "httpcore", module, raising=False)
    return module


@pytest.fixture
def mocked(core: ModuleType) -> Callable[..., Any]:
    """``respx.mock`` for the front."""
    return partial(respx.mock, using=core.__name__)


@pytest.fixture
async def client(stack: AsyncExitStack, dns: DNSServer, each_lib: Front) -> Any:
    """The front's, at the defaults, but asking our DNS server."""
    return await stack.enter_async_context(each_lib.seawall.AsyncClient(dns=seawall.DNS(nameservers=(dns.address,))))

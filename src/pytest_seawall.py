"""
pytest plugin: servers that fail as they are told, virtual time, and a leak check, for tests of any client.

Rule: seawall is imported when one of its fixtures is used, and not before, so that other people's test runs pay
nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seawall.testing import DNSServer, FaultServer, Network
    from seawall.testing.leaks import LeakCheck

__all__ = ["dns_server", "fault_server", "network", "no_leaks", "virtual_time"]


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A `seawall.testing.FaultServer` in a thread of its own; a script that nothing asked for fails the test."""
    from seawall.testing import FaultServer

    with FaultServer() as server:
        yield server


@pytest.fixture
def dns_server() -> Iterator[DNSServer]:
    """A `seawall.testing.DNSServer` in a thread of its own, with an empty zone."""
    from seawall.testing import DNSServer

    with DNSServer() as server:
        yield server


@pytest.fixture
def network() -> Iterator[Network]:
    """A `seawall.testing.Network` in a thread of its own."""
    from seawall.testing import Network

    with Network() as network:
        yield network


@pytest.fixture
def virtual_time() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """`seawall.testing.run`: runs a coroutine on an event loop whose clock jumps when there is nothing to do."""
    from seawall.testing import run

    return run


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[LeakCheck]:
    """
    Fails the test if it leaves threads, file descriptors or sockets behind; an async one (anyio's): tasks too.

    ``no_leaks.watch(client)``: of a seawall client, permits and connections in use as well.
    """
    from seawall.testing import no_leaks

    check = no_leaks()
    test = request.node.obj
    if not inspect.iscoroutinefunction(test):
        with check:
            yield check
        return

    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        async with check:  # in the test's own loop
            await test(*args, **kwargs)

    request.node.obj = checked
    yield check

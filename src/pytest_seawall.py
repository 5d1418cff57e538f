"""
pytest plugin for tests of any client: servers that fail on request, virtual time, and a leak check.

Rule: seawall is imported when one of its fixtures is first used, so that other test runs pay nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seawall.testing import DNSServer, FaultServer, Network
    from seawall.testing.leaks import LeakCheck

__all__ = ["dns_server", "fault_network", "fault_server", "no_leaks", "virtual_time"]


RAISED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes that a test raised, or was skipped, because what it left undone is then a consequence."""
    report = yield
    if call.excinfo is not None:
        item.stash[RAISED] = True
    return report


@contextmanager
def _entered(request: pytest.FixtureRequest, service: Any) -> Iterator[Any]:
    """``with service`` around the test, which sees what the test raises as if the block were in the test itself."""
    with ExitStack() as stack:
        value = stack.enter_context(service)
        yield value
        if RAISED in request.node.stash:
            stack.pop_all()
            service.__exit__(AssertionError, None, None)


@pytest.fixture
def fault_server(request: pytest.FixtureRequest) -> Iterator[FaultServer]:
    """A `seawall.testing.FaultServer` in a thread of its own; a script that no request used fails the test."""
    from seawall.testing import FaultServer

    with _entered(request, FaultServer()) as server:
        yield server


@pytest.fixture
def dns_server(request: pytest.FixtureRequest) -> Iterator[DNSServer]:
    """A `seawall.testing.DNSServer` in a thread of its own, with an empty zone."""
    from seawall.testing import DNSServer

    with _entered(request, DNSServer()) as server:
        yield server


@pytest.fixture
def fault_network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """A `seawall.testing.Network` in a thread of its own."""
    from seawall.testing import Network

    with _entered(request, Network()) as network:
        yield network


@pytest.fixture
def virtual_time() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """`seawall.testing.run`, which runs a coroutine on an event loop whose clock jumps when nothing is ready."""
    from seawall.testing import run

    return run


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[LeakCheck]:
    """
    Fails the test if it leaves threads, file descriptors or sockets behind; an async test must leave no tasks either.

    In an async test it checks only the test's own body, because other fixtures end after the loop has stopped.

    ``no_leaks.watch(client)`` checks the permits and busy connections of a seawall client as well.
    """
    from seawall.testing import no_leaks

    check = no_leaks()
    test = request.node.obj
    if not inspect.iscoroutinefunction(test):
        with _entered(request, check):
            yield check
        return

    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        async with check:  # in the test's own loop
            await test(*args, **kwargs)

    request.node.obj = checked
    yield check

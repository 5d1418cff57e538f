"""Machines in namespaces, from outside of them: what each resolver makes of their names, and where they differ."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType

from ..namespace import UNSHARE
from .machine import Machine
from .outcome import Difference, Outcome, difference
from .pipe import receive, send

__all__ = ["RESOLVERS", "Namespace", "differences", "why_not"]

RESOLVERS = ("default", "cares", "system")
COMMAND = (*UNSHARE, "--uts")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NAMESPACES = max(2, 2 * (os.cpu_count() or 1))  # more than cores, because a machine whose server is silent only waits


def why_not() -> str | None:
    """Why no namespace can be made here; None where one can."""
    if shutil.which(COMMAND[0]) is None:
        return "needs unshare, of util-linux"
    done = subprocess.run([*COMMAND, "mount", "-t", "tmpfs", "none", "/etc"], capture_output=True, text=True)
    return f"{' '.join(COMMAND)}: {done.stderr.strip() or done.returncode}" if done.returncode else None


class Namespace:
    """One machine after another, in namespaces of their own."""

    def __init__(self, resolvers: Iterable[str] = RESOLVERS) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, sys.executable, "-m", "benchmarks.names.inside", *resolvers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def look_up(self, machine: Machine) -> dict[str, Outcome]:
        """
        The outcome of each resolver, glibc's first.

        Raises:
            EOFError: The process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        send(self._process.stdin, machine)
        outcomes: dict[str, Outcome] | None = receive(self._process.stdout)
        if outcomes is None:
            raise EOFError(f"the process in the namespace ended with {self._process.wait()}")
        return outcomes

    def differences(self, machine: Machine) -> list[Difference]:
        """Of each resolver of seawall's from glibc."""
        outcomes = self.look_up(machine)
        expected = outcomes.pop("glibc")
        found = (difference(machine, resolver, expected, got) for resolver, got in outcomes.items())
        return [each for each in found if each is not None]

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate(b"")


def differences(machines: Iterable[Machine], resolvers: Iterable[str] = RESOLVERS) -> Iterator[list[Difference]]:
    """Of each machine, in their order; several are looked at side by side."""
    with ExitStack() as stack:
        free: queue.SimpleQueue[Namespace] = queue.SimpleQueue()
        for _ in range(NAMESPACES):
            free.put(stack.enter_context(Namespace(resolvers)))
        pool = stack.enter_context(ThreadPoolExecutor(NAMESPACES))

        def look(machine: Machine) -> list[Difference]:
            with _taken(free) as namespace:
                return namespace.differences(machine)

        yield from pool.map(look, machines)


@contextmanager
def _taken(free: queue.SimpleQueue[Namespace]) -> Iterator[Namespace]:
    namespace = free.get()
    try:
        yield namespace
    finally:
        free.put(namespace)

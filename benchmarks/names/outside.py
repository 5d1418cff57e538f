"""Machines in namespaces, from the outside: the outcome of each resolver, and where they differ."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType

from ..namespace import UNSHARE
from .machine import Machine
from .named import RESOLVERS, excuses
from .outcome import Difference, Outcome, difference
from .pipe import receive, send

__all__ = ["Namespace", "Namespaces", "why_not"]

COMMAND = (*UNSHARE, "--uts")
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NAMESPACES = max(2, 2 * (os.cpu_count() or 1))  # more than cores, because a machine whose server is silent only waits

PATIENCE = 15.0  # s


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
        """The differences between seawall's resolvers and glibc, each with its name."""
        outcomes = self.look_up(machine)
        expected = outcomes.pop("glibc")
        found = (difference(machine, resolver, expected, got) for resolver, got in outcomes.items())
        return [self._named(each) for each in found if each is not None]

    def smallest(self, found: Difference) -> Difference:
        """A difference of the same kind on a minimal machine; searched for `PATIENCE` seconds."""
        end_at = time.monotonic() + PATIENCE
        candidates = found.machine.smaller()
        while time.monotonic() < end_at and (machine := next(candidates, None)) is not None:
            for each in self.differences(machine):
                if not each.title and (each.resolver, each.kind) == (found.resolver, found.kind):
                    found, candidates = each, machine.smaller()
        return found

    def _named(self, found: Difference) -> Difference:
        for title, machine in excuses(found):
            if self.look_up(machine)["glibc"].is_same(found.got):
                return replace(found, title=title)
        return found

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate(b"")


class Namespaces:
    """Several namespaces, in which machines run side by side."""

    def __init__(self, resolvers: Iterable[str] = RESOLVERS) -> None:
        self._resolvers = tuple(resolvers)
        self._free: queue.SimpleQueue[Namespace] = queue.SimpleQueue()
        self._stack = ExitStack()

    def differences(self, machines: Iterable[Machine]) -> list[Difference]:
        """The differences of all resolvers from glibc on each machine, in the order of *machines*."""
        return [each for several in self._pool.map(self._differences, machines) for each in several]

    def smallest(self, found: Iterable[Difference]) -> list[Difference]:
        """What `Namespace.smallest` makes of each difference."""
        return list(self._pool.map(self._smallest, found))

    def _differences(self, machine: Machine) -> list[Difference]:
        with self._taken() as namespace:
            return namespace.differences(machine)

    def _smallest(self, found: Difference) -> Difference:
        with self._taken() as namespace:
            return namespace.smallest(found)

    @contextmanager
    def _taken(self) -> Iterator[Namespace]:
        namespace = self._free.get()
        try:
            yield namespace
        finally:
            self._free.put(namespace)

    def __enter__(self) -> Namespaces:
        for _ in range(NAMESPACES):
            self._free.put(self._stack.enter_context(Namespace(self._resolvers)))
        self._pool = self._stack.enter_context(ThreadPoolExecutor(NAMESPACES))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

"""What a measurement needs from the machine: a core for each process, descriptors, and the memory in use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

SERVER_CORE, CLIENT_CORE = 0, 1


def pin(core: int) -> None:
    """Pin this process to one core, if the system can."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def start(
    module: str,
    *arguments: str,
    core: int | None,
    under: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    **popen: Any,
) -> subprocess.Popen[str]:
    """Start ``python -m MODULE`` on one *core* (None allows any), *under* a tool, without a proxy, with pipes."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.Popen(
        [*under, sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=kept | dict(environment),
        preexec_fn=None if core is None else lambda: pin(core),
        **popen,
    )


@contextmanager
def server(*, core: int = SERVER_CORE) -> Iterator[int]:
    """Run the server in a process of its own; yields its port."""
    with start("benchmarks.server", core=core) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate("")


def child(module: str, *arguments: object, seconds: float, core: int | None = CLIENT_CORE, **started: Any) -> str:
    """
    Run a process of a client; returns what it prints.

    Args:
        started: Further arguments of `start`.

    Raises:
        ValueError: It took longer than *seconds*, or failed; says so in one line.
    """
    with start(module, *map(str, arguments), core=core, stderr=subprocess.PIPE, **started) as process:
        try:
            output, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ValueError(f"took over {seconds:.0f} s") from None
    if process.returncode:
        last = error.strip().splitlines()[-1:] or [f"ended with {process.returncode}"]
        raise ValueError(last[0][:200])
    return output


def raise_descriptors() -> int:
    """Raise the limit of descriptors as far as possible; returns the limit."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def memory() -> tuple[float, float]:
    """Resident memory, now and at its peak, in MB."""
    try:
        with open("/proc/self/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return float(lines["VmRSS"].split()[0]) / 1024, float(lines["VmHWM"].split()[0]) / 1024
    except OSError:  # not Linux: only the peak is known
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
        return most, most


def is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def conditions(packages: Iterable[str], arguments: list[str], name: str) -> str:
    """The head of a report: what was measured, where, when and how."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages if is_installed(package))
    return (
        f"{versions}\nPython {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d %H:%M')}\n"
        f"python -m benchmarks {' '.join([name, *arguments])}\n"
    )

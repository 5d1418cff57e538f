"""Fixtures that every kind of test uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from seawall.core.lines import LOGGERS

from .fronts import front, lib, pytest_pycollect_makemodule
from .loop import PatientLoop

__all__ = ["front", "lib", "pytest_pycollect_makemodule"]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles seawall anew

SLOW_MACHINE: Any = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("explore", **SLOW_MACHINE)  # --hypothesis-profile=explore: new examples each time
hypothesis.settings.register_profile("same each time", derandomize=True, **SLOW_MACHINE)
hypothesis.settings.load_profile("same each time")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two for each core, because many tests wait for a socket's silence, a timeout or another process; at most 8."""
    return min(8, 2 * (os.cpu_count() or 1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``-n auto`` means ``--dist worksteal``, because some modules take a minute and others a millisecond."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


class Raising(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise ValueError(f"a bug in a filter of {record.name}")


@pytest.fixture
def broken_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The application's filter of each logger of ours raises, at every level."""
    for name in ("seawall", *(f"seawall.{each}" for each in LOGGERS)):
        monkeypatch.setattr(logging.getLogger(name), "filters", [Raising()])
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.getLogger().manager._clear_cache()
    yield
    monkeypatch.undo()
    logging.getLogger().manager._clear_cache()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """No test fails because the machine is busy."""
    return "asyncio", {"loop_factory": PatientLoop}

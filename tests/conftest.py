"""Fixtures that every kind of test uses."""

from __future__ import annotations

import os

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles seawall anew


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

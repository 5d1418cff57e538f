"""All of it on the virtual clock, over each front."""

from __future__ import annotations

from pathlib import Path

import pytest

from seawall.testing import VIRTUAL
from tests.fronts import OverEachFront


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    module = OverEachFront.from_parent(parent, path=module_path)
    module.add_marker("each_front")
    return module


@pytest.fixture
def anyio_backend():
    return VIRTUAL

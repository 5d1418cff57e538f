"""All of it on the virtual clock, over each front."""

from __future__ import annotations

import pytest

from seawall.testing import VIRTUAL
from tests.fronts import Front


@pytest.fixture(autouse=True)
def front(each_front: Front) -> Front:
    return each_front


@pytest.fixture
def anyio_backend():
    return VIRTUAL

"""All of it on the virtual clock."""

from __future__ import annotations

import pytest

from seawall.testing import VIRTUAL


@pytest.fixture
def anyio_backend():
    return VIRTUAL

"""Real SDKs over our clients, against a real server."""

import pytest

pytest.register_assert_rewrite("tests.interop.sdks.contract")

"""What servers say of their limits: recorded headers of those that have some, and garbage."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.policy.quota import DIALECTS, MAX_RESET, Quota, quotas

NOW = 1_795_788_000.0  # 2026-11-27T14:00:00Z


def told(**headers: str) -> list[Quota]:
    return quotas(httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), wall=NOW)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"RateLimit": '"default";r=50;t=30', "RateLimit_Policy": '"default";q=100;w=60'}, [Quota(50, 30)]),
        ({"RateLimit": '"burst";r=0;t=2, "daily";r=999;t=3600'}, [Quota(0, 2), Quota(999, 3600)]),
        ({"RateLimit_Limit": "100", "RateLimit_Remaining": "3", "RateLimit_Reset": "12"}, [Quota(3, 12)]),
        (  # GitHub
            {"X_RateLimit_Limit": "5000", "X_RateLimit_Remaining": "0", "X_RateLimit_Reset": f"{NOW + 600:.0f}"},
            [Quota(0, 600)],
        ),
        (  # OpenAI
            {
                "x_ratelimit_remaining_requests": "59",
                "x_ratelimit_reset_requests": "1s",
                "x_ratelimit_remaining_tokens": "149984",
                "x_ratelimit_reset_tokens": "6m0s",
            },
            [Quota(59, 1)],
        ),
        ({"x_ratelimit_remaining_requests": "9", "x_ratelimit_reset_requests": "20ms"}, [Quota(9, 0.02)]),
        (  # Anthropic
            {
                "anthropic_ratelimit_requests_remaining": "49",
                "anthropic_ratelimit_requests_reset": "2026-11-27T14:00:30Z",
            },
            [Quota(49, 30)],
        ),
        ({"x_rate_limit_remaining": "1", "x_rate_limit_reset": f"{NOW + 900:.0f}"}, [Quota(1, 900)]),  # X
        (  # Discord
            {"X_RateLimit_Remaining": "4", "X_RateLimit_Reset": f"{NOW + 1.5}", "X_RateLimit_Reset_After": "1.5"},
            [Quota(4, 1.5), Quota(4, 1.5)],
        ),
        ({"X_RateLimit_Remaining": "4", "X_RateLimit_Reset": f"{(NOW + 7) * 1000:.0f}"}, [Quota(4, 7)]),  # ms
        ({"X_Shopify_Shop_Api_Call_Limit": "40/40"}, [Quota(0, 0.5)]),
        ({"X_Shopify_Shop_Api_Call_Limit": "32/40"}, [Quota(8, 0.0)]),
    ],
)
def test_recorded(headers, found):
    """Each dialect."""
    assert [(each.remaining, pytest.approx(each.reset, abs=1e-3)) for each in told(**headers)] == found


@pytest.mark.parametrize(
    "value",
    ["", "-1", "NaN", "inf", "1e3", "0x1", "soon", "1" * 40, "-6m", "ms", "2020-01-01T00:00:00Z", "2026-11-27", "٣"],
)
def test_garbage(value):
    """It is no quota, wherever it stands."""
    for remaining, reset in DIALECTS:
        assert quotas({remaining: "5", reset: value}, wall=NOW) == []
        assert quotas({remaining: value, reset: "5"}, wall=NOW) in ([], [Quota(1, 5)])
    assert quotas({"ratelimit": f'"default";r={value};t=5'}, wall=NOW) == []
    assert quotas({"ratelimit": f'"default";r=5;t={value}'}, wall=NOW) == []


@given(names=st.sampled_from([name for pair in DIALECTS for name in pair] + ["ratelimit"]), value=st.text(max_size=300))
def test_any_text(names, value):
    """Nothing that a server says raises, or gives a number that isn't finite and bounded."""
    headers = {name: value for pair in DIALECTS for name in pair} | {names: value, "ratelimit": value}
    for quota in quotas(headers, wall=NOW):
        assert 0 <= quota.remaining < 1e16
        assert 0 <= quota.reset <= MAX_RESET

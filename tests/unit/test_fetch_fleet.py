"""What workers share in Redis, where there is none."""

from __future__ import annotations

import pytest

from seawall.integrations.fetch_fleet import checked, fleet, messages, nameless
from seawall.integrations.fetch_queue import Queue, Worker
from seawall.integrations.redis import Redis

SECRET = [
    "redis://:s3/cr3t@host:1",
    "redis://me:s3#cr3t@host:1/2",
    "redis://me:s3@cr3t@host",
    "rediss://:s3[cr3t@host:1",
    "unix://me:s3cr3t@/run/redis.sock",
    "redis://host:1?password=s3cr3t&db=x",
]


@pytest.mark.parametrize("url", SECRET)
def test_what_is_shown_of_a_url(url):
    """The server, and none of its password, whatever stands in that."""
    shown = nameless(url)
    assert "s3" not in shown
    assert "cr3t" not in shown
    assert shown.startswith(url.partition("//")[0])
    assert ("host" if "host" in url else "/run/redis.sock") in shown
    assert repr(Redis(url)) == "Redis(prefix='seawall', connect=None)"


@pytest.mark.anyio
@pytest.mark.parametrize("url", [*SECRET[:2], SECRET[3], "foo://me:s3cr3t@host", "redis://:s3cr3t@host:x"])
async def test_a_url_that_cannot_be(url):
    """Each says what a URL looks like, and quotes nothing of the password, as Python's own words do."""
    made = [
        lambda: checked(url),
        lambda: Queue(url, "out", {}),
        lambda: Worker(url, "me", None, at_once=1),  # type: ignore[arg-type]
    ]
    for make in made:
        with pytest.raises(ValueError, match=r"can't be the URL of a Redis: it begins with redis://") as caught:
            make()
        assert "s3" not in str(caught.value)
        assert caught.value.__suppress_context__
    with pytest.raises(ValueError, match="can't be the URL of a Redis"):
        await fleet(url)


class OldRedis:
    """Redis 6.2, which doesn't say how far a group lags behind."""

    async def exists(self, key: str) -> int:
        return 1

    async def xinfo_groups(self, key: str) -> list[dict[str, object]]:
        return [{"name": "workers", "consumers": 1, "pending": 2, "last-delivered-id": "7-1"}]

    async def xrange(self, key: str, **asked: object) -> list[tuple[str, dict[str, str]]]:
        assert asked == {"min": "(7-1", "count": 1_000}
        return [("8-0", {}), ("8-1", {}), ("9-0", {})]


@pytest.mark.anyio
async def test_redis_that_does_not_count():
    """What waits is counted here."""
    assert await messages(OldRedis()) == (3, 2)

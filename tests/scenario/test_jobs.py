"""`seawall.job`: the keys that a job's requests carry are the same each time that the job runs. On virtual time."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest

import seawall
from seawall.testing import FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/orders"
KEYS = seawall.Retry(idempotency_key=True)


async def run(work, *, job_id: str | None = "job-1", script=(200,)) -> list[str]:
    """The keys that the server sees of *work*, in order."""
    wire = ScriptedWire(*script)
    async with seawall.AsyncClient(transport=wire, retry=KEYS, rng=FixedRandom()) as client:
        if job_id is None:
            await work(client)
        else:
            with seawall.job(job_id):
                await work(client)
    return [request.headers.get("idempotency-key", "") for request in wire.attempts]


async def two_orders(client: seawall.AsyncClient) -> None:
    await client.post(URL, json={"item": 1})
    await client.post(URL, json={"item": 2})


async def test_a_job_that_runs_again_sends_the_same_keys():
    """Each request has one of its own, in quotes and as long as a UUID."""
    first, again = await run(two_orders), await run(two_orders)
    assert first == again
    assert len(set(first)) == 2
    assert all(re.fullmatch(r'"[0-9a-f]{32}"', key) for key in first)


async def test_another_job_sends_other_keys():
    """Though its requests are the same; outside of a job no two runs share a key."""
    runs = [await run(two_orders, job_id=job_id) for job_id in ("job-1", "job-2", None, None)]
    assert len({key for keys in runs for key in keys}) == 8


async def test_the_order_does_not_matter():
    """Concurrent requests of a job may be sent in any order, and no key stands for another request."""

    async def backwards(client: seawall.AsyncClient) -> None:
        await client.post(URL, json={"item": 2})
        await client.post(URL, json={"item": 1})

    assert await run(two_orders) == (await run(backwards))[::-1]


async def test_equal_requests_are_two():
    """A job that orders the same twice means two orders; a run that was cut after the first sends its key again."""

    async def same(client: seawall.AsyncClient) -> None:
        await asyncio.gather(*(client.post(URL, json={"item": 1}) for _ in range(2)))

    async def cut(client: seawall.AsyncClient) -> None:
        await client.post(URL, json={"item": 1})

    keys = await run(same)
    assert len(set(keys)) == 2
    assert await run(cut) == keys[:1]


@pytest.mark.parametrize(
    "change",
    [{"url": URL + "?dry=1"}, {"url": "http://api.test/refunds"}, {"json": {"item": 2}}, {"method": "PATCH"}],
    ids=lambda change: next(iter(change)),
)
async def test_what_makes_it_another_request(change):
    """Its method, its URL with the query, and its body."""
    sent = {"method": "POST", "url": URL, "json": {"item": 1}}
    first, other = [await run(lambda client, sent=sent: client.request(**sent)) for sent in (sent, sent | change)]
    assert first != other


async def test_retries_and_redirects_carry_the_key_on():
    """The attempts of a call share it, and a redirect within the origin takes it along."""

    async def order(client: seawall.AsyncClient) -> None:
        await client.post(URL, json={"item": 1}, follow_redirects=True)

    keys = await run(order, script=[503, httpx.Response(307, headers={"location": "/v2"}), 200])
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_a_multipart_body_is_left_out():
    """Because its boundary is random; and so is a body that is streamed."""

    async def upload(client: seawall.AsyncClient) -> None:
        await client.post(URL, files={"file": b"content"})

    async def parts():
        yield b"content"

    async def stream(client: seawall.AsyncClient) -> None:
        await client.post(URL, content=seawall.replayable(parts))

    assert (await run(upload))[0]
    assert await run(upload) == await run(upload) == await run(stream)


async def test_tasks_of_a_job_share_it_and_jobs_side_by_side_do_not():
    """A task inherits the job that started it; two jobs of a worker run at once."""

    async def spawned(client: seawall.AsyncClient) -> None:
        await asyncio.create_task(two_orders(client))

    assert await run(spawned) == await run(two_orders)
    one, two = await asyncio.gather(run(two_orders), run(two_orders, job_id="job-2"))
    assert (one, two) == (await run(two_orders), await run(two_orders, job_id="job-2"))


async def test_only_where_keys_are_made():
    """A GET needs none, a key of the caller's stays, and without Retry.idempotency_key there is none."""

    async def others(client: seawall.AsyncClient) -> None:
        await client.get(URL)
        await client.post(URL, headers={"Idempotency-Key": '"mine"'})
        await client.post(URL, extensions=seawall.options(idempotency_key=False))

    assert await run(others) == ["", '"mine"', ""]


@pytest.mark.parametrize(("job_id", "error"), [("", ValueError), (7, TypeError), (None, TypeError)])
def test_bad_ids(job_id, error):
    """An error that says what is wrong with it."""
    with pytest.raises(error, match="job: the id must"), seawall.job(job_id):
        pass

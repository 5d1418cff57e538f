"""The metrics that Prometheus scrapes. On virtual time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import weakref
from collections import defaultdict
from typing import get_args
from unittest.mock import MagicMock

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

import seawall
from seawall import events
from seawall.events import Phase
from seawall.integrations import _measures as measures
from seawall.integrations import _series as series
from seawall.integrations._series import Metric
from seawall.integrations._tap import HANDLERS, Client, Tap, WritingTap
from seawall.integrations.prometheus import Prometheus
from seawall.policy.breaker import BreakerState
from seawall.stats import OriginStats
from seawall.testing import Body, FixedRandom, ScriptedWire

pytestmark = pytest.mark.anyio

URL = "http://api.test/path"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def client(registry: CollectorRegistry, *steps, **settings) -> seawall.AsyncClient:
    settings = {"observers": [Prometheus(registry)], "name": "orders", "rng": FixedRandom()} | settings
    return seawall.AsyncClient(transport=ScriptedWire(*steps), **settings)


def found(registry: CollectorRegistry, name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """The samples of that name with those labels: the values of the others, in the order of their names."""
    return {
        tuple(value for label, value in sorted(sample.labels.items()) if label not in labels): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    }


async def test_attempts_and_calls(registry):
    """A call with two retries is one call, three attempts, two retries and two waits; how it ended is counted too."""
    async with client(registry, 503, (0.3, httpx.ReadError), 200) as c:
        await c.get(URL)
    of = {"client": "orders", "host": "api.test"}
    assert found(registry, "seawall_attempt_duration_seconds_count", **of, method="GET") == {
        ("", "503"): 1,
        ("ReadError", ""): 1,
        ("", "200"): 1,
    }
    assert found(registry, "seawall_attempt_duration_seconds_sum", **of, error="ReadError") == {
        ("GET", ""): pytest.approx(0.3)
    }
    assert found(registry, "seawall_call_duration_seconds_count", **of) == {("GET", "200"): 1}
    assert found(registry, "seawall_retries_total", **of) == {("503",): 1, ("ReadError",): 1}
    assert found(registry, "seawall_retried_calls_total", **of) == {("200",): 1}
    assert found(registry, "seawall_wait_duration_seconds_count", **of) == {("backoff",): 2}
    assert found(registry, "seawall_retries_denied_total") == {}


async def test_failures_that_no_status_shows(registry):
    """Denied retries and refusals count by reason and gate, broken bodies by their error, breakers by both states."""
    breaker = seawall.Breaker(min_calls=2, open_for=10.0)
    async with client(registry, 500, retry=seawall.Retry(max_attempts=2), breaker=breaker) as c:
        await c.get(URL)
        with pytest.raises(seawall.BreakerOpen):
            await c.get(URL)
    async with client(registry, 500) as c:
        await c.post(URL)
    async with client(registry, Body(1.0, httpx.ReadError)) as c, c.stream("GET", URL) as response:
        with pytest.raises(httpx.ReadError):
            await response.aread()
    of = {"client": "orders", "host": "api.test"}
    assert found(registry, "seawall_retries_denied_total", **of) == {("max_attempts",): 1, ("unsafe",): 1}
    assert found(registry, "seawall_rejected_total", **of) == {("breaker",): 1}
    assert found(registry, "seawall_streamed_bodies_total", **of) == {("ReadError",): 1}
    assert found(registry, "seawall_breaker_transitions_total", **of) == {("closed", "open"): 1}
    assert found(registry, "seawall_attempt_duration_seconds_count", **of, error="BreakerOpen") == {("GET", ""): 1}


async def test_hedges(registry):
    """A superseded attempt isn't counted as one that its caller cancelled, nor the hedge's delay as backoff."""
    hedge = seawall.Hedge(after=0.5, max_extra=1.0)
    async with client(registry, 9.0, (0.1, 200), hedge=hedge) as c:
        await c.get(URL)
    of = {"client": "orders", "host": "api.test"}
    assert found(registry, "seawall_hedges_total", **of) == {(): 1}
    assert found(registry, "seawall_retries_total", **of) == {}
    assert found(registry, "seawall_attempt_duration_seconds_count", **of, method="GET") == {
        ("superseded", ""): 1,
        ("", "200"): 1,
    }
    assert found(registry, "seawall_wait_duration_seconds_count", **of) == {}


async def test_what_cut_an_attempt_short(registry):
    """The deadline, the caller who cancels, and the closing of the client each have their own label."""
    async with client(registry, math.inf, deadline=2.0) as c:
        with pytest.raises(seawall.DeadlineExceeded):
            await c.get(URL)
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        task = asyncio.create_task(c.get(URL))
        await asyncio.sleep(0.5)
    with pytest.raises(seawall.ClientClosed):
        await task
    assert found(registry, "seawall_attempt_duration_seconds_sum", client="orders", method="GET", status="") == {
        ("DeadlineExceeded", "api.test"): 2.0,
        ("cancelled", "api.test"): 1.0,
        ("ClientClosed", "api.test"): 0.5,
    }
    assert found(registry, "seawall_call_duration_seconds_sum", client="orders", method="GET") == {
        ("api.test", "DeadlineExceeded"): 2.0,
        ("api.test", "cancelled"): 1.0,
        ("api.test", "ClientClosed"): 0.5,
    }


async def test_clients_share_the_metrics_of_a_registry(registry):
    """One observer in two clients, and two observers in clients of one name: each call counts once, by its client."""
    shared = Prometheus(registry)
    async with (
        client(registry, 200, observers=[shared]) as orders,
        client(registry, 503, observers=[shared], name="users", retry=None) as users,
        client(registry, 200) as more,
        seawall.AsyncClient(transport=ScriptedWire(200)) as unnamed,
    ):
        await unnamed.get(URL)
        for _ in range(2):
            unnamed.engine.observe(Prometheus(registry))  # which comes late, and misses that call
        for c in (orders, users, more, unnamed):
            await c.get(URL)
        assert found(registry, "seawall_call_duration_seconds_count", host="api.test", method="GET") == {
            ("orders", "200"): 2,
            ("users", "503"): 1,
            ("", "200"): 1,
        }
        assert found(registry, "seawall_bulkhead_limit", host="api.test") == {
            ("orders",): 128,
            ("users",): 64,
            ("",): 64,
        }


async def test_registry_that_was_emptied(registry):
    """As test suites do between tests: a new observer registers its metrics again, with what they had counted."""
    async with client(registry) as c:
        await c.get(URL)
    for collector in list(registry._collector_to_names):
        registry.unregister(collector)
    assert generate_latest(registry) == b""
    async with client(registry) as c:
        await c.get(URL)
    assert found(registry, "seawall_call_duration_seconds_count", client="orders") == {("api.test", "GET", "200"): 2}


def test_name_that_somebody_else_has(registry):
    """It is an error that says which name, each time."""
    Counter("seawall_rejected_total", "not ours", registry=registry)
    for _ in range(2):
        with pytest.raises(ValueError, match="seawall_rejected"):
            Prometheus(registry)


async def test_ten_thousand_hosts(registry):
    """They have at most 101 values, beside those that the settings name; and methods that nobody knows have one."""
    heard: list[events.Event] = []
    async with client(registry, 503, 200, observers=[heard.append]) as c:
        await c.get(URL)
    named = {"named.test": seawall.Policy(), "*.more.test": seawall.Policy()}
    async with client(registry, per_host=named) as c:
        for number in range(10_000):
            origin = seawall.Origin("http", f"h{number}.test", 80)
            for event in heard:
                c.engine.layers._emitter.emit(event._replace(origin=origin, method=f"METHOD{number}"))
        for host in ("named.test", "a.more.test", *(f"h{number}.test" for number in range(200))):
            await c.get(f"http://{host}/")
        shared = c.engine.layers._emitter._listeners[-1].__self__._client
        assert 0 < max(len(shared.attempts), len(shared.calls)) <= 2048
    async with client(registry, per_host={"h150.test": seawall.Policy()}) as c:
        await c.get("http://h150.test/")
        samples = [sample for family in registry.collect() for sample in family.samples]
    hosts = {sample.labels["host"] for sample in samples if "host" in sample.labels}
    assert hosts == {f"h{number}.test" for number in range(100)} | {"named.test", "h150.test", "_OTHER"}
    assert {sample.labels["method"] for sample in samples if "method" in sample.labels} == {"GET", "_OTHER"}
    calls = found(registry, "seawall_call_duration_seconds_count", client="orders", outcome="200")
    assert sum(calls.values()) == 10_203
    assert calls["named.test", "GET"] == 1
    assert calls["_OTHER", "GET"] == 101


async def test_what_an_attempt_waited_for(registry):
    """Its gates and its backoff as it says itself, and for DNS from its marks, not counting the wait for the cap."""
    async with client(registry) as c:
        (attempt,) = seawall.history(await c.get(URL))
    marks = ((Phase.RESOLVING, 1.0), (Phase.CONNECTING, 2.0))
    queued = (("bulkhead", 1.0), ("cap", 0.75))
    attempt = attempt._replace(marks=marks, queued=queued, source="dns", delay=0.5, duration=9.0)
    waits = {"bulkhead": 1.0, "cap": 0.75, "backoff": 0.5}
    assert dict(measures.waits(attempt)) == waits | {"dns": 0.25}
    assert dict(measures.waits(attempt._replace(source="literal"))) == waits
    handed = ((Phase.RESOLVING, 1.0), (Phase.SENDING, 2.0))  # at the cap, a connection that became free
    assert dict(measures.waits(attempt._replace(marks=handed)))["dns"] == 0.25
    still = attempt._replace(marks=marks[:1], queued=(), source="", delay=0.0)  # it failed there
    assert dict(measures.waits(still)) == {"dns": 8.0}


async def test_levels(registry):
    """Permits, queue, calls and breakers are as they are at the scrape; what is switched off has no series."""
    bulkhead = seawall.Bulkhead(max_concurrent=2, adaptive=False)
    async with client(registry, 3.0, bulkhead=bulkhead) as c:
        tasks = [asyncio.create_task(c.get(URL)) for _ in range(3)]
        await asyncio.sleep(1.0)
        c.breakers["http://other.test"].force_open()
        of = {"client": "orders", "host": "api.test"}
        assert found(registry, "seawall_calls_in_flight") == {("orders",): 3}
        assert found(registry, "seawall_bulkhead_in_flight", **of) == {(): 2}
        assert found(registry, "seawall_bulkhead_limit", **of) == {(): 2}
        assert found(registry, "seawall_bulkhead_waiting", **of) == {(): 1}
        assert found(registry, "seawall_budget_tokens", **of) == {(): 30}
        assert found(registry, "seawall_learned_rate") == {}
        states = found(registry, "seawall_breaker_state", client="orders")
        assert {series for series, value in states.items() if value} == {
            ("api.test", "closed"),
            ("other.test", "forced open"),
        }
        assert len(states) == 10
        await asyncio.gather(*tasks)
        assert found(registry, "seawall_calls_in_flight") == {("orders",): 0}
        assert found(registry, "seawall_wait_duration_seconds_sum", **of) == {("bulkhead",): 3.0}
    async with client(registry, name="bare", bulkhead=None, breaker=None, budget=None) as c:
        await c.get(URL)
        bare = {
            sample.name
            for family in registry.collect()
            for sample in family.samples
            if "bare" in sample.labels.values()
        }
    assert not {name for name in bare if name.startswith(("seawall_bulkhead_l", "seawall_breaker", "seawall_budget"))}
    assert "seawall_bulkhead_in_flight" in bare


async def test_gauges_of_a_client_that_is_closed_or_forgotten(registry):
    """They vanish, because a limit that nobody has any more would count in each sum; counters stay."""
    async with client(registry) as closed:
        await closed.get(URL)
        assert gauges(registry) == {"orders"}
    assert gauges(registry) == set()
    forgotten = client(registry, name="users")
    await forgotten.get(URL)
    assert gauges(registry) == {"users"}
    del forgotten
    gc.collect()
    assert gauges(registry) == set()
    assert set(found(registry, "seawall_call_duration_seconds_count", host="api.test")) == {
        ("orders", "GET", "200"),
        ("users", "GET", "200"),
    }


def gauges(registry: CollectorRegistry) -> set[str]:
    """The clients that have any gauge."""
    return {sample.labels["client"] for each in registry.collect() if each.type == "gauge" for sample in each.samples}


async def test_the_timer_of_written_gauges_keeps_no_context():
    """In multiprocess mode: a context holds whatever the caller put into it, and a caller's event sets the timer."""

    class Held:
        pass

    variable: contextvars.ContextVar[Held] = contextvars.ContextVar("variable")
    written: dict[Metric, MagicMock] = defaultdict(MagicMock)

    async def call(c: seawall.AsyncClient) -> weakref.ref[Held]:
        held = Held()
        variable.set(held)
        await c.get(URL)
        return weakref.ref(held)

    async with seawall.AsyncClient(transport=ScriptedWire(200)) as c:
        tap = WritingTap(Client("orders", defaultdict(MagicMock)), c.engine, written)
        c.engine.observe(tap.on)
        held = await asyncio.create_task(call(c))
        await asyncio.sleep(0)  # the loop's present turn holds the task, which holds its context
        gc.collect()
        assert (held(), dict(written)) == (None, {})
        await asyncio.sleep(1)
        assert written


async def test_statuses_that_http_does_not_name(registry):
    """The first 20 keep their names, because nginx has some; an upstream that sends any gets no more."""
    statuses = [*range(560, 585), 404]
    async with client(
        registry, *statuses, breaker=None, retry=seawall.Retry(statuses=frozenset({584}), backoff=0)
    ) as c:
        for _ in range(25):
            await c.get(URL)
    of = {"client": "orders", "host": "api.test", "method": "GET"}
    counts = {(str(status),): 1.0 for status in range(560, 580)} | {("404",): 1.0}
    attempts = found(registry, "seawall_attempt_duration_seconds_count", **of, error="")
    assert attempts == counts | {("_OTHER",): 5.0}
    assert found(registry, "seawall_call_duration_seconds_count", **of) == counts | {("_OTHER",): 4.0}
    assert found(registry, "seawall_retries_total", client="orders") == {("api.test", "_OTHER"): 1.0}


async def test_written_gauges_of_a_client_that_closes_without_an_event(caplog):
    """In multiprocess mode: as it has no connections, nothing else tells of its end; a full disk doesn't keep it."""
    written: dict[tuple[object, ...], float] = {}

    class Gauge:
        def labels(self, *labels: str) -> MagicMock:
            return MagicMock(set=lambda value: written.update({(self, *labels): value}))

    async with seawall.AsyncClient(transport=ScriptedWire(200)) as c:
        tap = WritingTap(Client("orders", defaultdict(MagicMock)), c.engine, defaultdict(Gauge))
        c.engine.observe(tap.on)
        await c.get(URL)
        await asyncio.sleep(1)
        assert any(written.values())
    assert not any(written.values())

    async with seawall.AsyncClient(transport=ScriptedWire(200)) as c:
        tap = WritingTap(Client("orders", defaultdict(MagicMock)), c.engine, defaultdict(Gauge))
        c.engine.observe(tap.on)
        await c.get(URL)
        await asyncio.sleep(1)
        tap._gauges = {}  # which raises
    assert "the gauges of a closed client weren't written" in caplog.text


async def test_text_is_well_formed(registry):
    """prometheus_client's parsers read all of it, in both formats, and it has every metric of the table once."""
    async with client(registry, 503, 200) as c:
        await c.get(URL)
        text, openmetrics = generate_latest(registry).decode(), generate_openmetrics(registry).decode()
    names = [metric.name.removesuffix("_total") for metric in series.METRICS]
    for read in (list(parse(text)), list(parse_openmetrics(openmetrics))):
        assert [family.name for family in read if not family.name.endswith("_created")] == Unordered(names)
        assert all(family.documentation for family in read)
    assert len(set(names)) == len(names)


class Unordered(list):
    """Equal to a list of the same things."""

    def __eq__(self, other: object) -> bool:
        return sorted(self) == sorted(other)


async def test_no_secret_is_in_the_text(registry):
    """Neither userinfo, nor a query, nor a header, nor a path, whatever fails."""
    steps = (503, httpx.ReadError("secret"), httpx.Response(302, headers={"location": "/?token=secret"}), 200)
    async with client(registry, *steps, auth=("user", "secret")) as c:
        url = "http://user:secret@api.test/secret?token=secret"
        await c.get(url, headers={"x-key": "secret"}, follow_redirects=True)
        await c.request("SECRET", url)
        text = generate_latest(registry).decode()
    assert "seawall_retried_calls_total{" in text
    assert "secret" not in text.lower()
    assert "token" not in text.replace("_tokens", "").replace("Retry tokens", "")


async def test_thousands_of_calls_leave_no_growth(registry):
    """Whatever they end with, 3,000 calls leave as many objects of ours and as much text as 1,000 do."""
    sizes = []
    steps = (200, 503, httpx.ReadError, 404, (0.1, 200), httpx.ConnectError, math.inf)
    wire = ScriptedWire(per_host={f"h{number}.test": [step] for number, step in enumerate(steps)})
    async with seawall.AsyncClient(
        transport=wire, observers=[Prometheus(registry)], name="orders", rng=FixedRandom(), deadline=3.0
    ) as c:
        for number in range(3_000):
            call = asyncio.create_task(c.get(f"http://h{number % len(steps)}.test/"))
            if number % 50 == 0:
                await asyncio.sleep(0)
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            if number in (999, 2_999):
                (tap,) = (each for each in gc.get_objects() if type(each) is Tap and each.stats() is not None)
                kept = (len(tap._cut), len(tap._retried), len(tap._client.attempts), len(tap._client.calls))
                lines = generate_latest(registry).decode().splitlines()
                sizes.append((kept, len([line for line in lines if "_bucket" not in line])))
    (before, lines_before), (after, lines_after) = sizes
    assert before[:2] == after[:2] == (0, 0)
    assert after[2:] == before[2:]
    assert lines_after == lines_before


def test_every_event_and_level_is_exported_or_left_out_on_purpose():
    """A new event, and a new field of the statistics, is looked at here."""
    left_out = {
        events.CallStarted,  # calls are counted as they end
        events.LimitMoved,  # a gauge shows the limit
        events.LimitRestored,
        events.OriginBack,
        events.AddressReadmitted,
        events.ResolverFailed,  # LookupEnded says more
    }
    assert set(get_args(events.Event)) == set(HANDLERS) | left_out
    fields = {"idle", "connections", "breaker", "in_flight", "ghosts", "limit", "max_concurrent", "waiting"}
    fields |= {"budget", "max_budget", "rate", "limited", "ejected", "away_for", "awaited_by"}
    assert set(OriginStats._fields) == fields | {"next_probe", "paused_for"}  # of which a scrape sees an instant
    assert set(measures.STATES) >= {"closed", "open", "half-open"}
    assert BreakerState.__doc__ is not None
    assert all(f'"{state}"' in BreakerState.__doc__ for state in measures.STATES)

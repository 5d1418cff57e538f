"""Prometheus' metrics over real sockets, in another thread, in several processes; and the alert rules of the docs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

import seawall
from seawall.integrations import _engines
from seawall.integrations.prometheus import Prometheus
from seawall.testing import FaultServer
from seawall.testing.dns import DNSServer, Name

from ..wire.conftest import clock

__all__ = ["clock"]

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]
RULES = Path(__file__).parents[2] / "docs/howto/alerts.yml"
AT_ONCE = seawall.Retry(backoff=0, throttled_backoff=0)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def found(registry: CollectorRegistry, name: str, label: str) -> dict[str, float]:
    """The samples of that name, added up by the values of one label."""
    sums: dict[str, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == name:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + sample.value
    return sums


FAILURES = {
    "refused": "DialError",
    "name": "NameNotFound",
    "tls": "CertificateError",
    "timeout": "ReadTimeout",
    "deadline": "DeadlineExceeded",
    "breaker": "BreakerOpen",
    "bulkhead": "BulkheadFull",
    "limit": "LimitExceeded",
}


async def test_each_kind_of_failure_has_a_label_of_its_own(registry):
    """In the histogram of attempts and in that of calls, whether a server, the wire or a gate of ours failed."""
    prometheus = Prometheus(registry)
    async with FaultServer() as server, DNSServer() as dns, contextlib.AsyncExitStack() as stack:
        hang = server.script("hang", "hang")

        async def fail(name: str, url: str, **settings) -> None:
            client = seawall.AsyncClient(
                observers=[prometheus], name=name, retry=None, dns=seawall.DNS(nameservers=(dns.address,)), **settings
            )
            await stack.enter_async_context(client)
            if name in ("bulkhead", "limit"):
                task = asyncio.create_task(client.get(url))
                while not server.attempts("hang")[-1:] or client.stats().totals.calls != 1:
                    await asyncio.sleep(0)
                tasks.append(task)
            if name == "breaker":
                client.breakers[server.url].force_open()
            with pytest.raises(seawall.SeawallError) as caught:
                await client.get(url)
            assert type(caught.value).__name__ == FAILURES[name]

        tasks: list[asyncio.Task] = []
        await fail("refused", server.listen("refuse").url)
        await fail("name", "http://nx.test/")
        await fail("tls", server.listen("tls:expired").url)
        await fail("timeout", hang, timeout=httpx.Timeout(5.0, read=0.1))
        await fail("deadline", hang, deadline=0.1)
        await fail("breaker", hang)
        await fail("bulkhead", hang, bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0))
        await fail("limit", hang, limit=seawall.Limit(rate=0.01, burst=1))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    expected = dict.fromkeys(FAILURES.values(), 1) | {"cancelled": 2}
    assert found(registry, "seawall_attempt_duration_seconds_count", "error") == expected
    assert found(registry, "seawall_call_duration_seconds_count", "outcome") == expected
    assert found(registry, "seawall_rejected_total", "gate") == {"breaker": 1, "bulkhead": 1, "limit": 1}
    assert found(registry, "seawall_dns_lookup_failures_total", "error") == {"NameNotFound": 1}


async def test_connections_and_names(registry):
    """A connection is counted as it opens and closes, and shown by state; a name by where its answer came from."""
    async with FaultServer() as server, DNSServer({"good.test": Name(a=("127.0.0.1",))}) as dns:
        url = server.script("x", "ok").replace("127.0.0.1", "good.test")
        dns = seawall.DNS(nameservers=(dns.address,))
        async with seawall.AsyncClient(observers=[Prometheus(registry)], dns=dns) as client:
            for _ in range(2):
                await client.get(url)
            assert found(registry, "seawall_connections", "state") == {"idle": 1, "active": 0}
            assert found(registry, "seawall_connections_closed_total", "protocol") == {}
            await client.get(url, headers={"connection": "close"})
            await client.get(url)
    assert found(registry, "seawall_connections_opened_total", "protocol") == {"HTTP/1.1": 2}
    assert found(registry, "seawall_connections_closed_total", "protocol") == {"HTTP/1.1": 2}
    assert found(registry, "seawall_dns_answers_total", "source") == {"dns": 1, "cache": 1}
    assert found(registry, "seawall_dns_lookup_duration_seconds_count", "source") == {"dns": 1}
    assert found(registry, "seawall_wait_duration_seconds_count", "at") == {"dns": 2}


async def test_scrape_in_another_thread(registry, monkeypatch):
    """It asks the client in the client's own loop; if that is blocked, the scrape lacks gauges, and has all else."""
    async with FaultServer() as server, seawall.AsyncClient(observers=[Prometheus(registry)], name="orders") as client:
        await client.get(server.script("x", "ok"))
        stats, threads = client.engine.stats, list[int]()

        def noted():
            threads.append(threading.get_ident())
            return stats()

        monkeypatch.setattr(client.engine, "stats", noted)
        text = await asyncio.to_thread(generate_latest, registry)
        assert threads == [threading.get_ident()]
        assert b'seawall_bulkhead_limit{client="orders"' in text
        monkeypatch.setattr(_engines, "PATIENCE", 0.0)
        texts: list[bytes] = []
        blocking = threading.Thread(target=lambda: texts.append(generate_latest(registry)))
        blocking.start()
        blocking.join()
        assert b"seawall_bulkhead_limit{" not in texts[0]
        assert b'seawall_call_duration_seconds_count{client="orders"' in texts[0]


WORKER = """
import asyncio, contextlib, math, os, sys
import seawall
from seawall.integrations.prometheus import Prometheus
from seawall.testing import ScriptedWire, VirtualLoop

async def main():
    wire = ScriptedWire(503, 200, math.inf)
    async with seawall.AsyncClient(transport=wire, observers=[Prometheus()], name="orders", timeout=None) as client:
        await client.get("http://api.test/")
        hung = asyncio.create_task(client.get("http://api.test/"))
        wire = ScriptedWire(200, math.inf)
        async with seawall.AsyncClient(transport=wire, observers=[Prometheus()], name="closed", timeout=None) as closed:
            await closed.get("http://api.test/")
            last = asyncio.create_task(closed.get("http://api.test/"))
            await asyncio.sleep(2)
        print(os.getpid(), flush=True)
        sys.stdin.read()
        hung.cancel()
        await asyncio.gather(hung, last, return_exceptions=True)

asyncio.Runner(loop_factory=VirtualLoop).run(main())
"""


def test_several_processes(tmp_path, monkeypatch):
    """
    What two workers counted is added up, and so are their gauges while they live: these are as of a second after
    the last event, and 0 at once for a client that was closed, though its call hung.
    """
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(subprocess.Popen([sys.executable, "-c", WORKER], **pipes)) for _ in range(2)]
        pids = [int(worker.stdout.readline()) for worker in workers]
        assert found(registry, "seawall_call_duration_seconds_count", "client") == {"orders": 2, "closed": 4}
        assert found(registry, "seawall_retries_total", "reason") == {"503": 2}
        assert found(registry, "seawall_calls_in_flight", "client") == {"orders": 2, "closed": 0}
        assert found(registry, "seawall_bulkhead_in_flight", "client") == {"orders": 2, "closed": 0}
        assert found(registry, "seawall_bulkhead_limit", "client") == {"orders": 128, "closed": 0}
        states = found(registry, "seawall_breaker_state", "state")
        assert (states["closed"], states["open"]) == (2, 0)
        mark_process_dead(pids[0], path=str(tmp_path))
        assert found(registry, "seawall_bulkhead_limit", "client") == {"orders": 64, "closed": 0}
        assert found(registry, "seawall_retries_total", "reason") == {"503": 2}
        for worker in workers:
            worker.stdin.close()
            assert worker.wait() == 0


def rules() -> dict[str, set[str]]:
    """The names of metrics that each rule reads."""
    rules = re.split(r"- alert: ", RULES.read_text())[1:]
    return {rule.split()[0]: set(re.findall(r"seawall_\w+", rule.partition("labels:")[0])) for rule in rules}


async def trouble(registry: CollectorRegistry, clock, *, is_well: bool) -> dict[str, list[str]]:
    """
    What 15 scrapes, a minute apart, show of a client that calls five hosts: each has another trouble, or none.

    Returns:
        By series, as promtool takes them.
    """
    names = {f"{name}.test": Name(a=("127.0.0.1",)) for name in ("failing", "denied", "full", "well")}
    series: dict[str, list[str]] = {}
    async with FaultServer() as server, DNSServer(names) as dns, contextlib.AsyncExitStack() as stack:
        url = {
            key: server.script(key, "ok" if is_well else step) for key, step in {"bad": "503", "hung": "hang"}.items()
        }
        url["ok"] = server.script("ok", "ok")
        client = await stack.enter_async_context(
            seawall.AsyncClient(
                observers=[Prometheus(registry)],
                name="orders",
                retry=None,
                timeout=None,
                dns=seawall.DNS(nameservers=(dns.address,)),
                per_host={
                    "denied.test": seawall.Policy(retry=AT_ONCE, breaker=None, budget=seawall.Budget(max_balance=0)),
                    "full.test": seawall.Policy(bulkhead=seawall.Bulkhead(max_concurrent=1, max_waiting=0)),
                },
            )
        )
        at = {host: url[key].replace("127.0.0.1", host) for host, key in HOSTS.items()}
        hung = asyncio.create_task(client.get(at["full.test"]))
        while not server.attempts("hung"):
            await asyncio.sleep(0.001)
        for minute in range(15):
            for host in ("failing.test", "denied.test", "well.test", "well.test" if is_well else "a.servfail.test"):
                for _ in range(25):
                    with contextlib.suppress(seawall.SeawallError):
                        await client.get(at[host])
            for family in registry.collect():
                for name, labels, value, *_ in family.samples:
                    if not name.endswith(("_bucket", "_created")):
                        shown = ", ".join(f"{label}={json.dumps(text)}" for label, text in labels.items())
                        values = series.setdefault(f"{name}{{{shown}}}", [])
                        values += ["_"] * (minute - len(values)) + [repr(value)]
            clock.ahead += 60.0
        hung.cancel()
        await asyncio.gather(hung, return_exceptions=True)
    return series


HOSTS = {"failing.test": "bad", "denied.test": "bad", "full.test": "hung", "well.test": "ok", "a.servfail.test": "ok"}
EXPECTED = {
    ("SeawallOriginFailing", "failing.test", "critical"),
    ("SeawallOriginFailing", "denied.test", "critical"),
    ("SeawallOriginFailing", "a.servfail.test", "critical"),
    ("SeawallBreakerOpen", "failing.test", "critical"),
    ("SeawallRetriesDenied", "denied.test", "warning"),
    ("SeawallBulkheadFull", "full.test", "warning"),
    ("SeawallNamesFailing", "a.servfail.test", "warning"),
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool isn't installed (Debian's package prometheus)")
@pytest.mark.parametrize("is_well", [False, True])
async def test_alerts_fire(registry, clock, tmp_path, is_well):
    """Each for the host that has its trouble, as Prometheus itself evaluates them; none where all is well."""
    series = await trouble(registry, clock, is_well=is_well)
    firing = 'ALERTS{alertname="%s", host="%s", severity="%s", client="orders", alertstate="firing"}'
    alerts = [{"labels": firing % alert, "value": 1} for alert in EXPECTED if not is_well]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": " ".join(values)} for name, values in series.items()],
        "promql_expr_test": [{"expr": 'ALERTS{alertstate="firing"}', "eval_time": "14m", "exp_samples": alerts}],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))  # YAML takes JSON
    done = await asyncio.to_thread(
        subprocess.run, ["promtool", "test", "rules", "test.yml"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_rules_read_metrics_that_there_are(registry, clock):
    """Each rule's series are in the text of a client that has its trouble, and the rules are five."""
    names = {series.partition("{")[0] for series in await trouble(registry, clock, is_well=False)}
    assert len(rules()) == 5
    for name, read in rules().items():
        assert read, name
        assert read <= names, name

"""
Calls of a process that a tool watches: ``python -m tests.interop.watched TOOL LIBRARY before|after|aliased``.

Prints, as JSON, what the tool saw, and what the server got from it. Alone in its process, because most tools can't be
taken out of one, and because a tool may be there before seawall is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

OURS = {"httpx": "seawall", "httpx2": "seawall.httpx2"}


class Span(NamedTuple):
    """
    What a tool tells of a request.

    Attributes:
        id: Is in the header that it gives the request.
    """

    method: str
    status: int | None
    id: str


class OpenTelemetry:
    """A span for each attempt."""

    def __init__(self, library: str) -> None:
        from opentelemetry.instrumentation import httpx
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self._exporter, self._provider = InMemorySpanExporter(), TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._instrumentor = getattr(httpx, f"{library.upper()}ClientInstrumentor")()

    def install(self) -> None:
        self._instrumentor.instrument(tracer_provider=self._provider)

    def remove(self) -> None:
        self._instrumentor.uninstrument()

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        yield

    def spans(self) -> list[Span]:
        return [
            Span(each.attributes["http.method"], each.attributes["http.status_code"], f"{each.context.span_id:016x}")
            for each in self._exporter.get_finished_spans()
            if each.attributes.get("logfire.span_type") != "pending_span"
        ]


class Logfire(OpenTelemetry):
    """OpenTelemetry's instrumentation of both libraries, in one call."""

    def __init__(self, library: str) -> None:
        super().__init__(library)
        import logfire
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        logfire.configure(
            send_to_logfire=False,
            console=False,
            inspect_arguments=False,
            additional_span_processors=[SimpleSpanProcessor(self._exporter)],
        )
        self._logfire = logfire

    def install(self) -> None:
        self._logfire.instrument_httpx()


class Sentry:
    """A span for each call."""

    def __init__(self, library: str) -> None:
        import sentry_sdk
        from sentry_sdk.transport import Transport

        self._sent = sent = []
        self._sdk = sentry_sdk
        module = importlib.import_module(f"sentry_sdk.integrations.{library}")
        self._integration = getattr(module, f"{library.capitalize()}Integration")

        class Kept(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                sent.append(envelope)

        self._transport = Kept

    def install(self) -> None:
        self._sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            transport=self._transport,
            traces_sample_rate=1.0,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[self._integration()],
        )

    def remove(self) -> None:
        self._sdk.get_client().close()
        self._sdk.init()

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        with self._sdk.start_transaction(name="test"):
            yield

    def spans(self) -> list[Span]:
        return [
            Span(each["data"]["http.method"], each["data"]["http.response.status_code"], each["span_id"])
            for envelope in self._sent
            for item in envelope.items
            if item.type == "transaction"
            for each in item.payload.json["spans"]
        ]


class Ddtrace:
    """A span for each call."""

    def __init__(self, library: str) -> None:
        import ddtrace
        from ddtrace.trace import TraceFilter, tracer

        self._patch = ddtrace.patch
        self._library = library
        self._spans = spans = []

        class Kept(TraceFilter):
            def process_trace(self, trace: Any) -> None:
                spans.extend(trace)

        tracer.configure(trace_processors=[Kept()])

    def install(self) -> None:
        self._patch(**{self._library: True})

    def remove(self) -> None:
        importlib.import_module(f"ddtrace.contrib.internal.{self._library}.patch").unpatch()

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        yield

    def spans(self) -> list[Span]:
        return [
            Span(each.get_tag("http.method"), int(each.get_tag("http.status_code")), f"{each.span_id:016x}")
            for each in self._spans
        ]


class ElasticApm:
    """A span for each call of httpx; nothing of httpx2, which it doesn't know."""

    def __init__(self, library: str) -> None:
        import elasticapm
        from elasticapm.instrumentation import control

        self._client = elasticapm.Client(
            service_name="test",
            instrument=False,
            central_config=False,
            cloud_provider="none",
            metrics_interval="0ms",
            span_compression_enabled=False,
        )
        self._client._transport.close()  # there is no server
        self._events: list[tuple[str, Any]] = []
        self._client._transport.queue = lambda kind, data, flush=False: self._events.append((kind, data))
        self._control = control

    def install(self) -> None:
        self._control.instrument()

    def remove(self) -> None:
        self._control.uninstrument()
        self._client.close()

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        self._client.begin_transaction("test")
        yield
        self._client.end_transaction("test", "ok")

    def spans(self) -> list[Span]:
        return [
            Span(data["name"].partition(" ")[0], data["context"]["http"]["status_code"], data["id"])
            for kind, data in self._events
            if kind == "span"
        ]


class NewRelic:
    """A span for each call of either library. It can't be taken out, but watches only inside its transactions."""

    def __init__(self, library: str) -> None:
        import newrelic.agent
        from newrelic.api.external_trace import ExternalTrace

        self._agent = newrelic.agent
        self._spans = spans = []
        settings = newrelic.agent.global_settings()
        settings.developer_mode = True  # as if a collector had answered
        settings.app_name = "test"
        original = ExternalTrace.process_response

        def process_response(trace: Any, status: int, headers: Any) -> Any:
            if trace.transaction is not None:
                spans.append(Span(trace.method, status, trace.guid))
            return original(trace, status, headers)

        ExternalTrace.process_response = process_response

    def install(self) -> None:
        self._agent.initialize()
        self._application = self._agent.register_application(timeout=10)

    def remove(self) -> None:
        pass

    @contextlib.contextmanager
    def trace(self) -> Iterator[None]:
        with self._agent.BackgroundTask(self._application, name="test"):
            yield

    def spans(self) -> list[Span]:
        return self._spans


TOOLS: dict[str, Any] = {
    "opentelemetry": OpenTelemetry,
    "logfire": Logfire,
    "sentry_sdk": Sentry,
    "ddtrace": Ddtrace,
    "elasticapm": ElasticApm,
    "newrelic": NewRelic,
}
HEADERS = ("traceparent", "sentry-trace")  # trace-span-flags, and the former begins with a version


async def calls(client: Any, url: str) -> None:
    for method in ("GET", "GET", "POST", "POST"):
        await client.request(method, url)
    async with client.stream("GET", url) as response:
        assert await response.aread() == b"real"


async def watch(tool: Any, library: str, when: str) -> dict[str, Any]:
    bare = importlib.import_module(library)
    if when == "before":
        tool.install()
    (other,) = OURS.keys() - {library}
    ours, others = (importlib.import_module(OURS[name]) for name in (library, other))
    from seawall import Retry
    from seawall.testing import Request, Server

    statuses: list[int] = []

    async def answer(request: Request) -> None:
        await request.read()
        await request.reply(statuses.pop() if statuses else 200, body=b"real")

    def ids() -> list[str]:
        """Of the requests that came since it was asked last."""
        found = [next((each.headers[name] for name in HEADERS if name in each.headers), "") for each in server.requests]
        server.requests.clear()
        return [value.removeprefix("00-").partition("-")[2][:16] for value in found]

    async with Server(answer) as server, ours.AsyncClient(retry=Retry(throttled_backoff=0)) as client:
        if when != "before":
            for _ in range(2):
                await client.get(server.url)
            assert not any(ids())
            tool.install()
        with tool.trace():
            statuses.append(503)
            await calls(client, server.url)
        spans, watched = tool.spans().copy(), ids()
        with tool.trace():
            async with others.AsyncClient() as second:
                await calls(second, server.url)
        of_other, other_watched = tool.spans()[len(spans) :], ids()
        with tool.trace():
            async with bare.AsyncClient() as third:
                await calls(third, server.url)
        of_bare, _ = tool.spans()[len(spans) + len(of_other) :], ids()
        tool.remove()
        count = len(tool.spans())
        for _ in range(2):
            await client.get(server.url)
        return {
            "spans": spans,
            "spans of the other front": of_other,
            "spans of the library itself": of_bare,
            "spans once removed": tool.spans()[count:],
            "ids": watched,
            "ids of the other front": other_watched,
            "ids once removed": ids(),
            "connections": client.stats().connections,
        }


if __name__ == "__main__":
    _, name, library, when = sys.argv
    if when == "aliased":
        importlib.import_module("httpx2").alias_httpx()
    print(json.dumps(asyncio.run(watch(TOOLS[name](library), library, when))))

"""What docs say that code knows better. ``python -m tests.docs.tables`` writes it into the pages; a test compares."""

from __future__ import annotations

import inspect
import logging
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import httpx

import seawall
import seawall.httpx2
import seawall.testing
from seawall import dns, errors, events, stats
from seawall._httpx.arguments import LIMITS
from seawall._httpx.errors import HTTPX
from seawall.core.lines import FIELDS, LINES, LOGGERS
from seawall.core.settings import Settings
from seawall.integrations import _series, aiohttp, asgi, dashboard, idempotency, taskiq
from seawall.integrations.otel import names as otel
from seawall.policy.failures import FAILURES, Failure, Safe
from seawall.testing.dns import DNS_FAULTS
from seawall.testing.http.vocabulary import FAULTS, HAMMS, OKHTTP
from seawall.testing.network import toxic
from seawall.testing.steps import MALFORMED, ODD, STEPS
from seawall.wire import decoder, limits
from tests.docs import signatures

DOCS = Path(__file__).parents[2] / "docs"
SAID_HERE = {
    "IDEMPOTENCY": "Where a request of aiohttp's has its `Run`.",
    "UNSET": "In a `Policy`: the client's setting.",
    "Event": "What a listener gets: `Attempt`, `RetryScheduled`, `CallEnded` or another.",
    "Listener": "A function of an `Event`.",
}
SETTINGS = [
    seawall.Retry,
    seawall.Bulkhead,
    seawall.Limit,
    seawall.Breaker,
    seawall.Hedge,
    seawall.Budget,
    seawall.Ready,
    seawall.DNS,
    seawall.Propagation,
]


def error_tree() -> str:
    """The tree in the docstring of `seawall.errors`."""
    tree = (errors.__doc__ or "").split("::\n", 1)[1].split("\n\nThis module", 1)[0]
    return "```text\n" + inspect.cleandoc(tree) + "\n```\n"


def defaults() -> str:
    """A table for each settings class: default, and the docstring's words."""
    parts = []
    for settings in SETTINGS:
        parts.append(f"## `{settings.__name__}`\n\n| setting | default | |\n|---|---|---|\n")
        words = arguments(settings)
        parts.extend(f"| `{f.name}` | {show(f.default)} | {words[f.name]} |\n" for f in fields(settings) if f.init)
        parts.append("\n")
    timeout = httpx.Timeout(5.0)
    assert httpx.AsyncClient().timeout == seawall.AsyncClient().timeout == timeout
    parts.append("## `AsyncClient`, `AsyncTransport` and `Engine`\n\n| setting | default | |\n|---|---|---|\n")
    parts.append("| `timeout` | 5 s each | httpx's, because SDKs compare it |\n")
    parts.append(
        f"| `limits` | {LIMITS.max_connections} connections, {LIMITS.max_keepalive_connections} of them idle, "
        f"{LIMITS.keepalive_expiry:g} s; at most half of RLIMIT_NOFILE each, as it is when the client is made "
        "| httpx's 100 let two slow hosts starve the rest; its 20 idle and 5 s churn "
        "at 50 in flight |\n"
    )
    parts.append(
        "| `deadline` | derived: (connect + read) x max_attempts, 30 s with the defaults; none where one of the two is "
        "None | it covers all up to the headers; a buffered body may pass it while it brings 1 KiB/s |\n"
    )
    words = arguments(Settings)
    parts.extend(
        f"| `{each.name}` | {show(each.default)} | {words[each.name]} |\n"
        for each in fields(Settings)
        if each.name != "deadline"
    )
    return "".join(parts)


def failures() -> str:
    """A row for each way to fail."""
    return table(
        "| what fails | how likely | safe to retry? | what seawall does, besides a retry after a backoff | error |",
        *(
            f"| {row.what} | {row.likely or '-'} | {_safe(row)} | {row.does or '-'} | {_error(row)} |"
            for row in FAILURES
        ),
    )


def _safe(row: Failure) -> str:
    neutral = {True: "", None: "; not the origin's fault"}[row.is_fault]
    return row.safe.value + neutral


def _error(row: Failure) -> str:
    if row.error is Exception:
        return "its own"
    theirs = next((HTTPX[cls] for cls in row.error.__mro__ if cls in HTTPX), None)
    return f"`{row.error.__name__}`" + (f", `httpx.{theirs.__name__}`" if theirs else "")


def statuses() -> str:
    """A row for each status that is worth a retry by default."""
    retry = seawall.Retry()
    words = {
        408: "the server waited too long for the request",
        425: "the server won't risk a replay (TLS early data)",
        429: "the client sends too many requests",
        500: "the server may have acted, or not",
        502: "a proxy got no good response; the upstream may have acted",
        503: "the server is overloaded, or going down",
        504: "a proxy waited too long; the upstream may still work on it",
    }
    safe = {status: Safe.ANY if status in retry.rejected_statuses else Safe.IDEMPOTENT for status in retry.statuses}
    rows = [f"| {status} | {words[status]} | {safe[status].value} |" for status in sorted(retry.statuses)]
    rows.append(f"| 413, with Retry-After | the request is too large for now | {Safe.IDEMPOTENT.value} |")
    rows.append("| 409, to a request with a key | the server still works on the first attempt | with a key |")
    rows.append("| all others, 422 among them | a retry would get the same status | no |")
    assert retry.retry_after_statuses == {413}
    return table("| status | what it says | safe to retry? |", *rows)


def names(module: Any = seawall) -> str:
    """A line for each public name: the first of its docstring."""
    words = {
        name: SAID_HERE.get(name) or inspect.cleandoc(getattr(module, name).__doc__ or "").partition("\n")[0]
        for name in module.__all__
    }
    return "| name | |\n|---|---|\n" + "".join(f"| `{name}` | {first} |\n" for name, first in words.items())


def middleware_names() -> str:
    """The same of `seawall.integrations`."""
    words = {
        name: SAID_HERE.get(name) or first_line(getattr(module, name))
        for module in (asgi, aiohttp, dashboard, taskiq)
        for name in module.__all__
    }
    return table("| name | |", *(f"| `{name}` | {first} |" for name, first in words.items()))


def prometheus_metrics() -> str:
    """A row for each metric."""
    rows = (
        f"| `{each.name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels) or '-'} | {each.help} |"
        for each in _series.METRICS
    )
    return table("| metric | kind | labels | |", *rows)


def otel_metrics() -> str:
    """A row for each metric."""
    kinds = {"sum": "up-down counter"}
    rows = (
        f"| `{each.name}` | {kinds.get(each.kind, each.kind)}, {each.unit.strip('{}')} "
        f"| {_attributes(each.attributes)} | {each.text} |"
        for each in otel.METRICS
    )
    return table("| metric | kind, unit | attributes | |", *rows)


def otel_buckets() -> str:
    """A row for each histogram."""
    rows = (
        f"| `{each.name}` | {' '.join(f'{bound:g}' for bound in each.buckets)} |"
        for each in otel.METRICS
        if each.buckets
    )
    return table("| histogram | upper bounds |", *rows)


def otel_spans() -> str:
    """A row for each kind of span."""
    rows = (f"| `{name}` | {kind} | {_attributes(has)} | {does} |" for name, (kind, does, has) in otel.SPANS.items())
    return table("| span | kind | attributes | |", *rows)


def otel_events() -> str:
    """A row for each event of a span."""
    rows = (f"| `{name}` | {_attributes(has)} | {does} |" for name, (does, has) in otel.SPAN_EVENTS.items())
    return table("| event | attributes | |", *rows)


def otel_attributes() -> str:
    """A row for each attribute."""
    return table("| attribute | |", *(f"| `{name}` | {does} |" for name, does in otel.ATTRIBUTES.items()))


def _attributes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"


def testing_names() -> str:
    """The same of `seawall.testing`."""
    words = {name: first_line(getattr(seawall.testing, name)) for name in seawall.testing.__all__}
    words["VIRTUAL"] = "What the fixture `anyio_backend` must return to run tests on a `VirtualLoop`."
    return table("| name | |", *(f"| `{name}` | {first} |" for name, first in words.items()))


def bounds() -> str:
    """The wire's limits."""
    rows = [
        ("headers of one response, in all", f"{limits.MAX_HEAD // 1024} KiB", "h11's"),
        ("number of headers", f"{limits.MAX_HEADERS:,}", "Apache and Tomcat send 100"),
        ("interim responses (1xx) to one request", str(limits.MAX_INTERIM), "Go bounds their bytes"),
        ("chunk sizes, extensions and trailers without a byte of body", f"{limits.MAX_GAP // 1024} KiB", "Go's"),
    ]
    return table("| bound | default | after |", *(f"| {what} | {value} | {why} |" for what, value, why in rows))


def codings() -> str:
    """What a compressed body may become."""
    free, between = decoder.FREE // 2**20, decoder.FREE_BETWEEN // 2**20
    rows = [
        ("bytes of the decoded body", f"`max_response_size`; {free} MiB, or {decoder.MAX_RATIO} times what came"),
        ("codings", str(decoder.MAX_CODINGS)),
        ("bytes that codings make for each other", f"{between} MiB, or {decoder.MAX_RATIO} times what came"),
        (
            "members (gzip) and frames (zstd)",
            f"{decoder.FREE_MEMBERS:,}, and one for every {decoder.MEMBER} bytes that came",
        ),
        ("members and frames that make nothing", f"{decoder.FREE_MEMBERS:,}"),
        ("windows of br, together", f"{decoder.MAX_AHEAD // 2**20} MiB"),
    ]
    return table("| bound | default |", *(f"| {what} | {value} |" for what, value in rows))


def loggers() -> str:
    """A row for each child of the logger."""
    rows = (f"| `seawall.{name}` | {what} |" for name, what in LOGGERS.items())
    return table("| logger | tells of |", *rows)


def log_lines() -> str:
    """A row for each line of the log."""
    rows = []
    for name, line in LINES.items():
        text = re.sub(r"%\(([\w.]+)\)[.\d]*[dgs]", r"{\1}", line.text)
        level = logging.getLevelName(line.level)
        rows.append(
            f"| `{name}` | `{line.logger}` | {level} | {text} | {' '.join(f'`{each}`' for each in line.fields)} |"
        )
    return table("| `seawall.event` | logger | level | text | fields |", *rows)


def log_fields() -> str:
    """A row for each field."""
    return table("| field | |", *(f"| `{name}` | {means} |" for name, means in FIELDS.items()))


def vocabulary() -> str:
    """A row for each way to fail."""
    rows = (
        f"| {fault.phase} | {fault.fault} | {' '.join(f'`{how}`' for how in fault.how.split())} | {fault.sees} "
        f"| {fault.safe} | {fault.who} |"
        for fault in FAULTS
    )
    return table("| phase | fault | how | a client sees | GET/POST again? | who tests it |", *rows)


def steps(level: str) -> str:
    """A row for each step."""
    return table("| step | |", *(f"| `{kind.form}` | {kind.does} |" for kind in STEPS if kind.level == level))


def choices() -> str:
    """Arguments that are one of a few words."""
    rows = []
    for kind in STEPS:
        for name, words in kind.choices.items():
            answers = {"odd": ODD, "malformed": MALFORMED}.get(kind.name)
            shown = (f"`{word}`" + (f" ({answers[word][0]})" if answers else "") for word in words)
            rows.append(f"| `{kind.name}` | {name} | {', '.join(shown)} |")
    return table("| step | argument | one of |", *rows)


def labels() -> str:
    """A row for each fault of a name."""
    return table(
        "| label | simulates | a resolver sees |", *(f"| `{f.form}` | {f.does} | {f.sees} |" for f in DNS_FAULTS)
    )


def toxics() -> str:
    """A row for each toxic, its settings in order."""
    kinds = [getattr(toxic, name) for name in toxic.__all__ if name[0].isupper()]
    forms = {kind: ", ".join(each.name for each in fields(kind)) for kind in kinds}
    return table(
        "| toxic | |", *(f"| `{kind.__name__}({form})` | {first_line(kind)} |" for kind, form in forms.items())
    )


def hamms() -> str:
    """hamms' ports, and ours."""
    return table("| hamms | does | here |", *(f"| {port} | {does} | `{here}` |" for port, does, here in HAMMS))


def okhttp() -> str:
    """OkHttp's policies, and ours."""
    return table("| OkHttp | here |", *(f"| {name} | `{here}` |" for name, here in OKHTTP))


def table(head: str, *rows: str) -> str:
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows]) + "\n"


def first_line(thing: object) -> str:
    """The first sentence of its docstring."""
    first = re.sub(r"\s+", " ", inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0])
    return first.partition(". ")[0].replace("``", "`")


def arguments(settings: type) -> dict[str, str]:
    """The Args section of a docstring: name → words."""
    section = inspect.cleandoc(settings.__doc__ or "").split("Args:\n", 1)[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", words) for name, words in entries}


def show(value: object) -> str:
    if value is MISSING:
        return "required"
    if is_dataclass(value):
        return f"`{type(value).__name__}()`"
    if isinstance(value, frozenset):
        return ", ".join(str(each) for each in sorted(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def filled(page: str, mark: str, text: str) -> str:
    """*page* with *text* between its marks."""
    between = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    return re.sub(between, lambda found: found[1] + "\n" + text + "\n" + found[2], page, flags=re.DOTALL)


PAGES = {
    DOCS / "reference/api.md": {
        "api": names,
        "errors": lambda: names(errors),
        "events": lambda: names(events),
        "dns": lambda: names(dns),
        "httpx2": lambda: names(seawall.httpx2),
        "stats": lambda: names(stats),
        "middleware": middleware_names,
        "idempotency": lambda: names(idempotency),
        "testing": testing_names,
    },
    DOCS / "reference/errors.md": {"errors": error_tree},
    DOCS / "reference/failures.md": {"failures": failures, "statuses": statuses},
    DOCS / "reference/defaults.md": {"defaults": defaults},
    DOCS / "reference/observability.md": {
        "loggers": loggers,
        "log-lines": log_lines,
        "log-fields": log_fields,
        "prometheus": prometheus_metrics,
        "otel-metrics": otel_metrics,
        "otel-buckets": otel_buckets,
        "otel-spans": otel_spans,
        "otel-events": otel_events,
        "otel-attributes": otel_attributes,
    },
    DOCS / "reference/wire.md": {"bounds": bounds, "codings": codings},
    DOCS / "reference/faults.md": {
        "vocabulary": vocabulary,
        "steps": lambda: steps("reply"),
        "choices": choices,
        "ports": lambda: steps("connection"),
        "labels": labels,
        "toxics": toxics,
        "hamms": hamms,
        "okhttp": okhttp,
    },
}


def written(path: Path) -> str:
    """The page as the code has it."""
    page = path.read_text()
    for mark, make in PAGES[path].items():
        page = filled(page, mark, make())
    return page


def main() -> None:
    for path in PAGES:
        path.write_text(written(path))
    signatures.main()


if __name__ == "__main__":
    main()

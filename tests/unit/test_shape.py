"""The shape of the source: no module too long to hold in one's head, no code twice, each library behind one door."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "seawall"
TWIN = "httpx2"  # written from _httpx/
MODULES = {
    path.relative_to(SOURCE).as_posix(): path.read_text()
    for path in sorted(SOURCE.rglob("*.py"))
    if path.parent.name != TWIN
}
MAX_LINES = 350
MAX_TWICE = 6  # lines

DOORS = {
    "aiodns": {"dns/"},
    "aiohttp": {"cli/", "integrations/aiohttp.py"},
    "asyncpg": {"integrations/idempotency/postgres.py"},
    "anyio": {"testing/"},
    "crawlee": {"integrations/crawlee.py"},
    "cryptography": {"cli/certificate.py", "testing/http/certificates.py"},
    "dns": {"testing/dns/"},
    "h2": {"testing/http/http2.py"},
    "hpack": {"wire/http2/compression.py"},
    "httpcore": {"_httpx/"},
    "httptools": {"wire/http1/"},
    "httpx": {"_httpx/", "testing/_httpx/", "cli/", "integrations/crawlee.py", "integrations/scrapy.py"},
    "idna": {"config/hosts.py"},
    "prometheus_client": {"integrations/prometheus.py"},
    "opentelemetry": {"integrations/otel/"},
    "protego": {"fetch/robots.py"},
    "pycares": {"dns/"},
    "redis": {
        "integrations/fetch_fleet.py",
        "integrations/fetch_queue.py",
        "integrations/idempotency/redis.py",
        "integrations/redis.py",
    },
    "rich": {"cli/"},
    "scrapy": {"integrations/scrapy.py"},
    "socksio": {"wire/socks.py"},
    "taskiq": {"integrations/fetch_queue.py", "integrations/taskiq.py"},
    "taskiq_redis": {"integrations/fetch_queue.py"},
    "tenacity": {"policy/tenacity.py"},
    "trustme": {"testing/http/certificates.py"},
    "typer": {"cli/app.py", "cli/get.py"},
}
"""Which file, or folder, imports each library."""


def test_no_module_is_long():
    """A longer one holds two things, and should be two."""
    lengths = {path: len(text.splitlines()) for path, text in MODULES.items()}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_each_library_has_its_door():
    """A release of a library that changes is then met in one place."""
    for path, text in MODULES.items():
        for library in libraries(text):
            doors = DOORS.get(library, ())
            is_one = any(path == door or (door.endswith("/") and path.startswith(door)) for door in doors)
            assert is_one, f"{path} imports {library}"


LOGGING = {"careful.py", "core/log.py", "core/pipeline.py", "_httpx/fast_path.py", "_httpx/private.py", "cli/served.py"}
"""Besides the first: events' lines, which the emitter guards; a level that is asked for; httpx's own line; a start."""


def test_no_log_line_can_raise():
    """An application's filter may, so every line of ours is written by one class, which lets nothing through."""
    loggers = {path for path, text in MODULES.items() if "logging.getLogger(" in text}
    assert loggers == LOGGING


def test_no_code_is_written_twice():
    """Statements that run to six lines stand in one place, whatever their comments and line breaks are."""
    found = defaultdict(list)
    for path, text in MODULES.items():
        for code, line in passages(ast.parse(text)):
            found[code].append(f"{path}:{line}")
    assert [places for places in found.values() if len(places) > 1] == []


def test_twins_are_found():
    """Two functions with the same six lines in different words around them are two passages with one text."""
    body = "".join(f"    x{number} = {number}\n" for number in range(MAX_TWICE))
    first, second = (passages(ast.parse(f"def {name}():\n    print('{name}')\n{body}")) for name in ("a", "b"))
    assert {code for code, _ in first} & {code for code, _ in second} == {
        ast.unparse(ast.parse(body.replace("    ", "")))
    }


def libraries(text: str) -> set[str]:
    """The top names of what a module imports, at any place in it, without the standard library's and its own."""
    nodes = list(ast.walk(ast.parse(text)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names


def passages(tree: ast.AST) -> list[tuple[str, int]]:
    """The shortest runs of statements that take six lines or more, each as text, and the line where it begins."""
    found = []
    for node in ast.walk(tree):
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
            if not isinstance(block, list) or isinstance(node, ast.ClassDef | ast.Module):
                continue
            code = [(ast.unparse(each), each.lineno) for each in block if not is_docstring(each)]
            for start, (_, line) in enumerate(code):
                run = ""
                for text, _ in code[start:]:
                    run += f"{text}\n"
                    if run.count("\n") >= MAX_TWICE:
                        found.append((run.rstrip("\n"), line))
                        break
    return found


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

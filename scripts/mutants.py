"""
Tests the tests: changes one thing in the source, runs the tests that should notice, and prints surviving mutants.

``python scripts/mutants.py wire 100 --seed 1`` makes a hundred random mutants of the modules of wire/, each in a copy
of the source, so that the work tree stays as it is. A survivor is either a gap in the tests, or equivalent to the
source. The tests first run without a mutant, because a failure with one says nothing if they fail anyway.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "seawall"
PATIENCE = 4  # times as long as without a mutant; tests that hang have noticed it
TESTS = {  # of a module, or of a folder: the first key that fits counts; the fastest first, because one failure ends it
    "wire/pool": "unit/test_pool unit/test_exchange unit/test_races wire/test_connections wire/test_pool",
    "wire/http1/parser": "unit/test_parser unit/test_connection wire/test_connections wire/test_anothers_bytes",
    "wire/http1": "unit/test_connection unit/test_exchange unit/test_pool interop/test_httpx wire/test_tls "
    "wire/test_connections wire/test_uploads wire/test_failures wire/test_anothers_bytes",
    "wire/http2/chatter": "unit/test_chatter unit/test_multiplexed wire/test_http2_attacks",
    "wire/http2/fields": "unit/test_fields unit/test_multiplexed wire/test_http2 wire/test_http2_attacks",
    "wire/http2": "unit/test_multiplexed unit/test_pool wire/test_uploads wire/test_http2 wire/test_http2_attacks",
    "wire/message": "unit/test_message unit/test_connection unit/test_multiplexed interop/test_bodies "
    "interop/test_urls wire/test_uploads",
    "wire/addresses": "unit/test_addresses unit/test_dial unit/test_races unit/test_ejection wire/test_connections "
    "wire/test_names",
    "wire/body": "scenario/test_streams scenario/test_endings interop/test_httpx wire/test_failures "
    "wire/test_anothers_bytes",
    "wire/upload": "unit/test_connection unit/test_multiplexed interop/test_bodies scenario/test_retries "
    "wire/test_uploads",
    "wire/upgrade": "unit/test_connection interop/test_httpx interop/test_proxies wire/test_connections wire/test_tls",
    "wire/dial": "unit/test_dial unit/test_races unit/test_addresses wire/test_tls wire/test_names",
    "wire/race": "unit/test_dial unit/test_races unit/test_addresses wire/test_tls wire/test_names",
    "wire/alpn": "unit/test_dial unit/test_exchange unit/test_races wire/test_tls wire/test_http2",
    "wire/tls": "wire/test_tls interop/test_parity interop/test_httpx wire/test_http2",
    "wire/decoder": "scenario/test_decoding unit/test_contracts wire/test_bodies unit/test_decoding wire/test_bombs",
    "wire/coding": "scenario/test_decoding unit/test_contracts wire/test_bodies unit/test_decoding wire/test_bombs",
    "wire/connector": "unit/test_exchange unit/test_races scenario/test_isolation wire/test_connections wire/test_tls "
    "wire/test_failures wire/test_pool wire/test_http2",
    "wire/opening": "unit/test_exchange unit/test_races scenario/test_isolation wire/test_connections wire/test_tls "
    "wire/test_failures wire/test_pool wire/test_http2",
    "wire": "unit/test_connection unit/test_multiplexed unit/test_exchange interop/test_httpx "
    "cancellation/test_nothing_is_left wire/test_connections "
    "wire/test_tls wire/test_uploads wire/test_failures wire/test_http2",
    "dns/system": "unit/test_system unit/test_caching",
    "dns/cares": "unit/test_questions wire/test_cares wire/test_pool wire/test_names",
    "dns/channels": "unit/test_channels wire/test_cares wire/test_pool wire/test_names",
    "dns/questions": "unit/test_questions unit/test_tries wire/test_cares wire/test_pool wire/test_names",
    "dns/static": "unit/test_resolver wire/test_discovery interop/test_urls",
    "dns/tries": "unit/test_tries wire/test_cares",
    "dns/order": "unit/test_order wire/test_discovery",
    "dns/precedence": "unit/test_precedence wire/test_precedence",
    "dns/gai_conf": "unit/test_gai_conf wire/test_precedence",
    "dns/sources": "unit/test_sources wire/test_precedence",
    "dns/srv": "unit/test_resolver unit/test_order wire/test_discovery",
    "dns/guard": "unit/test_guard wire/test_guard",
    "dns/getaddrinfo": "unit/test_getaddrinfo unit/test_caching wire/test_machines",
    "dns/machine": "unit/test_machine unit/test_getaddrinfo wire/test_machines",
    "dns/modules": "unit/test_machine unit/test_nsswitch unit/test_getaddrinfo",
    "dns/nsswitch": "unit/test_nsswitch unit/test_machine",
    "dns/hosts": "unit/test_hosts unit/test_getaddrinfo",
    "dns/resolv_conf": "unit/test_resolv_conf unit/test_getaddrinfo",
    "dns/files": "unit/test_machine unit/test_hosts",
    "dns": "unit/test_cache unit/test_resolver unit/test_caching unit/test_getaddrinfo unit/test_settings "
    "scenario/test_silent_names scenario/test_denials wire/test_discovery wire/test_names",
    "_httpx/decoder": "scenario/test_decoding unit/test_contracts interop/test_mocks wire/test_bodies "
    "unit/test_decoding interop/test_private_names",
    "_httpx/private": "unit/test_contracts interop/test_private_names",
    "_httpx/mounts": "interop/test_private_names interop/test_proxies interop/test_parity",
    "_httpx/detour": "interop/test_mocks interop/test_instrumentation",
    "_httpx/mocks": "interop/test_mocks interop/test_instrumentation unit/test_contracts",
    "_httpx/compat": "unit/test_contracts scenario/test_decoding interop/test_mocks interop/test_httpx "
    "interop/test_parity interop/test_urls interop/test_instrumentation wire/test_garbage",
    "_httpx/authority": "interop/test_proxies interop/test_urls wire/test_tls",
    "_httpx/proxies": "interop/test_proxies interop/test_parity interop/test_urls",
    "_httpx/arguments": "unit/test_contracts unit/test_settings interop/test_parity interop/test_proxies "
    "interop/test_urls",
    "_httpx/location": "interop/test_urls interop/test_httpx scenario/test_whole_call",
    "_httpx/engine": "unit/test_settings scenario/test_endings interop/test_parity interop/test_proxies "
    "wire/test_guard scenario/test_isolation wire/test_engine",
    "_httpx/convert": "unit/test_settings scenario/test_discarded scenario/test_streams scenario/test_endings "
    "scenario/test_decoding interop/test_mocks scenario/test_whole_call interop/test_httpx interop/test_parity "
    "scenario/test_retries wire/test_bodies wire/test_bombs",
    "_httpx/client": "unit/test_settings unit/test_contracts scenario/test_endings scenario/test_whole_call "
    "interop/test_httpx interop/test_mocks interop/test_parity interop/test_urls interop/test_instrumentation "
    "scenario/test_calls unit/test_decoding wire/test_engine docs/test_benchmarks wire/test_garbage",
    "_httpx/transport": "unit/test_settings scenario/test_discarded scenario/test_endings interop/test_parity "
    "interop/test_mocks interop/test_proxies interop/test_httpx wire/test_guard wire/test_engine testing/test_chaos",
    "_httpx/foreign": "scenario/test_discarded scenario/test_streams scenario/test_endings scenario/test_impatience "
    "interop/test_proxies interop/test_httpx interop/test_mocks scenario/test_retries wire/test_bodies",
    "_httpx": "interop/test_mocks scenario/test_discarded scenario/test_decoding scenario/test_streams "
    "scenario/test_endings unit/test_contracts unit/test_settings scenario/test_deadlines scenario/test_whole_call "
    "interop/test_httpx interop/test_bodies interop/test_parity scenario/test_calls interop/test_urls "
    "wire/test_connections docs/test_benchmarks wire/test_verdicts wire/test_bodies",
    "core/timer": "unit/test_timer scenario/test_deadlines scenario/test_whole_call",
    "core/body": "interop/test_bodies scenario/test_whole_call interop/test_httpx scenario/test_retries "
    "wire/test_uploads",
    "core/engine": "unit/test_settings scenario/test_endings scenario/test_isolation interop/test_parity "
    "scenario/test_calls wire/test_engine wire/test_guard wire/test_discovery",
    "core": "scenario/test_discarded scenario/test_streams scenario/test_endings scenario/test_deadlines "
    "scenario/test_gates scenario/test_tickets scenario/test_observers scenario/test_nested scenario/test_totals "
    "scenario/test_impatience scenario/test_urllib3 scenario/test_whole_call scenario/test_calls scenario/test_bursts "
    "interop/test_mocks interop/test_httpx scenario/test_retries interop/test_instrumentation wire/test_verdicts "
    "cancellation/test_nothing_is_left docs/test_benchmarks",
    "policy/breaker": "unit/test_breaker scenario/test_bursts scenario/test_impatience scenario/test_calls "
    "property/test_states",
    "policy/budget": "scenario/test_calls scenario/test_bursts scenario/test_retries property/test_states",
    "policy/bulkhead": "unit/test_bulkhead scenario/test_gates scenario/test_isolation scenario/test_calls "
    "scenario/test_deadlines property/test_permits",
    "policy/cap": "unit/test_slots unit/test_pool unit/test_exchange scenario/test_isolation property/test_permits "
    "wire/test_pool",
    "policy/fifo": "unit/test_fifo unit/test_slots unit/test_bulkhead unit/test_exchange property/test_permits",
    "policy/ejection": "unit/test_ejection unit/test_addresses unit/test_dial",
    "policy/origins": "unit/test_origins scenario/test_isolation scenario/test_calls scenario/test_bursts",
    "policy/memory": "unit/test_origins scenario/test_isolation scenario/test_calls",
    "policy/retry_after": "unit/test_retry scenario/test_calls scenario/test_retries",
    "policy/tenacity": "unit/test_retry scenario/test_urllib3 scenario/test_calls scenario/test_retries",
    "policy/gate": "scenario/test_gates scenario/test_tickets scenario/test_calls",
    "policy": "unit/test_failures unit/test_breaker unit/test_origins unit/test_retry scenario/test_impatience "
    "scenario/test_bursts scenario/test_isolation scenario/test_calls scenario/test_whole_call scenario/test_retries "
    "interop/test_middleware wire/test_verdicts",
}
FLIPS = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.And: (ast.Or,), ast.Or: (ast.And,),
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
}  # fmt: skip
UNTOUCHED = (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)


class Mutant(NamedTuple):
    path: Path
    line: int
    begin: int
    end: int
    text: str

    @property
    def source(self) -> bytes:
        data = self.path.read_bytes()
        return data[: self.begin] + self.text.encode() + data[self.end :]

    def __str__(self) -> str:
        old = self.path.read_bytes()[self.begin : self.end].decode()
        return f"{self.path.relative_to(SOURCE)}:{self.line}\n  - {old}\n  + {self.text}"


def changes(node: ast.AST) -> Iterator[str]:
    """What may replace *node*."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            yield from (f"({ast.unparse(ast.Compare(left, [flip()], [right]))})" for flip in FLIPS[type(op)])
        case ast.BoolOp(op=op, values=values):
            yield from (f"({ast.unparse(ast.BoolOp(flip(), values))})" for flip in FLIPS[type(op)])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in FLIPS:
            yield from (f"({ast.unparse(ast.BinOp(left, flip(), right))})" for flip in FLIPS[type(op)])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(value=bool(value)):
            yield str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield from (repr(value + 1), repr(value - 1))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Assign() | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield "pass"
        case ast.Continue() | ast.Break():
            yield "pass"


def mutants(path: Path) -> list[Mutant]:
    """All of them, but of types, messages, and what runs at import."""
    data = path.read_bytes()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: list[Mutant] = []

    def visit(node: ast.AST, is_inside: bool) -> None:
        if isinstance(node, UNTOUCHED) or (isinstance(node, ast.FunctionDef) and node.name == "__repr__"):
            return
        if is_inside and isinstance(node, ast.expr | ast.stmt) and node.end_lineno is not None:
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + (node.end_col_offset or 0)
            found.extend(Mutant(path, node.lineno, begin, end, text) for text in changes(node))
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    visit(child, is_inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    visit(ast.parse(data), False)
    return found


def tests(path: Path) -> tuple[str, ...]:
    name = path.relative_to(SOURCE).with_suffix("").as_posix()
    names = next(tests for key, tests in TESTS.items() if name == key or name.startswith(f"{key}/"))
    return tuple(f"tests/{each}.py" for each in names.split())


def check_tests() -> None:
    """Exits if TESTS names a module, a folder or a test file that has moved."""
    files = {f"tests/{each}.py" for names in TESTS.values() for each in names.split()}
    moved = [key for key in TESTS if not (SOURCE / key).is_dir() and not (SOURCE / f"{key}.py").is_file()]
    moved += sorted(name for name in files if not (ROOT / name).is_file())
    if moved:
        sys.exit(f"TESTS names what doesn't exist: {', '.join(moved)}")


def run(files: tuple[str, ...], mutant: Mutant | None = None, timeout: float | None = None) -> bool:
    """Whether all tests of *files* pass. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", f"{folder}/src", ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            (Path(folder) / "src" / mutant.path.relative_to(ROOT / "src")).write_bytes(mutant.source)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
        environment = {**os.environ, "PYTHONPATH": f"{folder}/src{os.pathsep}{ROOT}"}
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
        ) as tested:
            try:
                return tested.wait(timeout) == 0
            finally:
                if tested.returncode is None:
                    os.killpg(tested.pid, signal.SIGKILL)  # the servers that tests have started too


def took(files: tuple[str, ...]) -> float:
    """Seconds that the tests take without a mutant; they get a second try, because the machine may be busy."""
    for _ in range(2):
        began_at = time.monotonic()
        if run(files):
            return time.monotonic() - began_at
    sys.exit(f"without a mutant, these don't pass: {' '.join(files)}")


def verdict(mutant: Mutant, timeout: float) -> str:
    try:
        return "lived" if run(tests(mutant.path), mutant, timeout) else "killed"
    except subprocess.TimeoutExpired:
        return "timeout"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", help="a folder or a module of src/seawall: wire, dns/cache.py")
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    check_tests()
    where = SOURCE / given.where
    paths = sorted(where.rglob("*.py")) if where.is_dir() else [where]
    every = [mutant for path in paths for mutant in mutants(path)]
    chosen = random.Random(given.seed).sample(every, min(given.count, len(every)))
    verdicts: Counter[str] = Counter()
    with ThreadPoolExecutor(given.jobs) as executor:
        files = list(dict.fromkeys(tests(mutant.path) for mutant in chosen))
        limits = {each: PATIENCE * s for each, s in zip(files, executor.map(took, files), strict=True)}
        timeouts = [limits[tests(mutant.path)] for mutant in chosen]
        for mutant, found in zip(chosen, executor.map(verdict, chosen, timeouts), strict=True):
            verdicts[found] += 1
            if found != "killed":
                print(f"{found}: {mutant}", flush=True)
            print(f"{verdicts.total()} of {len(chosen)}", end="\r", file=sys.stderr, flush=True)
    share = 1 - verdicts["lived"] / max(1, len(chosen))
    print(f"{given.where}, seed {given.seed}: {dict(verdicts)} of {len(every)}; {share:.0%} noticed")


if __name__ == "__main__":
    main()

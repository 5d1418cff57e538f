"""``python -m benchmarks names``: where seawall and glibc differ."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from ..machine import conditions
from .named import RESOLVERS
from .outcome import Difference
from .outside import Namespaces, why_not
from .strategies import generated

__all__ = ["examples", "main"]

PACKAGES = ("seawall", "aiodns", "pycares", "hypothesis")
SHOWN = 2  # machines of each kind


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks names", description=__doc__)
    parser.add_argument("--machines", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, default=19, help="the same seed makes the same machines (19)")
    parser.add_argument("--resolver", choices=RESOLVERS, action="append", help="one of them; default: all")
    parser.add_argument("--show", type=int, default=SHOWN, help=f"machines of each kind of difference ({SHOWN})")
    parser.add_argument("--whole", action="store_true", help="show machines as they are, not reduced to what matters")
    options = parser.parse_args(arguments)
    if reason := why_not():
        print(f"no namespace can be made here: {reason}")
        return 2
    print(conditions(PACKAGES, arguments, "names"), flush=True)
    started_at = time.perf_counter()
    resolvers = tuple(options.resolver or RESOLVERS)
    machines = generated(options.machines, options.seed)
    made_at = time.perf_counter()
    with Namespaces(resolvers) as namespaces:
        found = namespaces.differences(machines)
        looked_at = time.perf_counter()
        unnamed = [each for each in found if not each.title]
        shown = examples(unnamed, options.show)
        for each in shown if options.whole else namespaces.smallest(shown):
            print(f"--- {each}\n")
    _sum_up(found, resolvers)
    print(f"{len(machines):,} machines, seed {options.seed}, on which glibc and {len(resolvers)} resolvers looked")
    print(f"made in {made_at - started_at:.0f} s, looked at in {looked_at - made_at:.0f} s")
    print(f"{len(found)} differences, {len(unnamed)} of which nobody has accounted for")
    return int(bool(unnamed))


def examples(found: Iterable[Difference], most: int) -> list[Difference]:
    """The simplest machines for each kind and resolver, at most *most*; the most frequent kind comes first."""
    kinds: dict[tuple[str, str], list[Difference]] = {}
    for each in found:
        kinds.setdefault((each.kind, each.resolver), []).append(each)
    shown: list[Difference] = []
    for alike in sorted(kinds.values(), key=len, reverse=True):
        shown += sorted(alike, key=lambda each: len(str(each.machine)))[:most]
    return shown


def _sum_up(found: Sequence[Difference], resolvers: tuple[str, ...]) -> None:
    rows = Counter((each.title, each.title or each.kind) for each in found)
    if not rows:
        return
    print(f"{'':64}" + "".join(f"{resolver:>9}" for resolver in resolvers))
    for (title, row), _ in sorted(rows.items(), key=lambda each: (each[0][0] != "", -each[1])):
        alike = [each for each in found if (each.title, each.title or each.kind) == (title, row)]
        counts = Counter(each.resolver for each in alike)
        print(f"{'named: ' * bool(title) + row:64}" + "".join(f"{counts[resolver]:9}" for resolver in resolvers))
    print()

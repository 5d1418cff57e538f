"""``python -m benchmarks names``: where seawall and glibc differ."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from ..machine import conditions
from .outcome import Difference
from .outside import RESOLVERS, differences, why_not
from .strategies import generated

__all__ = ["main"]

PACKAGES = ("seawall", "aiodns", "pycares", "hypothesis")
SHOWN = 3  # machines of each kind


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks names", description=__doc__)
    parser.add_argument("--machines", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, default=19, help="the same seed makes the same machines (19)")
    parser.add_argument("--resolver", choices=RESOLVERS, action="append", help="one of them; all, if left out")
    parser.add_argument("--show", type=int, default=SHOWN, help=f"machines of each kind of difference ({SHOWN})")
    options = parser.parse_args(arguments)
    if reason := why_not():
        print(f"no namespace can be made here: {reason}")
        return 2
    print(conditions(PACKAGES, arguments, "names"))
    started_at = time.perf_counter()
    resolvers = tuple(options.resolver or RESOLVERS)
    machines = generated(options.machines, options.seed)
    made = time.perf_counter() - started_at
    found = [each for several in differences(machines, resolvers) for each in several]
    _show(found, options.show)
    took = time.perf_counter() - started_at
    print(f"{len(machines):,} machines, seed {options.seed}: {took:.0f} s in all, {made:.0f} s to make them up")
    for resolver in resolvers:
        mine = [each for each in found if each.resolver == resolver]
        print(f"{resolver:8} {len(mine)} differences")
    return int(bool(found))


def _show(found: list[Difference], most: int) -> None:
    kinds = Counter((each.kind, each.resolver) for each in found)
    for kind, resolver in kinds:
        alike = [each for each in found if (each.kind, each.resolver) == (kind, resolver)]
        alike.sort(key=lambda each: len(str(each.machine)))
        for each in alike[:most]:
            print(f"--- {resolver}: {kind}\n{each.machine}\nglibc:   {each.expected}\nseawall: {each.got}\n")
    for (kind, resolver), number in kinds.most_common():
        print(f"{number:6} {resolver:8} {kind}")

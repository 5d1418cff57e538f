"""``python -m benchmarks NAME [options]``."""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "soak": "100,000 calls over all kinds of fault, cancelled at random: what is left",
    "faults": "every fault of the kit against httpx, aiohttp and seawall",
    "overhead": "CPU per request of httpx, aiohttp and seawall, at 1, 50 and 500 in flight",
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print("usage: python -m benchmarks NAME [options]\n")
        for name, what in NAMES.items():
            print(f"  {name:12} {what}")
        return 2
    code: int = importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    return code


if __name__ == "__main__":
    raise SystemExit(main())

"""
A network of its own, whose loopback loses some packets: ``python -m benchmarks.reality.lossy PERCENT``.

It needs no root, because it makes a user namespace too. nft drops packets at random, as they come in, so that requests
and answers are lost alike; netem would need a module of the kernel that not every machine has.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..machine import start
from ..namespace import UNSHARE, raise_loopback

PROGRAMS = ("nft", "unshare", "nsenter")
RULES = """
table inet reality {
    chain received { type filter hook input priority 0; numgen random mod 100 < %d drop; }
}
"""


@contextmanager
def network(percent: int) -> Iterator[tuple[str, ...]]:
    """Yields the command under which a process joins the network. OSError: it can't be made."""
    with start(__name__, str(percent), core=None, under=UNSHARE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise OSError(process.communicate()[1].strip().splitlines()[-1:])
            yield ("nsenter", "--target", str(process.pid), "--user", "--net", "--preserve-credentials")
        finally:
            process.communicate()


def main(percent: str) -> None:
    raise_loopback()
    subprocess.run(["nft", "-f", "-"], input=RULES % int(percent), text=True, check=True)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

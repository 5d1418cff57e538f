"""Random machines in namespaces: addresses in the order of the real getaddrinfo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

MACHINES = 12
SEED = 20260000


def has_namespaces() -> bool:
    if not all(map(shutil.which, ("unshare", "ip", "mount"))):
        return False
    words = ["unshare", "-mn", "ip", "link", "add", "one", "type", "veth", "peer", "name", "two"]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="it takes root, Linux and iproute2")
@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="it compares with glibc")
def test_same_order_as_getaddrinfo():
    """Addresses, routes, tunnels, deprecated sources and gai.conf at random: each list is ordered alike."""
    words = ["unshare", "-mn", sys.executable, "-m", "tests.wire.machines", str(SEED), str(MACHINES)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=300)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"machines": MACHINES}]

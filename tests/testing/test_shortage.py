"""What a process can run out of."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import time

import pytest

from seawall.testing import blocked_loop, no_file_descriptors
from seawall.testing.network import Bandwidth, Latency, SlowClose
from seawall.testing.network.toxic import parse


def test_no_file_descriptors():
    """EMFILE for whatever is opened inside, and nothing of it afterwards."""
    before = os.listdir("/proc/self/fd")
    with no_file_descriptors():
        for _ in range(2):
            with pytest.raises(OSError, match="Too many open files") as caught:
                socket.socket()
            assert caught.value.errno == errno.EMFILE
    socket.socket().close()
    assert os.listdir("/proc/self/fd") == before


def test_no_file_descriptors_without_standard_input():
    """As a daemon starts a program: its descriptor 0 is free, and must be taken like any other."""
    code = """
import os
from seawall.testing import no_file_descriptors
os.close(0)
with no_file_descriptors():
    try:
        os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Too many open files\n"


@pytest.mark.anyio
async def test_blocked_loop():
    """Timers are late by as long."""
    started_at = time.monotonic()
    timer = asyncio.create_task(asyncio.sleep(0.001))
    await asyncio.sleep(0)
    blocked_loop(0.1)
    assert not timer.done()
    await timer
    assert time.monotonic() - started_at >= 0.1


def test_toxics_as_text():
    """As ``/ctl/network`` takes them."""
    assert parse("Latency:0.1:0.02") == Latency(0.1, 0.02)
    assert parse("bandwidth:1000") == Bandwidth(1000)
    assert parse(" SlowClose:1") == SlowClose(1)
    for text, words in {
        "latncy:1": "unknown toxic 'latncy'; near: Latency; all: Bandwidth, Latency",
        "Latency:1:2:3": "takes at most 2 settings",
        "Latency:x": "Latency.delay must be a number, not 'x'",
        "Latency:-1": "delay must be finite and >= 0",
    }.items():
        with pytest.raises(ValueError, match=words):
            parse(text)

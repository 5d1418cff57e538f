"""How much of what was written the peer's system hasn't taken, on a real socket."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from seawall.wire.http2.backlog import backlog

pytestmark = pytest.mark.anyio


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
async def test_backlog_is_what_the_peer_has_not_taken():
    """It grows with what is written, and shrinks as the peer reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, writer = await asyncio.open_connection(*server.getsockname())
        peer, _ = server.accept()
        with peer:
            assert backlog(writer.transport) == 0
            writer.write(bytes(16_000_000))
            before = backlog(writer.transport)
            assert 0 < before <= 16_000_000
            read = 0
            while read < 8_000_000:
                read += len(peer.recv(2**20))
                await asyncio.sleep(0)
            assert backlog(writer.transport) < before
        writer.transport.abort()


def test_backlog_that_nobody_knows():
    """Of no transport, or of another loop's."""
    assert backlog(None) == backlog(asyncio.Transport()) == 0

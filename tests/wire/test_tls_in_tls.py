"""TLS in TLS, as a tunnel through an https:// proxy has it: failures are those of TLS alone, and nothing is logged."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator

import httpx
import pytest

import seawall
from seawall.testing import FaultServer
from seawall.testing.leaks import held

pytestmark = [pytest.mark.anyio, pytest.mark.each_front]

FAST = seawall.Retry(backoff=0, throttled_backoff=0)
FAULTS = {
    # port → class, attempts: straight, and through a proxy with TLS
    "tls:expired": ("CertificateError", 1),
    "tls:wrong_host": ("HostnameMismatch", 1),
    "tls_alert:40": ("HandshakeError", 1),
    "tls_plaintext": ("HandshakeError", 1),
    "tls_close": ("HandshakeError", 3),
    "tls_reset": ("HandshakeError", 3),
    "tls_hang": ("HandshakeTimeout", 3),
    "tls:wants_client": ("ConnectionLost", 1),
}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("fault", FAULTS)
async def test_failures_are_those_of_tls_alone(server, fault, caplog):
    """
    Of asyncio's versions, 3.11.2 raised an AttributeError, 3.11.7 and 3.12.1 a bare TypeError, and 3.13.0 logged an
    AttributeError. All of them lost the alert after the handshake. No message shows a tuple of Python's.
    """
    context = server.client_context()
    url = server.listen(fault).url
    proxy = httpx.Proxy(server.listen("tls_proxy").url, ssl_context=context)
    timeout = httpx.Timeout(5.0, connect=0.5 if "hang" in fault else 5.0)
    seen = []
    with caplog.at_level(logging.WARNING, "asyncio"):
        for way in (None, proxy):
            async with seawall.AsyncClient(
                proxy=way, verify=context, trust_env=False, retry=FAST, timeout=timeout
            ) as client:
                with pytest.raises(seawall.SeawallError) as caught:
                    await client.get(f"{url}/x/ok")
                assert "Route(" not in str(caught.value)
                seen.append((type(caught.value).__name__, len(caught.value.attempts)))
                for _ in range(10):  # the rounds of the loop in which a connection is closed
                    await asyncio.sleep(0)
                assert (held(client.stats()), client.stats().connections) == ([], 0)
    del caught
    gc.collect()
    assert seen == [FAULTS[fault]] * 2
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []

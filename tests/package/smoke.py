"""
What the wheel must do, installed alone in a fresh environment: run by `scripts/package.py` and by the workflows, with
``python -I``, so that nothing of the checkout is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import httpx

import seawall

CHECKOUT = Path(__file__).resolve().parents[2]
ANSWERS = [b"503 Service Unavailable", b"200 OK"]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 " + ANSWERS.pop(0) + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    writer.close()


async def call() -> None:
    """A call is retried, by a client and by httpx's own client over our transport."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, seawall.AsyncClient(retry=seawall.Retry(backoff=0, throttled_backoff=0)) as client:
        response = await client.get(url)
        assert (response.text, [each.outcome for each in seawall.history(response)]) == ("ok", ["503", "200"])
        async with httpx.AsyncClient(transport=seawall.AsyncTransport()) as plain:
            ANSWERS.append(b"200 OK")
            assert (await plain.get(url)).text == "ok"
    async with seawall.AsyncClient(retry=None) as client:
        try:
            await client.get("http://127.0.0.1:1/")
        except httpx.ConnectError as error:
            assert isinstance(error, seawall.DialError)
        else:
            raise AssertionError("nothing listens there")


def missing(statement: str) -> str:
    """What is said where an extra is missing."""
    done = subprocess.run([sys.executable, "-I", "-c", statement], capture_output=True, text=True)
    assert done.returncode != 0, statement
    return done.stderr + done.stdout


def main() -> None:
    found = Path(seawall.__file__ or "").resolve()
    assert CHECKOUT not in found.parents, f"{found} is the checkout's"
    assert importlib.metadata.version("seawall") == seawall.__version__
    assert found.with_name("py.typed").exists()
    for name in seawall.__all__:
        getattr(seawall, name)
    asyncio.run(call())
    has_cli = importlib.util.find_spec("typer") is not None
    for statement, wanted in (
        ("import seawall; seawall.AsyncClient(http2=True)", "seawall[http2]"),
        ("import seawall; seawall.AsyncClient(proxy='socks5://a')", "seawall[socks]"),
        ("import seawall.httpx2", "pip install httpx2"),
        ("from seawall.cli import main; main()", "seawall[cli]"),
    ):
        if not has_cli:
            assert wanted in (said := missing(statement)), said
    print(f"seawall {seawall.__version__} on Python {sys.version.split()[0]}: good")


main()

"""httpx2's WebSockets through httpx2.AsyncClient and seawall.httpx2.AsyncClient, from one server: the same result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import seawall.httpx2

wsproto = pytest.importorskip("wsproto", reason="httpx2 has WebSockets where wsproto is installed")
from wsproto import events  # noqa: E402
from wsproto.connection import ConnectionState  # noqa: E402

pytestmark = pytest.mark.anyio


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Returns each message; closes, cuts the connection or refuses the handshake where it is told to."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    while data := await reader.read(65536):
        server.receive_data(data)
        for event in server.events():
            match event:
                case events.Request(target="/refused"):
                    answers = [events.RejectConnection(status_code=403, has_body=True), events.RejectData(b"no")]
                case events.Request():
                    answers = [events.AcceptConnection(subprotocol=next(iter(event.subprotocols), None))]
                case events.TextMessage(data="close"):
                    answers = [events.CloseConnection(4001, "bye")]
                case events.TextMessage(data="cut"):
                    return
                case events.Message():
                    answers = [events.Message(event.data, message_finished=event.message_finished)]
                case events.CloseConnection() if server.state is ConnectionState.CLOSED:  # the server began to close
                    return
                case events.Ping() | events.CloseConnection():
                    answers = [event.response()]
            for answer in answers:
                writer.write(server.send(answer))


async def echo(session: Any) -> Any:
    await session.send_text("Zoë")
    await session.send_bytes(bytes(30_000))
    return await session.receive_text(), await session.receive_bytes()


async def ping(session: Any) -> Any:
    await (await session.ping(b"1")).wait()
    return session.subprotocol, session.response.http_version, session.response.status_code


async def server_closes(session: Any) -> Any:
    await session.send_text("close")
    return await session.receive_text()


async def server_cuts(session: Any) -> Any:
    await session.send_text("cut")
    return await session.receive_text()


async def caller_fails(session: Any) -> Any:
    raise KeyError("the caller's own")


async def nothing_comes(session: Any) -> Any:
    return await session.receive_text(timeout=0.001)


async def observe(client: httpx2.AsyncClient, url: str, use: Callable[[Any], Any]) -> Any:
    try:
        async with client.websocket(url, subprotocols=["one", "two"]) as session:
            return await use(session)
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return type(error), str(error)


USES = [(use, "/") for use in (echo, ping, server_closes, server_cuts, caller_fails, nothing_comes)]
USES += [(echo, "/refused")]


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize(("use", "path"), USES, ids=lambda value: getattr(value, "__name__", value))
async def test_websocket(listen, scheme, use, path):
    """Messages, closing, errors; afterwards neither a permit nor a connection is left."""
    url = (await listen(serve)).replace("http", scheme) + path
    async with httpx2.AsyncClient() as client:
        theirs = await observe(client, url, use)
    async with seawall.httpx2.AsyncClient() as client:
        ours = await observe(client, url, use)
        assert [origin.in_flight for origin in client.stats().origins.values()] == [0]
        assert client.stats().connections == (path == "/refused")
    assert ours == theirs


async def test_cancelled_websocket(listen):
    """Nor where the caller is cancelled in mid-session."""
    url = await listen(serve)
    async with seawall.httpx2.AsyncClient() as client:
        is_open = asyncio.Event()

        async def wait(session: Any) -> None:
            is_open.set()
            await session.receive_text()

        task = asyncio.create_task(observe(client, url, wait))
        await is_open.wait()
        assert [origin.in_flight for origin in client.stats().origins.values()] == [1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [origin.in_flight for origin in client.stats().origins.values()] == [0]
        assert client.stats().connections == 0

"""``seawall demo --serve``: the dashboard of a client that calls the demo's six hosts."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from urllib.parse import unquote

import httpx
from rich.console import Console

from .. import DNS, AsyncClient
from ..integrations.dashboard import Dashboard, dashboard
from ..integrations.dashboard.app import Message
from ..testing.http.server import Request, Server
from .demo import HOSTS, upstreams
from .load import Patience

__all__ = ["over", "run"]

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")


async def run(*, seconds: float | None, rate: float, timeout: float, port: int) -> int:
    """Send the demo's load through seawall, and serve the dashboard meanwhile; None is until Ctrl-C."""
    logging.getLogger("seawall").addHandler(logging.NullHandler())  # the page shows it
    console, patience = Console(), Patience(timeout)
    with upstreams() as (ports, nameserver):
        dns = DNS(nameservers=(nameserver,))
        async with (
            AsyncClient(name="demo", timeout=timeout, deadline=patience.deadline, dns=dns, trust_env=False) as client,
            over(dashboard(client, allow_control=True), port=port) as server,
        ):
            console.print(
                f"\n[bold]Six hosts on loopback; {rate:g} calls/s through seawall, half of them to the first:[/]"
            )
            for host, what in HOSTS.items():
                console.print(f"  {host:15}[dim]{what}[/]")
            end = "until Ctrl-C" if seconds is None else f"for {seconds:g} s"
            console.print(
                f"\nThe dashboard is at {server.url}/ {end}; in a terminal: seawall top {server.url}", soft_wrap=True
            )
            await _load(client, {host: f"http://{host}.test:{ports[host]}/" for host in ports}, rate, seconds)
    return 0


def over(app: Dashboard, *, port: int = 0) -> Server:
    """
    A server of *app* on loopback; each response ends with its connection.

    It answers for the names of loopback only, because a page on the web may have a name of its own point there (DNS
    rebinding), and could then read the dashboard and give it orders.
    """

    async def serve(request: Request) -> None:
        if request.headers.get("host", "").partition(":")[0] not in NAMES:
            await request.reply(421, f"this server is {HOST}".encode(), connection="close")
            return
        path, _, query = request.target.partition("?")
        body = [{"type": "http.request", "body": request.body}]

        async def receive() -> Message:
            if not body:
                await asyncio.get_running_loop().create_future()  # this task is cancelled when the client has left
            return body.pop()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
                await request.begin(message["status"], fields | {"connection": "close"})
            else:
                await request.send(message.get("body", b""))

        scope: Message = {
            "type": "http",
            "method": request.method,
            "path": unquote(path),
            "query_string": query.encode("latin-1"),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in request.fields],
        }
        await app(scope, receive, send)
        request.close()

    return Server(serve, host=HOST, port=port)


async def _load(client: AsyncClient, urls: Mapping[str, str], rate: float, seconds: float | None) -> None:
    """Start calls at random instants, *rate* a second; ends after *seconds*, with the calls in flight."""
    rng, (first, *others) = random.Random(3), urls.values()

    async def call(url: str) -> None:
        try:
            await client.get(url)
        except httpx.HTTPError:
            pass  # the page shows it

    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            while True:
                group.create_task(call(first if rng.random() < 0.5 else rng.choice(others)))
                await asyncio.sleep(rng.expovariate(rate))
    except TimeoutError:
        pass

"""``seawall faults``: servers that fail on request, for testing any client in any language."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..testing.dns import DNS_FAULTS, DNSServer, Query
from ..testing.http.fault_server import FaultServer
from ..testing.http.port import Port
from ..testing.http.scripts import Received
from ..testing.http.vocabulary import FAULTS, row
from ..testing.network import Dose, Link, Network, toxic
from ..testing.service import is_loopback, watchful
from ..testing.steps import STEPS
from .stdout import abandon_output
from .text import plain

__all__ = ["print_steps", "run"]

PORTS = tuple(
    dict.fromkeys(
        how.removeprefix("port:")
        for fault in FAULTS
        for how in fault.how.split()
        if how.startswith("port:") and how != "port:serve"
    )
)
"""The steps of a port that the vocabulary names, each once."""


async def run(*, host: str, port: int, ca: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status is 0, or 2 if *host* isn't an address or the loop can't do it."""
    loop = asyncio.get_running_loop()
    try:
        is_open = not is_loopback(host)
        watchful(loop)
    except (RuntimeError, ValueError) as error:
        said = f"--{error}" if isinstance(error, ValueError) else str(error)
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"seawall faults: {escape(said)}")
        return 2
    console = Console(highlight=False, soft_wrap=True)
    started_at = time.monotonic()

    def say(text: str) -> None:
        try:
            console.print(f"[dim]{time.monotonic() - started_at:8.3f}[/]  {text}")
        except (OSError, SystemExit):  # rich wants to exit if the reader has left, but clients still need the servers
            abandon_output()
            said = "seawall faults: it can't write to standard output, so requests are no longer printed"
            Console(stderr=True, highlight=False, soft_wrap=True).print(said)

    def attempt(received: Received) -> None:
        size = f", {received.length} B" if received.length else ""
        what = plain(f"{received.method} {received.target}{size}")
        where = f"{received.port} connection {received.connection} request {received.request}"
        say(f"{where}: {what} -> [bold]{escape(received.step)}[/]")

    def query(asked: Query) -> None:
        say(f"dns {asked.transport}: {plain(asked.name)} {asked.kind} -> [bold]{escape(asked.done)}[/]")

    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        server = FaultServer(host=host, port=port, assert_all_called=False, on_attempt=attempt)
        await stack.enter_async_context(server)
        numbers = iter(range(port + 1, 65536)) if port else iter(lambda: 0, 1)
        for step in PORTS:
            server.listen(step, port=next(numbers), name=step)
        dns = await stack.enter_async_context(DNSServer(host=host, port=next(numbers), on_query=query))
        network = await stack.enter_async_context(Network(host=host))
        link = network.link((host, server.port), port=next(numbers), name="proxy")
        server.controls["/ctl/network"] = lambda asked, body: _worsen(link, asked, body)
        server.reports["/ctl/network"] = lambda _: _toxics(link)
        if is_open:
            console.print(
                f"[bold red]WARNING[/]    {host} is not loopback: every client that reaches it can control these "
                "servers, reach what listens on loopback through their proxy, and exhaust this machine\n"
            )
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
        _explain(console, server, dns.address, link.url, ca)
        await stop.wait()
    console.print("stopped")
    return 0


def print_steps() -> int:
    """Print every step: what it simulates, in which phase, and whether a request may be sent again after it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    for level, title in {
        "reply": "Steps of a request: /x/STEP,STEP,...?key=K",
        "connection": "Steps of a port",
    }.items():
        rows = []
        for kind in STEPS:
            if kind.level == level:
                choices = (f"{name}: {', '.join(words)}" for name, words in kind.choices.items())
                does = "\n".join([kind.does, *choices])
                rows.append((kind.form, "port" if level == "connection" else "", kind.name, does))
        _print(console, title, rows)
    _print(
        console,
        "Labels of a name, such as u1.delay-300.ttl-2.test",
        [(fault.form, "dns", fault.name, fault.does) for fault in DNS_FAULTS],
    )
    kinds = [getattr(toxic, name) for name in toxic.__all__ if name[0].isupper()]
    _print(
        console,
        "Toxics for seawall.testing.network and POST /ctl/network",
        [
            (":".join([kind.__name__, *(each.name for each in fields(kind))]), "net", kind.__name__, _first(kind))
            for kind in kinds
        ],
    )
    console.print(
        "\nIs it safe to send the request again (GET/POST)? A: always; I: if it is idempotent or has an "
        "Idempotency-Key; S: if the server says so; C: if the caller says so; N: never; -: nothing failed."
    )
    return 0


def _print(console: Console, title: str, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Print rows of (form, prefix and name in the vocabulary, what it does)."""
    console.print(f"\n[bold]{title}[/]")
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    for form, prefix, name, does in rows:
        fault = row(prefix, name)
        phase, safe = (fault.phase, fault.safe) if fault else ("", "")
        if name == "status":
            phase, safe = "status", "S"
        table.add_row(f"[bold]{escape(form)}[/]", phase, safe, escape(does))
    console.print(table)


def _first(kind: type) -> str:
    """Its docstring's first line."""
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _explain(console: Console, server: FaultServer, dns: str, proxy: str, ca: Path | None) -> None:
    """Print what listens where, and how to use it."""
    if ca is not None:
        try:
            ca.write_text(server.certificates.pem())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(ca)) from error
    console.print(
        f"[bold]requests[/]   {server.url}/x/STEP,STEP,...?key=K   fail as the steps say: seawall faults --list"
    )
    console.print(f"[bold]names[/]      {dns} (UDP and TCP)   fail as their labels say: u1.delay-300.ttl-2.test")
    console.print(f"[bold]network[/]    {proxy}   a proxy to the requests' port; POST toxics to /ctl/network")
    console.print(f"[bold]control[/]    {server.url}/   lists the commands")
    console.print("[bold]ports[/]      fail before the first request, each in its own way:")
    others = [port for port in server.ports.values() if port.name != "http"]
    width = max(len(port.name) for port in others) + 2
    for port in others:
        console.print(f"  {port.port:>5}  {port.name:{width}}[dim]{escape(_does(port))}[/]")
    authority = str(ca) if ca else f"<(curl -s {server.url}/ctl/ca.pem)"
    secure = server.ports["tls"].url
    console.print("\n[bold]try[/]")
    console.print(f"  curl -i '{server.url}/x/503:1,reset:body,ok?key=1'    # three times")
    console.print(f"  curl --cacert {escape(authority)} {secure}/x/ok")
    console.print(f"  curl {server.url}/ctl/network -d Latency:0.5; curl {proxy}/x/ok")
    console.print(f"  dig @{server.host} -p {dns.rpartition(':')[2]} u1.delay-300.ttl-2.test")
    console.print("\nPress Ctrl-C to stop. Requests and queries:\n")


def _worsen(link: Link, asked: dict[str, str], body: str) -> object:
    """A POST to ``/ctl/network``: one toxic per line to replace the present ones; "none" removes them all."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    if lines:
        direction: Any = asked.get("direction", "down")
        doses = [Dose(toxic.parse(line), direction=direction) for line in lines if line != "none"]
        link.clear()
        for dose in doses:
            link.add(dose.toxic, direction=dose.direction)
    return _toxics(link)


def _toxics(link: Link) -> object:
    """A GET of ``/ctl/network``: the present toxics."""
    return {"toxics": [f"{dose.toxic!r} {dose.direction}" for dose in link.doses]}


def _does(port: Port) -> str:
    """What the port's step does, in its own words; with arguments, in the vocabulary's."""
    kind = next((kind for kind in STEPS if kind.name == port.name), None)
    fault = next((fault for fault in FAULTS if f"port:{port.name}" in fault.how.split()), None)
    return kind.does if kind is not None else f"{fault.fault}: {fault.sees}" if fault is not None else ""

"""``seawall faults``: servers on loopback that fail as they are told, for testing any client in any language."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ..testing.dns import DNS_FAULTS, DNSServer, Query
from ..testing.http.fault_server import FaultServer
from ..testing.http.port import Port
from ..testing.http.scripts import Received
from ..testing.http.vocabulary import FAULTS, row
from ..testing.network import Link, Network, toxic
from ..testing.steps import STEPS

__all__ = ["print_steps", "run"]

PORTS = tuple(
    dict.fromkeys(
        how.removeprefix("port:")
        for fault in FAULTS
        for how in fault.how.split()
        if how.startswith("port:") and how != "port:serve"
    )
)
"""Each step of a port that the vocabulary names, once."""


async def run(*, host: str, port: int, ca: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; exit status 0."""
    console = Console(highlight=False, soft_wrap=True)
    started_at = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started_at:8.3f}[/]  {text}")

    def attempt(received: Received) -> None:
        size = f", {received.length} B" if received.length else ""
        what = escape(_plain(f"{received.method} {received.target}{size}"))
        where = f"{received.port} connection {received.connection} request {received.request}"
        say(f"{where}: {what} -> [bold]{escape(received.step)}[/]")

    def query(asked: Query) -> None:
        say(f"dns {asked.transport}: {escape(_plain(asked.name))} {asked.kind} -> [bold]{escape(asked.done)}[/]")

    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        server = FaultServer(host=host, port=port, assert_all_called=False, on_attempt=attempt)
        await stack.enter_async_context(server)
        numbers = iter(range(port + 1, 65536)) if port else iter(lambda: 0, 1)
        for step in PORTS:
            server.listen(step, port=next(numbers), name=step)
        dns = await stack.enter_async_context(DNSServer(host=host, port=next(numbers), on_query=query))
        network = await stack.enter_async_context(Network(host=host))
        link = network.link(f"{host}:{server.port}", port=next(numbers), name="proxy")
        server.controls["/ctl/network"] = lambda asked, body: _worsen(link, asked, body)
        _explain(console, server, dns.address, link.url, ca)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
        await stop.wait()
    console.print("stopped")
    return 0


def print_steps() -> int:
    """Every step: what it simulates, in which phase, and whether a request may be sent again after it."""
    console = Console(highlight=False, soft_wrap=True)
    for level, title in {
        "reply": "Steps of a request: /x/STEP,STEP,...?key=K",
        "connection": "Steps of a port",
    }.items():
        console.print(f"\n[bold]{title}[/]")
        for kind in STEPS:
            if kind.level == level:
                _line(console, kind.form, "port" if level == "connection" else "", kind.name, kind.does)
                for name, choices in kind.choices.items():
                    console.print(f"  [dim]{name}: {escape(', '.join(choices))}[/]")
    console.print("\n[bold]Labels of a name, such as u1.delay-300.ttl-2.test[/]")
    for fault in DNS_FAULTS:
        _line(console, fault.form, "dns", fault.name, fault.does)
    console.print("\n[bold]Toxics of seawall.testing.network[/]")
    for name in toxic.__all__:
        if name[0].isupper():
            words = (getattr(toxic, name).__doc__ or "").strip().partition("\n")[0]
            _line(console, name, "net", name, words)
    console.print(
        "\nSafe to send a GET / a POST again? A: always; I: if idempotent or with a key; S: as the server says; "
        "C: as the caller says; N: no; -: no need."
    )
    return 0


def _explain(console: Console, server: FaultServer, dns: str, proxy: str, ca: Path | None) -> None:
    """What listens where, and how to ask."""
    if ca is not None:
        ca.write_text(server.certificates.pem())
    console.print(
        f"[bold]requests[/]   {server.url}/x/STEP,STEP,...?key=K   by the step; seawall faults --list has all"
    )
    console.print(f"[bold]names[/]      {dns} (UDP and TCP)   by the fault in the name: u1.delay-300.ttl-2.test")
    console.print(f"[bold]network[/]    {proxy}   a proxy to the above; POST toxics to /ctl/network")
    console.print(f"[bold]control[/]    {server.url}/   says how")
    console.print("[bold]ports[/]      each with a fault of its own before the first request:")
    others = [port for port in server.ports.values() if port.name != "http"]
    width = max(len(port.name) for port in others) + 2
    said = ""
    for port in others:
        does = _does(port)
        console.print(f"  {port.port:>5}  {port.name:{width}}[dim]{'' if does == said else escape(does)}[/]")
        said = does
    authority = str(ca) if ca else f"<(curl -s {server.url}/ctl/ca.pem)"
    secure = server.ports["tls"].url
    console.print("\n[bold]try[/]")
    console.print(f"  curl -i '{server.url}/x/503:1,reset:body,ok?key=1'    # three times")
    console.print(f"  curl --cacert {escape(authority)} {secure}/x/ok")
    console.print(f"  curl {server.url}/ctl/network -d Latency:0.5; curl {proxy}/x/ok")
    console.print(f"  dig @{server.host} -p {dns.rpartition(':')[2]} u1.delay-300.ttl-2.test")
    console.print("\nCtrl-C stops it. What is asked of it:\n")


def _worsen(link: Link, asked: dict[str, str], body: str) -> object:
    """``/ctl/network``: POST toxics, one a line, which take the place of those that are there."""
    toxics = [toxic.parse(line) for line in body.splitlines() if line.strip()]
    link.clear()
    for each in toxics:
        link.add(each, direction=asked.get("direction", "down"))  # type: ignore[arg-type]  # it is checked there
    return {"toxics": [repr(dose.toxic) for dose in link.doses]}


def _does(port: Port) -> str:
    name = port.name.partition(",")[0].partition(":")[0]
    return next(kind.does for kind in STEPS if kind.name == name)


def _line(console: Console, form: str, prefix: str, name: str, does: str) -> None:
    fault = row(prefix, name)
    phase, safe = (fault.phase, fault.safe) if fault else ("", "")
    if name == "status":
        phase, safe = "status", "S"
    console.print(f"[bold]{escape(form):38}[/] {phase:8} {safe:6} {escape(does)}")


def _plain(text: str) -> str:
    """What a client wrote, without its power over a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)

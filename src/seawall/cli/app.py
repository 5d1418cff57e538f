"""``seawall demo``, ``get``, ``dns``, ``top`` and ``faults``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..config import DNS
from . import demo as demo_command
from . import dns as dns_command
from . import faults as faults_command
from . import get as get_command
from . import served as served_command
from . import top as top_command

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="httpx.AsyncClient that keeps working when the network doesn't.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"seawall {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """httpx.AsyncClient that keeps working when the network doesn't."""


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(min=1, max=600, help="Seconds of load for each client: 10, with --serve until Ctrl-C."),
    ] = None,
    rate: Annotated[float, typer.Option(min=10, max=1000, help="Calls per second, over all hosts.")] = 150.0,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds for each timeout; the deadline of a call is twice that.")
    ] = 2.0,
    json: Annotated[Path | None, typer.Option(help="Also write the figures to this file.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the dashboard of seawall alone, under this load.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 takes any that is free.")] = 8765,
) -> None:
    """Send the same load through httpx, aiohttp and seawall to hosts that misbehave, all on loopback."""
    if not serve:
        raise typer.Exit(demo_command.run(seconds=seconds or 10.0, rate=rate, timeout=timeout, path=json))
    try:
        raise typer.Exit(asyncio.run(served_command.run(seconds=seconds, rate=rate, timeout=timeout, port=port)))
    except OSError as error:
        typer.echo(f"seawall demo: port {port}: {error.strerror} (--port 0 takes any that is free)", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def top(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where a dashboard is mounted.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'Name: value' of a header to send; may be repeated.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print the figures once and exit.")] = False,
) -> None:
    """Show the figures of a dashboard in the terminal, until Ctrl-C."""
    headers = {name.strip(): value.strip() for name, _, value in (each.partition(":") for each in header or ())}
    try:
        raise typer.Exit(asyncio.run(top_command.run(url, headers=headers, interval=interval, is_once=once)))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def get(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Must begin with http:// or https://.")],
    deadline: Annotated[
        float | None, typer.Option(min=0.001, max=86400, help="Seconds for each call, with all its attempts.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="HTTP method.")] = "GET",
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Don't check certificates.")] = False,
) -> None:
    """Fetch URLs and show each attempt: where its time went, which address it asked, how it ended."""
    raise typer.Exit(asyncio.run(get_command.run(urls, deadline=deadline, method=method, verify=not insecure)))


@app.command()
def dns(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Host names or IP addresses.")],
    server: Annotated[
        list[str] | None, typer.Option(help="Ask this name server instead: an IP address, with or without :port.")
    ] = None,
    resolver: Annotated[str, typer.Option(help='The client\'s resolver: "auto", "cares" or "system".')] = "auto",
    timeout: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds for each step.")] = 2.0,
    watch: Annotated[float | None, typer.Option(min=0.1, help="Repeat after this many seconds, until Ctrl-C.")] = None,
) -> None:
    """Resolve names as a client does, and show each step: addresses, TTL, time, and which addresses it uses."""
    try:
        settings = DNS(timeout=timeout, nameservers=tuple(server) if server else None)
        raise typer.Exit(asyncio.run(dns_command.run(names, dns=settings, resolver=resolver, watch=watch)))
    except (TypeError, ValueError) as error:
        typer.echo(f"seawall dns: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def faults(
    port: Annotated[
        int, typer.Option(min=0, max=65000, help="The first of some 50 ports in a row; 0 takes any free ones.")
    ] = 5500,
    host: Annotated[
        str, typer.Option(help="The address to listen on. Any client that reaches it can exhaust this machine.")
    ] = "127.0.0.1",
    ca: Annotated[
        Path | None, typer.Option(help="Write the CA certificate that signs the good certificates to this file.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print every step and exit.")] = False,
) -> None:
    """Run servers that fail on request, for testing any client: HTTP, TLS, HTTP/2, DNS, a bad network."""
    if list_:
        raise typer.Exit(faults_command.print_steps())
    try:
        raise typer.Exit(asyncio.run(faults_command.run(host=host, port=port, ca=ca)))
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error)
        typer.echo(
            f"seawall faults: {text} (it needs some 50 ports, from --port on; --port 0 takes any free ones)", err=True
        )
        raise typer.Exit(1) from None

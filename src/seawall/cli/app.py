"""``seawall demo``, ``get``, ``dns`` and ``faults``."""

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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="And exit.")] = False,
) -> None:
    """httpx.AsyncClient that keeps working when the network doesn't."""


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long each client is under load.")] = 10.0,
    rate: Annotated[float, typer.Option(min=10, max=1000, help="Calls a second, over all hosts.")] = 150.0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
) -> None:
    """The same load through bare httpx and through seawall, to hosts that misbehave; everything on loopback."""
    raise typer.Exit(demo_command.run(seconds=seconds, rate=rate, path=json))


@app.command()
def get(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="With http:// or https://.")],
    deadline: Annotated[float | None, typer.Option(min=0.001, max=86400, help="s for each call as a whole.")] = None,
    method: Annotated[str, typer.Option("--method", "-X")] = "GET",
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Don't check certificates.")] = False,
) -> None:
    """Fetch URLs and show each attempt: where the time went, whom it asked, what came of it."""
    raise typer.Exit(asyncio.run(get_command.run(urls, deadline=deadline, method=method, verify=not insecure)))


@app.command()
def dns(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    server: Annotated[list[str] | None, typer.Option(help="An IP, with :port or without, to ask instead.")] = None,
    resolver: Annotated[str, typer.Option(help='"auto", "cares" or "system".')] = "auto",
    timeout: Annotated[float, typer.Option(min=0.01, max=60, help="s for each step.")] = 2.0,
    watch: Annotated[float | None, typer.Option(min=0.1, help="Again every so many s, until stopped.")] = None,
) -> None:
    """Resolve names as a client does, and show each step: addresses, TTL, time, and which were used."""
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
    port: Annotated[int, typer.Option(min=0, max=65000, help="The first; others follow. 0: any free ones.")] = 5500,
    host: Annotated[str, typer.Option(help="Whoever reaches it can use up this machine.")] = "127.0.0.1",
    ca: Annotated[Path | None, typer.Option(help="Write the authority of the good certificates to this file.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print every step, and exit.")] = False,
) -> None:
    """Servers that fail as they are told, on loopback: HTTP, TLS, HTTP/2, DNS, a network; for any client."""
    if list_:
        raise typer.Exit(faults_command.print_steps())
    try:
        raise typer.Exit(asyncio.run(faults_command.run(host=host, port=port, ca=ca)))
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error)
        typer.echo(
            f"seawall faults: {text} (it takes some 50 ports, from --port on; --port 0 takes any free ones)", err=True
        )
        raise typer.Exit(1) from None

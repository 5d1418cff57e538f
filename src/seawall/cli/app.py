"""``seawall demo``, ``get``, ``fetch``, ``dns``, ``top`` and ``faults``."""

from __future__ import annotations

import asyncio
import errno
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..config import DNS
from ..fetch.sources import Source
from . import get as get_command
from .given import agent_of, headers_of, servers_of, size_of, statuses_of
from .sent import body_of, checked_method
from .stdout import is_output_lost

__all__ = ["app"]

RESOLVERS = ("auto", "cares", "system")

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
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
        bool, typer.Option("--serve", help="Send the load through seawall alone, and serve its dashboard.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of --serve; 0 takes any free one.")] = 8765,
) -> None:
    """Send the same load through httpx, aiohttp and seawall to hosts that misbehave, all on loopback."""
    from . import demo as demo_command

    if not serve:
        raise typer.Exit(demo_command.run(seconds=seconds or 10.0, rate=rate, timeout=timeout, path=json))
    from . import served as served_command

    try:
        raise typer.Exit(asyncio.run(served_command.run(seconds=seconds, rate=rate, timeout=timeout, port=port)))
    except OSError as error:
        if is_output_lost(error):
            raise
        typer.echo(f"seawall demo: port {port}: {error.strerror} (--port 0 takes any that is free)", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def top(
    url: Annotated[str, typer.Argument(metavar="URL", help="The URL where the dashboard is mounted.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'Name: value' of a header to send; may be repeated.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two updates.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print the figures once and exit.")] = False,
) -> None:
    """Show the figures of a dashboard in the terminal, until Ctrl-C."""
    from . import top as top_command

    try:
        headers = headers_of(header)
        raise typer.Exit(asyncio.run(top_command.run(url, headers=headers, interval=interval, is_once=once)))
    except ValueError as error:
        typer.echo(f"seawall top: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


app.command(epilog=get_command.LAST)(get_command.get)


class Fetch(TyperGroup):
    """``seawall fetch`` followed by anything but the name of a command fetches that."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """``fetch urls.txt`` is ``fetch list urls.txt``, and its help is that one's."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["list", *args])


fetch = typer.Typer(cls=Fetch, help="Fetch a list of URLs politely; the same command resumes a stopped job.")
app.add_typer(fetch, name="fetch")


@fetch.command("list", no_args_is_help=True, epilog="seawall fetch status OUT shows how far a job is.")
def fetch_list(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIST...",
            help="A file with a URL per line, a sitemap, sitemap:URL (URLs of its own host), or - for standard input.",
        ),
    ] = None,
    csv: Annotated[list[Path] | None, typer.Option(help="A CSV file with URLs in --column; may be repeated.")] = None,
    column: Annotated[str, typer.Option(help="The name of that column.")] = "url",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder, with a file for each page, or a FILE.jsonl.")
    ] = Path("out"),
    rate: Annotated[
        float | None, typer.Option(min=0.001, max=10_000, help="Maximum number of requests per second to a host.")
    ] = None,
    per_host: Annotated[int, typer.Option(min=1, max=1000, help="URLs of a host in flight at once.")] = 4,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="URLs in flight at once.")] = 100,
    method: Annotated[str | None, typer.Option("--method", "-X", help="HTTP method; GET, or POST with --data.")] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="'Name: value' of a header to send; may be repeated.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The body to send; @FILE reads a file, @- standard input.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Follow redirects.")] = True,
    robots: Annotated[bool, typer.Option("--robots/--no-robots", help="Heed robots.txt.")] = True,
    user_agent: Annotated[
        str, typer.Option(help="The name sent to sites, which their robots.txt is searched for.")
    ] = f"seawall-fetch/{__version__}",
    accept_status: Annotated[str, typer.Option(help="Statuses that count as good.")] = "200-399",
    max_size: Annotated[
        str, typer.Option(help="The largest body, decoded: bytes, or with k, M or G. Bodies in flight are in memory.")
    ] = "16M",
    timeout: Annotated[
        float, typer.Option(min=0.01, max=3600, help="Seconds to connect, and for each silence of a server.")
    ] = 10.0,
    deadline: Annotated[
        float, typer.Option(min=0.01, max=86400, help="Seconds for a URL, all attempts included, from its turn on.")
    ] = 300.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Fetch again the URLs that failed.")] = False,
    nameserver: Annotated[
        list[str] | None, typer.Option(help="Ask this name server: an IP address, with or without :port.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Don't check certificates.")] = False,
    queue: Annotated[
        str | None, typer.Option(metavar="URL", help="Let workers fetch it: redis://HOST of their Redis or Valkey.")
    ] = None,
    parcel: Annotated[
        int, typer.Option(min=1, max=10_000, help="With --queue: URLs that a worker takes at once.")
    ] = 500,
    json: Annotated[bool, typer.Option("--json", help="Print progress and summary as lines of JSON.")] = False,
) -> None:
    """Fetch a list of URLs politely. If the job is stopped, the same command resumes it."""
    from . import fetch as fetch_command  # here, because it needs an extra of its own

    sources = [Source(each) for each in urls or ()] + [Source(str(each), column) for each in csv or ()]
    try:
        if not sources:
            raise ValueError("a list of URLs is missing: a file, sitemap:URL, - or --csv FILE")
        if "-" in (urls or ()) and sys.stdin is None:
            raise ValueError("the list of URLs can't come from standard input, because it is closed")
        if data == "@-" and "-" in (urls or ()):
            raise ValueError("the list of URLs and the body of --data can't both come from standard input")
        content = None if data is None else body_of("--data", data)
        wanted = fetch_command.Wanted(
            sources=sources,
            out=out,
            rate=rate,
            per_host=per_host,
            concurrency=concurrency,
            method=checked_method(method or ("GET" if content is None else "POST")),
            headers=headers_of(header),
            data=content,
            follow=follow,
            robots=robots,
            user_agent=agent_of(user_agent),
            accept=statuses_of(accept_status),
            max_size=size_of(max_size),
            timeout=timeout,
            deadline=deadline,
            retry_failed=retry_failed,
            nameservers=servers_of("--nameserver", nameserver),
            insecure=insecure,
            is_json=json,
            queue=queue,
            parcel=parcel,
        )
        raise typer.Exit(asyncio.run(fetch_command.run(wanted)))
    except (TypeError, ValueError) as error:
        typer.echo(f"seawall fetch: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(143) from None


@fetch.command("status")
def fetch_status(
    where: Annotated[
        str, typer.Argument(metavar="OUT", help="The output of a job, or its journal; or redis://HOST of workers.")
    ],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how far a job is, also while it runs; or what workers do."""
    if "://" in where:
        from . import worker as worker_command

        raise typer.Exit(asyncio.run(worker_command.status(where, is_json=json)))
    from . import fetch as fetch_command

    raise typer.Exit(fetch_command.status(Path(where), is_json=json))


@fetch.command("worker")
def fetch_worker(
    url: Annotated[str, typer.Argument(metavar="URL", help="redis://HOST of the Redis or Valkey of the jobs.")],
    name: Annotated[str | None, typer.Option(help="What seawall fetch status calls it; host and process.")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Parcels at once, which share --concurrency.")] = 4,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", help="'Name: value' of a header to send beside the job's; may be repeated."),
    ] = None,
    lapse: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds after which what a dead worker had is another's.")
    ] = 30.0,
) -> None:
    """Fetch what jobs with --queue have in this Redis or Valkey, until SIGTERM or Ctrl-C."""
    from . import worker as worker_command

    try:
        raise typer.Exit(
            asyncio.run(worker_command.run(url, name=name, at_once=at_once, headers=headers_of(header), lapse=lapse))
        )
    except ValueError as error:
        typer.echo(f"seawall fetch worker: {error}", err=True)
        raise typer.Exit(2) from None


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
    from . import dns as dns_command

    try:
        if resolver not in RESOLVERS:
            raise ValueError(f"--resolver takes one of {', '.join(RESOLVERS)}, not {resolver!r}")
        settings = DNS(timeout=timeout, nameservers=servers_of("--server", server) or None)
        raise typer.Exit(asyncio.run(dns_command.run(names, dns=settings, resolver=resolver, watch=watch)))
    except (TypeError, ValueError) as error:
        typer.echo(f"seawall dns: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def faults(
    port: Annotated[
        int, typer.Option(min=0, max=65000, help="The first of some 100 ports in a row; 0 takes any free ones.")
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
    from . import faults as faults_command

    if list_:
        raise typer.Exit(faults_command.print_steps())
    try:
        raise typer.Exit(asyncio.run(faults_command.run(host=host, port=port, ca=ca)))
    except OSError as error:
        if is_output_lost(error):
            raise
        text = error.strerror or str(error)
        if error.filename is not None:
            text = f"--ca {error.filename}: {text}"
        elif error.errno in (errno.EADDRINUSE, errno.EACCES):
            text = f"{text} (it needs some 100 ports, from --port on; --port 0 takes any free ones)"
        typer.echo(f"seawall faults: {text}", err=True)
        raise typer.Exit(1) from None

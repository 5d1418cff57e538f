"""``seawall get``: its options, as typer reads them. What they ask for is done in `calls`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["get"]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
LAST: Final = "The exit status is as curl's: 6, 7, 28, 35, 60 and others tell what failed, 22 is --fail's."


def _methods(incomplete: str) -> Iterator[str]:
    """What a shell offers after ``-X``."""
    return (each for each in METHODS if each.startswith(incomplete))


def get(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Must begin with http:// or https://.")],
    method: Annotated[
        str | None,
        typer.Option(
            "--method", "-X", metavar="METHOD", autocompletion=_methods, help="GET by default; POST with a body."
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="'NAME: VALUE'", help="A header to send; 'NAME:' leaves one out; may be repeated."
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data", "-d", metavar="TEXT", help="Body to send; @FILE has it in a file, @- on standard input."
        ),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="TEXT", help="JSON to send, and to ask for; or @FILE, or @-.")
    ] = None,
    include: Annotated[
        bool, typer.Option("--include", "-i", help="Print the response's head before its body.")
    ] = False,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the body to this file; once for each URL."),
    ] = None,
    no_buffer: Annotated[
        bool, typer.Option("--no-buffer", "-N", help="Print each part as it comes; a body that breaks isn't retried.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-L", help="Follow redirects.")] = True,
    fail: Annotated[
        bool, typer.Option("--fail", "-f", help="Exit with 22, and print no body, if the status is 400 or above.")
    ] = False,
    retry: Annotated[
        int, typer.Option(min=0, max=100, metavar="N", help="Retries at most, where a retry is safe.")
    ] = 2,
    deadline: Annotated[
        float | None,
        typer.Option(min=0.001, max=86400, metavar="S", help="Seconds for each call, with all its attempts."),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=0.001, max=86400, metavar="S", help="Seconds to connect, and for each silence of a server."),
    ] = 5.0,
    http2: Annotated[bool, typer.Option("--http2", help="Offer HTTP/2, which needs https://.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Don't check certificates.")] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Show where the time of each hop and attempt went, on standard error.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show connections, TLS, certificates and heads, on standard error."),
    ] = False,
) -> None:
    """
    Fetch URLs: the body to standard output, all else to standard error.

    JSON is indented and coloured on a terminal, and untouched in a pipe. Failures are retried where that is safe.
    """
    from . import calls, sent  # here, because ``seawall --help`` needs neither httpx nor rich

    try:
        if len(output or ()) not in (0, len(urls)):
            raise ValueError(f"--output is given {len(output or ())} times for {len(urls)} URLs; give one for each")
        wanted = calls.Wanted(
            urls=urls,
            request=sent.sent(method=method, headers=header or (), data=data or (), json=json),
            outputs=output or (),
            has_head=include,
            is_streamed=no_buffer,
            follows=follow,
            fails=fail,
            retries=retry,
            deadline=deadline,
            timeout=timeout,
            http2=http2,
            insecure=insecure,
            is_timed=timing,
            is_verbose=verbose,
        )
    except ValueError as error:
        typer.echo(f"seawall get: {error}", err=True)
        raise typer.Exit(2) from None
    try:
        raise typer.Exit(asyncio.run(calls.run(wanted)))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None

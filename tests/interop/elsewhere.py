"""
The client on a Python that lacks what another system's lacks: ``python -m tests.interop.elsewhere SYSTEM < JOB``.

It needs a process of its own, because it takes these names away before seawall is imported. Prints what came, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import selectors
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiodns  # noqa: F401  # imported while its own names are still there, like the two that follow
import anyio._backends._asyncio  # noqa: F401
import h2.connection  # noqa: F401
import httpx

COMMON = {
    select: ("epoll", "POLLRDHUP"),
    socket: ("AF_NETLINK", "AF_VSOCK", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "MSG_NOSIGNAL", "TCP_USER_TIMEOUT"),
    os: ("sched_getaffinity", "posix_fadvise"),
}
LACKS: dict[str, dict[Any, tuple[str, ...]]] = {
    "darwin": COMMON | {socket: (*COMMON[socket], "TCP_KEEPIDLE")},
    "win32": COMMON
    | {
        select: (*COMMON[select], "poll", "kqueue", "POLLIN", "POLLHUP", "POLLERR"),
        socket: (
            *(*COMMON[socket], "AF_UNIX", "MSG_DONTWAIT", "SO_REUSEPORT", "TCP_INFO", "TCP_CORK", "TCP_QUICKACK"),
            *("CMSG_SPACE", "sendmsg", "send_fds", "recv_fds"),
        ),
        os: (
            *(*COMMON[os], "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "confstr", "sysconf", "fork"),
            *("register_at_fork", "getuid", "geteuid", "fchmod", "fchown", "pread", "pwrite", "sendfile", "uname"),
        ),
    },
}
"""What `select`, `socket` and `os` don't have there."""
MODULES = {"darwin": (), "win32": ("fcntl", "termios", "resource", "pwd", "grp", "syslog")}


class Watchless(asyncio.SelectorEventLoop):
    """Windows' default loop, as callers see it: it watches no sockets of theirs, and handles no signals."""

    add_reader = asyncio.AbstractEventLoop.add_reader
    add_writer = asyncio.AbstractEventLoop.add_writer
    add_signal_handler = asyncio.AbstractEventLoop.add_signal_handler


def become(system: str) -> None:
    """Take away what *system* lacks."""
    for module, names in LACKS[system].items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for name in MODULES[system]:
        sys.modules[name] = None  # type: ignore[assignment]


async def calls(job: dict[str, Any]) -> dict[str, Any]:
    """One of each kind: over a connection that is kept, lost and ended, over TLS and HTTP/2, by DNS, into a file."""
    import seawall

    told: dict[str, Any] = {}
    context = ssl.create_default_context(cadata=job["ca"])
    dns = seawall.DNS(nameservers=(job["dns"],))
    async with seawall.AsyncClient(verify=context, http2=True, dns=dns, resolver=job["resolver"]) as client:

        async def get(name: str, url: str, **arguments: Any) -> None:
            response = await client.request(arguments.pop("method", "GET"), url, **arguments)
            told[name] = [response.status_code, response.http_version, len(response.extensions["seawall"])]

        base = job["base"]
        await get("first", f"{base}/x/ok")
        await get("kept", f"{base}/x/ok")
        await get("retried", f"{base}/x/503:0,ok?key={job['run']}-retried")
        await get("lost", f"{base}/x/reset:body,ok?key={job['run']}-lost")
        await get("uploaded", f"{base}/x/ok", method="POST", content=b"x" * 1_000_000)
        await get("ends", f"{base}/x/idle?key={job['run']}-ends")
        await asyncio.sleep(0)
        await get("after", f"{base}/x/ok?key={job['run']}-after", headers={"idempotency-key": "1"}, method="POST")
        await get("tls", f"{job['tls']}/x/ok")
        await get("http2", f"{job['h2']}/x/ok")
        await get("named", f"http://api.test:{job['port']}/x/ok")
        await get("localhost", f"http://localhost:{job['port']}/x/ok")
        try:
            await client.get(f"http://127.0.0.1:{job['refused']}/", extensions=seawall.options(retry=None))
        except httpx.ConnectError as error:
            told["refused"] = type(error).__name__
        async with client.stream("GET", f"{base}/x/ok:100000") as response:
            told["streamed"] = sum([len(part) async for part in response.aiter_bytes()])
        async with seawall.AsyncClient() as other:  # which asks the system for names, as it does there
            told["by the system"] = (await other.get(f"http://localhost:{job['port']}/x/ok")).status_code
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            await client.download(f"{base}/x/ok:100000", path)
            told["downloaded"] = path.stat().st_size
    return told


def main() -> None:
    job = json.load(sys.stdin)
    system = sys.argv[1]
    if system == "win32-watchless":
        loop: asyncio.AbstractEventLoop = Watchless(selectors.SelectSelector())
    else:
        loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    system = system.partition("-")[0]
    become(system)
    real, sys.platform = sys.platform, system
    import seawall.dns.machine

    sys.platform = real  # for the standard library, which is this system's
    seawall.dns.machine.sys = SimpleNamespace(platform=system)  # type: ignore[attr-defined]
    try:
        print(json.dumps(loop.run_until_complete(calls(job))))
    finally:
        loop.close()


if __name__ == "__main__":
    main()

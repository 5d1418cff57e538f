"""
What a proxy passes on: bytes and ends both ways between a client and an origin, or requests in absolute form.

Rules: nothing of the origin's is changed, its FIN and its RST included, so that a client sees through a proxy what the
origin did. Origins are on loopback: "localhost", its addresses, and every name under ``.test``, which is 127.0.0.1, so
that a client's tests need no DNS for names that only a proxy resolves.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from .stream import Stream

__all__ = ["MAX_HEAD", "Cut", "Refused", "Target", "dialled", "forward", "relay", "target_of"]

MAX_HEAD: Final = 2**16  # B
FOR_THE_PROXY: Final = re.compile(rb"proxy-(authorization|connection)[ \t]*:", re.IGNORECASE)
RAW: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)  # what follows may be no HTTP/1.1
CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding[ \t]*:[^\r\n]*chunked", re.IGNORECASE)
LENGTH: Final = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)


class Target(NamedTuple):
    host: str
    port: int


class Cut(NamedTuple):
    """
    Where a proxy stops passing on what the origin says, and what it does then.

    Attributes:
        after: Bytes that the proxy still passes on from the origin to the client.
    """

    how: Literal["hang", "close", "reset"]
    after: int


class Refused(Exception):
    """The proxy doesn't dial this: its status says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


def target_of(head: bytes) -> Target:
    """
    Where a request to a proxy is for, by its first line.

    Raises:
        Refused: It is neither a CONNECT nor in absolute form, 400.
    """
    found = re.match(rb"CONNECT (\S+):(\d{1,5}) HTTP/1\.[01]\r\n", head)
    if found is None:
        found = re.match(
            rb"\S+ http://(?:[^/?#\s@]*@)?(\[[^]\s]*\]|[^/?#:\s]+)(?::(\d{1,5}))?[/?\s]", head, re.IGNORECASE
        )
    if found is None:
        raise Refused(400, "Bad Request")
    return Target(found[1].decode("latin-1").strip("[]"), int(found[2] or 80))


async def dialled(client: Stream, target: Target) -> Stream:
    """
    A connection to *target*.

    Raises:
        Refused: It isn't on loopback, 403.
        OSError: It can't be reached, or the client has left meanwhile.
    """
    if not 0 < target.port < 2**16:
        raise Refused(400, "Bad Request")
    dial = asyncio.ensure_future(Stream.dial(_address(target.host), target.port))
    left = asyncio.ensure_future(client.left())
    try:
        await asyncio.wait((dial, left), return_when=asyncio.FIRST_COMPLETED)
        if not dial.done():
            raise ConnectionResetError
        return dial.result()
    finally:
        dial.cancel()
        left.cancel()


def _address(host: str) -> str:
    name = host.lower().rstrip(".")
    if name == "test" or name.endswith(".test"):
        return "127.0.0.1"
    if name != "localhost":
        try:
            is_loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise Refused(403, "Not loopback")
    return host


async def relay(
    client: Stream, origin: Stream, *, cut: Cut | None = None, forth: Coroutine[Any, Any, bytes] | None = None
) -> bytes:
    """
    Pass bytes and ends both ways, until both sides have ended; then *origin* is closed.

    Args:
        forth: Passes on what the client sends, in the place of the bytes as they are.
    Returns:
        What *forth* returned, after which nothing more of *origin* is passed on.
    """
    up = asyncio.ensure_future(forth if forth is not None else _pass(client, origin))
    down = asyncio.ensure_future(_pass(origin, client, cut))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if up.done() and up.exception() is None and up.result():
            return up.result()
        if down.done() and cut is not None and down.exception() is None and down.result():
            await _end(client, up, cut)
            return b""
        await asyncio.wait((up, down))
        if up.exception() is not None or down.exception() is not None:
            await client.flushed()
            client.reset()
            origin.reset()
        elif cut is not None and down.result():
            await _end(client, up, cut)
        return up.result() if up.exception() is None else b""
    finally:
        for each in (up, down):
            each.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        origin.finish()


async def _end(client: Stream, up: asyncio.Future[bytes], cut: Cut) -> None:
    up.cancel()
    with suppress(asyncio.CancelledError, OSError):
        await up
    if cut.how == "reset":
        await client.flushed()
        client.reset()
    elif cut.how == "close":
        await client.close()
    else:
        await client.drain()


async def _pass(source: Stream, to: Stream, cut: Cut | None = None) -> bytes:
    """Pass on bytes, then the end; returns something if *cut* struck before."""
    passed = 0
    try:
        while cut is None or passed < cut.after:
            data = await source.receive(2**16 if cut is None else min(2**16, cut.after - passed))
            if not data:
                to.end()
                return b""
            passed += len(data)
            await to.send(data)
    except OSError:
        if source.is_lost:
            await to.flushed()
            to.reset()
        raise
    return b"cut"


async def forward(client: Stream, head: bytes, *, cut: Cut | None = None) -> bytes:
    """
    Pass on requests in absolute form, each to its origin, and what the origins answer.

    Args:
        head: Of the first request.
    Returns:
        The head of a CONNECT that followed; else nothing.
    Raises:
        Refused: An origin isn't on loopback, or can't be dialled.
    """
    while head and not head.startswith(b"CONNECT "):
        target = target_of(head)
        try:
            origin = await dialled(client, target)
        except OSError as error:
            if client.is_lost:
                raise
            raise Refused(502, "Bad Gateway") from error
        head = await relay(client, origin, cut=cut, forth=_requests(client, origin, target, head))
    return head


async def _requests(client: Stream, origin: Stream, target: Target, head: bytes) -> bytes:
    """Pass requests on, as long as they are for *target*; returns the head of the first that isn't, if any comes."""
    try:
        while head:
            try:
                if target_of(head) != target or head.startswith(b"CONNECT "):
                    return head
            except Refused:
                return await _rest(client, origin, head)
            await origin.send(_in_origin_form(head))
            if RAW.search(head) or not await _body(client, origin, head):
                return await _pass(client, origin)
            head = await client.until(b"\r\n\r\n", MAX_HEAD)
            if client.is_lost and not head:
                raise ConnectionResetError
        origin.end()
    except OSError:
        if client.is_lost:
            origin.reset()
        raise
    return b""


async def _rest(client: Stream, origin: Stream, begun: bytes) -> bytes:
    """What can't be told apart is passed on as it is."""
    await origin.send(begun)
    return await _pass(client, origin)


def _in_origin_form(head: bytes) -> bytes:
    """With the path in place of the URL, and without what is for the proxy."""
    first, *lines = head.split(b"\r\n")
    method, _, rest = first.partition(b" ")
    url, _, version = rest.rpartition(b" ")
    path = re.sub(rb"^[^:]*://[^/?#]*", b"", url).partition(b"#")[0]
    path = path if path.startswith(b"/") else b"/" + path
    kept = (line for line in lines if not FOR_THE_PROXY.match(line))
    return b"\r\n".join((b" ".join((method, path, version)), *kept))


async def _body(client: Stream, origin: Stream, head: bytes) -> bool:
    """Pass on a request's body; returns whether it is known where it ends."""
    if CHUNKED.search(head):
        while True:
            line = await client.until(b"\r\n", MAX_HEAD)
            await origin.send(line)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                return False
            if size <= 0:
                break
            await _exactly(client, origin, size + 2)
        while (line := await client.until(b"\r\n", MAX_HEAD)) not in (b"", b"\r\n"):
            await origin.send(line)
        await origin.send(line)
    elif length := LENGTH.search(head):
        await _exactly(client, origin, int(length[1]))
    return True


async def _exactly(client: Stream, origin: Stream, size: int) -> None:
    while size > 0 and (data := await client.receive(min(size, 2**16))):
        size -= len(data)
        await origin.send(data)

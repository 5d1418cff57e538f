"""Requests whose bodies carry tags, closed, shared and cancelled at random: whether a reader gets another's bytes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import ssl
from collections import Counter
from itertools import pairwise

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import trustme

import seawall

PROTOCOLS = ("http11", "tls", "http2")
WORKERS = 40
MAX_CONNECTIONS = 6  # fewer than workers, so that each connection serves many
TIMEOUT = 20.0  # s; a call that takes as long hangs


def body_of(tag: str, repeated: int) -> bytes:
    return tag.encode() * repeated


class HTTP11:
    """Answers ``/tag/repeated/how`` with the tag, repeated that many times, in parts."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, target = head.split()[:2]
                _, tag, repeated, how = target.decode().split("/")
                body = body_of(tag, int(repeated))
                framing = b"Transfer-Encoding: chunked" if how == "chunked" else b"Content-Length: %d" % len(body)
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
                for part in parts_of(body, self._rng) if method != b"HEAD" else ():
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part) if how == "chunked" else part)
                    await writer.drain()
                    for _ in range(self._rng.randrange(4)):
                        await asyncio.sleep(0)
                if how == "chunked" and method != b"HEAD":
                    writer.write(b"0\r\n\r\n")
        writer.close()


class HTTP2(asyncio.Protocol):
    """The same over HTTP/2."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self._left: dict[int, list[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    fields = dict(event.headers)
                    _, tag, repeated, _ = fields[b":path"].decode().split("/")
                    is_head = fields[b":method"] == b"HEAD"
                    with contextlib.suppress(h2.exceptions.ProtocolError):  # it may be reset by now
                        self._h2.send_headers(event.stream_id, [(":status", "200")], end_stream=is_head)
                        if not is_head:
                            self._left[event.stream_id] = list(parts_of(body_of(tag, int(repeated)), self._rng))
                case h2.events.StreamReset():
                    self._left.pop(event.stream_id, None)
        self._send()

    def _send(self) -> None:
        """Send parts of the streams in turn, in random order."""
        numbers = list(self._left)
        self._rng.shuffle(numbers)
        for number in numbers:
            parts = self._left[number]
            room = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
            if parts and not room:
                continue
            with contextlib.suppress(h2.exceptions.ProtocolError):
                if parts:
                    part = parts.pop(0)
                    self._h2.send_data(number, part[:room])
                    parts[:0] = [part[room:]] if part[room:] else []
                if not parts:
                    self._h2.end_stream(number)
            if not parts:
                del self._left[number]
        self._transport.write(self._h2.data_to_send())
        if self._left and not self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._send)


def parts_of(body: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted({0, len(body), *(rng.randrange(len(body) + 1) for _ in range(rng.randrange(4)))})
    return [body[begin:end] for begin, end in pairwise(cuts)]


class Round:
    """
    One run, and its results.

    Attributes:
        seen: How calls ended, and how many parts were read.
        foreign: Parts without their request's tag.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, rng: random.Random) -> None:
        self._client, self._url, self._rng = client, url, rng
        self.seen: Counter[str] = Counter()
        self.foreign: list[tuple[str, bytes]] = []

    async def work(self, tags: list[str]) -> None:
        for tag in tags:
            await self._one(tag)

    async def _one(self, tag: str) -> None:
        rng = self._rng
        url = f"{self._url}/{tag}/{rng.choice((1, 3, 50, 4000))}/{rng.choice(('length', 'chunked'))}"
        call = rng.choice((self._whole, self._whole, self._head, self._cancelled, self._shared, self._left_early))
        try:
            async with asyncio.timeout(TIMEOUT):
                await call(url, tag)
            self.seen[call.__name__.strip("_")] += 1
        except TimeoutError:
            self.seen["hangs"] += 1
        except (httpx.HTTPError, RuntimeError) as error:
            self.seen[type(error).__name__] += 1

    def _look(self, tag: str, part: bytes) -> None:
        self.seen["parts"] += 1
        if part not in tag.encode() * (len(part) // len(tag) + 2):
            self.foreign.append((tag, part[:80]))

    async def _whole(self, url: str, tag: str) -> None:
        response = await self._client.get(url)
        self._look(tag, response.content)
        if response.content != body_of(tag, int(url.split("/")[-2])):
            self.seen["not whole"] += 1

    async def _head(self, url: str, tag: str) -> None:
        await self._client.head(url)

    async def _cancelled(self, url: str, tag: str) -> None:
        task = asyncio.create_task(self._whole(url, tag))
        await self._pause(60)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _left_early(self, url: str, tag: str) -> None:
        async with self._client.stream("GET", url) as response:
            async for part in response.aiter_raw():
                self._look(tag, part)
                if self._rng.random() < 0.3:
                    break

    async def _shared(self, url: str, tag: str) -> None:
        """Read, close and cancel one response in tasks of their own, in random order."""
        response = await self._client.send(self._client.build_request("GET", url), stream=True)
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)

        async def read() -> None:
            async for part in stream:
                self._look(tag, part)
                await self._pause(8)

        async def close() -> None:
            await self._pause(30)
            await response.aclose()

        readers = [asyncio.create_task(read()) for _ in range(self._rng.choice((1, 1, 1, 2)))]
        tasks = [*readers, asyncio.create_task(close())]
        if self._rng.random() < 0.3:
            await self._pause(20)
            readers[0].cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.seen[f"reader: {type(error).__name__}"] += 1
        await response.aclose()

    async def _pause(self, most: int) -> None:
        for _ in range(self._rng.randrange(most)):
            await asyncio.sleep(0)


async def run(protocol: str, requests: int, *, seed: int) -> tuple[Round, seawall.stats.Stats]:
    """
    Make *requests* over one client, with its defaults except for a small cap.

    Returns:
        The run's results, and the client's counters at its end.
    """
    rng = random.Random(seed)
    authority, context = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(context)
    serving: ssl.SSLContext | None = None
    if protocol != "http11":
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(serving)
        serving.set_alpn_protocols(["h2"] if protocol == "http2" else ["http/1.1"])
    if protocol == "http2":
        server: asyncio.Server = await asyncio.get_running_loop().create_server(
            lambda: HTTP2(rng), "127.0.0.1", 0, ssl=serving
        )
    else:
        server = await asyncio.start_server(HTTP11(rng), "127.0.0.1", 0, ssl=serving)
    url = f"{'http' if serving is None else 'https'}://localhost:{server.sockets[0].getsockname()[1]}"
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
    async with seawall.AsyncClient(
        verify=context, http2=protocol == "http2", limits=limits, timeout=TIMEOUT, breaker=None, retry=None
    ) as client:
        found = Round(client, url, rng)
        tags = [f"t{number:06x}." for number in range(requests)]
        await asyncio.gather(*(found.work(tags[begin::WORKERS]) for begin in range(WORKERS)))
        stats = client.stats()
    server.close()
    return found, stats


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks tags", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="of each protocol")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    foreign = 0
    for protocol in options.protocols.split(","):
        found, stats = asyncio.run(run(protocol, options.requests, seed=options.seed))
        foreign += len(found.foreign)
        left = sum(each.in_flight for each in stats.origins.values())
        print(f"{protocol}: {options.requests} requests, foreign parts: {len(found.foreign)}, permits left: {left}")
        for name, count in sorted(found.seen.items()):
            print(f"  {name:24} {count}")
        for tag, part in found.foreign[:5]:
            print(f"  {tag} saw {part!r}")
    return 1 if foreign else 0

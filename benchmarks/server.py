"""
The server of a benchmark: answers every request with 200 and some JSON, as fast as Python can, in a process of its own,
on every address of 127.0.0.0/8. ``python -m benchmarks.server`` prints its port, and ends when its standard input does.

``/stream/N`` answers with N chunks of 64 KiB of zeros; ``/together/N`` answers once N such requests have come to one
address.
"""

from __future__ import annotations

import asyncio
import re
import sys

from .machine import raise_descriptors

BODY = b'{"ok":true,"pad":"' + b"x" * 180 + b'"}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + bytes(0x10000) + b"\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
SPECIAL = re.compile(rb"GET /(stream|together)/(\d+) ")
together: dict[str, list[asyncio.Transport]] = {}  # the connections that wait, by address


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._tail = b""
        self._chunks = 0
        self._address: str = transport.get_extra_info("sockname")[0]
        if not self._address.startswith("127."):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        data, answers = self._tail + data, 0
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            length = LENGTH.search(data, 0, end)
            end += int(length[1]) if length else 0
            if len(data) < end:
                break
            if match := SPECIAL.match(data):
                self._special(match[1], int(match[2]))
            else:
                answers += 1
            data = data[end:]
        self._tail = data
        if answers:
            self._transport.write(ANSWER * answers)

    def _special(self, name: bytes, count: int) -> None:
        if name == b"stream":
            self._chunks = count
            self._transport.write(CHUNKED)
            self._stream()
            return
        waiting = together.setdefault(self._address, [])
        waiting.append(self._transport)
        if len(waiting) == count:
            for transport in together.pop(self._address):
                transport.write(ANSWER)

    def pause_writing(self) -> None:
        self._chunks = -self._chunks

    def resume_writing(self) -> None:
        self._chunks = -self._chunks
        self._stream()

    def _stream(self) -> None:
        """Write the chunks that are left, until the transport pauses."""
        while self._chunks > 0:
            self._chunks -= 1
            self._transport.write(CHUNK if self._chunks else CHUNK + b"0\r\n\r\n")


async def serve() -> None:
    raise_descriptors()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "0.0.0.0", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())

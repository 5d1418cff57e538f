"""An HTTP/2 server's side of a connection, frame by frame: what no step of the fault server does."""

from __future__ import annotations

import asyncio

import hpack
from hyperframe.frame import Frame, HeadersFrame, PingFrame

__all__ = ["Peer"]


class Peer:
    """The server's side of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._encoder = hpack.Encoder()

    async def frame(self) -> Frame:
        """The next one that the client sends."""
        frame, size = Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
        frame.parse_body(memoryview(await self.reader.readexactly(size)))
        return frame

    async def request(self) -> int:
        """The number of the next stream that is begun."""
        while not isinstance(frame := await self.frame(), HeadersFrame):
            pass
        return frame.stream_id

    def head(self, stream: int, *fields: tuple[str, str], status: str = "200", is_end: bool = False) -> HeadersFrame:
        frame = HeadersFrame(stream, self._encoder.encode([(":status", status), *fields]), flags=["END_HEADERS"])
        if is_end:
            frame.flags.add("END_STREAM")
        return frame

    async def is_cut_off(self, *frames: Frame, at_most: int = 10**6) -> bool:
        """Send *frames* again and again, *at_most* so many: whether the client closes the connection meanwhile."""
        data = b"".join(frame.serialize() for frame in frames)
        try:
            for _ in range(0, at_most, len(frames)):
                self.writer.write(data)
                await self.writer.drain()
            await self.is_answered()
        except (OSError, asyncio.IncompleteReadError):
            return True
        return False

    async def is_answered(self) -> None:
        """Wait until the client has seen all that was sent. Raises IncompleteReadError if it closes the connection."""
        self.send(PingFrame(0, opaque_data=b"all seen"))
        while not (isinstance(frame := await self.frame(), PingFrame) and frame.opaque_data == b"all seen"):
            pass

    def send(self, *frames: Frame) -> None:
        self.writer.write(b"".join(frame.serialize() for frame in frames))

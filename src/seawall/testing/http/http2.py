"""
One HTTP/2 connection, the server's side, over the h2 library.

Rules: each stream is answered in a task of its own. Frames that break the protocol are written past h2, because it
refuses them. FIN is a half-close, as over HTTP/1.1, because a client acknowledges what came before it: a socket that is
closed answers that with RST, which may undo it.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .connection import Connection, rst
from .request import Gone, Request
from .secure import Secure

__all__ = ["Chosen", "H2Connection"]

SETTINGS = 0x4  # a frame's type; RFC 9113 section 6.5
Settings = dict[h2.settings.SettingCodes | int, int]


class Chosen(asyncio.Protocol):
    """
    HTTP/2 or HTTP/1.1, as ALPN chose it (RFC 7301).

    Args:
        http2, http1: Make the connection.
    """

    def __init__(self, http2: Callable[[], H2Connection], http1: Callable[[], Connection]) -> None:
        self._http2 = http2
        self._http1 = http1
        self._chosen: asyncio.Future[H2Connection | Connection | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        chosen = self._http2() if tls.selected_alpn_protocol() == "h2" else self._http1()
        for name in ("data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost"):
            setattr(self, name, getattr(chosen, name))
        chosen.connection_made(transport)
        self._chosen.set_result(chosen)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection was lost before the end of the handshake."""
        if not self._chosen.done():
            self._chosen.set_result(None)

    async def run(self) -> None:
        """Run the chosen connection."""
        if (chosen := await self._chosen) is not None:
            await chosen.run()


class H2Connection(asyncio.Protocol):
    """
    Reads requests, and calls *serve* with each as soon as its headers have come.

    Args:
        number: Its number at this server, from 1.
        settings: Override the library's in the first SETTINGS frame; None sends no such frame.
        later: The maximum of concurrent streams from the first request on.
        opens_windows: Whether it sends WINDOW_UPDATE for what it has read.
    """

    protocol = "h2"

    def __init__(
        self,
        number: int,
        serve: Callable[[Request], Awaitable[None]],
        *,
        settings: Settings | None,
        later: int | None = None,
        opens_windows: bool = True,
    ) -> None:
        self.number = number
        self.is_silent = False
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._serve = serve
        self._settings = settings
        self._later = later
        self._opens_windows = opens_windows
        self._transport: asyncio.Transport
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._requests: dict[int, Request] = {}
        self._news = asyncio.Event()
        self._is_paused = False
        self._is_over = False
        self._failure: Exception | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.socket = transport.get_extra_info("socket")
        if self._settings is not None:
            values = {**self.http2.local_settings, **self._settings}
            self.http2.local_settings = h2.settings.Settings(
                client=False, initial_values={h2.settings.SettingCodes(code): value for code, value in values.items()}
            )
        self.http2.initiate_connection()
        # The library would end the connection of a client that opens more streams before it can know the limit.
        self._max_streams = self.http2.local_settings.max_concurrent_streams
        self.http2.local_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 2**31 - 1
        self.http2.local_settings.acknowledge()
        code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
        if self._settings is not None and code in self._settings:
            # The client may use the default window until it has acknowledged ours (RFC 9113 section 6.5.3).
            self.http2.local_settings[code] = 65_535
            self.http2.local_settings.acknowledge()
            self.http2.local_settings[code] = self._settings[code]
        if self._settings is None:
            self.http2.clear_outbound_data_buffer()
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self.is_silent or self._is_over:
            return
        try:
            events = self.http2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self.close()  # after the GOAWAY that the library wants to send
            events = []
        for event in events:
            self._handle(event)
        self.flush()
        self._wake()

    def eof_received(self) -> bool:
        return False  # close

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(None)
        for task in self._tasks.values():
            task.cancel()
        self._wake()

    # The life of a connection

    async def run(self) -> None:
        """Serve all its requests, until one side ends it; the caller closes the transport."""
        try:
            await asyncio.shield(self._lost)
        finally:
            for task in self._tasks.values():
                task.cancel()
            if self._tasks:
                await asyncio.wait(list(self._tasks.values()))
        if self._failure is not None:
            raise self._failure

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event)
        elif isinstance(event, h2.events.DataReceived):
            if event.stream_id in self._requests:
                self._requests[event.stream_id].body += event.data
            if self._opens_windows and event.flow_controlled_length:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self._requests:
            self._requests[event.stream_id].is_complete = True
        elif isinstance(event, h2.events.StreamReset) and event.stream_id in self._tasks:
            self._tasks[event.stream_id].cancel()
            self._requests.pop(event.stream_id, None)  # it no longer counts, although its task has yet to end

    def _begin(self, event: h2.events.RequestReceived) -> None:
        fields = [(_text(name), _text(value)) for name, value in event.headers or []]
        pseudo = dict(fields)
        stream = event.stream_id
        assert stream is not None
        if len(self._requests) >= self._max_streams:
            self.http2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        request = Request(
            self,
            method=pseudo.get(":method", ""),
            target=pseudo.get(":path", ""),
            version="HTTP/2",
            fields=[(name, value) for name, value in fields if not name.startswith(":")],
            connection=self.number,
            number=(stream + 1) // 2,
            stream=stream,
        )
        self._requests[stream] = request
        task = asyncio.get_running_loop().create_task(self._answer(request))
        self._tasks[stream] = task
        if self._later is not None:
            self._max_streams, self._later = self._later, None
            self.flush()
            code = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
            self.frame(SETTINGS, 0, 0, struct.pack(">HI", code, self._max_streams))

    async def _answer(self, request: Request) -> None:
        try:
            await self._serve(request)
            if request.is_answered and not self._lost.done():
                self._end(request)
        except (Gone, h2.exceptions.ProtocolError):
            pass  # the client reset the stream, or closed the connection
        except Exception as failure:  # noqa: BLE001
            self._failure = failure
            self._transport.abort()
        finally:
            self._tasks.pop(request.stream, None)
            self._requests.pop(request.stream, None)

    # What a request calls

    async def read(self, request: Request, limit: int | None = None) -> bool:
        while not request.is_complete and (limit is None or len(request.body) < limit):
            await self._more()
        return request.is_complete

    async def answer(self, request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self._headers(request, status, headers, is_end=not body)
        if body:
            await self.send(request, body)
            self.http2.end_stream(request.stream)
        self.flush()

    def _end(self, request: Request) -> None:
        """End the stream after a body that was sent part by part."""
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it has ended, or was reset
            self.http2.end_stream(request.stream)
        self.flush()

    async def begin(self, request: Request, status: int, headers: list[tuple[str, str]]) -> None:
        self._headers(request, status, headers, is_end=False)
        self.flush()

    async def send(self, request: Request, data: bytes) -> None:
        while data:
            size = min(self.http2.local_flow_control_window(request.stream), self.http2.max_outbound_frame_size)
            if size <= 0 or self._is_paused:
                await self._more()
                continue
            self.http2.send_data(request.stream, data[:size])
            data = data[size:]
            self.flush()

    async def flushed(self) -> None:
        self.flush()
        await asyncio.sleep(0)

    def close(self) -> None:
        self._end_side(self._transport.write_eof)

    def abort(self) -> None:
        self._end_side(self._transport.truncate if isinstance(self._transport, Secure) else self._transport.write_eof)

    def _end_side(self, end: Callable[[], None]) -> None:
        """Send what the library has left, then FIN; from now on, drop what comes."""
        self.flush()
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(OSError):  # the client has reset it
                end()

    def reset(self) -> None:
        rst(self.socket)
        self._transport.abort()

    # What the faults of HTTP/2 call

    def flush(self) -> None:
        """Write what the library wants to send."""
        data = self.http2.data_to_send()
        if data and not (self.is_silent or self._is_over or self._transport.is_closing()):
            self._transport.write(data)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Write a frame past the library, which would refuse it. Source: RFC 9113 section 4.1."""
        if not self._is_over:
            head = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
            self._transport.write(head + payload)

    def _headers(self, request: Request, status: int, headers: list[tuple[str, str]], *, is_end: bool) -> None:
        fields = [(":status", str(status)), *((name.lower(), value) for name, value in headers)]
        self.http2.send_headers(request.stream, fields, end_stream=is_end)

    async def _more(self) -> None:
        if self._lost.done():
            raise Gone
        news = self._news
        await news.wait()
        if self._lost.done():
            raise Gone

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")

"""Drives Chromium over its debugging pipe: no driver, no port, nothing but JSON."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["CHROMIUM", "Tab", "browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 60.0  # s, after which a page never does what a test waits for
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--disable-extensions", "--remote-debugging-pipe", "about:blank",
)  # fmt: skip


class Pipe:
    """Commands to the browser, and its events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    async def read(self) -> None:
        """Until the browser has ended."""
        while text := (await self._reader.readuntil(b"\0"))[:-1]:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            elif (listener := self.listeners.get(message.get("sessionId", ""))) is not None:
                listener(message["method"], message["params"])

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The result of a command. Source: https://chromedevtools.github.io/devtools-protocol/."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params} | (
            {} if session is None else {"sessionId": session}
        )
        self._writer.write(json.dumps(message).encode() + b"\0")
        answered = await answer
        if "error" in answered:
            raise RuntimeError(f"{method}: {answered['error']['message']}")
        return answered["result"]


class Tab:
    """
    One page.

    Attributes:
        complaints: Errors and warnings of its console, exceptions, and what a policy blocked.
    """

    def __init__(self, pipe: Pipe, session: str) -> None:
        self._pipe, self._session = pipe, session
        self.complaints: list[str] = []
        pipe.listeners[session] = self._hear

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"].get("exception", params)))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Audits.issueAdded":
                self.complaints.append(str(params["issue"]))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._pipe.call(method, self._session, **params)

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Log", "Audits"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def ask(self, script: str) -> Any:
        """The value of a JavaScript expression; of a promise, when it is fulfilled."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']['exception'].get('description')}")
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until an expression is true; looked at whenever the page is about to be drawn."""
        look = f"const look = () => ({condition}) ? done() : requestAnimationFrame(look); look()"
        async with asyncio.timeout(PATIENCE):
            await self.ask(f"new Promise((done) => {{ {look} }})")

    async def look(self, *, width: int, height: int, is_dark: bool = False) -> None:
        """Show it on a screen of this size."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """A screenshot as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def browser() -> AsyncIterator[Callable[[], Any]]:
    """A headless Chromium; gives a function that makes a `Tab`."""
    assert CHROMIUM is not None
    loop = asyncio.get_running_loop()
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (theirs_in, theirs_out)]

    def place() -> None:  # in the child: the browser reads 3, and writes 4
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM, f"--user-data-dir={home}", *OPTIONS,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, pass_fds=(3, 4), preexec_fn=place,
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        reader = asyncio.StreamReader(limit=2**26)
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb")
        )
        outgoing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(ours_out, "wb"))
        pipe = Pipe(reader, outgoing)
        reading = asyncio.create_task(pipe.read())

        async def tab() -> Tab:
            target = await pipe.call("Target.createTarget", url="about:blank")
            session = await pipe.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            return Tab(pipe, session["sessionId"])

        try:
            yield tab
        finally:
            reading.cancel()
            outgoing.close()
            incoming.close()
            process.kill()
            await process.wait()

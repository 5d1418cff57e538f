"""
The application behind all rows, on uvicorn with its defaults; run as
``python -m benchmarks.reality.application HOST PORT LOG``.

It imports what it needs, and listens once a line comes on its standard input, so that a row can say when it is back.
It writes a line with each request's call id and method to LOG at once, so that what a kill interrupts has been counted;
after ``?ms=N`` milliseconds it answers with the id.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any
from urllib.parse import parse_qs

import uvicorn

log = -1  # the descriptor of LOG


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    headers = dict(scope["headers"])
    call = headers.get(b"x-call", b"-")
    os.write(log, call + b" " + scope["method"].encode() + b"\n")
    query = parse_qs(scope["query_string"])
    if b"ms" in query:
        await asyncio.sleep(int(query[b"ms"][0]) / 1000)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(call))]})
    await send({"type": "http.response.body", "body": call})


def main(host: str, port: str, path: str) -> None:
    global log
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    config = uvicorn.Config(application, host, int(port), lifespan="off", access_log=False, log_level="error")
    config.load()
    server = uvicorn.Server(config)
    print("ready", flush=True)
    if sys.stdin.readline():
        server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

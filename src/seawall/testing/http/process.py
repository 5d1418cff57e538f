"""
A fault server in a process of its own, so that neither side's work delays the other's.

``python -m seawall.testing.http.process [PORT]`` prints the plain port's URL and ends when its standard input does, so
that it never outlives its parent.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from .fault_server import FaultServer
from .scripts import Received
from .step import BadStep, Step

__all__ = ["FaultProcess"]


class FaultProcess:
    """
    A `FaultServer` in a process of its own.

    ``with FaultProcess() as server``; its scripts take steps and their texts, but not functions.

    Attributes:
        url: The plain port's URL.
        ports: The URLs of the other ports, by name.
    """

    def __init__(self, *, port: int = 0) -> None:
        self._asked = port
        self.url = ""
        self.ports: dict[str, str] = {}

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile() as said:  # not a pipe, because one that nobody reads blocks the server at 64 kB
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                [sys.executable, "-m", __name__, str(self._asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
            assert self._process.stdout is not None
            self.url = self._process.stdout.readline().strip()
            if not self.url:
                self._process.communicate()
                said.seek(0)
                why = said.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise OSError(f"the fault server did not start: {why}")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            self._process.communicate("", timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def script(self, key: str, *steps: Step | str) -> str:
        """See `FaultServer.script`."""
        self._ask("/ctl/script", {"key": key}, ",".join(map(str, steps)))
        return f"{self.url}/x?key={quote(key)}"

    def route(self, path: str, *steps: Step | str, method: str | None = None) -> str:
        """See `FaultServer.route`; returns the key of its `attempts`."""
        query = {"path": path} | ({} if method is None else {"method": method})
        return str(self._ask("/ctl/route", query, ",".join(map(str, steps)))["key"])

    def attempts(self, key: str) -> list[Received]:
        """See `FaultServer.attempts`."""
        found = self._ask("/ctl/stats", {"key": key})
        return [Received(**each | {"headers": [(name, value) for name, value in each["headers"]]}) for each in found]

    def listen(self, *steps: Step | str, port: int = 0, name: str = "") -> str:
        """See `FaultServer.listen`; returns the port's URL."""
        made = self._ask("/ctl/listen", {"port": str(port), "name": name}, ",".join(map(str, steps or ("serve",))))
        self.ports[made["name"]] = made["url"]
        return str(made["url"])

    def conns(self) -> dict[str, dict[str, Any]]:
        """The connections of each port: open, peak and all."""
        found: dict[str, dict[str, Any]] = self._ask("/ctl/conns", {})
        return found

    def heal(self, name: str) -> None:
        """See `FaultServer.heal`."""
        self._ask("/ctl/heal", {"port": name})

    def drop_connections(self, name: str = "http") -> None:
        """See `FaultServer.drop_connections`."""
        self._ask("/ctl/drop", {"port": name})

    def reset(self) -> None:
        """See `FaultServer.reset`."""
        self._ask("/ctl/reset", {})

    def ca(self) -> str:
        """The certificate of the authority that issued the good certificates, in PEM."""
        return self._text("/ctl/ca.pem", {}, "")

    def _ask(self, path: str, query: dict[str, str], body: str = "") -> Any:
        return json.loads(self._text(path, query, body))

    def _text(self, path: str, query: dict[str, str], body: str) -> str:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            connection.request("POST", f"{path}?{urlencode(query)}", body.encode(), {"connection": "close"})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise BadStep(text.strip())
        return text


async def _main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    async with FaultServer(port=port, assert_all_called=False) as server:
        gc.freeze()  # because a collection that walks over all imported objects takes 50 ms, and delays every answer
        print(server.url, flush=True)  # noqa: T201
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # Windows' default one can't watch sockets
        runner.run(_main())

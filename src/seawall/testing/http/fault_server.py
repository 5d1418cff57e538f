"""
A server that fails on request, in all the ways in which servers fail.

Rules: the path of a request says what happens to it, ``/x/503:1,reset:headers,ok?key=K``, or the script for its key
does, set in Python. What happens to a connection before its first request is the script of a port of its own. The
server listens on loopback by default.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ..service import Service
from ..steps import STEPS
from . import control
from .port import Incoming, Port
from .request import Request
from .scripts import Received, Scripts, StepLike
from .step import BadStep, Step
from .turn import Turn

if TYPE_CHECKING:  # it needs the extra "testing"
    from .certificates import Certificates

__all__ = ["FaultServer", "UnusedScript"]


class UnusedScript(AssertionError):
    """A script was set for a key, and no request came with that key."""


class FaultServer(Service):
    """
    A server of all faults.

    ``async with FaultServer() as server`` runs it in the running loop, ``with`` in a thread of its own::

        url = server.script("order", status(503, retry_after=1), reset("headers"), ok())
        ...  # any client, any language
        assert [each.step for each in server.attempts("order")] == ["503:1", "reset:headers", "ok"]

    Args:
        port: The number of the plain port; 0 takes any free one.
        host: The address of all ports. Only loopback is safe, because a client that reaches this server can exhaust
            the machine.
        names: Names for which its good certificates are valid, besides localhost and loopback's addresses.
        seed: For random steps.
        assert_all_called: Whether the end of a block raises `UnusedScript` for a script that no request used; a block
            that raised is not checked.
        on_attempt: Called with each `Received`, once its step is done.
        wall: Returns the seconds since 1970, for dates.
    Attributes:
        ports: By name; "http" exists from the beginning.
        scripts: By key, with the requests that came.
        controls: Further paths of ``/ctl``, each with a function of query and body, whose result is sent as JSON.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Iterable[str] = (),
        seed: int = 0,
        assert_all_called: bool = True,
        on_attempt: Callable[[Received], None] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.ports: dict[str, Port] = {}
        self.controls: dict[str, control.Control] = {}
        self.on_attempt = on_attempt
        self._asked = port
        self._names = tuple(names)
        self._rng = Random(seed)
        self._wall = wall
        self._assert_all_called = assert_all_called
        self.scripts = Scripts(STEPS)
        self._certificates: Certificates | None = None
        self._lock = threading.Lock()
        self._connections = 0

    # What a test calls

    @property
    def port(self) -> int:
        """The plain port's number."""
        return self._main.port

    @property
    def url(self) -> str:
        """The plain port's URL, with its address."""
        return self._main.url

    def script(self, key: str, *steps: StepLike) -> str:
        """
        Set a script: the n-th request with *key* gets the n-th step, and the last one repeats.

        Args:
            steps: Steps, their texts, or async functions of a `Request`.
        Returns:
            The URL to request, on the plain port. For another port, use its ``url`` with the same path and query.
        Raises:
            BadStep: No step is given, or one is not valid.
        """
        self._run(lambda: self.scripts.set(key, steps))
        return f"{self.url}/x?key={quote(key)}"

    def attempts(self, key: str) -> list[Received]:
        """The requests that came with *key*, in order."""
        return self._look(lambda: self.scripts.attempts(key))

    def listen(self, *steps: StepLike, port: int = 0, name: str = "") -> Port:
        """
        Open a port whose n-th connection gets the n-th step, such as ``accept_reset()`` or ``tls("expired")``.

        Args:
            name: Its key in `ports`; by default the text of its first step, with #2 for a second such port.
        Raises:
            BadStep: A step is not for connections, or one that applies to the whole port isn't the only one.
            OSError: The port is in use.
        """
        return self._run(lambda: self._listen(steps, port, name))

    def heal(self, name: str) -> None:
        """Make a port good that refuses or swallows connections; it serves the ones that it swallowed."""
        self._run(self._port(name).listen)

    def drop_connections(self, name: str = "http") -> None:
        """Send RST on all open connections of a port."""
        self._run(self._port(name).drop_connections)

    def reset(self) -> None:
        """Forget scripts, records and counts; ports stay."""
        self._run(self._reset)

    @property
    def certificates(self) -> Certificates:
        """The authority that issued this server's good certificates."""
        with self._lock:  # both the server's thread and the test's may come here
            if self._certificates is None:
                try:
                    from .certificates import Certificates
                except ModuleNotFoundError as error:
                    raise ImportError(f"certificates need {error.name}: pip install 'seawall[testing]'") from error
                self._certificates = Certificates(self._names)
            return self._certificates

    def client_context(self) -> ssl.SSLContext:
        """A context for a client's ``verify=``, which trusts this server's good certificates."""
        return self.certificates.client_context()

    def stats(self) -> dict[str, object]:
        """Ports with their connections, and the number of requests by key, as in ``/ctl/stats``."""
        return self._look(lambda: control.stats(self))

    # The life of a request

    async def _serve(self, request: Request, port: str) -> None:
        try:
            try:
                url = urlsplit(request.target)
            except ValueError as error:
                raise BadStep(f"{request.target!r} is not a path: {error}") from error
            if url.path == "/x" or url.path.startswith("/x/"):
                await self._perform(request, port, url.path[3:], parse_qs(url.query).get("key", [""])[0])
            else:
                await control.answer(self, request, url)
        except BadStep as error:
            await request.reply(400, f"{error}\n".encode(), {"content-type": "text/plain"})

    async def _perform(self, request: Request, port: str, path: str, key: str) -> None:
        key = key or unquote(path)
        step, number, memory = self.scripts.take(key, path)
        received = Received(
            key=key,
            number=number,
            step=str(step),
            port=port,
            connection=request.connection,
            request=request.number,
            method=request.method,
            target=request.target,
            headers=request.fields,
            at=asyncio.get_running_loop().time(),
        )
        self.scripts.record(received)
        if not step.runs_over(request.wire.protocol):
            raise BadStep(f"{step} doesn't exist for {request.wire.protocol}")
        received.note_body(request)
        request.on_read = received.note_body
        turn = Turn(request, key, number, step, self.url, self._rng, self._wall(), memory)
        try:
            if step.reads_body:
                await request.read()
            await _parts(turn)
        finally:
            if self.on_attempt is not None:
                self.on_attempt(received)

    # Ports

    async def _open(self) -> None:
        self.ports.clear()
        self._listen(("serve",), self._asked, "http")

    async def _close(self) -> None:
        for port in self.ports.values():
            await port.aclose()

    def _check(self) -> None:
        for port in self.ports.values():
            for failure in port.failures:
                raise failure
        unused = self.scripts.unused()
        if self._assert_all_called and unused:
            raise UnusedScript(f"scripts were set, but no request came with these keys: {', '.join(map(repr, unused))}")

    def _listen(self, steps: tuple[StepLike, ...], number: int, name: str) -> Port:
        script = tuple(each for step in steps or ("serve",) for each in self.scripts.steps(step, level="connection"))
        if not name:
            name = str(script[0])
            same = sum(each.partition("#")[0] == name for each in self.ports)
            name += f"#{same + 1}" if same else ""
        if name in self.ports:
            raise ValueError(f"a port {name!r} exists already; give this one another name=")
        whole = {str(step) for step in script} & {"refuse", "blackhole"}
        if whole and len(script) > 1:
            raise BadStep(f"{whole.pop()} applies to the whole port, so it must be the only step")
        port = Port(
            name,
            (_healed,) if whole else tuple(_meeting(step) for step in script),
            lambda request: self._serve(request, name),
            host=self.host,
            port=number,
            is_secure=any(map(_is_secure, script)),
            count=self._count,
            certificates=lambda: self.certificates,
        )
        self.ports[name] = port
        if not whole:
            port.listen()
        elif whole == {"blackhole"}:
            port.swallow()
        return port

    def _reset(self) -> None:
        self.scripts.reset()
        for port in self.ports.values():
            port.peak, port.connections = port.open, 0

    def _count(self) -> int:
        self._connections += 1
        return self._connections

    def _port(self, name: str) -> Port:
        if name not in self.ports:
            raise ValueError(f"no port {name!r}; the ports are {', '.join(self.ports)}")
        return self.ports[name]

    @property
    def _main(self) -> Port:
        if "http" not in self.ports:
            raise RuntimeError("FaultServer is not running: enter it with `async with` or `with`")
        return self.ports["http"]


async def _parts(turn: Turn) -> None:
    """Do part after part, and send a good answer if none of them answered."""
    for kind, values in turn.step.parts:
        outcome = await kind.run(turn, *values)
        if outcome is None:
            return
        if not outcome:
            break
    await turn.reply()


def _meeting(step: Step) -> Callable[[Incoming], Awaitable[Any]]:
    ((kind, values),) = step.parts
    return lambda incoming: kind.run(incoming, *values)


async def _healed(incoming: Incoming) -> None:
    await incoming.serve()


def _is_secure(step: Step) -> bool:
    """Whether clients must speak TLS to it."""
    ((kind, values),) = step.parts
    return kind.name.startswith("tls") or (kind.name.startswith("h2") and "clear" not in values)

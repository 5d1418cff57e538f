"""
A server that does on demand what servers do to clients.

Rules: what happens to a request stands in its path, ``/x/503:1,reset:headers,ok?key=K``, or in a script of that key,
set in Python. What happens to a connection before it can bear a request is the script of a port of its own. Everything
is on loopback unless it is told otherwise.
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
    """A script was set for a key that no request came with."""


class FaultServer(Service):
    """
    A server of all faults.

    ``async with FaultServer() as server`` runs it in the loop that is there, ``with`` in a thread of its own::

        url = server.script("order", status(503, retry_after=1), reset("headers"), ok())
        ...  # any client, any language
        assert [each.step for each in server.attempts("order")] == ["503:1", "reset:headers", "ok"]

    Args:
        port: Of the plain port; 0: any free one.
        host: Of all ports. Only loopback is safe: whoever reaches this server can use up its machine.
        names: For which its good certificates are valid, beside localhost and loopback's addresses.
        seed: For steps left to chance.
        assert_all_called: At the end of a block that went well, a script that nothing asked for is an `UnusedScript`.
        on_attempt: Called with each `Received`, once its step is done.
        wall: Seconds since 1970, for dates.
    Attributes:
        ports: By name; "http" is there from the beginning.
        scripts: By key, with what was received.
        controls: More of ``/ctl``: by path, a function of the query and the body, whose result is sent as JSON.
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

    # What a test asks

    @property
    def port(self) -> int:
        """The plain port's number."""
        return self._main.port

    @property
    def url(self) -> str:
        """The plain port's, by address."""
        return self._main.url

    def script(self, key: str, *steps: StepLike) -> str:
        """
        The n-th request with *key* gets the n-th step, the last one repeats.

        Args:
            steps: Steps, their texts, or async functions of a `Request`.
        Returns:
            The URL to ask, on the plain port; on another: its ``url`` with the same path and query.
        Raises:
            BadStep: There is none, or one can't be.
        """
        self._run(lambda: self.scripts.set(key, steps))
        return f"{self.url}/x?key={quote(key)}"

    def attempts(self, key: str) -> list[Received]:
        """The requests that came with *key*, in order."""
        return self._look(lambda: self.scripts.attempts(key))

    def listen(self, *steps: StepLike, port: int = 0, name: str = "") -> Port:
        """
        One port more, whose n-th connection gets the n-th step, such as ``accept_reset()`` or ``tls("expired")``.

        Args:
            name: By which `ports` has it; default: its first step's text (a second one: with #2).
        Raises:
            BadStep: A step is not for connections; or one that is of a port as a whole isn't the only one.
            OSError: The port is in use.
        """
        return self._run(lambda: self._listen(steps, port, name))

    def heal(self, name: str) -> None:
        """A port that refuses or swallows connections becomes a good one; what it swallowed is served."""
        self._run(self._port(name).listen)

    def drop_connections(self, name: str = "http") -> None:
        """RST for all connections of a port that are open."""
        self._run(self._port(name).drop_connections)

    def reset(self) -> None:
        """Forget scripts, records and counts; ports stay."""
        self._run(self._reset)

    @property
    def certificates(self) -> Certificates:
        """The authority that issued this server's good certificates."""
        with self._lock:  # the server's thread asks for it, and the test's
            if self._certificates is None:
                try:
                    from .certificates import Certificates
                except ModuleNotFoundError as error:
                    raise ImportError(f"certificates need {error.name}: pip install 'seawall[testing]'") from error
                self._certificates = Certificates(self._names)
            return self._certificates

    def client_context(self) -> ssl.SSLContext:
        """For a client's ``verify=``: it trusts this server's good certificates."""
        return self.certificates.client_context()

    def stats(self) -> dict[str, object]:
        """Ports with their connections, and requests by key; the same as ``/ctl/stats``."""
        return self._look(lambda: control.stats(self))

    # The way of a request

    async def _serve(self, request: Request, port: str) -> None:
        try:
            try:
                url = urlsplit(request.target)
            except ValueError as error:
                raise BadStep(f"{request.target!r} is no path: {error}") from error
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
            raise BadStep(f"{step} can't be had over {request.wire.protocol}")
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
            raise UnusedScript(
                f"a script was set for {', '.join(map(repr, unused))}, but no request came with that key"
            )

    def _listen(self, steps: tuple[StepLike, ...], number: int, name: str) -> Port:
        script = tuple(each for step in steps or ("serve",) for each in self.scripts.steps(step, level="connection"))
        if not name:
            name = str(script[0])
            same = sum(each.partition("#")[0] == name for each in self.ports)
            name += f"#{same + 1}" if same else ""
        if name in self.ports:
            raise ValueError(f"there is a port {name!r} already; give this one another name=")
        whole = {str(step) for step in script} & {"refuse", "blackhole"}
        if whole and len(script) > 1:
            raise BadStep(f"{whole.pop()} is of a port as a whole: it must be its only step")
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
            raise ValueError(f"no port {name!r}; there are {', '.join(self.ports)}")
        return self.ports[name]

    @property
    def _main(self) -> Port:
        if "http" not in self.ports:
            raise RuntimeError("FaultServer is not running: enter it with `async with` or `with`")
        return self.ports["http"]


async def _parts(turn: Turn) -> None:
    """Part after part; a good answer where none of them answered."""
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
    """Whether clients are to speak TLS to it."""
    ((kind, values),) = step.parts
    return kind.name.startswith("tls") or (kind.name.startswith("h2") and "clear" not in values)

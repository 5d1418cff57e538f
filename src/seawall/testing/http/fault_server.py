"""
A server that fails on request, in all the ways in which servers fail.

Rules: the path of a request says what happens to it, ``/x/503:1,reset:headers,ok?key=K``, or a script does that a test
has set in Python, for a key or for a path of the test's own. What happens to a connection before its first request is
the script of a port of its own. The server listens on loopback unless *host* names another address.
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
from .routes import Route, Routes
from .scripts import Received, Scripts, StepLike
from .step import BadStep, Step
from .turn import Turn

if TYPE_CHECKING:  # it needs the extra "testing"
    from .certificates import Certificates

__all__ = ["FaultServer", "UnusedScript"]


class UnusedScript(AssertionError):
    """A script was set for a key or a route, and no request came with that key, or to that route."""


class FaultServer(Service):
    """
    A server of all faults.

    ``async with FaultServer() as server`` runs it in the running loop, ``with`` in a thread of its own::

        url = server.script("order", status(503, retry_after=1), reset("headers"), ok())
        ...  # any client, any language
        assert [each.step for each in server.attempts("order")] == ["503:1", "reset:headers", "ok"]

    A client that builds its URLs from a base URL gets `url`, and its paths get scripts::

        orders = server.route("/orders/{id}", "503:1", json({"id": 7}))
        ...
        assert orders.calls[0].request.params == {"id": "7"}

    Args:
        port: The number of the plain port; 0 takes any free one.
        host: The IP address of all ports. Only loopback is safe, because a client that reaches this server can exhaust
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
        routes: All routes.
        controls: Further paths of ``/ctl``, each with a function of query and body, which a POST calls; its result is
            sent as JSON.
        reports: Further paths of ``/ctl`` that change nothing, each with a function of the query, whose result is sent
            as JSON.
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
        if isinstance(names, str):
            raise TypeError(f"names must be several, as [{names!r}], not {names!r}")
        self.host = host
        self.ports: dict[str, Port] = {}
        self.controls: dict[str, control.Control] = {}
        self.reports: dict[str, control.Report] = {}
        self.on_attempt = on_attempt
        self._asked = port
        self._names = tuple(names)
        self._rng = Random(seed)
        self._wall = wall
        self._assert_all_called = assert_all_called
        self.scripts = Scripts(STEPS)
        self.routes = Routes(self._look)
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
        """The plain port's URL, with its address: the base URL for clients whose paths have routes."""
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

    def route(self, path: str, *steps: StepLike, method: str | None = None) -> Route:
        """
        Set a script for a path: the n-th request to it gets the n-th step, and the last one repeats.

        It holds on all ports, for `url` and for the URL of a port that `listen` has opened.

        Args:
            path: Such as ``/orders/{id}``; a parameter in braces stands for text without a slash.
            steps: Steps, their texts, or async functions of a `Request`, such as ``"503:1"`` and ``json({"id": 7})``.
            method: The only method that it takes; None takes all. A request for a path whose routes have other
                methods gets 405.
        Returns:
            What came to it: `Route.calls`, `Route.assert_called_once`.
        Raises:
            BadStep: No step is given, or one is not valid.
            ValueError: *path* or *method* isn't one, or the path is the server's own: ``/x`` or ``/ctl``.
        """
        return self._run(lambda: self._route(path, steps, method))

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
        """Forget scripts, routes, records and counts; ports stay."""
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
                path, key = url.path[3:], parse_qs(url.query).get("key", [""])[0]
                await self._perform(request, port, path, key or unquote(path))
            elif (route := self.routes.find(request)) is not None:
                await self._perform(request, port, "", route.key, route)
            else:
                await control.answer(self, request, url)
        except BadStep as error:
            await request.reply(400, f"{error}\n".encode(), {"content-type": "text/plain"})

    async def _perform(self, request: Request, port: str, path: str, key: str, route: Route | None = None) -> None:
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
        if route is not None:
            route.record(request, received)
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

    def _route(self, path: str, steps: tuple[StepLike, ...], method: str | None) -> Route:
        route = self.routes.make(path, method)
        self.scripts.set(route.key, steps)
        self.routes.add(route)
        return route

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
            strays = "".join(f"; without a route: {each}" for each in self.routes.strays)
            keys = ", ".join(map(repr, unused))
            raise UnusedScript(f"scripts were set, but no request came with these keys: {keys}{strays}")

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
            scheme=next((scheme for scheme in map(_scheme, script) if scheme != "http"), "http"),
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
        self.routes.reset()
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


def _scheme(step: Step) -> str:
    """What clients must speak to it."""
    ((kind, values),) = step.parts
    if kind.name.startswith("tls") or (kind.name.startswith("h2") and "clear" not in values):
        return "https"
    return "socks5" if kind.name == "socks5" else "http"

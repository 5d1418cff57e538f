"""
``/ctl``: the commands of a fault server, for tests in other languages than Python.

Rule: only a POST changes something, and none that has an Origin, because any web page can make a browser send a GET or
a POST to loopback without asking.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol
from urllib.parse import SplitResult, parse_qs

from .certificates import Certificates
from .port import Port
from .request import Request
from .routes import Route, Routes
from .scripts import Scripts
from .step import BadStep

__all__ = ["Control", "Report", "answer", "stats"]

Control = Callable[[dict[str, str], str], object]
"""What a path does with the query and the body of a POST; its result is sent as JSON."""
Report = Callable[[dict[str, str]], object]
"""What a path tells, by the query of a request; sent as JSON."""


class Controlled(Protocol):
    """What is controlled; `FaultServer` is one."""

    controls: dict[str, Control]
    reports: dict[str, Report]
    ports: dict[str, Port]
    routes: Routes
    scripts: Scripts

    @property
    def certificates(self) -> Certificates: ...
    def route(self, path: str, *steps: str, method: str | None = None) -> Route: ...
    def listen(self, *steps: str, port: int = 0, name: str = "") -> Port: ...
    def heal(self, name: str) -> None: ...
    def drop_connections(self, name: str = "http") -> None: ...
    def reset(self) -> None: ...


HELP = """\
seawall fault server

  /x/STEP,STEP,...?key=K        the n-th request with key K gets the n-th step; the last one repeats
  /x?key=K                      the same, with the steps of the script that was set for K
  /ctl/stats[?key=K]            show ports, and the number of requests by key; with a key, its attempts
  /ctl/conns                    show the connections of each port: open, peak, all
  /ctl/ca.pem                   show the CA certificate that signs the good certificates
  /ctl/steps                    list all steps

Only POST changes something:

  /ctl/script?key=K             POST steps: set a script for K
  /ctl/route?path=P[&method=M]  POST steps: set a script for the path P, such as /orders/{id}; its key is "M P" or "P"
  /ctl/listen?name=N            POST steps: open a port whose n-th connection gets the n-th step
  /ctl/heal?port=N              make a port good that refuses or swallows connections
  /ctl/drop?port=N              send RST on the port's open connections
  /ctl/reset                    forget scripts, routes, records and counts
"""  # the paths of `FaultServer.controls` follow


def stats(server: Controlled) -> dict[str, object]:
    """Ports with their connections, and requests by key."""
    return {"ports": conns(server), "keys": server.scripts.counts()}


def conns(server: Controlled) -> dict[str, dict[str, object]]:
    """The connections of each port."""
    names = ("port", "url", "open", "peak", "connections")
    return {port.name: {name: getattr(port, name) for name in names} for port in server.ports.values()}


async def answer(server: Controlled, request: Request, url: SplitResult) -> None:
    """Answer one request of ``/ctl``, or send the page that explains them all."""
    body = (await request.read()).decode("utf-8", "replace")
    asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
    pages, reports, controls = _pages(server), _reports(server), _controls(server)
    kind, methods = "text/plain; charset=utf-8", server.routes.methods(request)
    try:
        if url.path in controls and request.method == "POST" and "origin" in request.headers:
            code, text = (
                403,
                f"{url.path} isn't for web pages, and this request has an Origin\n",
            )
        elif url.path in controls and request.method == "POST":
            result = controls[url.path](asked, body)
            code, kind, text = 200, "application/json", json.dumps({"done": True} if result is None else result)
        elif url.path in reports and request.method in ("GET", "HEAD", "POST"):
            code, kind, text = 200, "application/json", json.dumps(reports[url.path](asked))
        elif url.path in controls or url.path in reports:
            methods = ["GET", "HEAD", "POST"] if url.path in reports else ["POST"]
            code, text = 405, f"{url.path} takes {' and '.join(methods)} only\n"
        elif methods:
            code, text = 405, f"the routes of {request.path} take {' and '.join(methods)} only\n"
        elif url.path in pages:
            code, text = 200, pages[url.path]()
        else:
            code, text = 404, _routes(server, request) + HELP
    except BadStep:
        raise
    except ImportError as error:
        code, text = 501, f"{error}\n"
    except (TypeError, ValueError, OSError) as error:
        code, text = 400, f"{error}\n"
    allowed = {"allow": ", ".join(methods)} if code == 405 else {}
    await request.reply(code, text.encode(), {"content-type": kind} | allowed)


def _routes(server: Controlled, request: Request) -> str:
    """What a client hears whose path has no route, where other paths have one."""
    keys = ", ".join(route.key for route in server.routes)
    return f"no route for {request.method} {request.path}; the routes are {keys}\n\n" if keys else ""


def _pages(server: Controlled) -> dict[str, Callable[[], str]]:
    """The paths that are answered with text."""
    return {
        "/": lambda: HELP + "".join(f"  {path}\n" for path in server.controls),
        "/ctl/ca.pem": lambda: server.certificates.pem(),
        "/ctl/steps": _steps,
    }


def _reports(server: Controlled) -> dict[str, Report]:
    """The paths that tell something."""
    return server.reports | {
        "/ctl/stats": lambda asked: _attempts(server, asked["key"]) if "key" in asked else stats(server),
        "/ctl/conns": lambda _: conns(server),
    }


def _controls(server: Controlled) -> dict[str, Control]:
    """The paths that change something: they tell their result, or that it is done where there is none."""
    return server.controls | {
        "/ctl/script": lambda asked, body: server.scripts.set(_needed(asked, "key", "/ctl/script"), [body]),
        "/ctl/route": lambda asked, body: _route(server, asked, body),
        "/ctl/listen": lambda asked, body: _listen(server, asked, body),
        "/ctl/heal": lambda asked, _: server.heal(_needed(asked, "port", "/ctl/heal")),
        "/ctl/drop": lambda asked, _: server.drop_connections(_needed(asked, "port", "/ctl/drop")),
        "/ctl/reset": lambda asked, _: server.reset(),
    }


def _steps() -> str:
    from ..steps import STEPS

    return "".join(f"{kind.form:32} {kind.level:10} {kind.does}\n" for kind in STEPS)


def _attempts(server: Controlled, key: str) -> list[dict[str, object]]:
    return [asdict(received) for received in server.scripts.attempts(key)]


def _route(server: Controlled, asked: dict[str, str], body: str) -> dict[str, object]:
    made = server.route(_needed(asked, "path", "/ctl/route"), body, method=asked.get("method"))
    return {"key": made.key}


def _listen(server: Controlled, asked: dict[str, str], body: str) -> dict[str, object]:
    port = asked.get("port", "0")
    if not (port.isascii() and port.isdecimal()):
        raise ValueError(f"port must be a whole number from 0 to 65535, not {port!r}")
    made = server.listen(body, port=int(port), name=asked.get("name", ""))
    return {"name": made.name, "port": made.port, "url": made.url}


def _needed(asked: dict[str, str], name: str, path: str) -> str:
    if not asked.get(name):
        raise ValueError(f"{path} needs ?{name}=")
    return asked[name]

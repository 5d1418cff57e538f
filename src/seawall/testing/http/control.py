"""``/ctl``: what Python can ask of a fault server, for every other language."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs

from .request import Request
from .step import BadStep

if TYPE_CHECKING:
    from .fault_server import FaultServer

__all__ = ["answer", "stats"]

HELP = """\
seawall fault server

  /x/STEP,STEP,...?key=K    the n-th request with key K gets the n-th step, the last one repeats
  /x?key=K                  by the script that was set for K
  /ctl/stats[?key=K]        ports, and requests by key; with a key, its attempts
  /ctl/conns                connections of each port: open, peak, all
  /ctl/script?key=K         POST steps: a script for K
  /ctl/listen?name=N        POST steps: one port more, whose n-th connection gets the n-th step
  /ctl/heal?port=N          a port that refuses or swallows connections becomes a good one
  /ctl/drop?port=N          RST for its open connections
  /ctl/reset                forget scripts, records and counts
  /ctl/ca.pem               the authority of the good certificates
  /ctl/steps                all steps
"""  # and what `FaultServer.controls` adds


def stats(server: FaultServer) -> dict[str, object]:
    """Ports with their connections, and requests by key."""
    return {"ports": conns(server), "keys": server.scripts.counts()}


def conns(server: FaultServer) -> dict[str, dict[str, object]]:
    """Connections of each port."""
    names = ("port", "url", "open", "peak", "connections")
    return {port.name: {name: getattr(port, name) for name in names} for port in server.ports.values()}


async def answer(server: FaultServer, request: Request, url: SplitResult) -> None:
    """One request of ``/ctl``, or the page that explains it all."""
    body = (await request.read()).decode("utf-8", "replace")
    asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
    text: str | None = None
    data: object = {"done": True}
    code = 200
    try:
        match url.path:
            case "/":
                text = HELP + "".join(f"  {path}\n" for path in server.controls)
            case "/ctl/stats" if "key" in asked:
                data = [asdict(received) for received in server.scripts.attempts(asked["key"])]
            case "/ctl/stats":
                data = stats(server)
            case "/ctl/conns":
                data = conns(server)
            case "/ctl/script":
                server.scripts.set(_needed(asked, "key", url), [body])
            case "/ctl/listen":
                made = server.listen(body, port=int(asked.get("port", 0)), name=asked.get("name", ""))
                data = {"name": made.name, "port": made.port, "url": made.url}
            case "/ctl/heal":
                server.heal(_needed(asked, "port", url))
            case "/ctl/drop":
                server.drop_connections(_needed(asked, "port", url))
            case "/ctl/reset":
                server.reset()
            case "/ctl/ca.pem":
                text = server.certificates.pem()
            case "/ctl/steps":
                from ..steps import STEPS

                text = "".join(f"{kind.form:32} {kind.level:10} {kind.does}\n" for kind in STEPS)
            case path if path in server.controls:
                data = server.controls[path](asked, body)
            case _:
                code, text = 404, HELP
    except BadStep:
        raise
    except ImportError as error:
        code, text = 501, f"{error}\n"
    except (TypeError, ValueError, OSError) as error:
        code, text = 400, f"{error}\n"
    kind = "application/json" if text is None else "text/plain; charset=utf-8"
    await request.reply(code, (json.dumps(data) if text is None else text).encode(), {"content-type": kind})


def _needed(asked: dict[str, str], name: str, url: SplitResult) -> str:
    if not asked.get(name):
        raise ValueError(f"{url.path} needs ?{name}=")
    return asked[name]

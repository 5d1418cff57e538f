"""
Inside the namespaces: ``python -m benchmarks.names.inside`` reads pickled machines from standard input, and answers
with what glibc and seawall make of each name.

Each lookup runs in a process that was forked from one that never looked anything up, because glibc keeps what it read.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import seawall
import seawall.dns.cares  # by this process, not by each that it forks
from seawall.origin import Origin

from ..namespace import raise_loopback
from . import server
from .machine import Machine
from .outcome import Outcome, What
from .pipe import receive, send

ETC = Path("/etc")
KEPT = ("group", "ld.so.cache", "localtime", "passwd", "protocols", "services")  # files that processes need
PORT = 80
TIMEOUT = 30.0  # s; a process that takes longer hangs
DNS = seawall.DNS(timeout=10.0)  # a machine with a silent server is compared too, so seawall must not give up first


def expected(machine: Machine) -> dict[str, Outcome]:
    """glibc's outcome, for the arguments that httpx passes: lower case, a bytes object, both families."""
    try:
        found = socket.getaddrinfo(machine.name.lower().encode(), PORT, family=0, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        kinds: dict[int | None, What] = {socket.EAI_NONAME: "NameNotFound", socket.EAI_NODATA: "NoAddress"}
        return {"glibc": Outcome(kinds.get(error.errno, "failure"), text=f"{error.strerror} ({error.errno})")}
    except OSError as error:  # EAI_SYSTEM
        return {"glibc": Outcome("failure", text=f"EAI_SYSTEM: {error}")}
    return {"glibc": Outcome.found(_scoped(*sockaddr) for *_, sockaddr in found)}


def got(machine: Machine, resolvers: tuple[str, ...]) -> dict[str, Outcome]:
    """The outcome of seawall's client with each resolver."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def outcome(resolver: str) -> Outcome:
        kind: Any = None if resolver == "default" else resolver
        client = seawall.AsyncClient(resolver=kind, dns=DNS, verify=context)
        try:
            return Outcome.found(await resolved(client, machine.name))
        except seawall.errors.NameNotFound as error:
            return Outcome("NameNotFound", text=str(error))
        except seawall.errors.NoAddress as error:
            return Outcome("NoAddress", text=str(error))
        except (seawall.errors.ResolverFailure, seawall.errors.ResolveTimeout) as error:
            return Outcome("failure", text=str(error))
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            return Outcome("broken", text=repr(error))

    async def outcomes() -> dict[str, Outcome]:
        found = await asyncio.gather(*map(outcome, resolvers))
        return dict(zip(resolvers, found, strict=True))

    return asyncio.run(outcomes())


async def resolved(client: seawall.AsyncClient, name: str) -> set[str]:
    """Every address that a client would dial for *name*: at first, the late ones, and once it is cached."""
    names, origin = client.engine.wire.names, Origin("http", name, PORT)
    found = set((await names.resolve(origin)).addresses)
    while (late := names.late(origin)) is not None:
        found |= set(await late())
        await asyncio.sleep(0)  # for what notes that a lookup ended
    found |= set((await names.resolve(origin)).addresses)
    sockaddrs = [socket.getaddrinfo(each.ip, PORT, flags=socket.AI_NUMERICHOST)[0][4] for each in found]
    return {_scoped(*sockaddr) for sockaddr in sockaddrs}


def _scoped(ip: str, _port: int, _flow: int = 0, scope: int = 0) -> str:
    return f"{ip}%{scope}" if scope else ip


def main(resolvers: tuple[str, ...]) -> None:
    raise_loopback()
    _replace_etc()
    ours, theirs = Pipe()
    if not os.fork():
        ours.close()
        server.serve(theirs)
        os._exit(0)
    theirs.close()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while (machine := receive(requests)) is not None:
        ours.send_bytes(pickle.dumps(machine))
        _set_up(machine)
        ours.recv_bytes()
        processes = [_Process(machine, expected), _Process(machine, lambda each: got(each, resolvers))]
        outcomes = processes[0].result(("glibc",)) | processes[1].result(resolvers)
        send(answers, outcomes)


class _Process:
    """A fork of this process, and its outcomes on a machine."""

    def __init__(self, machine: Machine, look_up: Callable[[Machine], dict[str, Outcome]]) -> None:
        self._end_at = time.monotonic() + TIMEOUT
        self._output, output = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            try:
                with os.fdopen(output, "wb") as file:
                    os.environ.update(machine.environ)
                    file.write(pickle.dumps(look_up(machine)))
            except BaseException:  # noqa: BLE001 - nothing may go on in this process as if it were its parent
                traceback.print_exc()
            os._exit(0)
        os.close(output)

    def result(self, names: tuple[str, ...]) -> dict[str, Outcome]:
        data, why = b"", f"took over {TIMEOUT:.0f} s"
        while select.select([self._output], [], [], max(0.0, self._end_at - time.monotonic()))[0]:
            if not (piece := os.read(self._output, 1 << 16)):
                why = ""
                break
            data += piece
        os.close(self._output)
        if why:
            os.kill(self._pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if data and not why:
            outcomes: dict[str, Outcome] = pickle.loads(data)
            return outcomes
        text = why or f"the process ended with {code}"
        return {name: Outcome("broken", text=text) for name in names}


def _replace_etc() -> None:
    """An /etc of our own, in which files can be missing."""
    kept = {name: (ETC / name).read_bytes() for name in KEPT if (ETC / name).is_file()}
    subprocess.run([shutil.which("mount") or "mount", "-t", "tmpfs", "none", str(ETC)], check=True)
    for name, data in kept.items():
        (ETC / name).write_bytes(data)


def _set_up(machine: Machine) -> None:
    socket.sethostname(machine.hostname)
    for name, data in machine.files().items():
        path = ETC / name
        if data is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(data)


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))

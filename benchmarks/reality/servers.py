"""The application, nginx and HAProxy, as programs of one place."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .place import Place, Program, listens, program

NGINX = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 1024; }}
http {{
    log_format seen '$http_x_call $request_method $status';
    access_log {folder}/front.log seen;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {zones}
    server {{
        listen {address}:{port} {listen};
        server_name application;
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        {server}
        location / {{ proxy_pass http://{application}; }}
    }}
}}
"""
COUNTED = re.compile(r"(seen )?r\d+-\d+ ")  # a line of a log with the id of a call
HAPROXY = """
global
    stats socket {folder}/admin.sock level admin
    hard-stop-after 10s
    log stdout format raw local0
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    log global
    log-format "seen %[capture.req.hdr(0)] %HM %ST"
    {defaults}
frontend front
    bind {address}:{port} {bind}
    http-request capture req.hdr(x-call) len 64
    {frontend}
    default_backend application
backend application
    server one {application} {server}
"""


@dataclass
class Application:
    """
    uvicorn, and a log of the requests that it has processed.

    Attributes:
        running: Its process.
    """

    place: Place
    port: int
    running: Program

    @classmethod
    def started(cls, place: Place) -> Application:
        port = place.port()
        application = cls(place, port, cls._prepared(place, port))
        application.running.wait_for("ready")
        application.running.tell()
        application.running.wait_until(lambda: listens(place.under, place.address, port))
        return application

    @staticmethod
    def _prepared(place: Place, port: int) -> Program:
        """A process that imports what it needs, and then waits to be told to listen."""
        arguments = (place.address, str(port), str(place.folder / "application.log"))
        log = f"application-{len(place.started)}.txt"
        return place.python("benchmarks.reality.application", *arguments, log=log)

    @property
    def address(self) -> str:
        return f"{self.place.address}:{self.port}"

    def restart(self, after: float, down: float) -> None:
        """Kill it *after* these seconds; its successor, which has imported all that it needs, listens *down* later."""
        successor = self._prepared(self.place, self.port)
        time.sleep(after)
        successor.wait_for("ready")
        self.running.signal(signal.SIGKILL)
        time.sleep(down)
        successor.tell()
        self.running = successor

    def stop(self, seconds: float) -> None:
        """It does nothing for so many seconds, while the kernel goes on accepting connections."""
        self.running.signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.running.signal(signal.SIGCONT)

    def seen(self) -> list[str]:
        """The id and method of each request that it began to process."""
        return lines(self.place.folder / "application.log")


@dataclass
class Site:
    """
    What a client sees of a run's servers.

    Attributes:
        front: nginx or HAProxy before the application; None if the client speaks to the application.
        log: The front's log of requests.
    """

    application: Application
    url: str
    front: Program | None = None
    log: Path | None = None
    _admin: Path = field(default_factory=Path)

    @classmethod
    def bare(cls, place: Place) -> Site:
        application = Application.started(place)
        return cls(application, f"http://{application.address}/")

    @classmethod
    def nginx(cls, place: Place, *, server: str = "", zones: str = "", listen: str = "") -> Site:
        """nginx before the application, with these directives in its server and its http block."""
        application, port = Application.started(place), place.port()
        filled = _filled(place, NGINX, port, application, server=server, zones=zones, listen=listen)
        file = place.folder / "nginx.conf"
        file.write_text(filled)
        front = place.start(
            program("nginx") or "nginx", "-e", "stderr", "-p", str(place.folder), "-c", str(file), log="nginx.txt"
        )
        front.wait_until(lambda: listens(place.under, place.address, port))
        scheme = "https" if "ssl" in listen else "http"
        return cls(application, f"{scheme}://{place.address}:{port}/", front, place.folder / "front.log")

    @classmethod
    def haproxy(
        cls,
        place: Place,
        *,
        defaults: str = "",
        frontend: str = "",
        server: str = "",
        bind: str = "",
    ) -> Site:
        """HAProxy before the application, with these lines in the parts of its configuration."""
        application, port = Application.started(place), place.port()
        parts = {"defaults": defaults, "frontend": frontend, "server": server, "bind": bind}
        file = place.folder / "haproxy.cfg"
        file.write_text(_filled(place, HAPROXY, port, application, **parts))
        front = place.start(program("haproxy") or "haproxy", "-W", "-db", "-f", str(file), log="front.log")
        front.wait_until(lambda: listens(place.under, place.address, port))
        scheme = "https" if "ssl" in bind else "http"
        url = f"{scheme}://{place.address}:{port}/"
        return cls(application, url, front, place.folder / "front.log", place.folder / "admin.sock")

    def admin(self, command: str) -> None:
        """Tell HAProxy."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._admin))
            sock.sendall(command.encode() + b"\n")
            sock.recv(4096)

    def attempts(self) -> int:
        """
        Requests that came: of each call the front's or the application's count, whichever is higher.

        The front doesn't write what it had in flight when it was killed, and the application doesn't see what the front
        refuses.
        """
        front = Counter(line.split()[0] for line in lines(self.log)) if self.log is not None else Counter[str]()
        return (front | Counter(line.split()[0] for line in self.application.seen())).total()

    def seen_twice(self) -> int:
        """The POSTs that the application began to process more than once."""
        return sum(count > 1 for line, count in Counter(self.application.seen()).items() if line.endswith("POST"))


def _filled(place: Place, text: str, port: int, application: Application, **parts: str) -> str:
    own = {"folder": place.folder, "address": place.address, "port": port, "certificate": place.certificate}
    parts = {name: part.format(**own) for name, part in parts.items()}
    user = "user root;" if os.geteuid() == 0 else ""  # or its workers can't write to the folder
    return text.format(**own, application=application.address, user=user, **parts)


def lines(log: Path) -> list[str]:
    """The requests of a log that belong to counted calls, each as "id method ..."."""
    text = log.read_text() if log.exists() else ""
    return [line.removeprefix("seen ") for line in text.splitlines() if COUNTED.match(line)]

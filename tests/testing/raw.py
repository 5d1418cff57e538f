"""A client that is nothing but a socket, and says what it saw: the bytes, and how the connection ended."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

SILENCE = 0.12  # s without a byte
LOOK = 0.005  # s, of one look at the socket


@dataclass
class Seen:
    """
    What a client sees.

    Attributes:
        pieces: In how many reads it came.
        end: "FIN", "RST" or "silence".
    """

    data: bytes
    pieces: int
    end: str

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0].lower() + b"\r\n"

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


def is_busy() -> bool:
    """Whether a server, in a thread of this process or in a process that it started, runs or waits for its turn to."""
    clients = (threading.current_thread(), threading.main_thread())
    servers = [
        each for each in threading.enumerate() if each not in clients and not each.name.startswith("ThreadPoolExecutor")
    ]
    tasks = [Path(f"/proc/self/task/{each.native_id}") for each in servers]
    try:
        children = [pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]
        tasks += [task for pid in children for task in Path(f"/proc/{pid}/task").glob("*")]
        return any((task / "stat").read_text().rpartition(")")[2].split()[0] == "R" for task in tasks)
    except OSError:  # one of them has ended, or there is no /proc
        return False


def connect(port: int, *, timeout: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def request(target: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> bytes:
    fields = {"host": "test"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        fields.setdefault("content-length", str(len(body)))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


def see(sock: socket.socket, *, limit: int = 10**7, silence: float = SILENCE) -> Seen:
    """
    Read until the end, or until nothing comes for a while.

    That while is counted in looks at the socket and not in seconds, and a look hardly counts while the server wants the
    CPU, because a busy machine may make it, and us, wait for longer.
    """
    parts = []
    size, looks = 0, 0.0
    timeout = sock.gettimeout()
    sock.settimeout(LOOK)
    end = "silence"
    try:
        while size < limit and looks < silence / LOOK:
            try:
                part = sock.recv(65536)
            except TimeoutError:
                looks += 0.1 if is_busy() else 1
                continue
            if not part:
                end = "FIN"
                break
            looks = 0
            parts.append(part)
            size += len(part)
    except ConnectionResetError:
        end = "RST"
    except ssl.SSLError as error:
        # Python before 3.11.3 has no class of its own for it.
        if not (isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"):
            raise
        end = "FIN without close_notify"
    sock.settimeout(timeout)
    return Seen(b"".join(parts), len(parts), end)


def ask(port: int, target: str, **arguments: object) -> Seen:
    """One request on a connection of its own."""
    limits = {name: arguments.pop(name) for name in ("limit", "silence") if name in arguments}
    with connect(port) as sock:
        sock.sendall(request(target, **arguments))  # type: ignore[arg-type]
        return see(sock, **limits)  # type: ignore[arg-type]

"""
What getaddrinfo itself gives on machines with given files, in namespaces of their own (`unshare -mnu`, as root).

Run as a script, it is the other side: it reads machines from its standard input and answers on its standard output.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from typing import NamedTuple

NXDOMAIN, SERVFAIL = 3, 2
SERVERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1")


class Asked(NamedTuple):
    """
    Attributes:
        addresses: What getaddrinfo gave, as a sorted list; or the name of its error.
        names: That DNS was asked for, each once, in order.
        servers: That were asked, each once, in order.
    """

    addresses: list[str] | str
    names: list[str]
    servers: list[str]


def why_not() -> str | None:
    """Why there is no such comparison here, else None."""
    if sys.platform != "linux" or not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
        return "the C library isn't glibc"
    if shutil.which("unshare") is None:
        return "there is no unshare"
    if not os.path.exists("/proc/net/if_inet6"):
        return "the kernel has no IPv6"
    done = subprocess.run(["unshare", "-mnu", "true"], capture_output=True, text=True, check=False)
    return f"unshare -mnu: {done.stderr.strip()}" if done.returncode else None


def ask(machines: list[dict]) -> list[list[Asked]]:
    """
    Args:
        machines: Each has ``names`` to look up; may have ``files`` of /etc (name → text; Latin-1), ``environ``,
            ``hostname`` and ``rcode``, which DNS answers.
    """
    run = ["unshare", "-mnu", sys.executable, __file__]
    done = subprocess.run(run, input=json.dumps(machines), capture_output=True, text=True, check=True, timeout=60)
    return [[Asked(*each) for each in answers] for answers in json.loads(done.stdout)]


def _serve(sockets: list[socket.socket], rcode: int, names: list[str], servers: list[str]) -> None:
    def answer(sock: socket.socket) -> None:
        while True:
            query, peer = sock.recvfrom(4096)
            name, at = [], 12
            while query[at]:
                name.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
                at += 1 + query[at]
            names.append(".".join(name))
            servers.append(sock.getsockname()[0])
            sock.sendto(query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, 0, 0, 0) + query[12 : at + 5], peer)

    for sock in sockets:
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def _lookups(machine: dict) -> list[Asked]:
    os.environ.update(machine.get("environ", {}))
    socket.sethostname(machine.get("hostname", "machine"))
    for name in os.listdir("/etc"):
        os.unlink(f"/etc/{name}")
    for name, text in machine.get("files", {}).items():
        with open(f"/etc/{name}", "wb") as file:
            file.write(text.encode("latin-1"))
    sockets = []
    for address in SERVERS:
        sockets.append(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM))
        sockets[-1].bind((address, 53))
    names, servers = [], []
    _serve(sockets, machine.get("rcode", NXDOMAIN), names, servers)
    answers = []
    for name in machine["names"]:
        names.clear()
        servers.clear()
        try:
            found = socket.getaddrinfo(name.encode("latin-1"), 80, type=socket.SOCK_STREAM)
            addresses = sorted({str(sockaddr[0]) for *_, sockaddr in found})
        except socket.gaierror as error:
            addresses = next(each for each in dir(socket) if getattr(socket, each) == error.errno and "EAI" in each)
        except OSError as error:  # EAI_SYSTEM
            addresses = errno.errorcode[error.errno]
        answers.append(Asked(addresses, list(dict.fromkeys(names)), list(dict.fromkeys(servers))))
    return answers


def _main() -> None:
    """Each machine is a process, because glibc reads some files once in a process only."""
    with socket.socket() as sock:  # ip link set lo up
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))
    with tempfile.TemporaryDirectory() as etc:
        subprocess.run(["mount", "--bind", etc, "/etc"], check=True)
        answers = []
        for machine in json.load(sys.stdin):
            reader, writer = os.pipe()
            if (child := os.fork()) == 0:
                os.write(writer, json.dumps(_lookups(machine)).encode())
                os._exit(0)
            os.close(writer)
            with open(reader) as pipe:
                text = pipe.read()
            answers.append(json.loads(text) if text else [Asked("aborted", [], [])] * len(machine["names"]))
            os.waitpid(child, 0)
    print(json.dumps(answers))


if __name__ == "__main__":
    _main()

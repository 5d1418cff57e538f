"""
A network namespace, without being root: a loopback, and port 53 for a DNS server, which every client then asks.

`is_entered` turns a process into ``python -m benchmarks.namespace MODULE ...``.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

NAMESERVER, PORT = "127.0.0.1", 53
INSIDE = "SEAWALL_BENCHMARKS_NAMESPACE"  # set in a process that runs in the namespace
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


def is_entered(module: str, arguments: list[str]) -> bool:
    """
    Replace this process by ``python -m MODULE ARGUMENTS`` in a namespace, unless it is in one already.

    Returns:
        True in a namespace; False if no namespace can be made, so that what needs one can't run.
    """
    if INSIDE in os.environ:
        return True
    command, environment = [*UNSHARE, sys.executable, "-m", __name__], os.environ | {INSIDE: "1"}
    works = shutil.which(UNSHARE[0]) and not subprocess.run(command, env=environment, capture_output=True).returncode
    if works:
        sys.stdout.flush()
        os.execvpe(UNSHARE[0], [*command, module, *arguments], environment)
    return False


def raise_loopback() -> None:
    """Bring the loopback up, because it is down in a new network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SET_FLAGS, struct.pack("16sh14x", b"lo", UP_AND_RUNNING))


def up() -> None:
    """Bring the loopback up, and point the system at the DNS server."""
    raise_loopback()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"nameserver {NAMESERVER}\n")
        file.flush()
        subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)


if __name__ == "__main__":
    if INSIDE not in os.environ:  # or root would change the machine's own files
        raise SystemExit("see benchmarks.namespace.is_entered")
    up()
    if len(sys.argv) > 1:
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

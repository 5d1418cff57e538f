"""
A network of one's own, without being root: a loopback, and port 53 for names, which every client then asks.

``python -m benchmarks.namespace MODULE ...`` is what `is_entered` makes of a process.
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
INSIDE = "SEAWALL_BENCHMARKS_NAMESPACE"  # set where this is such a process
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


def is_entered(module: str, arguments: list[str]) -> bool:
    """
    Go on as ``python -m MODULE ARGUMENTS`` in a namespace, which does not return; True: this is one.

    Returns:
        False, where that doesn't work: what needs it can't be run.
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
    """A new network has one, but it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SET_FLAGS, struct.pack("16sh14x", b"lo", UP_AND_RUNNING))


def up() -> None:
    """The loopback, and who is asked for names."""
    raise_loopback()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"nameserver {NAMESERVER}\n")
        file.flush()
        subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)


if __name__ == "__main__":
    if INSIDE not in os.environ:  # else root would change the machine's own
        raise SystemExit("see benchmarks.namespace.is_entered")
    up()
    if len(sys.argv) > 1:
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

"""PostgreSQL and Redis, each a process of its own in a folder of its own, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["POSTGRES", "REDIS", "postgres", "redis"]

DEBIAN = os.pathsep.join(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)))
POSTGRES = shutil.which("postgres") or shutil.which("postgres", path=DEBIAN)
REDIS = shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def postgres() -> Iterator[str]:
    """The folder of its socket, which is asyncpg's ``host``; user and database are both ``postgres``."""
    assert POSTGRES is not None
    who = _who()
    with _folder(**who) as folder:
        initdb = Path(POSTGRES).resolve().with_name("initdb")
        made = [str(initdb), "-D", f"{folder}/data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **who)
        command = [POSTGRES, "-D", f"{folder}/data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with _running([*command, "-c", "max_connections=50"], signal.SIGINT, cwd=folder, **who):
            yield folder


@contextmanager
def redis() -> Iterator[str]:
    """Its socket."""
    assert REDIS is not None
    with _folder() as folder:
        command = [REDIS, "--port", "0", "--unixsocket", f"{folder}/socket", "--save", "", "--dir", folder]
        with _running(command, signal.SIGTERM, cwd=folder):
            yield f"{folder}/socket"


def _who() -> dict[str, Any]:
    """PostgreSQL doesn't run as root."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@contextmanager
def _folder(user: int = -1, group: int = -1, **_: Any) -> Iterator[str]:
    """A folder with a short name, because a socket's path has at most 107 bytes; another user may enter it."""
    with tempfile.TemporaryDirectory(prefix="sw-", dir="/tmp") as folder:
        os.chown(folder, user, group)
        yield folder


@contextmanager
def _running(command: list[str], end: signal.Signals, **settings: Any) -> Iterator[None]:
    """A server from the line in which it says that it is ready, to its end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings) as process:
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "ready to accept connections" in line.lower():
                    break
            else:
                raise RuntimeError(f"{command[0]} ended: {''.join(said)}")
            yield
        finally:
            process.send_signal(end)
            process.communicate()

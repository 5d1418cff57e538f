"""
How the machine looks names up: its files, read again when they change.

They decide where the C library is glibc. Another C library is asked itself, because it differs (musl asks all name
servers at once, heeds no nsswitch.conf, and forgets the search list for a name with *ndots* dots). So is a system that
has no such files.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from ..careful import Careful
from .files import Files, Stamp
from .hosts import Hosts, is_multi
from .modules import Modules, Source, Step, is_known
from .nsswitch import Service, Status
from .nsswitch import parse as parse_nsswitch
from .resolv_conf import ResolvConf
from .resolv_conf import parse as parse_resolv_conf

__all__ = ["ALONE", "SYSTEM", "Machine", "glibc_version"]

logger = Careful("seawall.dns")

LOOK_EVERY = 1.0  # seconds between checks for changed files
MAX_AT_ONCE = 256 * 1024  # bytes of a hosts file that is parsed on the loop
STUB = ResolvConf(nameservers=("127.0.0.53",))  # systemd-resolved(8), which has search domains of its own
ALONE = (Step(Source.FILES, frozenset({Status.SUCCESS}), "files"), Step(Source.DNS, frozenset(Status), "dns"))
SYSTEM = (Step(Source.SYSTEM, frozenset(Status), "system"),)
Stamps = tuple[Stamp | None, ...]


def glibc_version() -> tuple[int, int] | None:
    """The version of the C library where it is glibc, else None."""
    if sys.platform != "linux":
        return None
    try:
        found = re.match(r"glibc (\d+)\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (OSError, ValueError):  # another C library, which doesn't know the name
        return None
    return (int(found[1]), int(found[2])) if found else None


class Machine:
    """
    The machine's files and the steps that a name takes.

    Args:
        now: The present instant, in seconds.
        root: The directory of hosts, host.conf, resolv.conf and nsswitch.conf.
        run: The directory of systemd's ``systemd/machines`` and ``systemd/resolve``.
        proc: The directory of ``net/udp``.
        environ: LOCALDOMAIN, RES_OPTIONS, RESOLV_MULTI and HOSTALIASES are heeded.
        hostname: The machine's name.
        glibc: The version of glibc; None where there is another C library.

    Attributes:
        hosts: The hosts file; empty until `looked_at` has read it.
        resolv_conf: resolv.conf as it is, even where systemd-resolved's stub is asked.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        root: str = "/etc",
        run: str = "/run",
        proc: str = "/proc",
        environ: Mapping[str, str] = os.environ,
        hostname: Callable[[], str] = socket.gethostname,
        glibc: tuple[int, int] | None = glibc_version(),
    ) -> None:
        self.hosts = Hosts(b"", is_multi=False)
        self.resolv_conf = ResolvConf()
        self._services: tuple[Service, ...] | None = None  # None leaves the decision to the system's resolver
        self._modules = Modules(root=root, run=run, environ=environ, hostname=hostname)
        self._files, self._proc, self._now = Files(root), Files(proc), now
        self._environ, self._hostname, self._glibc = environ, hostname, glibc
        self._hosts_stamp: Stamps = ()  # () until they have been read
        self._others_stamp: Stamps = ()
        self._has_stub = False
        self._reading: asyncio.Task[None] | None = None
        self._look_at = -math.inf
        self._told: set[str] = set()

    @property
    def is_decided_by_files(self) -> bool:
        """Whether these files decide, as they do where the C library is glibc."""
        return self._glibc is not None

    @property
    def is_read(self) -> bool:
        """Whether the files have been read."""
        return bool(self._hosts_stamp)

    @property
    def resolv(self) -> ResolvConf:
        """The name servers and how to ask them: resolv.conf, or systemd-resolved's stub where ``resolve`` is used."""
        return STUB if self._has_stub else self.resolv_conf

    async def looked_at(self) -> None:
        """
        Read changed files again; check for changes at most once in `LOOK_EVERY` seconds. No await where none changed.

        A large hosts file is read in a thread. The first time, callers wait for it; later, the old one serves until
        the new one has been read. Where no descriptor or memory is left to read with, the old ones stay, and until the
        files have been read once, each caller tries.

        **Cancellation:** ends the wait; the reading goes on for others.
        """
        now = self._now()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            try:
                self._look()
            except OSError as error:
                if not self.is_read:
                    self._look_at = now
                logger.debug("%s: looking whether it changed failed", self._files.root, error=error)
        if self._reading is not None and not self.is_read:
            await asyncio.wait([self._reading])

    def steps(self, name: str, *, has_system: bool = True) -> tuple[Step, ...]:
        """
        Whom to ask for a name, in order (see `Modules.steps`); the system's resolver where the files don't decide.

        Args:
            has_system: The system's resolver may be asked; else the modules that it stands for take no name.
        """
        if self._services is None or not self.is_read or not self.is_decided_by_files:
            return SYSTEM if has_system else ALONE
        has_hosts = self._hosts_stamp[0] is not None
        return self._modules.steps(
            name, self._services, has_hosts=has_hosts, has_stub=self._has_stub, has_system=has_system
        )

    async def aclose(self) -> None:
        """End the reading that is in flight."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    def _look(self) -> None:
        others = (self._files.stamp("resolv.conf"), self._files.stamp("nsswitch.conf"))
        if others != self._others_stamp:
            resolv, services = self._files.text("resolv.conf"), self._files.text("nsswitch.conf")
            self.resolv_conf = parse_resolv_conf(resolv, hostname=self._hostname(), environ=self._environ)
            self._services = parse_nsswitch(services, glibc=self._glibc or (2, 36))
            self._others_stamp = others
            self._tell()
        asked = [service.name for service in self._services or () if service.name in ("dns", "resolve")]
        self._has_stub = asked[:1] == ["resolve"] and self._modules.has_resolved() and self._is_stub_listening()
        hosts = (self._files.stamp("hosts"), self._files.stamp("host.conf"))
        if hosts == self._hosts_stamp or (self._reading is not None and not self._reading.done()):
            return
        if hosts[0] is None or hosts[0].size <= MAX_AT_ONCE:
            self._keep(self._parsed_hosts(), hosts)
        else:
            self._reading = asyncio.create_task(self._read_hosts(hosts), name="seawall-hosts")

    async def _read_hosts(self, stamp: Stamps) -> None:
        """Read in a thread of its own, because others may use all threads of the loop."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="seawall-hosts")
        try:
            self._keep(await asyncio.get_running_loop().run_in_executor(executor, self._parsed_hosts), stamp)
        except (OSError, RuntimeError) as error:  # RuntimeError: the machine has no thread to give
            logger.debug("%s: reading hosts failed", self._files.root, error=error)
        finally:
            executor.shutdown(wait=False)
            if not self.is_read:
                self._look_at = -math.inf  # the next caller tries

    def _keep(self, hosts: Hosts, stamp: Stamps) -> None:
        self.hosts, self._hosts_stamp = hosts, stamp

    def _parsed_hosts(self) -> Hosts:
        return Hosts(self._files.read("hosts"), is_multi=is_multi(self._files.text("host.conf"), self._environ))

    def _is_stub_listening(self) -> bool:
        """Whether the kernel's list of sockets has the stub. A query would tell too, but callers would wait for it."""
        address = int.from_bytes(socket.inet_aton(STUB.nameservers[0]), sys.byteorder)
        return f" {address:08X}:0035 ".encode() in self._proc.read("net/udp")

    def _tell(self) -> None:
        """Log, once each, the things because of which the system's resolver is asked."""
        unknown = {service.name for service in self._services or () if not is_known(service.name)}
        if self._services is None:
            unknown.add("an action or a line that isn't understood")
        for each in sorted(unknown - self._told) if self.is_decided_by_files else ():
            logger.info("%s/nsswitch.conf has %s: the system's resolver is asked", self._files.root, each)
        self._told |= unknown

"""
Which modules of nsswitch.conf take a name, and whom to ask in their place.

seawall does the work of ``files`` and ``dns`` itself. It asks another module through the system's resolver, and only
for the names that the module takes: nss-myhostname(8), nss-mymachines(8), nss-resolve(8), nss-mdns' README. A module
that isn't known takes all names.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from .nsswitch import Service, Status

__all__ = ["Modules", "Source", "Step", "is_known"]

LOCALHOST = re.compile(r"(.*\.)?localhost(\.localdomain)?")
KNOWN = re.compile(r"files|dns|resolve|myhostname|mymachines|mdns.*")


class Source(Enum):
    """Whom a step asks."""

    FILES = "files"
    DNS = "dns"
    SYSTEM = "system"


class Step(NamedTuple):
    """
    Attributes:
        source: FILES means `Machine.hosts`, DNS means `Machine.resolv`. SYSTEM means getaddrinfo, whose answer is
            final, because it goes through the whole list itself.
        returns_on: The statuses with which this step is the last; with the others, the next step follows.
        service: The name of the module in nsswitch.conf.
    """

    source: Source
    returns_on: frozenset[Status]
    service: str


class Modules:
    """
    Args:
        root: The directory of mdns.allow.
        run: The directory of systemd's ``systemd/machines`` and ``systemd/resolve``.
        environ: With ``HOSTALIASES``, glibc replaces names without dots.
        hostname: Gives the machine's name, which ``myhostname`` takes.
    """

    def __init__(
        self,
        *,
        root: str = "/etc",
        run: str = "/run",
        environ: Mapping[str, str] = os.environ,
        hostname: Callable[[], str] = socket.gethostname,
    ) -> None:
        self._root, self._run, self._environ, self._hostname = root, run, environ, hostname

    def steps(
        self, name: str, services: Sequence[Service], *, has_hosts: bool, has_stub: bool, has_system: bool = True
    ) -> tuple[Step, ...]:
        """
        Whom to ask for a name, in order; nothing follows SYSTEM.

        A module that doesn't take the name has no step. The next one is asked, unless nsswitch.conf has an action for
        that status.

        Args:
            has_hosts: There is a hosts file.
            has_stub: systemd-resolved answers DNS queries for ``resolve``.
            has_system: The system's resolver may be asked; else only ``files`` and ``dns`` count, and HOSTALIASES isn't
                heeded.
        """
        name = name.lower().removesuffix(".")
        steps: list[Step] = []
        if not has_system:
            services = [each for each in services if each.name in ("files", "dns")]
        for service in services:
            source: Source | Status
            if service.name == "files":
                source = Source.FILES if has_hosts else Status.UNAVAIL
            elif service.name == "resolve" and not self.has_resolved():
                source = Status.UNAVAIL
            elif service.name in ("dns", "resolve"):
                is_other = any(step.source is Source.DNS and step.service != service.name for step in steps)
                is_ours = (
                    not has_system or self._is_plain(name) if service.name == "dns" else has_stub and _is_unicast(name)
                )
                # Two services with DNS have two sets of name servers, which the system's resolver asks in turn.
                source = Source.DNS if is_ours and not is_other else Source.SYSTEM
            else:
                source = self._of_module(service.name, name)
            if isinstance(source, Source):
                steps.append(Step(source, service.returns_on, service.name))
            if source is Source.SYSTEM or source in service.returns_on:
                break
        return tuple(steps)

    def has_resolved(self) -> bool:
        """Whether systemd-resolved has run; in containers it seldom has, though nsswitch.conf names ``resolve``."""
        return os.path.exists(os.path.join(self._run, "systemd", "resolve"))

    def _is_plain(self, name: str) -> bool:
        return "." in name or "HOSTALIASES" not in self._environ

    def _of_module(self, module: str, name: str) -> Source | Status:
        """SYSTEM where a module takes the name, else its status."""
        if module.startswith("mdns"):
            takes = name.endswith(".local") or self._has_allowed_more(module)
            return Source.SYSTEM if takes else Status.UNAVAIL
        if module == "myhostname":
            takes = name == self._hostname().lower() or LOCALHOST.fullmatch(name) is not None or _is_underscored(name)
            return Source.SYSTEM if takes else Status.NOTFOUND
        if module == "mymachines":
            is_machine = "/" not in name and os.path.exists(os.path.join(self._run, "systemd", "machines", name))
            return Source.SYSTEM if is_machine else Status.UNAVAIL
        return Source.SYSTEM

    def _has_allowed_more(self, module: str) -> bool:
        """Whether mdns.allow may list further domains, which the minimal modules don't heed."""
        return not module.endswith("_minimal") and os.path.exists(os.path.join(self._root, "mdns.allow"))


def is_known(module: str) -> bool:
    """Whether it is known here which names a module takes."""
    return KNOWN.fullmatch(module) is not None


def _is_unicast(name: str) -> bool:
    """Not a single label or .local: for these systemd-resolved uses LLMNR, search domains or mDNS, its stub doesn't."""
    return "." in name and not name.endswith(".local")


def _is_underscored(name: str) -> bool:
    """``_gateway``, ``_outbound``, and those that later versions may add."""
    return name.startswith("_") and "." not in name

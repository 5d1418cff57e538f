"""
Which modules of nsswitch.conf come into play for a name, and whom to ask in their place.

``files`` and ``dns`` are ours. Another module is asked through the system's resolver, and only for the names that it
takes: nss-myhostname(8), nss-mymachines(8), nss-resolve(8), nss-mdns' README. A module that isn't known takes all.
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
        source: FILES: `Machine.hosts`. DNS: `Machine.resolv`. SYSTEM: getaddrinfo, which walks the whole list itself,
            so its answer is final.
        returns_on: With these, the step's word is the last; with the others, the next step follows.
        service: The module that nsswitch.conf names.
    """

    source: Source
    returns_on: frozenset[Status]
    service: str


class Modules:
    """
    Args:
        root: The directory of mdns.allow.
        run: The directory of systemd's ``systemd/machines`` and ``systemd/resolve``.
        environ: With ``HOSTALIASES``, glibc gives names without dots another name.
        hostname: The machine's name, which ``myhostname`` answers for.
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

        A module that doesn't take the name says so at once, without a step: the next one is asked unless nsswitch.conf
        has an action for that.

        Args:
            has_hosts: There is a hosts file.
            has_stub: systemd-resolved answers DNS queries for ``resolve``.
            has_system: It may be asked; else modules that aren't ours are passed over, and HOSTALIASES isn't heeded.
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
                source = Source.DNS if is_ours and not is_other else Source.SYSTEM  # two sets of servers: not ours
            else:
                source = self._of_module(service.name, name)
            if isinstance(source, Source):
                steps.append(Step(source, service.returns_on, service.name))
            if source is Source.SYSTEM or source in service.returns_on:
                break
        return tuple(steps)

    def has_resolved(self) -> bool:
        """Whether systemd-resolved has run: seldom in a container, though nsswitch.conf names ``resolve`` there too."""
        return os.path.exists(os.path.join(self._run, "systemd", "resolve"))

    def _is_plain(self, name: str) -> bool:
        return "." in name or "HOSTALIASES" not in self._environ

    def _of_module(self, module: str, name: str) -> Source | Status:
        """SYSTEM where a module takes the name, else what it says."""
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
        """mdns.allow lists further domains, for the modules that aren't minimal."""
        return not module.endswith("_minimal") and os.path.exists(os.path.join(self._root, "mdns.allow"))


def is_known(module: str) -> bool:
    """Whether we know which names a module takes."""
    return KNOWN.fullmatch(module) is not None


def _is_unicast(name: str) -> bool:
    """systemd-resolved uses LLMNR or its search domains for one label, and mDNS for .local; its stub can't tell all."""
    return "." in name and not name.endswith(".local")


def _is_underscored(name: str) -> bool:
    """``_gateway``, ``_outbound``, and what later versions add."""
    return name.startswith("_") and "." not in name

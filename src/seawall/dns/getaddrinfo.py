"""
A name as the machine itself resolves it: one decision over both address families, as getaddrinfo makes it.

Rules, top-down: the steps of nsswitch.conf are taken one after another. In DNS, so are the candidates of the search
list, and the first one with any address wins. Both families of a candidate are asked for at once. The first answer with
addresses is enough to begin with: the other family has 50 ms, then its addresses are late. NXDOMAIN for one family
denies the name only if the other has no addresses either, because some load balancers deny a family that they don't
have (RFC 4074 section 4.2). The system's resolver is asked for names that other modules of nsswitch.conf take.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeGuard

from ..config import DNS
from ..errors import NameNotFound, NoAddress, ResolveError, ResolverFailure, ResolveTimeout
from ..origin import Address
from .machine import ALONE, SYSTEM, Machine
from .modules import Source, Step
from .nsswitch import Status
from .resolv_conf import Candidate, ResolvConf
from .resolver import Answer, Dangling, Found, ServerFailure, SRVRecord, Told, failed
from .system import SystemResolver

if TYPE_CHECKING:
    from .cares import CaresResolver

__all__ = ["MachineResolver", "special"]

HOSTS_TTL = 1.0  # seconds, because the file is looked at as often
LOOPBACK = Answer((Address("127.0.0.1"), Address("::1")), None, "localhost")
FAMILIES = (socket.AF_INET6, socket.AF_INET)
ASKED = re.compile(r"[\w.][\w.-]*", re.ASCII)  # glibc's res_hnok


class MachineResolver:
    """
    `Resolver` that finds what ``getaddrinfo`` finds on this machine, without a thread where files and DNS alone decide.

    Args:
        system: Asked where another module of nsswitch.conf takes the name; None leaves those modules out.
    """

    is_progressive = True

    def __init__(self, machine: Machine, cares: CaresResolver, system: SystemResolver | None, settings: DNS) -> None:
        self.machine = machine
        self.cares = cares
        self._system = system
        self._settings = settings

    @classmethod
    def through_cares(cls, machine: Machine, system: SystemResolver | None, settings: DNS) -> MachineResolver:
        """A resolver that asks through c-ares, which is imported here because aiodns takes 15 ms to load."""
        from .cares import CaresResolver

        return cls(machine, CaresResolver(), system, settings)

    async def resolve(self, host: str, port: int, *, family: int = 0, is_qualified: bool = False) -> Answer:
        """
        As `Resolver.resolve`.

        Args:
            is_qualified: *host* is a whole name, as in SRV records, so the search list isn't used.
        """
        answer = (await self.look_up(host, port, _ignore, is_qualified=is_qualified)).answer
        addresses = tuple(each for each in answer.addresses if family in (0, each.family))
        if not addresses:
            raise NoAddress(f"{host}: no address of this family")
        return answer._replace(addresses=addresses)

    async def look_up(self, host: str, port: int, tell: Told, *, is_qualified: bool = False) -> Found:
        """As `Progressive.look_up`; see `resolve`."""
        await self.machine.looked_at()
        if self._system is None and not self.machine.is_read:  # the hosts file may have the name
            raise failed(ResolverFailure, f"{host}: the machine's hosts file can't be read")
        denial = NameNotFound(f"{host}: no service of nsswitch.conf knows it")
        found: Found | ResolveError = denial  # with [SUCCESS=continue], a later service decides
        steps = self.steps(host)
        for step in steps:
            if step.source is Source.FILES:
                addresses = self.machine.hosts.find(host)
                if addresses and Status.SUCCESS in step.returns_on:
                    return Found(Answer(tuple(map(Address, addresses)), HOSTS_TTL, "hosts"))
                if isinstance(found, Found):
                    found = denial
                status = Status.SUCCESS if addresses else Status.NOTFOUND
            elif (known := special(host)) is not None:
                return Found(known)
            elif step.source is Source.DNS:
                is_final = Status.SUCCESS in step.returns_on
                is_denial_final = step is steps[-1] or Status.NOTFOUND in step.returns_on
                asked = f"{host.removesuffix('.')}." if is_qualified else host
                found = await self._in_dns(asked, tell if is_final else _ignore, tell if is_denial_final else _ignore)
                if isinstance(found, Found) and is_final:
                    return found
                status = _status(found)
            else:
                assert self._system is not None
                return Found(await self._system.resolve(host, port))
            if status in step.returns_on:
                break
        if isinstance(found, Found):
            return found
        if (known := special(host)) is not None:
            return Found(known)
        try:
            raise found
        finally:
            del found, denial  # because they hold this frame

    async def services(self, name: str) -> list[SRVRecord]:
        """The SRV records of a fully qualified name; errors are those of `CaresResolver.ask` and `special`."""
        if special(name) is not None:
            raise NoAddress(f"{name}: no name server is asked for localhost")
        await self.machine.looked_at()
        resolv = self.resolv
        return await self.cares.services(name, servers=self.servers(), use_tcp=resolv.use_tcp, rotate=resolv.rotate)

    def steps(self, host: str) -> Sequence[Step]:
        """Whom to ask for a name, in order; only those that there are."""
        if self._system is not None:
            return self.machine.steps(host) or SYSTEM  # whose error says why
        steps = self.machine.steps(host, has_system=False)
        is_dns_left_out = self._settings.nameservers and all(step.source is not Source.DNS for step in steps)
        return ALONE if is_dns_left_out else steps

    @property
    def resolv(self) -> ResolvConf:
        """How to ask name servers; systemd-resolved's stub is one of them only where `steps` has all modules."""
        return self.machine.resolv_conf if self._system is None else self.machine.resolv

    def servers(self) -> Sequence[str]:
        """The name servers that are asked."""
        if self._settings.nameservers:
            return self._settings.nameservers
        return self.resolv.nameservers if self.machine.is_decided_by_files else self.cares.servers()

    async def aclose(self) -> None:
        await self.cares.aclose()
        await self.machine.aclose()

    async def _in_dns(self, host: str, tell: Told, deny: Told) -> Found | ResolveError:
        """
        Ask for each candidate of the search list.

        After a candidate without addresses comes the next, whatever its servers said. Silence ends the search, and so
        does an alias of a name without addresses.

        Args:
            deny: Called where the last candidate is denied, unless its other family has addresses.
        """
        if ASKED.fullmatch(host) is None:
            return NameNotFound(f"{host}: it can't be the name of a host")
        errors: dict[Candidate, ResolveError] = {}
        candidates = self.resolv.candidates(host)

        def denied(error: ResolveError) -> None:
            if isinstance(error := _of_search({**errors, candidates[-1]: error}), NameNotFound):
                deny(error)

        for candidate in candidates:
            found = await self._candidate(candidate.name, tell, denied if candidate is candidates[-1] else _ignore)
            if isinstance(found, Found | ResolveTimeout | Dangling):
                return found
            errors[candidate] = found
        return _of_search(errors) if errors else NameNotFound(f"{host}: it can't be the name of a host")

    async def _candidate(self, name: str, tell: Told, deny: Callable[[ResolveError], None]) -> Found | ResolveError:
        """Ask for both families of one fully qualified name."""
        resolv, servers = self.resolv, self.servers()
        loop = asyncio.get_running_loop()
        questions: dict[asyncio.Task[Answer], int] = {
            loop.create_task(
                self.cares.ask(name, family, servers=servers, use_tcp=resolv.use_tcp, rotate=resolv.rotate),
                name=f"seawall dns {name}",
            ): family
            for family in ((socket.AF_INET,) if resolv.no_aaaa else FAMILIES)
        }
        try:
            return await self._decided(questions, loop.time() + self._settings.timeout, tell, deny)
        finally:
            for question in questions:
                question.cancel()

    async def _decided(
        self,
        questions: dict[asyncio.Task[Answer], int],
        deny_at: float,
        tell: Told,
        deny: Callable[[ResolveError], None],
    ) -> Found | ResolveError:
        """
        The result of both questions.

        Args:
            deny_at: The instant from which NXDOMAIN for one family counts although the other is still silent.
        """
        done, pending = await asyncio.wait(questions, return_when=asyncio.FIRST_COMPLETED)
        first = _result(done.pop())
        if pending and isinstance(first, Answer):
            _, pending = await asyncio.wait(pending, timeout=self._settings.resolution_delay)
            if pending:
                [other] = pending
                tell(Found(first, questions[other]))
        elif pending and _denies(first):
            deny(first)
            now = asyncio.get_running_loop().time()
            _, pending = await asyncio.wait(pending, timeout=max(0.0, deny_at - now))
            if pending:
                return first
        if pending:
            await asyncio.wait(pending)
        return _both({family: _result(question) for question, family in questions.items()})


def special(host: str) -> Answer | None:
    """
    The addresses of a name that always means this machine; None for any other name.

    Raises:
        NameNotFound: No name server may be asked for it.
    Source: RFC 6761 sections 6.3 and 6.4, RFC 7686 section 2.
    """
    top = host.lower().removesuffix(".").rpartition(".")[2]
    if top == "localhost":
        return LOOPBACK
    if top in ("invalid", "onion"):
        raise NameNotFound(f"{host}: no name server is asked for .{top}")
    return None


def _of_search(errors: dict[Candidate, ResolveError]) -> ResolveError:
    """The error that glibc's ``__res_context_search`` chooses where no candidate has an address."""
    candidates = list(errors)
    if candidates[0].is_as_given:
        return errors[candidates[0]]
    searched = [error for candidate, error in errors.items() if not candidate.is_as_given]
    telling = [error for kind in (NoAddress, ServerFailure) for error in searched if isinstance(error, kind)]
    return telling[0] if telling else errors[candidates[-1]]


def _both(results: dict[int, Answer | ResolveError]) -> Found | ResolveError:
    """All addresses; where there are none, the error that says why."""
    answers = [result for result in results.values() if isinstance(result, Answer)]
    failed = [family for family, result in results.items() if not isinstance(result, Answer | NameNotFound | NoAddress)]
    if answers:
        addresses = tuple(dict.fromkeys(address for answer in answers for address in answer.addresses))
        ttl = min(answer.ttl or 0.0 for answer in answers)
        return Found(Answer(addresses, ttl, answers[0].source), failed[0] if failed else 0)
    errors = [result for result in reversed(results.values()) if isinstance(result, ResolveError)]  # that of A first
    denials = [error for error in errors if _denies(error)]
    failures = [error for error in errors if not isinstance(error, NoAddress | NameNotFound)]
    aliases = [error for error in errors if isinstance(error, Dangling)]
    return (denials or failures or aliases or errors)[0]


def _denies(result: Answer | ResolveError) -> TypeGuard[NameNotFound]:
    """Whether one family's result is about the whole name: an alias without addresses may have some of the other."""
    return isinstance(result, NameNotFound) and not isinstance(result, Dangling)


def _result(question: asyncio.Task[Answer]) -> Answer | ResolveError:
    error = question.exception()
    if error is None:
        return question.result()
    if isinstance(error, ResolveError):
        return error
    raise error


def _status(found: Found | ResolveError) -> Status:
    """The status that glibc's nss_dns has for a result."""
    if isinstance(found, Found):
        return Status.SUCCESS
    return Status.NOTFOUND if isinstance(found, NameNotFound | NoAddress) else Status.UNAVAIL


def _ignore(_: Found | ResolveError) -> None:
    pass

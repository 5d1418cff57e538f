"""SRV records: where a service is, on which ports, and which targets to prefer. Source: RFC 2782."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from ..config import DNS
from ..errors import NameNotFound, NoAddress, ResolveError
from ..origin import Address
from .getaddrinfo import MachineResolver
from .machine import Machine
from .resolver import Answer, Rank, SRVRecord

__all__ = ["SRVResolver"]

MAX_TARGETS = 32
PARTIAL_TTL = 5.0  # seconds that an answer without a target that failed is kept, because that one may be the best
TARGET_TIMEOUT = 1.0  # seconds, less than a lookup has, because one silent target must not cost the others


class SRVResolver:
    """
    The addresses and ports of a service: ``SRVResolver("_http._tcp.orders.example.com")``.

    The lowest priority is dialled first, and within it chance decides by weight at each dial.

    Args:
        service: The name of the records; "{host}" in it stands for the host of the URL: ``"_http._tcp.{host}"``.
        nameservers: As in `DNS`.
    """

    def __init__(self, service: str = "_http._tcp.{host}", *, nameservers: Sequence[str] | None = None) -> None:
        if not service.startswith("_") or "._" not in service:
            raise ValueError(f'service must look like "_http._tcp.example.com", not {service!r}')
        self._service = service
        dns = DNS(nameservers=None if nameservers is None else tuple(nameservers))
        self._names = MachineResolver.through_cares(Machine(now=time.monotonic), None, dns)

    async def resolve(self, host: str, port: int, *, family: int = 0) -> Answer:
        """As `Resolver.resolve`; targets without an address are left out."""
        service = self._service.replace("{host}", host.removesuffix("."))
        records = [each for each in await self._names.services(service) if each.target and each.port]
        if not records:
            raise NoAddress(f"{service}: the service isn't available, its SRV records say")
        records = sorted(records, key=lambda each: (each.priority, -each.weight))[:MAX_TARGETS]
        answers = await asyncio.gather(*(self._target(each, family) for each in records), return_exceptions=True)
        addresses: list[Address] = []
        ranks: list[Rank] = []
        ttls = [each.ttl for each in records]
        for target, (record, answer) in enumerate(zip(records, answers, strict=True)):
            if isinstance(answer, Answer):
                ttls.append(answer.ttl or 0.0)
                for address in answer.addresses:
                    addresses.append(Address(address.ip, record.port))
                    ranks.append(Rank(record.priority, record.weight, target))
            elif not isinstance(answer, ResolveError | TimeoutError):
                raise answer
        failures = [each for each in answers if not isinstance(each, Answer | NameNotFound | NoAddress)]
        if not addresses:
            raise (failures or answers)[0]  # type: ignore[misc]  # a target that failed may have some
        if failures:
            ttls.append(PARTIAL_TTL)
        return Answer(tuple(addresses), min(ttls), "srv", tuple(ranks))

    async def _target(self, record: SRVRecord, family: int) -> Answer:
        async with asyncio.timeout(TARGET_TIMEOUT):
            return await self._names.resolve(record.target, record.port, family=family, is_qualified=True)

    async def aclose(self) -> None:
        await self._names.aclose()

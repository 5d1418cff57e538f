"""``seawall dns``: how a name is resolved, step by step."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from .. import AsyncClient
from ..config import DNS
from ..dns.getaddrinfo import MachineResolver, special
from ..dns.machine import Machine
from ..dns.modules import Source, Step
from ..dns.resolver import Answer, check_name, literal, public
from ..dns.system import SystemResolver
from ..errors import NameNotFound, ResolveError, ResolveTimeout
from ..origin import Origin
from ..wire.opening import Names

__all__ = ["run"]


async def run(names: Sequence[str], *, dns: DNS, resolver: Any, watch: float | None) -> int:
    """Exit status: 0 if a client would have an address for every name. With *watch*, it repeats until Ctrl-C."""
    console = Console(highlight=False, soft_wrap=True)
    async with AsyncClient(dns=dns, resolver=resolver, trust_env=False) as client:  # it asks no proxy and needs no TLS
        known = client.engine.wire.names
        while True:
            found = [await _show(console, known, dns, resolver, name) for name in names]
            if watch is None:
                return 0 if all(found) else 1
            await asyncio.sleep(watch)
            console.print(f"[dim]{time.strftime('%H:%M:%S')}[/]")


async def _show(console: Console, known: Names, dns: DNS, resolver: Any, name: str) -> bool:
    """Show each step by itself, then what a client would use; returns whether a client would have an address."""
    console.print(f"[bold]{escape(name)}[/]")
    host = name.lower()
    if literal(host) is None:
        try:
            check_name(host)
        except ResolveError as error:
            console.print(f"  [red]{type(error).__name__}[/]: {escape(str(error))}")
            return False
        await _show_steps(console, dns, resolver, host)
    began_at = time.perf_counter()
    try:
        answer = await known.resolve(Origin("http", host, 80))
    except ResolveError as error:
        console.print(f"  [red]{type(error).__name__}[/]: {escape(str(error))}")
        return False
    took = (time.perf_counter() - began_at) * 1e3
    good_for = known.good_for(Origin("http", host, 80))
    kept = "" if good_for == float("inf") else f", kept for {good_for:.0f} s"
    console.print(f"  [green]used[/]                   {took:>8.1f} ms  {_addresses(answer)}  ({answer.source}{kept})")
    return True


async def _show_steps(console: Console, dns: DNS, resolver: Any, host: str) -> None:
    """Show what each service of nsswitch.conf has, in their order, until one of them has addresses."""
    loop = asyncio.get_running_loop()
    system = None if dns.nameservers or resolver == "cares" else SystemResolver()
    names = MachineResolver.through_cares(Machine(now=loop.time), system, dns)
    try:
        await names.machine.looked_at()
        for step in names.steps(host):
            if await _has_shown(console, names, system, dns, step, host):
                break
    finally:
        await names.aclose()
        if system is not None:
            await system.aclose()


async def _has_shown(
    console: Console, names: MachineResolver, system: SystemResolver | None, dns: DNS, step: Step, host: str
) -> bool:
    """Show one step; returns whether it is the last, because it found addresses or the name must not be asked for."""
    if step.source is Source.FILES:
        addresses = names.machine.hosts.find(host)
        console.print(f"  {'hosts file':22} {'':>11}  {', '.join(addresses) or 'not in it'}")
        return bool(addresses)
    try:
        answer = special(host)
    except NameNotFound as error:
        console.print(f"  {'special name':22} {'':>11}  {escape(str(error))}")
        return True
    if answer is not None:
        console.print(f"  {'special name':22} {'':>11}  {_addresses(answer)}")
        return True
    if step.source is Source.SYSTEM:
        assert system is not None
        line, _ = await _step(f"system ({step.service})", system.resolve(host, 80), dns.timeout)
        console.print(line)
        return True
    resolv, servers = names.resolv, names.servers()
    console.print(f"  {step.service:22} {'':>11}  asks {', '.join(servers)}")
    for candidate in resolv.candidates(host):
        kinds = {"A": socket.AF_INET} if resolv.no_aaaa else {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
        steps = {
            f"  {candidate.name} {kind}": names.cares.ask(
                candidate.name, family, servers=servers, use_tcp=resolv.use_tcp
            )
            for kind, family in kinds.items()
        }
        shown = await asyncio.gather(*(_step(what, asked, dns.timeout) for what, asked in steps.items()))
        for line, _ in shown:
            console.print(line)
        if any(has_addresses for _, has_addresses in shown):
            return True
    return False


async def _step(what: str, asked: Awaitable[Answer], timeout: float) -> tuple[str, bool]:
    """A line to show, and whether it has addresses."""
    began_at, answer = time.perf_counter(), None
    try:
        async with asyncio.timeout(timeout):
            answer = await asked
        found = _addresses(answer) + ("" if answer.ttl is None else f"  (TTL {answer.ttl:g} s)")
    except TimeoutError:
        found = f"[yellow]{ResolveTimeout.__name__}[/]: no answer within {timeout:g} s"
    except ResolveError as error:
        found = f"[yellow]{type(public(error)).__name__}[/]: {escape(str(error))}"
    return f"  {what:22} {(time.perf_counter() - began_at) * 1e3:>8.1f} ms  {found}", answer is not None


def _addresses(answer: Answer) -> str:
    return ", ".join(str(address) for address in answer.addresses)

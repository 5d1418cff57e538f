"""
One name with five addresses, one of which is slow, on the virtual clock.

The order of dialling, ejection and the layers are seawall's own. The servers are a model, and so are the connections,
which are kept for 15 s as in `seawall.wire.pool`: the last one in is the first one out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import seawall
from seawall.core.attempt import AttemptState
from seawall.core.pipeline import Pipeline
from seawall.dns.gai_conf import GLIBC
from seawall.dns.precedence import Precedence
from seawall.dns.resolver import Answer
from seawall.errors import ReadTimeout, SeawallError
from seawall.events import Phase
from seawall.origin import Address
from seawall.policy.ejection import Ejections
from seawall.wire.addresses import Addresses, Load

from .model import ORIGIN, POLICIES, Exchange, Reply, Request, Server, layers, virtual

TITLE = "one of five addresses at 10 % speed"
ADDRESSES = tuple(Address(f"192.0.2.{number}") for number in range(1, 6))
CAPACITY, SLOW = 100.0, 0.1  # requests per second of each address; the first one's share of that
LOADS = (0.3, 0.6, 0.75)  # shares of the capacity of the other four
WARM, SECONDS = 20.0, 60.0
KEPT_FOR = 15.0  # s; seawall's keepalive_expiry
CHOICES = ("turns alone", "turns, ejection", "fewest in flight, ejection", "the same + hedge")


class Failing(Server):
    """Answers a share of the requests with 503, at once."""

    def __init__(self, share: float, rng: Random) -> None:
        super().__init__(CAPACITY)
        self._share = share
        self._rng = rng

    def ask(self) -> asyncio.Future[int]:
        if self._rng.random() >= self._share:
            return super().ask()
        self.arrivals.append(self._loop.time())
        answer: asyncio.Future[int] = self._loop.create_future()
        answer.set_result(503)
        return answer


BAD: dict[str, Callable[[Random], Server]] = {
    "at 10 % speed": lambda _: Server(CAPACITY * SLOW),
    "answers 503": lambda rng: Failing(1.0, rng),
    "answers 503 to half": lambda rng: Failing(0.5, rng),
}


class Blind(Ejections):
    """Never ejects an address."""

    def record(self, origin: seawall.Origin, address: Address, *, is_failure: bool) -> bool:
        return False


class Upstream:
    """The addresses, the choice among them, and the connections to them."""

    def __init__(self, choice: str, bad: str, rng: Random) -> None:
        now = asyncio.get_running_loop().time
        self._loads: dict[Address, Load] = {}
        self.servers = {address: Server(CAPACITY) for address in ADDRESSES[1:]}
        self.servers[ADDRESSES[0]] = BAD[bad](rng)
        self.asked: Counter[Address] = Counter()
        self._ejections = (Blind if choice == "turns alone" else Ejections)(now=now, rng=rng)
        self._addresses = Addresses(
            now=now, rng=rng, ejections=self._ejections, precedence=Precedence(GLIBC, lambda _: None)
        )
        self._is_counting = "turns" not in choice
        self._idle: list[tuple[float, Address]] = []
        self._now = now

    def take(self, avoid: tuple[Address, ...]) -> Address:
        """The address of an idle connection, or of a new one."""
        if avoid and not self._addresses.has_other(ORIGIN, avoid):
            avoid = ()
        self._idle = [each for each in self._idle if each[0] > self._now()]
        idle = [each for each in reversed(self._idle) if each[1] not in avoid]
        if idle:
            chosen = min(idle, key=lambda each: self._in_flight(each[1]))
            self._idle.remove(chosen)
            address = chosen[1]
        else:
            address = self._addresses.order(ORIGIN, Answer(ADDRESSES, None, "dns"), avoid)[0]
        self.asked[address] += 1
        self._count(address, 1)
        return address

    def superseded(self, address: Address) -> None:
        """Another address was faster, which counts as a failure of *address*; its connection is closed."""
        if self._addresses.note(ORIGIN, address, is_failure=True):
            self._idle = [each for each in self._idle if each[1] != address]

    def give_back(self, address: Address, *, is_failure: bool, is_kept: bool = True) -> None:
        self._count(address, -1)
        if self._addresses.note(ORIGIN, address, is_failure=is_failure):
            self._idle = [each for each in self._idle if each[1] != address]
        if is_kept and address in self._ejections.usable(ORIGIN, ADDRESSES):
            self._idle.append((self._now() + KEPT_FOR, address))

    def cut(self, address: Address) -> None:
        """A connection to it was closed."""
        self._count(address, -1)

    def _count(self, address: Address, more: int) -> None:
        if self._is_counting:
            load = self._addresses.load(ORIGIN, address)
            assert load is not None  # the name has several, as `order` was told
            load.in_flight += more
            self._loads[address] = load  # because `Addresses` holds it weakly

    def _in_flight(self, address: Address) -> int:
        return self._loads[address].in_flight if address in self._loads else 0


class Addressed(Exchange):
    """An exchange with one of the addresses."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(upstream.servers[ADDRESSES[0]])
        self._upstream = upstream
        self._cancelled: AttemptState | None = None

    async def send(self, request: Request, attempt: AttemptState) -> Reply:
        attempt.address = address = self._upstream.take(attempt.avoid)
        attempt.reached(Phase.SENT)
        try:
            status = await self.answered(self._upstream.servers[address])
        except ReadTimeout:
            self._upstream.give_back(address, is_failure=True, is_kept=False)
            raise
        except asyncio.CancelledError:
            self._cancelled = attempt
            self._upstream.cut(address)
            raise
        self._upstream.give_back(address, is_failure=status >= 500)
        return Reply(status)

    def blame(self, request: Request, attempt: AttemptState) -> None:
        """A failure was counted with its answer; this is for an attempt that another one was faster than."""
        if attempt is self._cancelled:
            assert attempt.address is not None
            self._upstream.superseded(attempt.address)


@dataclass
class Run:
    """Seconds that each good call took, the number of failed ones, and the share of attempts at the slow address."""

    times: list[float] = field(default_factory=list)
    failed: int = 0
    slow: float = 0.0

    def quantile(self, share: float) -> float:
        return sorted(self.times)[int(len(self.times) * share)] if self.times else float("inf")


async def one(choice: str, bad: str, load: float, seed: int) -> Run:
    """Make calls at random instants; those of the first seconds don't count."""
    loop, rng, run = asyncio.get_running_loop(), Random(seed), Run()
    policy = POLICIES["defaults + hedge" if "hedge" in choice else "defaults"]
    upstream, mine = Upstream(choice, bad, rng), layers(policy, rng)
    tasks: set[asyncio.Task[None]] = set()

    async def call(mine: Pipeline) -> None:
        began_at = loop.time()
        try:
            is_good = await mine.run(Addressed(upstream), Request(), mine.begin(is_buffered=True)) == 200
        except SeawallError:
            is_good = False
        if began_at >= WARM and is_good:
            run.times.append(loop.time() - began_at)
        run.failed += began_at >= WARM and not is_good

    while loop.time() < WARM + SECONDS:
        task = asyncio.create_task(call(mine))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(rng.expovariate(load * 4 * CAPACITY))
    await asyncio.gather(*tasks)
    run.slow = upstream.asked[ADDRESSES[0]] / upstream.asked.total()
    return run


def table(seeds: int) -> str:
    """A row for each load and choice; the worst seed counts."""
    rows = [f"{'one of five':20}{'load':>6}  {'choice':28}{'failed':>8}{'p50':>10}{'p99':>10}{'at that one':>18}"]
    for bad, load in ((bad, load) for bad in BAD for load in LOADS):
        for choice in CHOICES:
            runs = [virtual(one(choice, bad, load, seed)) for seed in range(seeds)]
            p50, p99 = (max(run.quantile(share) for run in runs) for share in (0.5, 0.99))
            failed, slow = max(run.failed for run in runs), max(run.slow for run in runs)
            cells = f"{failed:>8}{p50 * 1e3:>7.0f} ms{p99 * 1e3:>7.0f} ms{slow:>18.1%}"
            rows.append(f"{bad:20}{load:>6.0%}  {choice:28}{cells}")
    return "\n".join(rows)

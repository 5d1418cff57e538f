"""
Limits and permits that many processes share, kept in Redis or Valkey.

``Limit(rate=1000, per=1.0, shared=Redis("redis://localhost"))``. One script books what a process asks for, by the
server's own clock, and answers when that may be used; nothing is read and written apart. Each limit is one key, which
vanishes when nothing is owed any more.

``Bulkhead(max_concurrent=20, shared=Redis("redis://localhost"))``. Another script keeps two keys for each bulkhead:
when the permits of each process lapse, and how many it has and could use. The keys of an origin have one hash tag, so
that they are in one slot of a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final

from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from ..config.store import Booking, Claim, Grant, Share

__all__ = ["Redis"]

SEEN_FOR: Final = 60  # s for which the store counts a process that has asked it
TIMEOUT: Final = 0.5  # s in which a connection must be made; an attempt waits 0.05 s (policy/shared.py)
MAX_WAIT: Final = 1e9  # s

SCRIPT: Final = """
-- The generic cell rate algorithm, in microseconds of the server's clock. A key holds the instant at which nothing is
-- owed any more. KEYS: the processes, then each limit. ARGV: process, for how many s it counts, longest wait; then for
-- each limit: us per request, burst, amount, charge, and what to give back: the instant after and before a booking.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait, due, before = 0, {}, {}
local function set(key, at)
  if at > now then
    redis.call('SET', key, string.format('%.17g', at), 'PX', string.format('%.0f', math.ceil((at - now) / 1000) + 1000))
  else
    redis.call('DEL', key)
  end
end
for i = 2, #KEYS do
  local a = 4 + (i - 2) * 6
  local each, burst, amount, charge = tonumber(ARGV[a]), tonumber(ARGV[a+1]), tonumber(ARGV[a+2]), tonumber(ARGV[a+3])
  local stored = redis.call('GET', KEYS[i])
  if ARGV[a+4] ~= '' and stored == ARGV[a+4] then
    stored = ARGV[a+5]
    set(KEYS[i], tonumber(stored))
  end
  due[i] = math.max(tonumber(stored or 0), now)
  if charge ~= 0 then
    due[i] = math.max(due[i] + charge * each, now)
    set(KEYS[i], due[i])
  end
  before[i] = string.format('%.17g', due[i])
  if amount > 0 then
    wait = math.max(wait, due[i] - math.max(0, burst - amount) * each - now)
  end
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2] * 1000000))
redis.call('EXPIRE', KEYS[1], ARGV[2] * 2)
local answer = {0, string.format('%.0f', wait), redis.call('ZCARD', KEYS[1])}
if wait <= tonumber(ARGV[3]) * 1000000 then
  answer[1] = 1
  for i = 2, #KEYS do
    local a = 4 + (i - 2) * 6
    local each, burst, amount = tonumber(ARGV[a]), tonumber(ARGV[a+1]), tonumber(ARGV[a+2])
    if amount > 0 then
      -- Another limit may have a longer wait: then this one is used later too, when nothing is owed to it.
      if due[i] - math.max(0, burst - amount) * each - now < wait then
        due[i] = math.max(due[i], now + wait)
      end
      due[i] = due[i] + amount * each
      set(KEYS[i], due[i])
    end
    answer[#answer + 1] = string.format('%.17g', due[i])
    answer[#answer + 1] = before[i]
  end
end
return answer
"""

CLAIM: Final = """
-- Permits that processes share, in microseconds of the server's clock. KEYS: the processes; when each one's permits
-- lapse; each one's permits, how many it could use, and the number of its last claim. ARGV: process, for how many s it
-- counts, permits of all, what it keeps, what it could use, spare ones, us until they lapse, number of the claim.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local own, all, keeps, wanted = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)
for _, process in ipairs(lapsed) do
  redis.call('ZREM', KEYS[2], process)
  redis.call('HDEL', KEYS[3], process)
end
local held, waiting, is_known, demands, others = 0, 0, 0, {wanted}, {}
local claims = redis.call('HGETALL', KEYS[3])
for i = 1, #claims, 2 do
  local has, demand, number = string.match(claims[i + 1], '(%d+) (%d+) (%d+)')
  has, demand = tonumber(has), tonumber(demand)
  if claims[i] == own then
    is_known = 1
    if tonumber(number) >= tonumber(ARGV[8]) then
      return {0, 0, 0, 1, 1}  -- a later claim came first, so nobody waits for this answer
    end
  else
    held = held + has
    waiting = waiting + math.max(0, demand - has)
    demands[#demands + 1] = demand
    others[claims[i]] = demand
  end
end
redis.call('ZADD', KEYS[1], now, own)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2] * 1000000))
redis.call('EXPIRE', KEYS[1], ARGV[2] * 2)
-- Those that want least get all of it; the rest share what is left evenly, and take turns of a second with the
-- remainder.
table.sort(demands)
local left, level, unmet = all, 0, 0
for i, demand in ipairs(demands) do
  level = math.floor(left / (#demands - i + 1))
  if demand > level then
    unmet = #demands - i + 1
    break
  end
  left = left - demand
end
local fair = wanted
if unmet > 0 and wanted > level then
  local rank = math.floor(now / 1000000)
  for process, demand in pairs(others) do
    if demand > level and process < own then
      rank = rank + 1
    end
  end
  fair = level
  if rank % unmet < left - level * unmet then
    fair = level + 1
  end
end
local room = math.max(0, all - held)
local permits = math.min(room, fair)
if unmet == 0 and waiting == 0 then
  permits = math.min(room, fair + ARGV[6])
end
if wanted + keeps + permits > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[7], own)
  redis.call('HSET', KEYS[3], own, string.format('%d %d %s', math.max(keeps, permits), wanted, ARGV[8]))
  for i = 2, 3 do
    redis.call('PEXPIRE', KEYS[i], math.ceil(ARGV[7] / 1000) + 1000)
  end
else
  redis.call('ZREM', KEYS[2], own)
  redis.call('HDEL', KEYS[3], own)
end
return {permits, math.max(0, fair - permits), waiting, redis.call('ZCARD', KEYS[1]), is_known}
"""

SHAS: Final = {
    script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (SCRIPT, CLAIM)
}  # by which the server knows them


@dataclass(frozen=True, slots=True)
class Redis:
    """
    A Redis or Valkey in which processes count together, for ``Limit(shared=...)`` and ``Bulkhead(shared=...)``.

    Args:
        url: Of the server, as redis-py takes it: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: What the names of all keys begin with. Clients that share a limit need the same.
        connect: A function that returns an asynchronous client of redis-py's kind, such as a `RedisCluster`, one of a
            Sentinel, or Valkey's, in place of the one that *url* makes. Its retries should be off, because redis-py's
            take seconds. Each engine calls it once, in its event loop, and closes what it returns.
    """

    url: str = field(default="redis://localhost", repr=False)  # it may have a password
    prefix: str = "seawall"
    connect: Callable[[], Any] | None = None

    def open(self) -> _Opened:
        """The server, for one engine; the connection is made at first use."""
        client = self.connect() if self.connect is not None else _client(self.url)
        return _Opened(client, self.prefix)


def _client(url: str) -> Any:
    once = Retry(NoBackoff(), 0)
    # policy/shared.py bounds each answer; with a socket_timeout redis-py sends by asyncio.wait_for: see fetch_fleet.py.
    return Client.from_url(url, retry=once, socket_timeout=None, socket_connect_timeout=TIMEOUT)


class _Opened:
    """A connection to the server, and the scripts."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def book(self, group: str, shares: Sequence[Share], *, process: str, max_wait: float) -> Booking:
        return await self._run(group, shares, process, max_wait, [("", "")] * len(shares))

    async def give_back(self, group: str, receipt: Any) -> None:
        shares, process, instants = receipt
        nothing = [share._replace(amount=0.0, charge=0.0) for share in shares]
        await self._run(group, nothing, process, MAX_WAIT, instants)

    async def claim(self, group: str, claim: Claim, *, process: str) -> Grant:
        key, *numbers, ttl, number = claim
        tag = f"{self._prefix}:{{{group}}}"
        keys = (f"{tag}:processes", f"{tag}:{key}:leases", f"{tag}:{key}:claims")
        answer = await self._eval(CLAIM, keys, (process, SEEN_FOR, *numbers, round(ttl * 1e6), number))
        permits, owed, waiting, processes, is_known = map(int, answer)
        return Grant(permits, owed, waiting, processes, bool(is_known))

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _run(
        self, group: str, shares: Sequence[Share], process: str, max_wait: float, back: Sequence[tuple[str, str]]
    ) -> Booking:
        tag = f"{self._prefix}:{{{group}}}"
        keys = [f"{tag}:processes", *(f"{tag}:{share.key}" for share in shares)]
        arguments: list[Any] = [process, SEEN_FOR, min(max_wait, MAX_WAIT)]
        for share, instants in zip(shares, back, strict=True):
            arguments += (1e6 / share.rate, share.burst, share.amount, share.charge, *instants)
        answer = await self._eval(SCRIPT, keys, arguments)
        is_booked, wait, processes, *instants = answer
        receipt = (shares, process, list(zip(instants[::2], instants[1::2], strict=True)))
        return Booking(math.ceil(float(wait)) / 1e6, bool(is_booked), int(processes), receipt)

    async def _eval(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await self._client.evalsha(SHAS[script], len(keys), *keys, *arguments)
        except NoScriptError:
            return await self._client.eval(script, len(keys), *keys, *arguments)

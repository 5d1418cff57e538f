"""``python -m benchmarks NAME [options]``."""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "peers": "seawall against other clients, by kind of work (requests, sizes, TLS, HTTP/2, width): CPU, speed, memory",
    "instructions": "user-space instructions per request, counted by valgrind, so that a busy machine doesn't matter",
    "calls": "how many of seawall's files and functions a request of each kind goes through",
    "layers": "CPU per call that each layer of seawall adds",
    "start": "time to import seawall and httpx, to make a client, and to the first https answer",
    "idle": "memory of 10,000 idle connections in seawall, aiohttp and bare asyncio",
    "memory": "bytes and tracked objects for each idle connection, call in flight and origin, in seawall and others",
    "garbage": "what the garbage collector costs beside many objects, as a process starts and after gc.freeze()",
    "stream": "1 GB through client.stream() of httpx, aiohttp and seawall: memory and speed",
    "fetch": "5,000 URLs over 50 hosts, eight of them bad: what arrives, how long it takes, CPU and memory",
    "workers": "seawall fetch --queue with one worker and with two: URLs a second",
    "download": "1 GB cut 20 times through client.download(): whether it arrives, what comes twice, memory",
    "dns": "names that are known, cold, dead, moved or half dead, and a DNS server that falls silent",
    "names": "1,000 random machines (hosts file, DNS, nsswitch): whether seawall and glibc resolve names alike",
    "deadlines": "1,000 random calls on sockets: how far any of them goes past its deadline",
    "unsafe": "10,000 random scripts of faults: how often a server sees a non-idempotent request twice",
    "orders": "1,000 orders under resets, lost answers and SIGKILLs of their server: how many rows they make",
    "keys": "what an Idempotency-Key costs its service, by store: CPU and time a request",
    "reliability": "a scoreboard of nine clients: outages, isolation, cancellation, garbage",
    "reality": "httpx, aiohttp, their retries and seawall on real servers: nginx, HAProxy, uvicorn, lost packets",
    "waiting": "what a call that waits costs, as more wait: CPU of each, for a permit, a limit, an origin that is away",
    "shared": "a limit that four processes share through Redis: its bound, how much is used, round trips, CPU",
    "hedge": "the slowest answers with and without a second attempt, where 1 % or one of five addresses is slow",
    "simulate": "overload, metastable failures and herds on the virtual clock, through the real layers",
    "soak": "100,000 calls over all kinds of fault, cancelled at random: what they leave behind",
    "proxies": "one bad proxy of three: what it does to the slowest answers through the other two",
    "cancellations": "10,000 calls through proxies, cancelled at random: what they leave behind in seawall and httpx",
    "tags": "100,000 tagged bodies, closed, shared and cancelled at random: whether a reader gets another's bytes",
    "faults": "every fault of the kit against httpx, aiohttp and seawall",
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print("usage: python -m benchmarks NAME [options]\n")
        for name, what in NAMES.items():
            print(f"  {name:12} {what}")
        return 2
    code: int = importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
    return code


if __name__ == "__main__":
    raise SystemExit(main())

"""
Random machines in a namespace: how getaddrinfo orders addresses there, and how we do.

Run as ``unshare -mn python -m tests.wire.machines SEED COUNT``; prints a line of JSON for each machine that differs.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from seawall.dns import gai_conf
from seawall.dns.precedence import Precedence
from seawall.dns.sources import Sources
from seawall.origin import Address

OWN = "10.1.2.3/24 10.1.9.9/16 192.168.7.7/30 100.64.1.1/10 169.254.3.3/16 203.0.113.5/25 8.8.8.1/32"
OWN_SIX = "2001:db8:1::2/64 2001:db8:2:3::4/48 fd00:1::1/64 fec0::7/64 2002:a01:203::1/48 2001::53/32"
ROUTES = "default 10.0.0.0/8 172.16.0.0/12 203.0.0.0/8"
ROUTES_SIX = "default 2000::/3 fd00::/8 2002::/16 64:ff9b::/96 ::/96"
TO = """127.0.0.1 127.0.0.9 10.1.2.1 10.1.2.66 10.1.2.200 10.1.77.1 10.9.9.9 192.168.7.5 192.168.7.6 169.254.9.9 1.1.1.1
    203.0.113.1 203.0.113.99 203.0.113.200 172.16.4.4 8.8.8.8 8.8.8.1"""
TO_SIX = """::1 2001:db8:1::9 2001:db8:2:3::99 2001:db8:2:9::1 2a00:1450::5 2600::7 fd00:1::99 fd77::1 fec0::9 3ffe::1
    2002:c000:201::1 2001::77 64:ff9b::808:808 ::5.6.7.8 fe80::9"""
PREFIXES = """::1/128 ::/0 2002::/16 ::/96 ::ffff:0:0/96 fc00::/7 2001:db8::/32 ::ffff:10.0.0.0/104 2001:db8:1::/49
    fd00:1::/97 ::ffff:10.1.2.0/121 nonsense/1 10.0.0.0/8 ::/129 2000::/ ::/x"""
SCOPED = """10.0.0.0/8 ::ffff:127.0.0.0/104 0.0.0.0/0 203.0.113.128/25 ::ffff:0:0/96 ::/0 10.1.2.1/32 10.0.0.0/33
    ::ffff:10.1.0.0/95 x/3"""
VALUES = ["0", "1", "5", "14", "40", "45", "100", "", "x", "-1", "+7", "2147483648", "3 # why"]


def ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], stderr=subprocess.DEVNULL).returncode == 0


def dress(rng: random.Random) -> None:
    """Interfaces, addresses and routes at random; what the kernel refuses is left out."""
    interfaces = ["one", "two"]
    for each in interfaces:
        subprocess.run(["ip", "link", "add", each, "type", "veth", "peer", "name", f"{each}s"], check=True)
        ip("link", "set", f"{each}s", "up", "addrgenmode", "none")
    if rng.random() < 0.3 and ip("link", "add", "six", "type", "sit", "remote", "10.1.2.1", "local", "10.1.2.3"):
        interfaces.append("six")
    if rng.random() < 0.1:
        ip("link", "set", "lo", "up")
    for each in interfaces:
        ip("link", "set", each, "up", "addrgenmode", "none")
    four = rng.sample(OWN.split(), rng.randint(0, 4)) if rng.random() < 0.9 else []
    six = rng.sample(OWN_SIX.split(), rng.randint(0, 4)) if rng.random() < 0.8 else []
    for each in four:
        ip("address", "add", each, "dev", rng.choice(interfaces[:2]))
    for each in six:
        life = ["preferred_lft", "0"] if rng.random() < 0.25 else []
        ip("-6", "address", "add", each, "dev", rng.choice(interfaces), "nodad", *life)
    for each in rng.sample(ROUTES.split(), rng.randint(0, 3)):
        ip("route", "add", each, "dev", rng.choice(interfaces[:2]))
    for each in rng.sample(ROUTES_SIX.split(), rng.randint(0, 4)):
        kind = ["unreachable"] if rng.random() < 0.1 else []
        ip("-6", "route", "add", *kind, each, "dev", rng.choice(interfaces))


def configuration(rng: random.Random) -> str:
    lines = []
    for kind, prefixes in (("label", PREFIXES), ("precedence", PREFIXES), ("scopev4", SCOPED)):
        if rng.random() < 0.4:
            lines += [f"{kind} {rng.choice(prefixes.split())}\t{rng.choice(VALUES)}" for _ in range(rng.randint(1, 6))]
    rng.shuffle(lines)
    return "".join(f"{line}\n" for line in lines)


def compare(seed: int, folder: Path) -> dict[str, object] | None:
    """In a child, in namespaces of its own: glibc reads gai.conf once in a process."""
    rng = random.Random(seed)
    dress(rng)
    (folder / "gai.conf").write_text(configuration(rng))
    to = rng.sample(TO.split(), rng.randint(1, 6)) + rng.sample(TO_SIX.split(), rng.randint(1, 6))
    rng.shuffle(to)
    (folder / "hosts").write_text("".join(f"{each} many.test\n" for each in to))
    theirs = [info[4][0] for info in socket.getaddrinfo("many.test", 80, type=socket.SOCK_STREAM)]
    precedence = Precedence(gai_conf.read(), Sources(now=time.monotonic))
    groups = precedence.sort([Address(each) for each in to])
    if _as_numbers(theirs) == _as_numbers([address.ip for group in groups for address in group.addresses]):
        return None
    ours, left = [], list(theirs)
    for group in groups:
        mine, left = left[: len(group.addresses)], left[len(group.addresses) :]
        # glibc's order of a group that has both families is chance: rule 9 compares within a family, so by it and
        # rule 10 together a may go before b, b before c, and c before a.
        is_mixed = len({address.is_ipv6 for address in group.addresses}) == 2
        same = sorted if is_mixed else list
        ours += mine if same(_as_numbers(mine)) == same(_as_numbers([each.ip for each in group.addresses])) else [group]
    if ours == theirs:
        return None
    text = (folder / "gai.conf").read_text()
    return {"seed": seed, "asked": to, "getaddrinfo": theirs, "seawall": str(ours), "gai.conf": text}


def _as_numbers(ips: list[str]) -> list[int | None]:
    """Texts may differ: ::5.6.7.8 is ::506:708."""
    return [gai_conf.as_number(each) for each in ips]


def main(seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "host.conf").write_text("multi on\n")
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        for each in ("host.conf", "nsswitch.conf", "gai.conf", "hosts"):
            (folder / each).touch()
            Path("/etc", each).touch()
            subprocess.run(["mount", "--bind", str(folder / each), f"/etc/{each}"], check=True)
        for each in range(seed, seed + count):
            words = ["unshare", "-n", sys.executable, "-m", __spec__.name, "one", str(each), name]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
            sys.stdout.write(done.stdout.decode())
    print(json.dumps({"machines": count}))


if __name__ == "__main__":
    if sys.argv[1] == "one":
        if (found := compare(int(sys.argv[2]), Path(sys.argv[3]))) is not None:
            print(json.dumps(found))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))

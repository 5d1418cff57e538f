"""
The cells of ``python -m benchmarks faults``: every fault of the kit, a client and a method; and where each is put.

A proxy's own faults have cells for a tunnel; and for a request that the proxy forwards; and what else a port can do
before a request has cells in which that port is taken for a proxy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from seawall.testing import DNSServer, FaultProcess, Network
from seawall.testing.http.vocabulary import FAULTS, row
from seawall.testing.network import toxic
from seawall.testing.steps import MALFORMED, ODD

from .clients import CLIENTS

__all__ = ["HEAVY", "PROXIES", "THROUGH", "Cell", "cells", "place", "proxied"]

UPLOAD = 8 * 2**20  # bytes, for faults that strike a request's body
TOXICS = {
    "Latency": "Latency:0.3",
    "Bandwidth": "Bandwidth:20",
    "Slicer": "Slicer:1:0.2",
    "Limit": "Limit:20",
    "Timeout": "Timeout",
    "Reset": "Reset",
    "SlowClose": "SlowClose:1",
}
SURE = {  # instead of steps that are random or need more than one request
    "chance:0.3+500": "chance:1+500",
    "chance:0.05+close": "chance:1+close",
    "limit:2": "limit:0",
    "rate:2": "rate:0",
    "dns:droppct-30": "dns:droppct-100",
}
SECURE = {"tls": "tls", "h2:either": "h2"}  # ports that many cells share
HEAVY = ("bomb", "endless_headers", "huge_header", "many_headers", "proxy:long")  # one at a time, at the end
PROXIES = ("proxy", "tls_proxy", "socks5")  # steps
THROUGH = {"http": "proxy", "https": "tls_proxy", "socks5": "socks5"}  # kind of proxy → step
FORWARDED = {  # fault of an HTTP proxy, for a request that it forwards → whether it may be sent again
    "none": "-", "403": "N/N", "407": "N/N", "429": "S/S", "503": "S/S", "500": "I/N", "502": "I/N", "close": "I/N",
    "reset": "I/N", "hang": "I/N", "long": "I/N", "garbage": "I/N", "cut": "I/N", "early": "I/N", "hang_tunnel": "I/N",
    "close_tunnel": "I/N", "reset_tunnel": "I/N", "hang_body": "C", "close_body": "C", "reset_body": "C",
}  # fmt: skip
AS_PROXY = (
    "refuse", "blackhole", "accept_reset", "accept_close", "accept_hang", "accept_garbage", "accept_408",
    "accept_answer", "tls_hang", "tls_half", "tls_close", "tls_reset", "tls_plaintext", "tls_garbage", "tls_alert",
    "tls_alert:40",
)  # fmt: skip


@dataclass
class Cell:
    """
    One fault for one client, and the outcome.

    Attributes:
        use: How the fault is used, where that isn't the usual way: "forwarded" by a faulty proxy, "as proxy".
        through: The kind of the good proxy that its requests go through.
    """

    how: str
    phase: str
    fault: str
    safe: str
    method: str
    client: str
    url: str = ""
    good_url: str = ""
    good_key: str = ""
    key: str = ""
    use: str = ""
    through: str = ""
    size: int = 0
    http2: bool = False
    proxy: str = ""
    dns: str = ""
    skipped: str = ""
    outcome: str = ""
    seconds: float = 0.0
    requests: int = 0
    attempts: int | None = None
    is_next_good: bool | None = None
    is_right: bool = True
    is_same: bool = True
    detail: str = ""
    wrong: list[str] = field(default_factory=list)


def cells(client: str) -> list[Cell]:
    """The cells of one client: all faults of the vocabulary that a server, a name or a network can cause."""
    found: dict[tuple[str, str], Cell] = {}
    for fault in FAULTS:
        for how in (SURE.get(how, how) for how in fault.how.split()):
            if how.startswith("py:") or how == "net:Link.down":
                continue  # see `left_out`
            for method in _methods(how):
                cell = Cell(how, fault.phase, fault.fault, fault.safe, method, client)
                found.setdefault((how, method), cell)
    for kind, answers, safe in (("odd", ODD, "-"), ("malformed", MALFORMED, "I/N")):
        for name, (fault_name, _) in answers.items():
            cell = Cell(f"{kind}:{name}", "parse", fault_name, safe, "GET", client)
            found.setdefault((cell.how, "GET"), cell)
    return list(found.values())


def proxied(client: str) -> list[Cell]:
    """The cells whose proxy forwards the request, or at whose proxy's address another server listens."""
    found = []
    for method in ("GET", "POST"):
        for fault, safe in FORWARDED.items():
            what = "forwarded by the proxy"
            phase = "body" if safe == "C" else "forward"
            found.append(Cell(f"port:proxy:{fault}", phase, what, safe, method, client, use="forwarded"))
        for step in AS_PROXY:
            known = row("port", step.partition(":")[0])
            assert known is not None
            safe = "N/N" if step in ("tls_plaintext", "tls_garbage", "tls_alert:40") else "A/A"
            found.append(Cell(f"port:{step}", "proxy", known.fault, safe, method, client, use="as proxy"))
    return found


def _methods(how: str) -> tuple[str, ...]:
    if how.startswith(("dns:", "net:")):
        return ("GET",)
    if ":request" in how or how.startswith(("early", "no_continue", "refuse_continue", "port:h2_no_window")):
        return ("POST",)
    return ("GET", "POST")


def place(
    cell: Cell,
    index: int,
    server: FaultProcess,
    network: Network,
    dns: DNSServer,
    *,
    is_system: bool = False,
    through: str = "",
) -> None:
    """
    The cell's URL, on a port of its own if it needs one; and the URL of the good request that follows.

    Args:
        is_system: Whether the system asks *dns*.
        through: The URL of the proxy that both go through.
    """
    cell.key = f"{cell.client}-{index}"
    cell.good_key = f"{cell.key}-next"
    kind, _, rest = cell.how.partition(":")
    base, query = server.url, f"?key={cell.key}"
    if cell.method == "POST":
        cell.size = UPLOAD if ":request" in cell.how or cell.how.startswith(("early", "port:h2_no_window")) else 1000
    cell.http2 = "h2" in cell.how
    if cell.http2 and not CLIENTS[cell.client].has_http2:
        cell.skipped = "has no HTTP/2"
    cell.proxy = through
    if kind == "port" and (cell.use or rest.split(":")[0] in PROXIES):
        _place_proxy(cell, rest, server)
    elif kind == "port":
        base = server.listen(rest, name=cell.key)
        cell.url = f"{base}/x/ok{query}"
        base = server.url if not cell.http2 else server.ports["h2"]
    elif kind == "dns":
        if not (CLIENTS[cell.client].is_told or is_system):
            cell.skipped = "can't be pointed at a DNS server"
        if rest in ("many-4", "v6only"):
            cell.skipped = "the fault server is not at those addresses"
        cell.dns = "" if is_system else dns.address
        port = server.url.rpartition(":")[2]
        base = f"http://good.test:{port}"
        cell.url = f"http://u{cell.key}.{rest}.test:{port}/x/ok{query}"
    elif kind == "net":
        link = network.link(server.url)
        link.add(toxic.parse(TOXICS[rest]))
        cell.url = f"{link.url}/x/ok{query}"
    else:
        if cell.http2:
            base = server.ports["h2"]
        elif cell.how.startswith(("tls_", "truncate")):
            base = server.ports["tls"]
        cell.url = f"{base}/x/{cell.how}{query}"
    cell.good_url = f"{base}/x/ok?key={cell.good_key}"
    if cell.proxy and cell.proxy.partition(":")[0] not in CLIENTS[cell.client].proxies:
        cell.skipped = f"has no {cell.proxy.partition(':')[0]} proxies"


def _place_proxy(cell: Cell, step: str, server: FaultProcess) -> None:
    """A proxy of the cell's own; no good request follows, because it would go through that, too."""
    url = server.listen(step, name=cell.key)
    if step.endswith(":ada:secret"):
        url = url.replace("://", "://ada:secret@")
    cell.proxy = url
    origin = server.url if cell.use == "forwarded" else server.ports["tls"]
    cell.url = f"{origin}/x/{'ok:100000' if step.endswith('_body') else 'ok'}?key={cell.key}"

"""The rows of the table: what happens to which server under which load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from .place import Place
from .servers import Site

Open = Callable[[Place], Site]
Script = Callable[[Site, float], None]
AFTER = 2  # s, after which something happens once


def nothing(_site: Site, _seconds: float) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Row:
    """
    Attributes:
        what: What happens, in one line.
        needs: The programs that must be installed.
        open: Starts the servers.
        script: What happens to them during the load; it gets the seconds that the load takes.
        rate: Calls a second.
        burst: Calls that are due at the same instant.
        ms: Milliseconds that the application takes for an answer.
        loss: Percent of the packets that are lost.
    """

    what: str
    needs: tuple[str, ...] = ()
    open: Open = Site.bare
    script: Script = nothing
    rate: float = 100
    seconds: float = 6
    burst: int = 1
    ms: int = 0
    http2: bool = False
    loss: int = 0


def every(gap: float, seconds: float) -> Iterator[None]:
    """Once each *gap* seconds, until the load ends."""
    begin = time.monotonic()
    for number in range(1, int(seconds / gap) + 1):
        time.sleep(max(0.0, begin + number * gap - time.monotonic()))
        yield


def restarts(site: Site, _seconds: float, *, down: float) -> None:
    site.application.restart(AFTER, down)


def stops(site: Site, _seconds: float, *, down: float) -> None:
    time.sleep(AFTER)
    site.application.stop(down)


def signals(site: Site, seconds: float, *, number: signal.Signals, gap: float) -> None:
    assert site.front is not None
    for _ in every(gap, seconds):
        site.front.signal(number)


def kills_a_worker(site: Site, seconds: float, *, gap: float) -> None:
    assert site.front is not None
    for _ in every(gap, seconds):
        os.kill(site.front.workers()[0], signal.SIGKILL)


def has_no_server(site: Site, _seconds: float, *, down: float) -> None:
    time.sleep(AFTER)
    site.admin("set server application/one state maint")
    time.sleep(down)
    site.admin("set server application/one state ready")


def limit_req(status: int, more: str = "") -> Open:
    zones = "limit_req_zone $server_name zone=all:1m rate=10r/s;"
    server = f"limit_req zone=all burst=5; limit_req_status {status};"
    if more:
        server += f" error_page {status} @later; location @later {{{{ add_header {more} always; return {status}; }}}}"
    return partial(Site.nginx, zones=zones, server=server)


LIMIT_CONN = partial(Site.nginx, zones="limit_conn_zone $server_name zone=all:1m;", server="limit_conn all 4;")
TARPIT = (
    "stick-table type ip size 1k expire 10s store http_req_rate(1s)\n"
    "    http-request track-sc0 src\n"
    "    http-request tarpit deny_status 429 if {{ sc_http_req_rate(0) gt 10 }}"
)
H2 = "ssl crt {certificate} alpn h2,http/1.1"
NGINX, HAPROXY, LOSSY = ("nginx",), ("haproxy",), ("nft", "unshare", "nsenter")
RETRY_AFTER = "Retry-After 1"
ASKED = "10/s and a burst of 5 allowed (`limit_req`), 20/s asked"
KILLED = f"the application is killed after {AFTER} s, and listens again {{}} s later"

ROWS = {
    "limit-req-503": Row(what=f"{ASKED}: 503", needs=NGINX, open=limit_req(503), rate=20, seconds=8),
    "limit-req-503-after": Row(
        what=f"{ASKED}: 503, Retry-After: 1", needs=NGINX, open=limit_req(503, RETRY_AFTER), rate=20, seconds=8
    ),
    "limit-req-429": Row(what=f"{ASKED}: 429", needs=NGINX, open=limit_req(429), rate=20, seconds=8),
    "limit-req-429-after": Row(
        what=f"{ASKED}: 429, Retry-After: 1", needs=NGINX, open=limit_req(429, RETRY_AFTER), rate=20, seconds=8
    ),
    "limit-conn": Row(
        what="4 requests at once allowed (`limit_conn`), 100 ms each, 60/s asked: 503",
        needs=NGINX,
        open=LIMIT_CONN,
        rate=60,
        seconds=8,
        ms=100,
    ),
    "nginx-reload": Row(
        what="nginx is reloaded each 0.5 s, 50 ms each",
        needs=NGINX,
        open=Site.nginx,
        script=partial(signals, number=signal.SIGHUP, gap=0.5),
        ms=50,
    ),
    "worker-kill": Row(
        what="one of nginx's two workers is killed each 0.7 s, 200 ms each",
        needs=NGINX,
        open=Site.nginx,
        script=partial(kills_a_worker, gap=0.7),
        rate=150,
        ms=200,
    ),
    "keepalive-1s": Row(
        what="nginx closes connections that were idle for 1 s; 20 calls at once each second, 10 ms sooner or later",
        needs=NGINX,
        open=partial(Site.nginx, server="keepalive_timeout 1s;"),
        rate=20,
        burst=20,
        seconds=8,
    ),
    "nginx-502": Row(
        what=f"502 of nginx: {KILLED.format(1)}",
        needs=NGINX,
        open=Site.nginx,
        script=partial(restarts, down=1),
    ),
    "nginx-504": Row(
        what=f"504 of nginx after 0.3 s: the application stops for 1 s after {AFTER} s",
        needs=NGINX,
        open=partial(Site.nginx, server="proxy_read_timeout 300ms;"),
        script=partial(stops, down=1),
    ),
    "nginx-goaway": Row(
        what="HTTP/2, nginx ends each connection after 20 requests (GOAWAY), 20 ms each",
        needs=NGINX,
        open=partial(Site.nginx, listen="ssl http2", server="keepalive_requests 20;"),
        ms=20,
        http2=True,
    ),
    "haproxy-queue": Row(
        what="HAProxy's `maxconn 4` queues for 1 s at most, 100 ms each, 60/s asked: 503",
        needs=HAPROXY,
        open=partial(Site.haproxy, server="maxconn 4", defaults="timeout queue 1s"),
        rate=60,
        seconds=8,
        ms=100,
    ),
    "haproxy-tarpit": Row(
        what="HAProxy holds requests beyond 10 in 1 s for 1 s (`tarpit`), then 429; 20/s asked",
        needs=HAPROXY,
        open=partial(Site.haproxy, defaults="timeout tarpit 1s", frontend=TARPIT),
        rate=20,
        seconds=8,
    ),
    "haproxy-no-server": Row(
        what=f"HAProxy has no server for 1 s after {AFTER} s: 503",
        needs=HAPROXY,
        open=Site.haproxy,
        script=partial(has_no_server, down=1),
    ),
    "haproxy-reload": Row(
        what="HAProxy is reloaded each 1 s, 50 ms each",
        needs=HAPROXY,
        open=Site.haproxy,
        script=partial(signals, number=signal.SIGUSR2, gap=1.0),
        ms=50,
    ),
    "haproxy-goaway": Row(
        what="HTTP/2, HAProxy is reloaded each 1 s (GOAWAY), 50 ms each",
        needs=HAPROXY,
        open=partial(Site.haproxy, bind=H2),
        script=partial(signals, number=signal.SIGUSR2, gap=1.0),
        ms=50,
        http2=True,
    ),
    "restart-0.3": Row(what=KILLED.format(0.3), script=partial(restarts, down=0.3), seconds=8),
    "restart-1": Row(what=KILLED.format(1), script=partial(restarts, down=1), seconds=8),
    "restart-2": Row(what=KILLED.format(2), script=partial(restarts, down=2), seconds=8),
    "restart-5": Row(what=KILLED.format(5), script=partial(restarts, down=5), seconds=9),
    "stop-2": Row(
        what=f"the application stops for 2 s after {AFTER} s (SIGSTOP)", script=partial(stops, down=2), seconds=8
    ),
    "loss-5": Row(what="5 % of the packets are lost, each way", needs=LOSSY, rate=50, loss=5),
    "loss-20": Row(what="20 % of the packets are lost, each way", needs=LOSSY, rate=50, loss=20),
}

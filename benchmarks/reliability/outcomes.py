"""A, B and C: how a client handles a failure: its error class, its deadline, its retries."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from typing import Any

from .board import SLACK, Board, Check, NotRun, Verdict, is_error, passed
from .child import DEADLINE, RATE, TIMEOUT
from .names import served

CERTIFICATES = (
    "expired", "not_yet_valid", "wrong_host", "self_signed", "untrusted_root", "no_intermediate", "wants_client",
)  # fmt: skip
LATE = ["drip", "drip:headers", "info_endless", "endless_headers", "delay:0.5+redirect:10"]
QUICK = 0.1  # s
BURST = 0.1  # s in which at most twice the offered requests may come
CLIENTS_AT_ONCE = 1000
BIN, MOST_IN_A_BIN = 0.05, 0.15  # s; three times the mean of a second's


def root_cause(board: Board) -> Verdict:
    """DNS, refused, certificate, handshake, timeout: five classes of error."""
    server, n = board.server, board.client
    urls = [
        "http://no-such-name.invalid/",
        server.listen("refuse", name=f"{n}-refuse"),
        server.listen("tls:expired", name=f"{n}-expired"),
        server.listen("tls_garbage", name=f"{n}-garbage"),
        board.url("hang")[1],
    ]
    ends = board.each(*(("GET", url, {}) for url in urls))
    classes = dict.fromkeys(end["end"] for end in ends)
    return passed(all(map(is_error, ends)) and len(classes) == 5, ", ".join(classes))


def deadline(board: Board) -> Verdict:
    """What drips (a TLS handshake too), sends 103 or headers for ever or redirects slowly: a timeout by 3.1 s; of
    headers any error."""
    urls = [board.url(step)[1] for step in LATE] + [board.server.listen("tls_drip", name=board.key())]
    ends = board.each(*(("GET", url, {"follow": True}) for url in urls))
    late = [
        f"{step} {end['end']} {end['seconds']:.2f} s"
        for step, end in zip([*LATE, "tls_drip"], ends, strict=True)
        if end["seconds"] > DEADLINE + 0.1 or not (end["is_timeout"] or (step == "endless_headers" and is_error(end)))
    ]
    return passed(not late, "; ".join(late))


def deadline_over_retries(board: Board) -> Verdict:
    """503 with Retry-After 1 for ever is returned by 3 s; a server that hangs is a timeout by 3 s."""
    refused, silent = board.each(("GET", board.url("503:1")[1], {}), ("GET", board.url("hang")[1], {}))
    ok = refused["end"] == "503" and silent["is_timeout"]
    ok = ok and max(refused["seconds"], silent["seconds"]) <= DEADLINE + SLACK
    return passed(ok, "; ".join(f"{end['end']} after {end['seconds']:.2f} s" for end in (refused, silent)))


def upload(board: Board) -> Verdict:
    """A server that never reads 32 MB: a timeout after 1 s."""
    (end,) = board.each(("POST", board.url("hang:request")[1], {"body": 32 * 2**20}))
    ok = end["is_timeout"] and end["seconds"] <= TIMEOUT + SLACK
    return passed(ok, f"{end['end']} after {end['seconds']:.2f} s")


def amplification(board: Board) -> Verdict:
    """100 % 503, 100 calls/s, 30 s: attempts <= 1.1 x calls + 20, and <= 1.1 x calls after the first 5 s."""
    key = board.key()
    url = board.server.script(key, "503")
    found = board.run("outage", {"server": board.server.url, "key": key, "url": url})
    board.seen["after"] = found["after"], [received.at for received in board.server.attempts(key)]
    (early, attempts), (early_calls, calls) = found["attempts"], found["calls"]
    settled = (attempts - early) / (calls - early_calls)
    text = f"{attempts / calls:.2f} attempts a call, {settled:.2f} after 5 s"
    return passed(attempts <= 1.1 * calls + 20 and settled <= 1.1, text)


def recovery(board: Board) -> Verdict:
    """After that: 99 % of what begins 2 s later is good; in no 100 ms come more than twice as many as are offered."""
    if "after" not in board.seen:
        amplification(board)
    after, arrived = board.seen["after"]
    well = [end == "200" for at, end in after if at >= 2.0]
    share = sum(well) / len(well) if well else 0.0
    peak = max((sum(at <= other < at + BURST for other in arrived) for at in arrived), default=0)
    return passed(share >= 0.99 and peak <= 2 * RATE * BURST, f"{share:.1%} good, {peak} in {BURST * 1e3:.0f} ms")


def some_fail(board: Board) -> Verdict:
    """5 % fail: >= 99.9 % good with <= 1.07 attempts a call."""
    key, url = board.url("chance:0.05+503")
    ends = board.run("flaky", {"url": url})
    share, factor = ends.get("200", 0) / 2000, board.attempts(key) / 2000
    return passed(share >= 0.999 and factor <= 1.07, f"{share:.2%} good, {factor:.2f} attempts a call")


def retry_after(board: Board) -> Verdict:
    """Waited for where it is 1 s or a date; past, negative and garbage: not; a day: the answer at once."""
    wrong = []
    for script, low, high in (
        ("503:1,ok", 1.0, 1.3),
        ("503:d2,ok", 0.99, 2.3),  # because a date has whole seconds
        ("503:d-5,ok", 0, 1.0),
        ("503:-1,ok", 0, 1.0),
        ("503:zz,ok", 0, 1.0),
    ):
        key, url = board.url(script)
        board.each(("GET", url, {}))
        at = [received.at for received in board.server.attempts(key)]
        gap = at[1] - at[0] if len(at) > 1 else None
        if gap is None or not low <= gap <= high + SLACK:
            wrong.append(f"{script}: {'no retry' if gap is None else f'{gap:.2f} s'}")
    (end,) = board.each(("GET", board.url("503:86400")[1], {}))
    if end["end"] != "503" or end["seconds"] > QUICK + SLACK:
        wrong.append(f"a day: {end['end']} after {end['seconds']:.2f} s")
    return passed(not wrong, "; ".join(wrong))


def post(board: Board) -> Verdict:
    """Sent once where it may have been done; again where nothing was sent, and with a key: the same one and body."""
    order, wrong = {"body": "order"}, []
    for step in ("reset", "close", "hang", "503"):
        key, url = board.url(step)
        board.each(("POST", url, order))
        if board.attempts(key) != 1:
            wrong.append(f"{step}: {board.attempts(key)}")
    for step in ("refuse", "blackhole", "tls_hang"):
        url = board.server.listen(step, name=board.key())
        before = _dials()
        board.each(("POST", url, order))
        if (count := _dials() - before) < 2:
            wrong.append(f"{step}: {count}")
    with suppress(NotRun), served(board) as names:
        (end,) = names.run("each", {"calls": [("POST", names.url("u1.failfirst-2"), order)]})
        if end["end"] != "200":
            wrong.append(f"DNS fails twice: {end['end']}")
    key, url = board.url("reset,ok")
    board.each(("POST", url, order | {"headers": {"idempotency-key": '"k"'}}))
    seen = board.server.attempts(key)
    sent = {(each.sha256, value) for each in seen for name, value in each.headers if name.lower() == "idempotency-key"}
    if len(seen) != 2 or len(sent) != 1:
        wrong.append(f"with a key: {len(seen)}")
    return passed(not wrong, "; ".join(wrong))


def _dials() -> int:
    """SYNs of this network so far, because only the system sees those that are refused or swallowed."""
    names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Tcp:"))  # noqa: SIM115
    return int(dict(zip(names, values, strict=True))["ActiveOpens"])


def permanent(board: Board) -> Verdict:
    """Bad certificates, one that the server wants, no such name, 501, 404, another scheme: one attempt, at once."""
    server, wrong = board.server, []

    def judge(what: str, end: dict[str, Any], count: int, status: str = "") -> None:
        is_right = end["end"] == status if status else is_error(end)
        if not is_right or count != 1 or end["seconds"] > QUICK + SLACK:
            wrong.append(f"{what}: {end['end']}, {count} in {end['seconds']:.2f} s")

    for certificate in CERTIFICATES:
        name = board.key()
        (end,) = board.each(("GET", server.listen(f"tls:{certificate}", name=name), {}))
        judge(certificate, end, server.conns()[name]["connections"])
    for step in ("501", "404"):
        key, url = board.url(step)
        (end,) = board.each(("GET", url, {}))
        judge(step, end, board.attempts(key), status=step)
    with suppress(NotRun), served(board) as names:
        (end,) = names.run("each", {"calls": [("GET", names.url("u1.nx"), {})]})
        judge("no such name", end, math.ceil(names.queries() / 2))
    (end,) = board.each(("GET", "ftp://127.0.0.1/", {}))
    judge("ftp", end, 1)
    return passed(not wrong, "; ".join(wrong))


def one_shot(board: Board) -> Verdict:
    """A body that can be read once, and 503: no short body is ever sent."""
    key, url = board.url("503,ok")
    board.each(("PUT", url, {"body": "iterator"}))
    lengths = [each.length for each in board.server.attempts(key)]
    return passed(set(lengths) == {10_000}, f"bodies of {lengths}")


def herd(board: Board) -> Verdict:
    """1,000 clients get 503: at most 15 % of the first retries come within the same 50 ms after it."""
    made = [board.url("503,ok") for _ in range(CLIENTS_AT_ONCE)]
    board.run("herd", {"urls": [url for _, url in made]}, timeout=20.0, deadline=30.0)
    seen = [board.server.attempts(key) for key, _ in made]
    gaps = Counter(int((attempts[1].at - attempts[0].at) / BIN) for attempts in seen if len(attempts) > 1)
    retried = sum(gaps.values())
    if not retried:
        return passed(True, "no retries")
    most = max(gaps.values()) / retried
    return passed(most <= MOST_IN_A_BIN, f"{retried} retries, {most:.0%} of them within 50 ms")


CHECKS: dict[str, tuple[float, Check]] = {
    "A4 root cause is typed": (3, root_cause),
    "B1 a deadline over drips": (6, deadline),
    "B2 a deadline over retries": (3, deadline_over_retries),
    "B3 upload that nobody reads": (1, upload),
    "C1 amplification in an outage": (4, amplification),
    "C2 5 % failures": (2, some_fail),
    "C3 recovery after it": (2, recovery),
    "C4 Retry-After": (2, retry_after),
    "C5 POST": (3, post),
    "C6 a herd": (1, herd),
    "C7 permanent failures": (2, permanent),
    "C8 one-shot body": (1, one_shot),
}

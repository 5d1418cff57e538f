"""A and B and C: what a client makes of a failure: its class, its deadline, its retries."""

from __future__ import annotations

from collections import Counter

from .board import SLACK, Board, Check, Verdict, passed
from .child import DEADLINE

CERTIFICATES = ("expired", "not_yet_valid", "wrong_host", "self_signed", "untrusted_root", "no_intermediate")
LATE = ["drip", "drip:headers", "info_endless", "delay:0.5+redirect:10"]
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
    ends = [end["end"] for end in board.each(*(("GET", url, {}) for url in urls))]
    return passed(len(set(ends)) == 5, ", ".join(dict.fromkeys(ends)))


def deadline(board: Board) -> Verdict:
    """What drips, sends 103 for ever or redirects slowly ends by 3 s."""
    ends = board.each(*(("GET", board.url(step)[1], {"follow": True}) for step in LATE))
    late = [
        f"{step} {end['seconds']:.1f} s"
        for step, end in zip(LATE, ends, strict=True)
        if end["seconds"] > DEADLINE + SLACK + 0.1
    ]
    return passed(not late, "; ".join(late))


def deadline_over_retries(board: Board) -> Verdict:
    """503 for ever with Retry-After 1: over by 3 s, and the answer or its error comes out."""
    (end,) = board.each(("GET", board.url("503:1")[1], {}))
    is_over = end["seconds"] <= DEADLINE + SLACK and end["end"] != "no end"
    return passed(is_over, f"{end['end']} after {end['seconds']:.1f} s")


def upload(board: Board) -> Verdict:
    """A server that never reads 32 MB: a timeout after 1 s."""
    (end,) = board.each(("POST", board.url("hang:request")[1], {"body": 32 * 2**20}))
    is_timeout = end["seconds"] <= 1 + SLACK + 0.2 and "imeout" in end["end"]
    return passed(is_timeout, f"{end['end']} after {end['seconds']:.1f} s")


def amplification(board: Board) -> Verdict:
    """100 % 503 at 100 calls/s: attempts <= 1.1 x calls + 20."""
    key, bad = board.url("503")
    found = board.run("outage", {"bad": bad, "good": board.url("ok")[1]})
    attempts, calls = board.attempts(key), found["calls"]
    board.seen["after"] = found["after"]
    return passed(attempts <= 1.1 * calls + 20, f"{attempts / calls:.2f} attempts a call")


def recovery(board: Board) -> Verdict:
    """After that: 99 % good within 2 s."""
    if "after" not in board.seen:
        amplification(board)
    well = [end == "200" for at, end in board.seen["after"] if at >= 2.0]
    share = sum(well) / len(well) if well else 0.0
    return passed(share >= 0.99, f"{share:.1%} good")


def some_fail(board: Board) -> Verdict:
    """5 % fail: >= 99.9 % good with <= 1.07 attempts a call."""
    key, url = board.url("chance:0.05+503")
    ends = board.run("flaky", {"url": url})
    share, factor = ends.get("200", 0) / 2000, board.attempts(key) / 2000
    return passed(share >= 0.999 and factor <= 1.07, f"{share:.2%} good, {factor:.2f} attempts a call")


def retry_after(board: Board) -> Verdict:
    """Waited for where it is 1 s or a date; past and garbage: not; a day: the answer at once."""
    wrong = []
    for script, low, high in (
        ("503:1,ok", 1.0, 1.4),
        ("503:d2,ok", 0.9, 2.4),
        ("503:d-5,ok", 0, 1.5),
        ("503:zz,ok", 0, 1.5),
    ):
        key, url = board.url(script)
        board.each(("GET", url, {}))
        at = [received.at for received in board.server.attempts(key)]
        gap = at[1] - at[0] if len(at) > 1 else None
        if gap is None or not low <= gap <= high:
            wrong.append(f"{script}: {'no retry' if gap is None else f'{gap:.1f} s'}")
    (end,) = board.each(("GET", board.url("503:86400")[1], {}))
    if end["end"] != "503" or end["seconds"] > 0.1 + SLACK:
        wrong.append(f"a day: {end['end']} after {end['seconds']:.1f} s")
    return passed(not wrong, "; ".join(wrong))


def post(board: Board) -> Verdict:
    """Sent once where it may have been done; again with a key, the same body."""
    wrong = []
    for step in ("reset", "close", "hang", "503"):
        key, url = board.url(step)
        board.each(("POST", url, {"body": "order"}))
        if board.attempts(key) != 1:
            wrong.append(f"{step}: {board.attempts(key)}")
    key, url = board.url("reset,ok")
    board.each(("POST", url, {"body": "order", "headers": {"idempotency-key": '"k"'}}))
    seen = board.server.attempts(key)
    if len(seen) != 2 or len({each.sha256 for each in seen}) != 1:
        wrong.append(f"with a key: {len(seen)}")
    return passed(not wrong, "; ".join(wrong))


def permanent(board: Board) -> Verdict:
    """Bad certificates, 501, 404: one attempt each."""
    server, wrong = board.server, []
    for certificate in CERTIFICATES:
        name = f"{board.client}-permanent-{certificate}"
        board.each(("GET", server.listen(f"tls:{certificate}", name=name), {}))
        if (count := server.conns()[name]["connections"]) != 1:
            wrong.append(f"{certificate}: {count}")
    for step in ("501", "404"):
        key, url = board.url(step)
        board.each(("GET", url, {}))
        if board.attempts(key) != 1:
            wrong.append(f"{step}: {board.attempts(key)}")
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

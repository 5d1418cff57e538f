"""F and G and H: what is left after cancellation and faults, what garbage does, and what the layers cost."""

from __future__ import annotations

from .board import SLACK, Board, Check, Verdict, passed

FAULTS = (
    "reset",
    "close",
    "503",
    "hang",
    "hang:body",
    "reset:body",
    "malformed:not_http",
    "drip:body",
    "encoded:gzip_bad",
    "500",
)
ENDURED = [step for step in FAULTS if step != "drip:body"] + ["lie:close"]  # clients without a deadline drip for ever
CALLS = 10_000


def cancels(board: Board) -> Verdict:
    """10,000 calls cancelled at 0 to 12 ms: then 20 of 20 are good; at the end no connection is left."""
    name = f"{board.client}-cancel"
    url = board.server.listen("serve", name=name)
    found = board.run("cancels", {"slow": f"{url}/x/delay:0.006", "good": f"{url}/x/ok"})
    left = board.server.conns()[name]["open"]
    return passed(found["good"] == 20 and left == 0, f"{found['good']} of 20 good, {left} connections left")


def closing(board: Board) -> Verdict:
    """aclose() with 100 in flight takes <= 1 s, and leaves none."""
    found = board.run("closing", {"slow": board.url("hang")[1]})
    ok = found["seconds"] <= 1.0 + SLACK and not found["open"]
    return passed(ok, f"{found['seconds']:.2f} s, {found['open']} left")


def bomb(board: Board) -> Verdict:
    """100 kB that become 100 MB, where a client has a limit 10 MB: an error, the loop <= 50 ms late, <= 64 MB."""
    job = {"url": board.url("bomb")[1], "good": board.url("ok")[1]}
    found = board.run("bomb", job, own={"max_response_size": 10_000_000})
    text = f"{found['end']}, loop {found['lag'] * 1e3:.0f} ms, {found['grown'] / 2**20:.0f} MB"
    return passed(not found["end"].isdigit() and found["lag"] <= 0.05 and found["grown"] <= 64 * 2**20, text)


def garbage(board: Board) -> Verdict:
    """A cut gzip body, length and chunks at once, headers without end: errors; a stray answer goes to nobody."""
    steps = ("encoded:gzip_truncated", "malformed:length_and_chunked", "endless_headers")
    ends = board.each(*(("GET", board.url(step)[1], {}) for step in steps))
    wrong = [
        f"{step}: {end['end']}"
        for step, end in zip(steps, ends, strict=True)
        if end["end"].isdigit() or end["end"] == "no end"
    ]
    key, _ = board.url("ok:5000")
    later = {"pause": 0.02}  # at once, nobody could tell
    first, following = board.url("second_answer")[1], f"{board.server.url}/x/ok:5000?key={key}"
    ends = board.each(("GET", first, {}), ("GET", following, later))
    if ends[1]["end"] != "200" or ends[1]["size"] != 5000:
        wrong.append(f"second_answer: the next got {ends[1]['end']}, {ends[1]['size']} bytes")
    return passed(not wrong, "; ".join(wrong))


def secrets(board: Board) -> Verdict:
    """A redirect to another origin takes neither Authorization nor cookies along."""
    key, url = board.url("location:origin")
    board.each(("GET", url, {"follow": True, "headers": {"authorization": "secret", "cookie": "a=secret"}}))
    told = [name for each in board.server.attempts(key)[1:] for name, value in each.headers if "secret" in value]
    return passed(not told, ", ".join(told))


def lag(board: Board) -> Verdict:
    """100 calls a second, half of them to faults: the loop's p99 <= 5 ms, most <= 50 ms."""
    bad = [board.url(step)[1] for step in FAULTS]
    found = board.run("mixed", {"good": board.url("ok")[1], "bad": bad})
    ok = found["p99"] <= 0.005 and found["max"] <= 0.05
    return passed(ok, f"p99 {found['p99'] * 1e3:.1f} ms, most {found['max'] * 1e3:.0f} ms")


def endurance(board: Board) -> Verdict:
    """10,000 calls over ten faults: nothing is left, <= 5 MB from the 2,000th on, nothing complains."""
    found = board.run("endurance", {"urls": [board.url(step)[1] for step in ENDURED], "calls": CALLS})
    more = {name: found["after"][name] - count for name, count in found["before"].items()}
    left = {name: count for name, count in more.items() if count > 0}
    text = f"{left or 'nothing'} left, {found['grown']:+.1f} MB"
    if found["complaints"]:
        text += f"; {sum(found['complaints'].values())} x {next(iter(found['complaints']))[:60]}"
    return passed(not left and not found["complaints"] and found["grown"] <= 5.0, text)


def layers(board: Board) -> Verdict:
    """On success, its own layers: <= 0.3 ms a call, >= 90 % of the speed without."""
    found = board.run("layers", {"url": board.url("ok")[1], "rounds": 20})
    added = found["p50"]["with"] - found["p50"]["without"]
    speed = found["rate"]["with"] / found["rate"]["without"]
    return passed(added <= 0.0003 and speed >= 0.9, f"{added * 1e6:+.0f} µs, {speed:.0%} of the speed")


CHECKS: dict[str, tuple[float, Check]] = {
    "F1 10,000 cancels": (6, cancels),
    "F2 10,000 calls over faults": (4, endurance),
    "F3 closing with 100 in flight": (2, closing),
    "G1 bomb": (2, bomb),
    "G2 garbage is noticed": (2, garbage),
    "G3 secrets on a redirect": (1, secrets),
    "H1 event loop under faults": (2, lag),
    "H2 cost of the layers": (1, layers),
}

"""Complete answers with a status that means trouble: errors, overload, redirects, authentication, unwanted types."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import re
from email.utils import formatdate
from time import gmtime, strftime
from typing import Annotated, Final, Literal
from urllib.parse import quote

from ..http.request import Request
from ..http.step import Between, Step, step
from ..http.turn import Turn

__all__ = [
    "auth",
    "content_type",
    "limit",
    "location",
    "not_acceptable",
    "rate",
    "redirect",
    "status",
]

BOTH = ("http/1.1", "h2")
USER: Final = ("user", "passwd")
NONCE: Final = "dcd98b7102dd2f0e8b11d0f600bfb0c0"
TYPES = ("text/morse", "application/json", "text/html", "text/csv", "morse/code")  # hamms', then one of ours

Code = Annotated[int, Between(200, 999)]
Location = Literal["none", "empty", "bad", "scheme", "loop", "origin", "relative"]


@step(protocols=BOTH)
async def status(turn: Turn, code: Code, retry_after: str = "") -> None:
    """This status. Retry-After: any text; d2: a date in 2 s (r2, a2: in older forms); ms500: retry-after-ms instead."""
    await turn.reply(code, _retry_after(retry_after, turn.wall))


@step(protocols=BOTH)
async def limit(turn: Turn, max_concurrent: int, seconds: float = 0.1, code: Code = 503) -> None:
    """A full queue: works this long on each request, and refuses requests beyond this many at a time."""
    if turn.memory.get("working", 0) >= max_concurrent:
        await turn.reply(code)
        return
    turn.memory["working"] = turn.memory.get("working", 0) + 1
    try:
        await asyncio.sleep(seconds)
        await turn.reply()
    finally:
        turn.memory["working"] -= 1


@step(protocols=BOTH)
async def rate(turn: Turn, count: int, seconds: float = 1.0) -> None:
    """A rate limit: 429 with Retry-After to requests beyond this many in this many seconds."""
    now = asyncio.get_running_loop().time()
    if now >= turn.memory.get("window_ends_at", 0.0):
        turn.memory.update(window_ends_at=now + seconds, taken=0)
    turn.memory["taken"] += 1
    if turn.memory["taken"] <= count:
        await turn.reply()
    else:
        await turn.reply(429, {"retry-after": str(math.ceil(turn.memory["window_ends_at"] - now))})


@step(protocols=BOTH)
async def redirect(turn: Turn, count: int = 1, code: Code = 302) -> None:
    """This many redirects in a row, then a good answer; the steps before a + come before each of them."""
    if count:
        following = Step(turn.step.parts[:-1] + redirect(count - 1, code).parts)
        await turn.reply(code, {"location": f"/x/{following}?key={quote(turn.key, safe='')}"})
    else:
        await turn.reply()


@step(protocols=BOTH)
async def location(turn: Turn, where: Location, code: Code = 302) -> None:
    """A redirect without a Location, with an invalid one, to itself, to another origin, or to another scheme."""
    port = turn.base_url.rpartition(":")[2]
    to_x = "" if turn.request.path.startswith("/x/") else "../" * (turn.request.path.count("/") - 1) + "x/"
    targets = {
        "empty": "",
        "bad": "http://[::1",
        "scheme": "ftp://localhost/",
        "loop": turn.request.target,
        "origin": f"http://localhost:{port}/x/ok?key={quote(turn.key, safe='')}",
        "relative": f"{to_x}ok?key={quote(turn.key, safe='')}",
    }
    await turn.reply(code, {} if where == "none" else {"location": targets[where]})


@step(protocols=BOTH)
async def auth(turn: Turn, scheme: Literal["basic", "bearer", "digest", "hidden"] = "basic") -> None:
    """401 unless the credentials are user and passwd (bearer: any token); "hidden": 404, without a challenge."""
    given = turn.request.headers.get("authorization", "")
    if scheme == "digest":
        is_good = _is_digest(given, turn.request)
    elif scheme == "bearer":
        is_good = given.lower().startswith("bearer ")
    else:
        is_good = given == "Basic " + base64.b64encode(":".join(USER).encode()).decode()
    challenge = f'{scheme.capitalize()} realm="faults"'
    if scheme == "digest":
        challenge += f', nonce="{NONCE}", qop="auth", algorithm=MD5'
    if is_good:
        await turn.reply()
    elif scheme == "hidden":
        await turn.reply(404)
    else:
        await turn.reply(401, {"www-authenticate": challenge})


@step(protocols=BOTH)
async def content_type(turn: Turn, name: str) -> None:
    """A good answer with this content type, although its body is JSON."""
    await turn.reply(200, {"content-type": name})


@step(protocols=BOTH)
async def not_acceptable(turn: Turn) -> None:
    """A good answer with a content type that the request's Accept doesn't allow."""
    accepted = [each.partition(";")[0].strip() for each in turn.request.headers.get("accept", "*/*").split(",")]

    def is_accepted(kind: str) -> bool:
        return any(each in ("*/*", kind, kind.partition("/")[0] + "/*") for each in accepted)

    await turn.reply(200, {"content-type": next((kind for kind in TYPES if not is_accepted(kind)), TYPES[0])})


def _retry_after(text: str, wall: float) -> dict[str, str]:
    """The headers that *text* means. Source: RFC 9110 section 5.6.7 for the three forms of a date."""
    if not text:
        return {}
    found = re.fullmatch(r"(d|r|a|ms)(-?\d+(?:\.\d+)?)", text)
    if found is None:
        return {"retry-after": text}
    form, number = found[1], float(found[2])
    if form == "ms":
        return {"retry-after-ms": found[2]}
    at = wall + number
    if form == "d":
        return {"retry-after": formatdate(at, usegmt=True)}
    return {"retry-after": strftime("%A, %d-%b-%y %H:%M:%S GMT" if form == "r" else "%a %b %e %H:%M:%S %Y", gmtime(at))}


def _is_digest(given: str, request: Request) -> bool:
    """Source: RFC 7616 section 3.4."""
    fields = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', given)}

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    user, password = USER
    if (fields.get("realm"), fields.get("nonce"), fields.get("uri")) != ("faults", NONCE, request.target):
        return False
    first = md5(f"{user}:faults:{password}")
    second = md5(f"{request.method}:{request.target}")
    middle = ":".join(fields.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
    return fields.get("username") == user and fields.get("response") == md5(f"{first}:{middle}:{second}")

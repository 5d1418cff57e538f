"""`Target`: a URL to fetch, spelled in one way, so that two spellings of it are fetched once."""

from __future__ import annotations

import ipaddress
import re
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

from ..config.hosts import canonical

__all__ = ["SHOWN", "Entry", "Refused", "Target", "is_of_site", "key_of", "refused", "target", "without_user"]

PORTS: Final = {"http": "80", "https": "443"}
SHOWN: Final = 200  # characters of a line that a row and a message repeat
_PATH: Final = r"[A-Za-z0-9\-_~!$&'()*+,;=:@]"
_NORMAL: Final = re.compile(  # the spelling that nearly every line has; it has no dots in a path that stand for folders
    rf"(https?)://([a-z0-9]+(?:[.-][a-z0-9]+)*)(:(?!80\b|443\b)(?:[1-9][0-9]{{0,3}}|[1-5][0-9]{{4}}))?"
    rf"((?:/(?:{_PATH}(?:{_PATH}|\.)*)?)+)?(\?(?:{_PATH}|[./?])+)?"
)
_CODED: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9\-._~]")
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
_USER: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Target(NamedTuple):
    """
    Attributes:
        url: As it is sent: normalised, without a fragment. Source: RFC 3986 section 6.2.
        key: 16 bytes that stand for the URL in the journal and in names of files.
        origin: Scheme, host and port, whose turn and permits it takes.
    """

    url: str
    key: bytes
    origin: str


class Refused(NamedTuple):
    """
    What stands in a list, and can't be fetched.

    Attributes:
        text: What stood there, shortened.
        key: As in `Target`, of the whole text.
        reason: Why, in words for its author.
        is_elsewhere: It is a URL that a sitemap may not list.
    """

    text: str
    key: bytes
    reason: str
    is_elsewhere: bool = False

    @property
    def origin(self) -> str:
        """None, because nothing is asked for it."""
        return ""


Entry: TypeAlias = Target | Refused


def key_of(text: str) -> bytes:
    """16 bytes, because among 10^7 URLs two then share a key once in 10^24 jobs."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def without_user(text: str) -> str:
    """*text* without the user and password of a URL in it, for what is shown and kept beside the pages."""
    return _USER.sub("", text)


def refused(text: str, reason: str) -> Refused:
    """An entry that can't be fetched."""
    return Refused(text if len(text) <= SHOWN else f"{text[:SHOWN]}…", key_of(text), reason)


def is_of_site(origin: str, site: str) -> bool:
    """
    Whether the host of *origin* is that of *site*, or one is a name below the other; ``www.`` doesn't matter.

    It says nothing of addresses: whoever has a name may have it mean any address.
    """
    one, other = ((urlsplit(each).hostname or "").removeprefix("www.").rstrip(".") for each in (origin, site))
    below, above = (one, other) if len(one) > len(other) else (other, one)
    is_name = "." in above and not above.rpartition(".")[2].isdecimal()  # else an address, which has none below it
    return one == other or (is_name and below.endswith(f".{above}"))


def target(text: str) -> Entry:
    """The URL that *text* is."""
    if match := _NORMAL.fullmatch(text):
        scheme, host, port, path, query = match.groups()
        origin = f"{scheme}://{host}{port or ''}"
        url = text if path else f"{origin}/{query or ''}"
        return Target(url, key_of(url), origin)
    try:
        return _spelled(text)
    except ValueError as error:
        return refused(text, str(error))


def _spelled(text: str) -> Target:
    if control := _CONTROL.search(text):
        raise ValueError(f"a URL can't have the control character {control[0]!r} in it")
    try:
        parts = urlsplit(text)
    except ValueError:  # whose words repeat a password
        raise ValueError("it names neither a host nor an IPv6 address that could be one") from None
    if parts.scheme not in PORTS:
        if not parts.scheme or "." in parts.scheme:
            raise ValueError("it isn't a URL: one begins with http:// or https://")
        raise ValueError(f"its scheme is {parts.scheme[:20]}, and only http and https are fetched")
    if not parts.hostname:
        raise ValueError("it names no host")
    host = _host(parts.hostname)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port isn't a number from 0 to 65535") from None
    at = "" if port is None or str(port) == PORTS[parts.scheme] else f":{port}"
    user, has_user, _ = parts.netloc.rpartition("@")
    origin = f"{parts.scheme}://{host}{at}"
    authority = f"{quote(user, safe=_SAFE_USER)}@{host}{at}" if has_user else f"{host}{at}"
    path = _without_dots(_coded(parts.path)) or "/"
    query = f"?{_coded(parts.query, '?')}" if parts.query else ""
    url = f"{parts.scheme}://{authority}{path}{query}"
    return Target(url, key_of(url), origin)


_SAFE_USER: Final = "%:!$&'()*+,;=-._~"


def _host(name: str) -> str:
    if ":" in name:
        try:
            return f"[{ipaddress.IPv6Address(name.partition('%')[0])}]"
        except ValueError:
            raise ValueError(f"{name[:SHOWN]} isn't an IPv6 address") from None
    if name.isascii() and _NAME.fullmatch(name) and ".." not in name:
        return name
    try:
        if "*" in name:
            raise ValueError(name)
        return canonical("URL", name.rstrip("."))
    except ValueError:
        raise ValueError(f"{name[:SHOWN]!r} can't be a host's name") from None


def _coded(text: str, more: str = "") -> str:
    """*text* with what a URL can't hold percent-encoded, and nothing else. Source: RFC 3986 section 6.2.2."""

    def spell(match: re.Match[str]) -> str:
        if match[1] is None:  # a percent sign that stands for itself
            return "%25"
        character = chr(int(match[1], 16))
        return character if _UNRESERVED.fullmatch(character) else f"%{match[1].upper()}"

    return quote(_CODED.sub(spell, text), safe=f"%/:@!$&'()*+,;={more}~-._")


def _without_dots(path: str) -> str:
    """Source: RFC 3986 section 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    end = "/" if path.endswith(("/.", "/..")) and kept else ""
    return f"/{'/'.join(kept)}{end}"

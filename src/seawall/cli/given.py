"""What options of a command line mean, or why they can't be: each error names its option."""

from __future__ import annotations

import re

from ..config import DNS
from ..config.check import HEADER_NAME
from ..fetch.agent import token_of
from ..fetch.order import Statuses

__all__ = ["agent_of", "headers_of", "servers_of", "size_of", "statuses_of"]

MAX_SIZE = 10**15  # B; no memory holds a body that large


def headers_of(given: list[str] | None) -> list[tuple[str, str]]:
    pairs = [each.partition(":") for each in given or ()]
    if bad := ["".join(each) for each in pairs if not each[1] or not re.fullmatch(HEADER_NAME, each[0].strip())]:
        raise ValueError(f"--header takes 'Name: value', not {bad[0]!r}")
    if bad := [each for each in given or () if not (each.isascii() and each.isprintable())]:
        raise ValueError(f"--header takes ASCII only, not {bad[0]!r}")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def servers_of(option: str, given: list[str] | None) -> tuple[str, ...]:
    for each in given or ():
        try:
            DNS(nameservers=(each,))
        except ValueError:
            raise ValueError(f"{option} takes an IP address, with or without :port, not {each!r}") from None
    return tuple(given or ())


def agent_of(name: str) -> str:
    if not (name.isascii() and name.isprintable() and token_of(name)):
        raise ValueError(f"--user-agent takes a name in ASCII such as my-bot/1.0, not {name!r}")
    return name


def statuses_of(text: str) -> Statuses:
    try:
        return Statuses(text)
    except ValueError as error:
        raise ValueError(f"--accept-status {error}") from None


def size_of(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15})([kMG]?)B?", text)
    size = int(found[1]) * {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3}[found[2]] if found else 0
    if not 1 <= size <= MAX_SIZE:
        raise ValueError(f"--max-size takes 1 to {MAX_SIZE} bytes, such as 500k, 16M or 1G, not {text!r}")
    return size

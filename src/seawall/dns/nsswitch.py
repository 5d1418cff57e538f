"""
The ``hosts:`` line of nsswitch.conf, as glibc parses it (nss/nss_database.c, nss/nss_action_parse.c; nsswitch.conf(5)).

From glibc 2.33 on, ``#`` begins a comment only at the beginning of a line, and a last line without a newline isn't
read. Up to 2.34, a machine without a ``hosts:`` line asks DNS first, and the hosts file only where DNS isn't available.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

__all__ = ["Service", "Status", "parse"]

DATABASES = re.compile(
    r"aliases|ethers|g?shadow|(group|passwd|shadow)(_compat)?|hosts|initgroups|netgroup|networks|protocols|publickey|rpc"
    r"|services"
)
DEFAULT = "files dns"
OLD_DEFAULT = "dns [!UNAVAIL=return] files"
LINE = re.compile(r"\s*([^\s:]+)[\s:]+(.*)", re.ASCII | re.DOTALL)
SERVICE = re.compile(r"\s*([^\s\[]+)\s*(\[?)", re.ASCII)
CRITERION = re.compile(
    r"\s*(!?)(SUCCESS|NOTFOUND|UNAVAIL|TRYAGAIN)\s*=\s*(RETURN|CONTINUE|MERGE)(?=[\s\]])\s*(\]?)",
    re.ASCII | re.IGNORECASE,
)
MERGE = re.compile(r"=\s*merge", re.ASCII | re.IGNORECASE)


class Status(Enum):
    """The result of one service for a name (``enum nss_status``)."""

    SUCCESS = "success"
    NOTFOUND = "notfound"
    UNAVAIL = "unavail"
    TRYAGAIN = "tryagain"


class Service(NamedTuple):
    """
    Attributes:
        name: The name of the module, such as ``files``.
        returns_on: The statuses with which this service is the last; with the others, the next one is asked.
    """

    name: str
    returns_on: frozenset[Status] = frozenset({Status.SUCCESS})


def parse(text: str, *, glibc: tuple[int, int] = (2, 36)) -> tuple[Service, ...] | None:
    """
    The services that a host's name is looked up with, in order.

    Args:
        text: The text of the file; "" where there isn't one.
        glibc: The version whose rules hold.

    Returns:
        None where the system's resolver must decide, because the file has a broken line, for which glibc discards the
        whole file, or the action ``merge``, which glibc doesn't support for hosts.
    """
    services = _services(DEFAULT if glibc >= (2, 35) else OLD_DEFAULT)
    for line in _lines(text, glibc):
        found = LINE.match(line)
        if found is None or DATABASES.fullmatch(found[1]) is None:
            continue
        parsed = _services(found[2])
        if parsed is None or (found[1] == "hosts" and MERGE.search(found[2])):
            return None
        if found[1] == "hosts":
            services = parsed
    return services


def _lines(text: str, glibc: tuple[int, int]) -> Iterator[str]:
    if glibc < (2, 33):
        return (line.partition("#")[0] + "\n" for line in text.split("\n"))
    return (line + "\n" for line in text.split("\n")[:-1])


def _services(line: str) -> tuple[Service, ...] | None:
    services, at = list[Service](), 0
    while (found := SERVICE.match(line, at)) is not None:
        returns_on, at, is_open = {Status.SUCCESS}, found.end(), bool(found[2])
        while is_open:
            criterion = CRITERION.match(line, at)
            if criterion is None:
                return None
            status = {Status[criterion[2].upper()]}
            named = set(Status) - status if criterion[1] else status
            returns_on = returns_on | named if criterion[3].upper() == "RETURN" else returns_on - named
            at, is_open = criterion.end(), not criterion[4]
        services.append(Service(found[1], frozenset(returns_on)))
    return tuple(services)

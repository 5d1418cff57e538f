"""A machine as its resolver sees it, and what its zone says. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = ["MAX_CHAIN", "Answer", "Behaviour", "Machine", "Record", "answer"]

SEPARATORS = "\n "
MAX_CHAIN = 8  # aliases that one answer holds
Behaviour: TypeAlias = Literal["good", "closed", "refused", "servfail", "formerr", "notimp", "lame", "empty", "silent"]
Kind: TypeAlias = Literal["A", "AAAA"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    What a zone has under a name.

    Attributes:
        cname: The name that this one is an alias of; it then has nothing else.
        rcode_a, rcode_aaaa: What is answered for each family; addresses count only with "NOERROR".
    """

    a: tuple[str, ...] = ()
    aaaa: tuple[str, ...] = ()
    cname: str = ""
    rcode_a: str = "NOERROR"
    rcode_aaaa: str = "NOERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    A machine, and a name that is looked up on it.

    Attributes:
        hosts, host_conf, resolv_conf, nsswitch_conf: The files in /etc; None where the file is missing.
        servers: What 127.0.0.1, 127.0.0.2 and 127.0.0.3 do at port 53.
        zone: What the good servers know, by names in lower case without a final dot; "*.x" is a wildcard.
    """

    name: str
    hosts: bytes | None = b""
    host_conf: str | None = None
    resolv_conf: str | None = "nameserver 127.0.0.1\n"
    nsswitch_conf: str | None = "hosts: files dns\n"
    hostname: str = "box"
    environ: tuple[tuple[str, str], ...] = ()
    servers: tuple[Behaviour, ...] = ("good", "good", "good")
    zone: Mapping[str, Record] = field(default_factory=dict)

    def files(self) -> dict[str, bytes | None]:
        """By their names in /etc."""
        texts = {"host.conf": self.host_conf, "resolv.conf": self.resolv_conf, "nsswitch.conf": self.nsswitch_conf}
        return {"hosts": self.hosts} | {name: None if text is None else text.encode() for name, text in texts.items()}

    def smaller(self) -> Iterator[Machine]:
        """Machines with one thing less; they show what of this one matters."""
        plain = Machine(name=self.name)
        for each in fields(self):
            if getattr(self, each.name) != getattr(plain, each.name):
                yield replace(self, **{each.name: getattr(plain, each.name)})
        if self.hosts is not None:
            for less in _with_less(self.hosts.decode("latin-1"), SEPARATORS):
                yield replace(self, hosts=less.encode("latin-1"))
        if self.resolv_conf not in (None, plain.resolv_conf):  # else it would come to the plain one, and so on
            for less in _with_less(self.resolv_conf, SEPARATORS):
                yield replace(self, resolv_conf=less)
        if self.nsswitch_conf not in (None, plain.nsswitch_conf):
            for less in _with_less(self.nsswitch_conf, SEPARATORS):
                yield replace(self, nsswitch_conf=less)
        for owner, record in self.zone.items():
            yield replace(self, zone={name: each for name, each in self.zone.items() if name != owner})
            for smaller in _records_with_less(record):
                yield replace(self, zone={**self.zone, owner: smaller})
        for number, behaviour in enumerate(self.servers):
            if behaviour != "good":
                yield replace(self, servers=(*self.servers[:number], "good", *self.servers[number + 1 :]))

    def __str__(self) -> str:
        """All that is needed to set it up by hand."""
        lines = [f"name {self.name!r} on {self.hostname!r}"]
        lines += [f"environment {name}={value!r}" for name, value in self.environ]
        for name, data in self.files().items():
            lines.append(f"/etc/{name}{' is missing' if data is None else ':'}")
            text = (data or b"").decode("utf-8", "backslashreplace").replace("\0", "\\0").replace("\r", "\\r")
            lines.append(textwrap.indent(text, "    | ", lambda _: True).rstrip())
        lines.append(f"servers {', '.join(self.servers)}; their zone:")
        for name, record in self.zone.items():
            shown = [
                f"{each.name}={getattr(record, each.name)!r}"
                for each in fields(record)
                if getattr(record, each.name) != each.default
            ]
            lines.append(f"    {name}: {', '.join(shown) or 'no address'}")
        return "\n".join(line for line in lines if line.strip())


def _with_less(text: str, separators: str) -> Iterator[str]:
    """Without one of its pieces, and those with less in one of theirs."""
    separator, others = separators[0], separators[1:]
    pieces = text.split(separator)
    for number, piece in enumerate(pieces):
        if len(pieces) > 1:
            yield separator.join(pieces[:number] + pieces[number + 1 :])
        if others and piece:
            for less in _with_less(piece, others):
                yield separator.join([*pieces[:number], less, *pieces[number + 1 :]])


def _records_with_less(record: Record) -> Iterator[Record]:
    plain = Record()
    for each in fields(record):
        value: Any = getattr(record, each.name)
        if value != getattr(plain, each.name):
            yield replace(record, **{each.name: getattr(plain, each.name)})
        if isinstance(value, tuple) and len(value) > 1:
            fewer: Any = {each.name: value[:1]}
            yield replace(record, **fewer)


class Answer(NamedTuple):
    """A good server's answer: the aliases on the way (owner, target), and the addresses of the last one."""

    rcode: str
    chain: tuple[tuple[str, str], ...] = ()
    addresses: tuple[str, ...] = ()


def answer(zone: Mapping[str, Record], name: str, kind: Kind) -> Answer:
    """The answer of *zone* for a name, which may be in any case; a circle of aliases has no address."""
    chain: list[tuple[str, str]] = []
    while len(chain) < MAX_CHAIN:
        record = _record(zone, name.lower())
        if record is None:
            return Answer("NXDOMAIN", tuple(chain))
        if not record.cname:
            rcode = record.rcode_a if kind == "A" else record.rcode_aaaa
            found = record.a if kind == "A" else record.aaaa
            return Answer(rcode, tuple(chain), found if rcode == "NOERROR" else ())
        chain.append((name, record.cname))
        name = record.cname
    return Answer("NOERROR", tuple(chain))


def _record(zone: Mapping[str, Record], name: str) -> Record | None:
    parts = name.split(".")
    for key in (name, *("*." + ".".join(parts[begin:]) for begin in range(1, len(parts)))):
        if (record := zone.get(key)) is not None:
            return record
    return None

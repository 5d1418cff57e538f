"""The DNS servers of a machine, as small as possible, because there are a thousand machines."""

from __future__ import annotations

import ipaddress
import pickle
import select
import socket
import struct
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from .machine import Behaviour, Kind, Machine, Record, answer

__all__ = ["reply", "serve"]

PORT = 53
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
TTL = 60  # s
HEADER = struct.Struct("!HHHHHH")
QR, TC, RD, RA = 0x8000, 0x0200, 0x0100, 0x0080
MAX_UDP = 512  # bytes; RFC 1035 section 4.2.1
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
KINDS: dict[int, Kind] = {1: "A", 28: "AAAA"}
CNAME, NS, IN = 5, 2, 1


def serve(commands: Connection) -> None:
    """Be the servers of one machine after another, each a pickled `Machine`; an empty message says that they are up."""
    listening: dict[socket.socket, Behaviour] = {}
    streams: dict[socket.socket, Behaviour] = {}
    zone: Mapping[str, Record] = {}
    while True:
        waiting: list[Any] = [commands, *listening, *streams]
        ready = select.select(waiting, [], [])[0]
        if commands in ready:
            try:
                machine: Machine = pickle.loads(commands.recv_bytes())
            except EOFError:
                return
            for sock in (*listening, *streams):
                sock.close()
            streams.clear()
            listening, zone = _opened(machine.servers), machine.zone
            commands.send_bytes(b"")
            continue
        for each in ready:
            if each.type == socket.SOCK_DGRAM:
                data, peer = each.recvfrom(4096)
                if out := reply(data, zone, listening[each], MAX_UDP):
                    each.sendto(out, peer)
            elif each in listening:
                streams[each.accept()[0]] = listening[each]
            elif not _answered(each, zone, streams[each]):
                del streams[each]
                each.close()


def _opened(servers: tuple[Behaviour, ...]) -> dict[socket.socket, Behaviour]:
    sockets: dict[socket.socket, Behaviour] = {}
    for host, behaviour in zip(HOSTS, servers, strict=True):
        if behaviour == "closed":
            continue
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            sock = socket.socket(socket.AF_INET, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, PORT))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            sockets[sock] = behaviour
    return sockets


def _answered(stream: socket.socket, zone: Mapping[str, Record], behaviour: Behaviour) -> bool:
    """Whether a client asked over TCP, and not only closed its end; a query comes in one piece on loopback."""
    try:
        data = stream.recv(4096)
        while len(data) > 2:
            size = int.from_bytes(data[:2], "big")
            if out := reply(data[2 : 2 + size], zone, behaviour, 65535):
                stream.sendall(len(out).to_bytes(2, "big") + out)
            data = data[2 + size :]
            if not data:
                return True
    except OSError:
        return False
    return bool(data)


def reply(query: bytes, zone: Mapping[str, Record], behaviour: Behaviour, max_size: int) -> bytes | None:
    """The answer of a server of that behaviour to a query; None means silence."""
    if behaviour == "silent" or len(query) < HEADER.size:
        return None
    labels, at = [], HEADER.size
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size].decode("latin-1"))
        at += 1 + size
    end = at + 5
    name = ".".join(labels)
    kind = KINDS.get(int.from_bytes(query[at + 1 : at + 3], "big"))
    flags = QR | RA | int.from_bytes(query[2:4], "big") & RD
    question = query[HEADER.size : end]
    ident = int.from_bytes(query[:2], "big")
    if behaviour == "lame":  # it refers the client to another server, and doesn't recurse
        referral = _wire(name) + struct.pack("!HHIH", NS, IN, TTL, len(_wire("ns.test"))) + _wire("ns.test")
        return HEADER.pack(ident, flags & ~RA, 1, 0, 1, 0) + question + referral
    if behaviour not in ("good", "empty"):
        return HEADER.pack(ident, flags | RCODES[behaviour.upper()], 1, 0, 0, 0) + question
    if kind is None or behaviour == "empty":
        return HEADER.pack(ident, flags, 1, 0, 0, 0) + question
    found = answer(zone, name, kind)
    records, owner = [], name
    for source, target in found.chain:
        records.append(_record(source, CNAME, _wire(target)))
        owner = target
    number = next(number for number, each in KINDS.items() if each == kind)
    records += [_record(owner, number, ipaddress.ip_address(each).packed) for each in found.addresses]
    out = HEADER.pack(ident, flags | RCODES[found.rcode], 1, len(records), 0, 0) + question + b"".join(records)
    if len(out) > max_size:
        return HEADER.pack(ident, flags | TC | RCODES[found.rcode], 1, 0, 0, 0) + question
    return out


def _record(owner: str, kind: int, data: bytes) -> bytes:
    return _wire(owner) + struct.pack("!HHIH", kind, IN, TTL, len(data)) + data


def _wire(name: str) -> bytes:
    labels = [label.encode("latin-1") for label in name.removesuffix(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"

"""The DNS server's life, sockets, statistics and commands."""

from __future__ import annotations

import asyncio
import errno
import gc
import random
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress

import aiodns
import dns.flags
import dns.message
import dns.rcode
import pytest

from seawall.testing.dns import DNSServer, Name, Query

from .dns_client import BOUND, ask, line, query, records


def texts(server: DNSServer, name: str) -> list[str]:
    reply = ask(server, name, "TXT", transport="tcp")
    return [b"".join(rrset[0].strings).decode() for rrset in reply.answer]


def resolver(server: DNSServer, **more: object) -> aiodns.DNSResolver:
    return aiodns.DNSResolver(nameservers=[server.address], timeout=2.0, tries=4, **more)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


# life


def test_udp_and_tcp_on_one_port():
    """The address names one port, where both answer."""
    with DNSServer() as server:
        assert server.address == f"127.0.0.1:{server.port}"
        assert server.port > 0
        for transport in ("udp", "tcp"):
            assert records(ask(server, "u.ok.test", transport=transport)) == ["A 127.0.0.1"]


def test_thread_and_sockets_end():
    """After the block no thread runs and both ports are free, with a connection open and answers to come."""
    stack = ExitStack()
    server = stack.enter_context(DNSServer())
    assert "DNSServer" in threads()
    with line(server, "tcp") as tcp, line(server) as udp:
        assert udp.is_unanswered(query("u.delay-60000.test"))
        assert tcp.is_unanswered(query("u.delay-60000.test"))
        stack.close()
        with pytest.raises(ConnectionResetError):
            tcp.receive()
    assert "DNSServer" not in threads()
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", server.port))


@pytest.mark.anyio
async def test_tasks_and_timers_end():
    """In the caller's loop nothing is left: no task, no timer, no connection."""
    before = asyncio.all_tasks()
    async with DNSServer() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        for name in ("u.drop.test", "u.delay-60000.test", "u.ok.test"):
            data = query(name).to_wire()
            writer.write(len(data).to_bytes(2, "big") + data)
        await reader.readexactly(2)
        (timer,) = server._timers
    assert asyncio.all_tasks() == before
    assert timer.cancelled()
    assert not server._streams
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    with suppress(ConnectionResetError):
        await writer.wait_closed()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_port_in_use(kind: socket.SocketKind):
    """By UDP or TCP: an error that names it, and no socket is left (that would be a ResourceWarning)."""
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port} is in use"), DNSServer(port=port):
            pass
    gc.collect()


def test_another_port_where_only_one_of_both_is_free(monkeypatch: pytest.MonkeyPatch):
    """Port 0 tries again until UDP and TCP have the same."""
    refused = []

    class Socket(socket.socket):
        def bind(self, address: tuple[str, int]) -> None:
            if self.type == socket.SOCK_STREAM and len(refused) < 3:
                refused.append(address[1])
                raise OSError(errno.EADDRINUSE, "in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)
    with DNSServer() as server:
        monkeypatch.undo()
        assert len(refused) == 3
        assert records(ask(server, "u.ok.test", transport="tcp")) == ["A 127.0.0.1"]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6():
    """The address has brackets."""
    with DNSServer(host="::1") as server, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        assert server.address == f"[::1]:{server.port}"
        sock.settimeout(BOUND)
        sock.sendto(query("u.ok.test").to_wire(), ("::1", server.port))
        assert records(dns.message.from_wire(sock.recv(512))) == ["A 127.0.0.1"]


# traffic


def test_hundreds_at_once():
    """500 queries before the first is answered: each gets its answer, once; more would need a larger kernel buffer."""
    with DNSServer() as server, ExitStack() as stack:
        peers = [stack.enter_context(line(server)) for _ in range(5)]
        names = [f"n{number}.delay-50.test" for number in range(500)]
        for number, name in enumerate(names):
            peers[number % 5].send(query(name).to_wire())
        replies = [dns.message.from_wire(peer.receive()) for peer in peers for _ in range(100)]
        assert sorted(reply.question[0].name.to_text()[:-1] for reply in replies) == sorted(names)
        assert server.queries == {(name, "A"): 1 for name in names}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("u.ok.test", "A", ["127.0.0.1"]),
        ("u.v6.test", "AAAA", ["::1"]),
        ("u.badv6.test", "AAAA", ["::ffff:127.0.0.3"]),
        ("u.tc.test", "A", ["127.0.0.1"]),
        ("u.spoof.test", "A", ["127.0.0.1"]),
        ("u.many-300.test", "A", 300),
        ("u.noedns.test", "A", ["127.0.0.1"]),
        ("u.nx.test", "A", aiodns.error.ARES_ENOTFOUND),
        ("u.nodata.test", "A", aiodns.error.ARES_ENODATA),
        ("u.refused.test", "A", aiodns.error.ARES_EREFUSED),
        ("u.servfail.test", "A", aiodns.error.ARES_ESERVFAIL),
        ("u.cnamedangling.test", "A", aiodns.error.ARES_ENOTFOUND),
    ],
)
async def test_aiodns(name: str, kind: str, found: object):
    """What a real resolver makes of it."""
    async with DNSServer() as server, resolver(server) as dns_resolver:
        try:
            answer = await dns_resolver.query_dns(name, kind)
        except aiodns.error.DNSError as error:
            assert error.args[0] == found
        else:
            addresses = [record.data.addr for record in answer.answer]
            assert (len(addresses) if isinstance(found, int) else addresses) == found


def test_many_queries_on_one_connection():
    """Answered as they can be, the slow ones last (RFC 7766), in whatever pieces they come."""
    with DNSServer() as server, line(server, "tcp") as peer:
        never, late, fast = (query(f"u.{fault}.test").to_wire() for fault in ("delay-60000", "delay-30", "ok"))
        stream = b"".join(len(data).to_bytes(2, "big") + data for data in (never, late, fast))
        for start in range(0, len(stream), 5):
            peer.sock.sendall(stream[start : start + 5])
        assert {peer.receive()[:2] for _ in range(2)} == {late[:2], fast[:2]}


def test_reader_that_is_gone_is_no_failure():
    """An answer that comes too late for its client goes nowhere."""
    with DNSServer() as server:
        for transport in ("udp", "tcp"):
            with line(server, transport) as peer:
                for kind in ("A", "AAAA"):
                    peer.send(query("u.delay-300.test", kind).to_wire())
                second = query("u.ok.test").to_wire()
                peer.send(second)
                while peer.receive()[:2] != second[:2]:
                    pass
        while server._timers:
            time.sleep(0.001)
        assert records(ask(server, "u.ok.test")) == ["A 127.0.0.1"]


QUERY = dns.message.make_query("u.ok.test", "A", id=0x1234, use_edns=-1).to_wire()


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (QUERY[:20], dns.rcode.FORMERR),
        (QUERY + b"x", dns.rcode.FORMERR),
        (QUERY[:4] + bytes(8), dns.rcode.FORMERR),
        (QUERY[:4] + b"\0\2" + bytes(6) + QUERY[12:] * 2, dns.rcode.FORMERR),
        (QUERY[:12] + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),
        (QUERY[:2] + b"\x28\0" + QUERY[4:], dns.rcode.NOTIMP),
        (QUERY[:-2] + b"\0\3", dns.rcode.REFUSED),
        (QUERY[:2] + b"\x80\0" + QUERY[4:], None),
        (QUERY[:11], None),
        (b"", None),
    ],
    ids=["cut", "more", "nothing asked", "two", "loop", "update", "chaos", "an answer", "no header", "empty"],
)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_malformed(data: bytes, rcode: dns.rcode.Rcode | None, transport: str):
    """An rcode where there is a header to answer, silence where not; and the server goes on."""
    with DNSServer() as server, line(server, transport) as peer:
        peer.send(data)
        second = query("u.ok.test")
        if rcode is not None:
            reply = peer.receive()
            assert (reply[:2], len(reply)) == (b"\x12\x34", 12)
            assert reply[2] & 0x80
            assert reply[3] & 15 == rcode
        assert records(peer.ask(second)) == ["A 127.0.0.1"]


def test_noise():
    """1,500 damaged queries are no crash; the server answers after them."""
    rng = random.Random(1)
    wires = [query("u.ok.test", edns=0).to_wire(), query("u.tc.badid.case.test").to_wire()]
    with DNSServer() as server, line(server, "tcp") as peer:
        for number in range(1500):
            data = bytearray(wires[number % 2])
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if number % 5 == 0:
                data = data[: rng.randrange(len(data))]
            peer.send(bytes(data))
        last = query("last.ok.test")
        last.id = 0xFFFF
        peer.send(last.to_wire())
        while peer.receive().find(b"\x04last") != 12:
            pass
        assert records(ask(server, "u.ok.test")) == ["A 127.0.0.1"]
        assert len(server.log) >= 1500


# statistics


def test_statistics():
    """Per name and type, those over TCP, in order in the log, as each is decided; reset forgets all."""
    seen: list[Query] = []
    with DNSServer({"api.test": Name(a=("127.0.0.1",))}, on_query=seen.append, max_log=3) as server:
        started_at = time.monotonic()
        ask(server, "API.test")
        ask(server, "api.test", transport="tcp")
        ask(server, "api.test", "AAAA")
        ask(server, "u.tc.delay-30.test")
        assert server.queries == {("api.test", "A"): 2, ("api.test", "AAAA"): 1, ("u.tc.delay-30.test", "A"): 1}
        assert server.over_tcp["api.test", "A"] == 1
        assert server.over_tcp.total() == 1
        assert [str(each) for each in seen] == [
            "udp A api.test: NOERROR 127.0.0.1",
            "tcp A api.test: NOERROR 127.0.0.1",
            "udp AAAA api.test: NOERROR",
            "udp A u.tc.delay-30.test: truncated after 30 ms",
        ]
        assert list(server.log) == seen[1:]
        assert started_at <= seen[0].at <= seen[3].at <= time.monotonic()
        server.reset()
        assert not server.queries
        assert not server.over_tcp
        assert not server.log


def test_reset_starts_faults_anew():
    """What a fault counts is forgotten too."""
    with DNSServer() as server, line(server) as peer:
        for _ in range(2):
            codes = [peer.ask(query("u.failfirst-1.test")).rcode() for _ in range(2)]
            assert codes == [dns.rcode.SERVFAIL, dns.rcode.NOERROR]
            server.reset()


def test_callback_that_raises():
    """The query is answered, and the error comes out of the block."""

    def fail(query: Query) -> None:
        raise KeyError(query.name)

    with pytest.raises(KeyError, match=r"u\.ok\.test"), DNSServer(on_query=fail) as server:
        assert records(ask(server, "u.ok.test")) == ["A 127.0.0.1"]


def test_failure_inside_the_server_comes_out():
    """A zone spoiled while running: that query stays unanswered, others don't, and the error is raised at the end."""
    server = DNSServer()
    server.zone["bad.test"] = "127.0.0.1"  # type: ignore[assignment]
    with pytest.raises(AttributeError, match="drop"), server, line(server) as peer:
        assert peer.is_unanswered(query("bad.test"))


def test_server_runs_again():
    """After its end it can be entered anew, in a thread or a loop, and counts on."""
    server = DNSServer()
    for asked in (1, 2):
        with server:
            assert records(ask(server, "u.ok.test")) == ["A 127.0.0.1"]
            assert server.queries["u.ok.test", "A"] == asked
    with pytest.raises(RuntimeError, match="DNSServer is not running"):
        server.reset()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"port": 70000}, "port must be"),
        ({"max_log": -1}, "max_log must be a number of queries, 0 or more, not -1"),
        ({"suffix": "a..b"}, "suffix must be a domain name"),
        ({"host": "192.0.2.1"}, "can't listen on 192.0.2.1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], match: str):
    """Named, with what is possible."""
    with pytest.raises((ValueError, OSError), match=match), DNSServer(**settings):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_kill_and_revive(transport: str):
    """Nothing is answered, a late answer neither, until revived or the time is over."""

    def killed(asked: Query) -> None:
        if asked.name == "u.delay-50.test":
            server.kill()

    with DNSServer(on_query=killed) as server, line(server, transport) as peer:
        peer.send(query("u.delay-50.test").to_wire())
        while not server._is_dead():
            time.sleep(0.001)
        peer.send(query("u.ok.test").to_wire())
        while not server.queries["u.ok.test", "A"] or server._timers:
            time.sleep(0.001)
        peer.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            peer.receive()
        peer.sock.settimeout(BOUND)
        server.revive()
        assert peer.ask(query("u.ok.test"))
        started_at = time.monotonic()
        server.kill(0.1)
        late = query("u.ok.test")
        while server._is_dead():
            time.sleep(0.01)
        assert 0.09 < time.monotonic() - started_at < BOUND
        assert peer.ask(late)
        with pytest.raises(ValueError, match="seconds must be 0 or more, not -1"):
            server.kill(-1)


def test_commands():
    """The same as TXT queries, which work while all else is dead and are in no statistics."""
    with DNSServer() as server, line(server) as peer:
        ask(server, "u.ok.test")
        ask(server, "v.ok.test", transport="tcp")
        ask(server, "w.ttl-x.test")
        lines = texts(server, "stats.ctl.test")
        assert lines[0] == "all 3 udp 2 tcp 1"
        assert "v.ok.test A 1 udp 0 tcp 1" in lines
        assert any(each.startswith("complaint w.ttl-x.test: ttl-S takes") for each in lines)
        assert texts(server, "u.ok.test.stats.ctl.test")[-1] == "u.ok.test A 1 udp 1 tcp 0"
        assert texts(server, "dead-10.ctl.test") == ["done"]
        assert server._is_dead()
        assert texts(server, "revive.ctl.test") == ["done"]
        assert peer.ask(query("u.ok.test"))
        texts(server, "kill.ctl.test")
        assert server._is_dead()
        assert texts(server, "reset.ctl.test") == ["done"]
        assert not server.queries
        assert ask(server, "revive.ctl.test", "A").rcode() == dns.rcode.NOERROR
        assert server._is_dead()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stat.ctl.test", "unknown command 'stat.ctl.test'; commands: stats"),
        ("x.reset.ctl.test", "unknown command"),
        ("kill-3.ctl.test", "unknown command"),
        ("dead-x.ctl.test", "dead-S takes a whole number"),
    ],
)
def test_unknown_commands(name: str, text: str):
    """The answer says what there is."""
    with DNSServer() as server:
        (said,) = texts(server, name)
        assert text in said
        assert not server._is_dead()


def test_statistics_of_thousands_fit_an_answer():
    """As many as fit, over TCP; UDP is truncated."""
    with DNSServer() as server:
        for number in range(500):
            server.queries[f"{'x' * 60}.{number}.{'y' * 60}.test", "AAAA"] = number
        assert len(texts(server, "stats.ctl.test")) == 300
        assert ask(server, "stats.ctl.test", "TXT").flags & dns.flags.TC


def test_reset_by_the_client_is_no_failure():
    """RST in the middle of a query ends that connection and nothing else."""
    with DNSServer() as server:
        with line(server, "tcp") as peer:
            peer.sock.sendall(b"\0")
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert records(ask(server, "u.ok.test", transport="tcp")) == ["A 127.0.0.1"]

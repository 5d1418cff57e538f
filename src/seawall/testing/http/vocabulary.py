"""
All ways in which a request can fail, and how this kit causes each: a table that is printed into the docs and tested.

Rules: each step, each fault of a name and each toxic stands in at least one row, and each row can be caused. The good
answers of a test's own, `json` and `text`, stand in none, because nothing fails.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FAULTS", "HAMMS", "OKHTTP", "Fault", "names", "row"]


class Fault(NamedTuple):
    """
    One way to fail.

    Attributes:
        how: What causes it: steps of a request; ``port:`` steps of a port; ``dns:`` labels of a name; ``net:`` toxics;
            ``py:`` other names of `seawall.testing`.
        sees: What a client sees.
        safe: Whether a GET / a POST may be sent again. A: always, because it was not processed; I: if it is idempotent
            or has a key; S: if the server says so; C: if the caller says so, because it has part of the body; N: no;
            -: nothing failed.
        who: Projects that test it too: U urllib3, O OkHttp, G Go, C curl, A aiohttp, R reqwest and hyper, P gRPC,
            E Envoy, X Chromium, H hamms, B badssl, T Toxiproxy.
    """

    phase: str
    fault: str
    how: str
    sees: str
    safe: str
    who: str = ""


FAULTS: Final = tuple(
    Fault(*row)
    for row in [
        ("dns", "the name does not exist (-105)", "dns:nx", "NXDOMAIN", "N/N", "C A R X"),
        ("dns", "it has no address", "dns:nodata", "NODATA", "N/N", "C"),
        ("dns", "servers fail or refuse (-137)", "dns:servfail dns:refused dns:formerr dns:notimp dns:failfirst-2",
         "SERVFAIL, REFUSED, FORMERR, NOTIMP", "A/A", "C G"),
        ("dns", "no answer; loss", "dns:drop dns:dropfirst-2 dns:droppct-30", "timeout", "A/A", "G P"),
        ("dns", "slow; one family slow", "dns:delay-300 dns:delaya-300 dns:delayaaaa-300", "a late answer", "-/-", "C"),
        ("dns", "truncated; TCP dead", "dns:tc dns:tcdrop dns:tcrefuse dns:tcponly",
         "TC, then an answer, nothing, or RST over TCP",
         "A/A", "G"),
        ("dns", "wrong id, forged, wrong question", "dns:badid dns:spoof dns:badq",
         "an answer that must be ignored", "A/A", "G"),
        ("dns", "malformed", "dns:garbage dns:short dns:cut", "bytes that are not a message", "A/A", "G"),
        ("dns", "CNAME loop, chain, dangling", "dns:cnameloop dns:cname-3 dns:cnamedangling",
         "no address, an address at the end, none", "N/N", "G"),
        ("dns", "all servers dead, then back", "dns:dead-1 py:DNSServer.kill", "timeout, then an answer", "A/A"),
        ("dns", "addresses change, rotate; TTL 0", "dns:flip-1 dns:rotate-3 dns:ttl-0 dns:cnamettl-1",
         "another address", "-/-", "P"),
        ("dns", "no EDNS; the case of names not kept", "dns:noedns dns:case", "FORMERR; a good answer", "-/-"),
        ("dns", "stampede; the first waiter cancelled", "py:DNSServer.queries", "one query for all", "-/-", "A"),
        ("dns", "10,000 names at once (-119)", "dns:drop", "a full queue", "A/A", "X G"),
        ("pool", "no slot in time", "hang:headers", "pool timeout", "A/A", "U G C"),
        ("connect", "refused (-102)", "port:refuse net:Link.down", "RST to SYN", "A/A", "H U O R P T"),
        ("connect", "blackhole (-118)", "port:blackhole", "silence, so connect timeout", "A/A", "H U O R P T"),
        ("connect", "unreachable, prohibited (-109)", "dns:unreachable", "ENETUNREACH at once", "A/A", "O X"),
        ("connect", "first of several addresses dead", "dns:deadfirst dns:badv6 dns:many-4 dns:v6 dns:v6only",
         "refused, then the next", "-/-", "O C P R A"),
        ("connect", "RST, FIN, silence or garbage at accept",
         "port:accept_reset port:accept_close port:accept_hang port:accept_garbage port:accept_answer",
         "RST, FIN, nothing or garbage before or after the request was written", "A or I", "H U T"),
        ("connect", "the first connection fails, the second is good", "port:accept_reset,serve", "RST once", "A/A",
         "O"),
        ("connect", "no file descriptors (-12)", "py:no_file_descriptors", "EMFILE", "A/A", "X"),
        ("tls", "expired, not yet valid (-201)", "port:tls:expired port:tls:not_yet_valid", "bad certificate", "N/N",
         "B U"),
        ("tls", "wrong host (-200)", "port:tls:wrong_host", "bad certificate", "N/N", "B U O"),
        ("tls", "self-signed, untrusted, no chain (-202)",
         "port:tls:self_signed port:tls:untrusted_root port:tls:no_intermediate", "bad certificate", "N/N", "B U O C"),
        ("tls", "pin doesn't match (-150)", "port:tls:rekeyed", "another key each time", "N/N", "U O B"),
        ("tls", "client certificate required (-110)", "port:tls:wants_client", "alert after the handshake", "N/N",
         "U X B"),
        ("tls", "version mismatch (-113)", "port:tls_version port:tls_version:1.1 port:tls_version:1.2",
         "alert or own error", "N/N", "H B O"),
        ("tls", "handshake stalls, half, drips", "port:tls_hang port:tls_half port:tls_drip", "timeout", "A/A",
         "H U O G"),
        ("tls", "FIN or RST in the handshake", "port:tls_close port:tls_reset", "EOF, RST", "A/A", "H C O G"),
        ("tls", "plain text, garbage, alert (-107, -159)",
         "port:tls_plaintext port:tls_garbage port:tls_alert:40 port:tls_alert:70", "protocol error", "N/N", "U"),
        ("tls", "alert internal_error", "port:tls_alert", "protocol error", "A/A", "U"),
        ("tls", "bytes injected, bad MAC", "tls_inject tls_inject:record", "decryption error", "I/N", "U"),
        ("tls", "truncated without close_notify", "truncate:body truncate:chunk truncate:start",
         "FIN inside the response", "I/N", "C"),
        ("request", "body never read, or slowly", "hang:request drip:request", "writes stall", "I/N", "O R"),
        ("request", "RST or FIN during the body", "reset:request close:request", "EPIPE, RST", "I/N", "O G"),
        ("request", "response before the body is read", "early early:413:close early:413:reset", "413, then FIN or RST",
         "S", "U G O"),
        ("request", "no 100 Continue; 417; unasked 100", "no_continue refuse_continue info:100", "nothing, or 417",
         "A", "O C G"),
        ("request", "body can't be sent again (-25)", "503,ok reset:request,ok", "a retry that needs the body", "N/N",
         "U A O X"),
        ("reply", "nothing", "hang", "read timeout", "I/N", "H U O P"),
        ("reply", "FIN without a byte (-324)", "close", "EOF", "I/N", "H U O G"),
        ("reply", "the same on a reused connection", "ok,close next next:reset next:hang next:garbage", "EOF on reuse",
         "I/N", "U O G"),
        ("reply", "RST (-101)", "reset", "RST", "I/N", "U O T"),
        ("reply", "status line or headers cut (-357)",
         "hang:headers close:headers reset:headers hang:status close:status reset:status", "timeout, EOF, RST", "I/N",
         "X"),
        ("reply", "status or headers dripped", "drip drip:status drip:headers net:Slicer",
         "no read timeout ever strikes", "I/N", "H C"),
        ("reply", "late", "delay:0.3 net:Latency", "slowness", "I/N", "H T"),
        ("reply", "interim responses: some, endless", "info info:103:20 info_endless", "1xx", "I/N", "G"),
        ("reply", "huge, many, endless headers (-325)", "huge_header many_headers endless_headers cookies",
         "too much to keep", "N", "H G A"),
        ("body", "stalls, ends, breaks off (-354)", "hang:body close:body reset:body net:Limit", "timeout, EOF, RST",
         "C", "H U O C"),
        ("body", "the same inside a chunk (-355)", "hang:chunk close:chunk reset:chunk", "timeout, EOF, RST", "C",
         "U A"),
        ("body", "bad chunks (-321)",
         "malformed:chunk_junk malformed:chunk_no_crlf malformed:chunk_huge malformed:chunk_negative", "protocol error",
         "C", "A"),
        ("body", "drips, trickles", "drip:body drip:chunk net:Bandwidth sse:0:0.2", "no read timeout ever strikes", "C",
         "H T R"),
        ("body", "gzip bad, cut, with more after it (-330)",
         "encoded:gzip_bad encoded:gzip_truncated encoded:gzip_trailing encoded:mislabelled",
         "decoding error, or nothing", "N", "U A"),
        ("body", "bomb", "bomb", "100 kB that become 100 MB", "N", "A"),
        ("body", "complete, in unusual form", "ok:100000 trailers sse encoded encoded:unknown", "a good response", "-"),
        ("body", "a content type that wasn't accepted", "not_acceptable content_type:text/morse", "text/morse", "N",
         "H"),
        ("parse", "not HTTP, 0.9, bad status (-370)",
         "malformed:not_http malformed:http09 malformed:status_junk malformed:status_4_digits", "protocol error", "I/N",
         "H U O"),
        ("parse", "odd but legal", "odd:no_reason odd:obs_fold odd:http10 odd:bare_lf", "a good response", "-", "O"),
        ("parse", "HTTP/0.5", "malformed:version_05", "protocol error", "I/N", "U"),
        ("parse", "no colon, no name, NUL", "malformed:colon_missing malformed:name_missing malformed:value_nul",
         "protocol error", "I/N", "U"),
        ("parse", "lengths that differ (-346), length and chunks",
         "malformed:lengths_differ malformed:length_negative malformed:length_and_chunked", "protocol error", "N",
         "G R"),
        ("reuse", "bytes after the response", "extra second_answer second_answer:0.05 body_on body_on:304",
         "a stray response for the next request", "-", "H G"),
        ("reuse", "idle FIN, RST, 408; lying keep-alive",
         "idle idle:reset idle:408 idle:close:0.1 keep_alive:1 lie lie:close port:accept_408", "EOF or RST on reuse",
         "A", "U G O A"),
        ("reuse", "half-open after the response", "half_close shut_input", "FIN, or nothing more", "-", "O"),
        ("reuse", "pulled cable under the pool", "net:Timeout", "silence", "I/N", "O"),
        ("h2", "REFUSED_STREAM (-351)", "h2_refused", "RST_STREAM", "A/A", "O R E X"),
        ("h2", "GOAWAY, our stream above the last", "h2_goaway", "GOAWAY", "A/A", "P C O X"),
        ("h2", "GOAWAY after the response, or idle", "h2_goaway:after h2_goaway:idle", "GOAWAY", "-", "all"),
        ("h2", "ENHANCE_YOUR_CALM", "h2_rst:11 h2_goaway:before:11", "RST_STREAM, GOAWAY", "S", "O"),
        ("h2", "INTERNAL_ERROR, CANCEL", "h2_rst h2_rst:8", "RST_STREAM", "I/N", "O"),
        ("h2", "HTTP_1_1_REQUIRED (-365)", "h2_rst:13", "RST_STREAM", "A/A", "X"),
        ("h2", "reset inside the body", "h2_rst:2:body", "RST_STREAM", "C", "O"),
        ("h2", "PING without a reply (-352), silent peer", "h2_silent port:h2_hang", "silence", "I/N", "O P"),
        ("h2", "window never opens", "port:h2_no_window", "writes stall", "I/N", "E"),
        ("h2", "streams limited to 1, lowered later", "port:h2 port:h2_streams:1 port:h2_lower", "queueing", "A/A",
         "R"),
        ("h2", "bad frame (-337, -361, -362, -363); no SETTINGS",
         "h2_bad_frame h2_bad_frame:stream h2_bad_frame:hpack h2_bad_frame:type port:h2_no_settings", "protocol error",
         "I/N", "X"),
        ("status", "408, 421, 425", "408 421 425", "the status", "A/I", "O G E"),
        ("status", "429, 503 and Retry-After", "429:1 503:d2 503:r2 503:a2 503:d-5 503:zz 503:-1 503:86400 429:ms500",
         "the status", "S/S", "U C O E"),
        ("status", "500, 502, 504", "500 502 504", "the status", "I/N", "H E"),
        ("status", "501, 505, 4xx", "501 505 404", "the status", "N"),
        ("status", "flaky; fails, then recovers", "chance:0.3+500 chance:0.05+close 503,503,ok", "sometimes a failure",
         "I", "H U"),
        ("status", "credentials required", "auth auth:bearer auth:digest auth:hidden", "401, 404", "N", "U"),
        ("redirect", "many, endless (-310), without, bad, other scheme (-311), other origin",
         "redirect:5 location:loop location:none location:empty location:bad location:scheme location:origin "
         "location:relative", "3xx", "-", "U A O"),
        ("load", "tarpit, queue full, rate limit", "delay:3+500 limit:2 rate:2", "late 500, 503, 429", "S", "E"),
        ("client", "cancelled at any await", "py:cancel_everywhere", "CancelledError", "-", "O P"),
        ("client", "closed in flight", "hang:headers", "the client's own error", "-", "A"),
        ("client", "loop blocked", "py:blocked_loop", "timers late", "-"),
        ("proxy", "works; with credentials; replies byte by byte",
         "port:proxy port:proxy:none:ada:secret port:tls_proxy port:socks5 port:socks5:none:ada:secret "
         "port:socks5:pieces", "a good response", "-", "C R"),
        ("proxy", "refuses for good: credentials, rules",
         "port:proxy:403 port:proxy:407 port:tls_proxy:good:407 port:socks5:auth port:socks5:2 port:socks5:7 "
         "port:socks5:8", "403, 407, a reply that says no", "N/N", "U C R"),
        ("proxy", "its certificate is bad",
         "port:tls_proxy:expired port:tls_proxy:not_yet_valid port:tls_proxy:wrong_host port:tls_proxy:self_signed "
         "port:tls_proxy:untrusted_root port:tls_proxy:no_intermediate", "bad certificate", "N/N", "U C"),
        ("proxy", "gives no tunnel: fails, ends, hangs, talks too much",
         "port:proxy:429 port:proxy:500 port:proxy:502 port:proxy:503 port:proxy:close port:proxy:reset "
         "port:proxy:hang port:proxy:long port:proxy:garbage port:proxy:cut port:proxy:early port:tls_proxy:good:503 "
         "port:tls_proxy:good:close port:tls_proxy:good:hang port:socks5:1 port:socks5:3 port:socks5:4 port:socks5:5 "
         "port:socks5:6 port:socks5:close port:socks5:reset port:socks5:hang port:socks5:garbage port:socks5:cut "
         "port:socks5:early", "proxy error", "A/A", "U C G"),
        ("proxy", "the tunnel hangs, or breaks off the origin's handshake",
         "port:proxy:hang_tunnel port:proxy:close_tunnel port:proxy:reset_tunnel port:tls_proxy:good:hang_tunnel "
         "port:tls_proxy:good:close_tunnel port:socks5:hang_tunnel port:socks5:close_tunnel port:socks5:reset_tunnel",
         "timeout, EOF, RST", "A/A"),
        ("body", "a proxy's tunnel hangs, or breaks off",
         "port:proxy:hang_body port:proxy:close_body port:proxy:reset_body port:tls_proxy:good:close_body "
         "port:socks5:hang_body port:socks5:close_body port:socks5:reset_body", "timeout, EOF, RST", "C"),
        ("network", "anything, switched while it runs",
         "net:Latency net:Bandwidth net:Slicer net:Limit net:Timeout net:Reset net:SlowClose net:Link.down "
         "py:ChaosTransport", "what Toxiproxy does", "", "T"),
        ("none", "no failure", "ok port:serve port:tls port:h2 dns:ok", "a good response", "-", "all"),
    ]
)  # fmt: skip

HAMMS: Final = (
    ("5500", "nothing listens", "port refuse"),
    ("5501", "accepts, reads, never sends", "port accept_hang"),
    ("5502", "FIN on connect", "port accept_close"),
    ("5503", "FIN after the first data", "close"),
    ("5504", "`foo bar` on connect, FIN", "port accept_garbage"),
    ("5505", "`foo bar` after the first data, FIN", "malformed:not_http"),
    ("5506", "the response, one byte every 5 s", "drip:start:5"),
    ("5507", "the same, every 30 s", "drip:start:30"),
    ("5508", "`?sleep=s`", "delay:5"),
    ("5509", "`?status=n`", "503 (any digits)"),
    ("5510", "a response on connect, and 1 MiB more than its length", "port accept_answer"),
    ("5511", "a cookie of 63 KiB", "cookies:64512"),
    ("5512", "500 until the n-th try of a key", "500,500,ok?key=K"),
    ("5513", "FIN at random", "chance:0.05+close"),
    ("5514", "a content type that wasn't accepted", "not_acceptable"),
    ("5515", "short body, then hangs", "hang:body"),
    ("5516", "short body, then FIN", "close:body"),
    ("not implemented", "no content type; a wrong one", "odd:no_content_type, content_type:text/morse"),
    ("not implemented", "bytes dropped at random", "net slicer, limit, timeout (TCP sends lost bytes again)"),
    ("not implemented", "byte data", "ok:N"),
    ("not implemented", "TLS: handshake timeout", "port tls_hang"),
    ("not implemented", "TLS: invalid certificate", "port tls:expired, tls:wrong_host, tls:self_signed, …"),
    ("not implemented", "TLS 1.0 only, 1.2 only", "port tls_version:1.0, tls_version:1.2"),
    ("not implemented", "TLS: the server closes", "port tls_close"),
)
"""hamms' port, or "not implemented" for its to-do list; what it does; our step."""

OKHTTP: Final = (
    ("SHUTDOWN_SERVER_AFTER_RESPONSE", "leave the server's `with` block; port refuse"),
    ("KEEP_OPEN", "ok"),
    ("DISCONNECT_AT_END", "idle:close"),
    ("UPGRADE_TO_SSL_AT_END", "port proxy, to a port tls"),
    ("DISCONNECT_AT_START", "port accept_close"),
    ("DISCONNECT_AFTER_REQUEST", "close"),
    ("DISCONNECT_DURING_REQUEST_BODY", "close:request"),
    ("DISCONNECT_DURING_RESPONSE_BODY", "close:body"),
    ("DO_NOT_READ_REQUEST_BODY", "hang:request; early:200"),
    ("FAIL_HANDSHAKE", "port tls_alert:40"),
    ("SHUTDOWN_INPUT_AT_END", "shut_input"),
    ("SHUTDOWN_OUTPUT_AT_END", "half_close"),
    ("STALL_SOCKET_AT_START", "port accept_hang"),
    ("NO_RESPONSE", "hang"),
    ("RESET_STREAM_AT_START", "h2_refused; h2_rst:CODE"),
    ("EXPECT_CONTINUE", "ok (says 100 Continue where it is expected)"),
    ("CONTINUE_ALWAYS", "info:100"),
    ("SocketEffect.CloseSocket", "close:WHERE, reset:WHERE, truncate:WHERE, half_close, shut_input"),
    ("SocketEffect.ShutdownConnection", "h2_goaway:after"),
    ("SocketEffect.CloseStream", "h2_rst:CODE:WHERE"),
    ("SocketEffect.Stall", "hang:WHERE"),
    ("throttleBody, headersDelay, bodyDelay", "drip:WHERE:INTERVAL; delay:S; net bandwidth"),
    ("informationalResponses", "info:STATUS:COUNT"),
)
"""OkHttp's MockWebServer: SocketPolicy, or what replaced it in version 5, and our step."""


def names(how: str) -> set[tuple[str, str]]:
    """(prefix, name) of each step, label or toxic in *how*; ("", name) for steps without a prefix."""
    found = set()
    for each in how.split():
        prefix, colon, rest = each.partition(":")
        if not colon or prefix not in ("port", "dns", "net", "py"):
            prefix, rest = "", each
        if prefix == "dns":
            found.add((prefix, rest.partition("-")[0]))
        elif prefix in ("net", "py"):
            found.add((prefix, rest))
        else:
            steps = (part.partition(":")[0] for step in rest.split(",") for part in step.split("+"))
            found |= {(prefix, "status" if step.isdecimal() else step) for step in steps}
    return found


def row(prefix: str, name: str) -> Fault | None:
    """The first row in which it stands without arguments, or else with some."""
    bare = f"{prefix}:{name}" if prefix else name
    rows = [fault for fault in FAULTS if (prefix, name) in names(fault.how)]
    return next((fault for fault in rows if bare in fault.how.split()), rows[0] if rows else None)

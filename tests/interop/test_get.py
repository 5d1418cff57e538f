"""``seawall get``, as its user runs it: what goes where, how it exits, and in which words."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from typer.testing import CliRunner

from seawall.cli.app import app
from seawall.cli.printing import Output
from seawall.fetch.journal import Journal
from seawall.testing import FaultServer, Request

MAIN = (sys.executable, "-c", "import sys; sys.argv[0] = 'seawall'; import seawall.cli; seawall.cli.main()")
PYTHONS = re.compile(
    r"\b(?:deadline|timeout|budget|retry|verify|max_\w+)=|\b[A-Z][a-z]+\.[a-z_]+|Traceback|Errno|_ssl\.c"
)
"""What is a setting of Python's, and of no use to someone at a shell."""


class Ran(NamedTuple):
    """What a command has done."""

    code: int
    out: bytes
    err: str


def get(*arguments: str, stdin: str | None = None) -> Ran:
    """``seawall get ...``."""
    done = CliRunner().invoke(app, ["get", *arguments], input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert not PYTHONS.search(done.stderr), done.stderr
    return Ran(done.exit_code, done.stdout_bytes, done.stderr)


def lines(text: str) -> list[str]:
    """Each line, with the white space between its words as one space."""
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def faults():
    """A fault server whose scripts need not be used up."""
    server = FaultServer(assert_all_called=False)
    with server:
        yield server


@pytest.fixture
def trusted(faults, tmp_path, monkeypatch):
    """The fault server's authority is one of this machine's."""
    path = tmp_path / "ca.pem"
    path.write_text(faults.certificates.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))


def test_only_the_body_goes_to_standard_output(faults):
    """So that it can be piped; a retry and a redirect are told of beside it."""
    assert get(faults.script("a", "ok")) == (0, b'{"key": "a", "attempt": 1, "step": "ok"}', "")
    code, out, err = get("--timing", "-v", faults.script("b", "500,redirect:1"))
    assert (code, json.loads(out)["step"]) == (0, "redirect:0")
    assert "attempt 2 of 3 in" in err


@pytest.mark.anyio
async def test_bytes_stay_as_they_are(serve):
    """In a pipe and in a file."""
    body = bytes(range(256)) + b"\r\n"

    async def binary(request: Request) -> None:
        await request.reply(200, body)

    server = await serve(binary)
    assert (await asyncio.to_thread(get, server.url))[:2] == (0, body)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("404", 0),
        ("hang", 28),
        ("close", 52),
        ("reset", 56),
        ("close:headers", 56),
        ("close:body", 18),
        ("reset:body", 56),
        ("hang:body", 28),
        ("malformed:chunk_junk", 56),
        ("malformed:not_http", 8),
        ("encoded:gzip_bad", 61),
        ("huge_header", 63),
        ("location:loop", 47),
        ("location:scheme", 1),
    ],
)
def test_how_a_response_breaks(faults, step, code):
    """The status is curl's; the message says what happened at which URL, once."""
    ran = get("--retry", "0", "--timeout", "0.2", faults.script("k", step))
    assert ran.code == code, ran
    assert ran.err.count("\n") == (code != 0), ran
    assert code == 0 or f"seawall get: {faults.url}" in ran.err, ran


@pytest.mark.parametrize(
    ("step", "scheme", "code", "said"),
    [
        ("refuse", "http", 7, "connection refused"),
        ("blackhole", "http", 28, "connecting took longer than --timeout 0.2; raise --timeout"),
        ("accept_close", "http", 52, "the server hung up without a response"),
        ("tls_close", "https", 35, "TLS handshake failed"),
        ("tls_plaintext", "https", 35, "wrong version number; the port may not speak TLS; try http://"),
        ("tls_hang", "https", 28, "TLS took longer than --timeout 0.2"),
        ("tls:expired", "https", 60, "certificate has expired; -k connects all the same"),
        ("tls:wrong_host", "https", 60, "not for localhost"),
        ("tls:wants_client", "https", 56, "alert certificate required"),
    ],
)
def test_how_a_connection_breaks(faults, trusted, step, scheme, code, said):
    """The phase makes the status."""
    port = faults.listen(step).url.rpartition(":")[2]
    ran = get("--retry", "0", "--timeout", "0.2", f"{scheme}://localhost:{port}/x/ok")
    assert (ran.code, said in ran.err, ran.out) == (code, True, b""), ran


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("example.com", 3, "such as https://example.com"),
        ("http://", 3, "no host"),
        ("http://[::1/", 3, "not a URL"),
        ("http://xn--/", 3, "not a URL"),
        ("http://127.0.0.1:99999/", 3, "from 1 to 65535"),
        ("ftp://127.0.0.1/", 1, "http:// or https://"),
        ("http://nope.invalid/", 6, "nope.invalid"),
    ],
)
def test_urls_that_lead_nowhere(url, code, said):
    """Nothing is sent, and the message says what is wrong with the URL."""
    ran = get(url)
    assert (ran.code, said in ran.err) == (code, True), ran


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@host:99999/", "me:s3cret@host", "ftp://me:s3cret@host/", "http://me:s3cret@[::1/", "x:y@"]
)
def test_a_password_in_a_url_that_leads_nowhere(url):
    """Isn't repeated."""
    ran = get(url)
    assert ran.code in (1, 3)
    assert "s3cret" not in ran.err
    assert "y@" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--deadline", "inf"), "--deadline"),
        (("--retry", "-1"), "--retry"),
        (("-H", "nope"), "--header takes 'Name: value'"),
        (("-d", "@/nope"), "--data @/nope: No such file"),
        (("-d", "x", "--json", "1"), "--data and --json"),
        (("--json", "{"), "--json takes JSON"),
        (("--json", "[" * 100_000), "--json takes JSON: it nests too deeply"),
        (("-X", "a b"), "--method takes"),
        (("-o", "a", "-o", "b"), "--output is given 2 times for 1 URL"),
    ],
)
def test_bad_options(arguments, said):
    """Status 2, before anything is sent, and which option it is."""
    done = CliRunner().invoke(app, ["get", *arguments, "http://127.0.0.1:1/"])
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        ("proxy:407", 5, "refused to connect: 407"),
        ("proxy:502", 5, "gave no connection: 502"),
        ("proxy:hang", 28, "raise --timeout"),
        ("refuse", 5, "can't be reached"),
    ],
)
def test_a_proxy_fails(faults, trusted, monkeypatch, step, code, said):
    """It isn't the server's fault, so it has a status of its own."""
    monkeypatch.setenv("HTTPS_PROXY", faults.listen(step).url)
    ran = get("--retry", "0", "--timeout", "0.2", "https://localhost:1/")
    assert (ran.code, said in ran.err) == (code, True), ran


@pytest.mark.parametrize(("name", "value", "code"), [("SSL_CERT_FILE", "/nope", 77), ("ALL_PROXY", "foo://x", 5)])
def test_an_environment_that_cannot_be(monkeypatch, name, value, code):
    """The message names the variable."""
    monkeypatch.setenv(name, value)
    ran = get("http://127.0.0.1:1/")
    assert (ran.code, name in ran.err) == (code, True), ran


@pytest.mark.parametrize("command", ["fetch urls.txt", "fetch worker foo://x", "top http://127.0.0.1:1"])
@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nope"), ("ALL_PROXY", "foo://x")])
def test_an_environment_that_cannot_be_for_other_commands(monkeypatch, tmp_path, name, value, command):
    """They say so too, before they begin."""
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "urls.txt").touch()
    done = CliRunner().invoke(app, command.split())
    assert (done.exit_code, name in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["urls.txt"]


@pytest.mark.parametrize(("name", "value"), [("SSL_CERT_FILE", "/nope"), ("ALL_PROXY", "foo://x")])
def test_names_need_no_environment(monkeypatch, name, value):
    """``seawall dns`` asks no proxy, and trusts nobody."""
    monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, ["dns", "127.0.0.1"]).exit_code == 0


@pytest.mark.parametrize("command", ["top http://127.0.0.1:1", "fetch urls.txt", "fetch worker foo://x"])
@pytest.mark.parametrize("header", ["nocolon", "X: é", ": x", "a b: x"])
def test_a_header_that_cannot_be(command, header):
    """Each command that takes headers refuses it at once."""
    done = CliRunner().invoke(app, [*command.split(), "-H", header])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(
        f"seawall {command.rpartition(' ')[0].replace('fetch list', 'fetch')}: --header takes"
    )


def test_a_certificate_that_cannot_be_written(tmp_path):
    """The option that was given is named, and not the ports."""
    done = CliRunner().invoke(app, ["faults", "--port", "0", "--ca", str(tmp_path / "no" / "ca.pem")])
    assert (done.exit_code, done.stderr.endswith("ca.pem: No such file or directory\n")) == (1, True), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_certificate_that_does_not_fit():
    """Its own file is named here too, and neither the ports nor standard output."""
    done = CliRunner().invoke(app, ["faults", "--port", "0", "--ca", "/dev/full"])
    assert (done.exit_code, done.stderr) == (1, "seawall faults: --ca /dev/full: No space left on device\n")


def test_figures_of_top_are_all_that_is_printed():
    """What is wrong goes to standard error, as of each command."""
    done = CliRunner().invoke(app, ["top", "nonsense"])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.output


def test_demo_without_standard_output(monkeypatch, tmp_path):
    """As a daemon starts it; the figures may go to a file."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        app(["demo", "--json", str(tmp_path)])
    assert ended.value.code == 2


def test_fail(faults):
    """A status of 400 or above is 22 and no body, as of curl -f; 399 and below aren't touched."""
    url = faults.script("k", "404", "204")
    assert get("-f", url) == (22, b"", f"seawall get: {faults.url}/x: 404 Not Found\n")
    assert get("-f", url).code == 0


def test_each_url_has_its_turn(faults):
    """One that fails ends nothing; the first failure's status counts."""
    urls = faults.script("a", "reset"), faults.script("b", "ok:5"), faults.script("c", "close")
    ran = get("--retry", "0", *urls)
    assert (ran.code, ran.out) == (56, b"xxxxx"), ran


@pytest.mark.parametrize(
    ("arguments", "step", "said"),
    [
        (("-X", "POST"), "503", "may have acted on the POST; -H 'Idempotency-Key: ...'"),
        ((), "503:86400", "asks to wait 86400 s; set --deadline"),
        (("--deadline", "2"), "503:60", "asks to wait 60 s; raise --deadline"),
        (("--retry", "1"), "500", "500; after 2 attempts; --retry 1 is used up"),
        (("--retry", "0"), "500", ""),
    ],
)
def test_why_no_retry_follows(faults, arguments, step, said):
    """And which option would change that. The response is printed all the same."""
    ran = get(*arguments, faults.script("k", step))
    assert (ran.code, json.loads(ran.out)["key"]) == (0, "k")
    assert said in ran.err if said else not ran.err, ran


@pytest.mark.parametrize("option", [(), ("-N",)])
def test_a_deadline(faults, option):
    """It ends a body too, streamed or not; what had come of a streamed one is printed."""
    ran = get("--deadline", "0.3", *option, faults.script("k", "hang:body"))
    assert (ran.code, bool(ran.out)) == (28, bool(option)), ran
    assert "--deadline 0.3 has passed, while receiving; raise --deadline" in ran.err


@pytest.mark.anyio
async def test_what_is_sent(serve, tmp_path):
    """Method, headers and body, as curl would have them."""
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def record(request: Request) -> None:
        seen.append((request.method, request.headers, await request.read()))
        await request.reply(200)

    path = tmp_path / "body"
    path.write_bytes(b"\xff\n")
    server = await serve(record)
    url = server.url
    for arguments, stdin in (
        ((url,), None),
        (("-d", "a=1", "-d", f"@{path}", url), None),
        (("--json", "@-", "-X", "PUT", url), '{"a": 1}'),
        (("-H", "X-A: 1", "-H", "X-A: 2", "-H", "Accept:", "-H", "user-agent: me", url), None),
    ):
        assert (await asyncio.to_thread(get, *arguments, stdin=stdin)).code == 0
    (plain, form, asked, headers) = seen
    assert (plain[0], plain[2], plain[1]["user-agent"].split("/")[0]) == ("GET", b"", "seawall")
    assert (form[0], form[2]) == ("POST", b"a=1&\xff\n")
    assert form[1]["content-type"] == "application/x-www-form-urlencoded"
    assert (asked[0], asked[2]) == ("PUT", b'{"a": 1}')
    assert (asked[1]["content-type"], asked[1]["accept"]) == ("application/json",) * 2
    assert (headers[1]["user-agent"], headers[1]["x-a"], "accept" in headers[1]) == ("me", "2", False)


def test_heads(faults):
    """-i has the last response's, before the body; --no-follow has the redirect itself be it."""
    url = faults.script("k", "redirect:1")
    assert get("-i", url).out.startswith(b"HTTP/1.1 200 OK\r\n")
    head, _, body = get("-i", "--no-follow", url).out.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 302 Found\r\n")
    assert b"\r\nlocation: /x/" in head
    assert json.loads(body)["step"] == "redirect"


def test_output_files(faults, tmp_path):
    """One for each URL; one that can't be written is known before anything is sent."""
    paths = tmp_path / "a", tmp_path / "b"
    options = [part for path in paths for part in ("-o", str(path))]
    ran = get(*options, faults.script("a", "ok:3"), faults.script("b", "ok:4"))
    assert (ran, *(path.read_bytes() for path in paths)) == (Ran(0, b"", ""), b"xxx", b"xxxx")
    ran = get("-o", str(tmp_path / "no" / "c"), faults.script("c", "ok"))
    assert (ran.code, "c: No such file" in ran.err, faults.attempts("c")) == (23, True, [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("options", [(), ("-N",), ("-i",)])
def test_a_full_disk(faults, options):
    """It shows only when the file is closed, and the status is curl's all the same."""
    ran = get(*options, "-o", "/dev/full", faults.script("k", "ok:3"))
    assert ran == (23, b"", "seawall get: /dev/full: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize(
    ("command", "redirect", "code", "said"),
    [
        ("get URL", ">/dev/full", 23, "No space left on device"),
        ("get URL", ">&-", 23, "Bad file descriptor"),
        ("dns localhost", ">/dev/full", 1, "No space left on device"),
        ("fetch status --json JOB", ">/dev/full", 1, "No space left on device"),
        ("faults --port 0", ">/dev/full", 1, "No space left on device"),
        ("demo --serve --port 0", ">/dev/full", 1, "No space left on device"),
    ],
)
def test_an_output_that_is_full_or_closed(faults, tmp_path, command, redirect, code, said):
    """A line says so, and no traceback."""
    Journal.open(tmp_path / "seawall.sqlite", {"method": "GET", "list": "x"}, now=lambda: 1.0).close()
    command = command.replace("URL", faults.script("k", "ok")).replace("JOB", str(tmp_path / "seawall.sqlite"))
    shell = ["sh", "-c", f'"$@" {redirect}', "-", *MAIN, *command.split()]
    env = os.environ | {"PYTHONUNBUFFERED": ""}  # as at a shell, where what can't be flushed is kept until the end
    done = subprocess.run(shell, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.endswith(f": standard output: {said}\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell that closes an input")
@pytest.mark.parametrize("command", ["fetch -", "fetch x --data @-", "get http://127.0.0.1:9/ -d @-"])
def test_an_input_that_is_closed(command, tmp_path):
    """It isn't taken for an empty one."""
    shell = ["sh", "-c", '"$@" <&-', "-", *MAIN, *command.split()]
    done = subprocess.run(shell, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert re.search("standard input|--data @-: Bad file descriptor", done.stderr)


def test_an_empty_body_makes_an_empty_file(faults, tmp_path):
    """Because what stood in the file is another answer's, and -N gets no part to write."""
    for option in ("-N", "-i"):
        (tmp_path / "a").write_text("old")
        assert get(option, "-o", str(tmp_path / "a"), faults.script("k", "204")).code == 0
        assert b"old" not in (tmp_path / "a").read_bytes()


def test_it_is_the_file_that_must_be_writable(tmp_path, monkeypatch):
    """A device may be written where its folder may not, and a file that is read-only may not where its folder may."""
    file, new = tmp_path / "file", tmp_path / "new"
    file.touch()
    closed: set[Path] = set()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in closed)  # root may do anything
    closed.add(tmp_path)
    Output(file).check()
    with pytest.raises(PermissionError, match="new"):
        Output(new).check()
    closed.clear()
    closed.add(file)
    Output(new).check()
    with pytest.raises(PermissionError, match="file"):
        Output(file).check()


@pytest.mark.anyio
@pytest.mark.parametrize("charset", ["zlib", "hex", "bz2", "punycode", "idna", "iso-8859-12", "x"])
async def test_a_charset_that_is_not_one(charset, capsys):
    """A server can't have us use any of Python's codecs; the text is shown as UTF-8."""
    output = Output(None)
    output.is_for_people = True
    headers = {"content-type": f"text/plain; charset={charset}"}
    assert output.body(httpx.Response(200, headers=headers, content=b"hello")) == ""
    response = httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"\xc3\xa9"))
    assert await output.stream(response) == ""
    assert capsys.readouterr().out == "hello\n\u00e9"


def test_timing(faults):
    """A hop for each URL, an attempt for each try, and no row for a phase that never came."""
    port = faults.listen("serve").url.rpartition(":")[2]
    ran = get("--timing", f"http://localhost:{port}/x/500,redirect:1?key=t")
    rows = [re.sub(r" [\d.]+ (ms|s)\b.*", "", line) for line in lines(ran.err)][1:]
    by_chance = ("wait", "send")  # a backoff may be next to nothing, and a busy machine may pause while it sends
    assert [row for row in rows if row not in by_chance] == [
        f"GET http://localhost:{port}/x/500,redirect:1",
        "#1 500 127.0.0.1, HTTP/1.1",
        "DNS",
        "connect",
        "first byte",
        "transfer",
        "#2 302 127.0.0.1, kept alive, HTTP/1.1",
        "first byte",
        "transfer",
        f"GET http://localhost:{port}/x/redirect:0",
        "#3 200 127.0.0.1, kept alive, HTTP/1.1",
        "first byte",
        "transfer",
        "total",
    ], ran.err
    assert lines(ran.err)[-1].endswith("3 attempts, 1 redirect")


def test_timing_of_a_failure(faults):
    """It is shown as far as it came."""
    ran = get("--timing", "--retry", "0", "--timeout", "0.1", faults.script("k", "hang"))
    begun = [line.split(" ")[0] for line in lines(ran.err)]
    assert [each for each in begun if each != "send"] == ["seawall", "GET", "#1", "connect", "first", "total"]


@pytest.mark.anyio
async def test_the_servers_share(serve):
    """By its Server-Timing: the longest metric as a bar, and each in words."""

    async def timed(request: Request) -> None:
        head = b'HTTP/1.1 200 OK\r\nserver-timing: db;dur=0.03;desc="[b]read", miss, total;dur=0.05\r\n'
        await request.send(head + b"content-length: 0\r\n\r\n")

    server = await serve(timed)
    ran = await asyncio.to_thread(get, "--timing", server.url)
    assert "server: db 0.0 ms ([b]read), total 0.1 ms" in lines(ran.err)
    assert any(line.startswith("server 0.") for line in lines(ran.err))


def test_tls_facts(faults, trusted):
    """Version, cipher, names, days left; also of a certificate that -k lets pass."""
    good, expired = (faults.listen(step).url.rpartition(":")[2] for step in ("h2", "tls:expired"))
    ran = get("-v", "--http2", f"https://localhost:{good}/x/ok")
    assert re.search(r"^\* TLSv1\.3, TLS_\w+$", ran.err, re.MULTILINE)
    assert re.search(r"^\* certificate for localhost, 127\.0\.0\.1, ::1; \d+ days left", ran.err, re.MULTILINE)
    assert "> GET /x/ok HTTP/2" in ran.err
    assert "< HTTP/2 200 OK" in ran.err
    ran = get("-k", "--timing", f"https://localhost:{expired}/x/ok")
    assert (ran.code, "EXPIRED" in ran.err) == (0, True), ran


@pytest.mark.anyio
async def test_on_a_terminal(serve):
    """JSON is laid out, in colours; a binary body isn't shown; what could move the cursor is shown as text."""
    bodies = {
        "/json": (b"application/json", b'{"a":1.10,"a":[]}'),
        "/evil": (b"text/plain", b"\x1b]0;title\x07\xc2\x9b31m ok"),
        "/png": (b"image/png", b"\x89PNG\r\n\x1a\n\0\xff"),
    }

    async def handler(request: Request) -> None:
        kind, body = bodies[request.target]
        head = b"HTTP/1.1 200 [/bold]\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
        await request.send(head + body)

    server = await serve(handler)
    ours, theirs = pytest.importorskip("pty").openpty()  # Windows has none
    urls = [f"{server.url}{path}" for path in bodies]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    process = await asyncio.create_subprocess_exec(
        *MAIN, "get", *urls, stdout=theirs, stderr=asyncio.subprocess.PIPE, env=environment
    )
    os.close(theirs)
    _, err = await process.communicate()
    shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")
    os.close(ours)
    assert process.returncode == 0, err
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert plain == '{\n  "a": 1.10,\n  "a": []\n}\n?]0;title??31m ok\n'
    assert plain != shown
    assert b"10 bytes of a binary body (image/png) aren't shown; -o FILE saves them" in err


def test_a_reader_that_leaves(faults):
    """As in ``seawall get URL | head``: no message, and curl's status."""
    process = subprocess.Popen(
        [*MAIN, "get", faults.script("k", "ok:3000")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), err) == (23, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pipe that holds little")
def test_a_part_of_an_output_is_none(faults):
    """Where Python doesn't buffer it, as in many containers, the system may take a part of what is written."""
    argv = [sys.executable, "-u", *MAIN[1:], "get", faults.script("k", "ok:30000")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pipesize=4096) as process:
        assert process.stdout is not None
        assert len(process.stdout.read(1)) == 1
        process.stdout.close()
    assert process.returncode == 23


@pytest.mark.parametrize(
    "command", ["", "get", "demo", "top", "fetch", "fetch list", "fetch status", "fetch worker", "dns", "faults"]
)
def test_short_help(command):
    """-h is --help, for every command."""
    asked = [CliRunner().invoke(app, [*command.split(), option]) for option in ("-h", "--help")]
    assert asked[0].exit_code == 0
    assert asked[0].stdout == asked[1].stdout != ""


@pytest.mark.parametrize(
    ("typed", "offered"), [("seawall ge", "get"), ("seawall get --re", "--retry"), ("seawall get -X PU", "PUT")]
)
def test_completion(typed, offered):
    """Commands, options and methods, as bash asks for them; help of a command needs neither httpx nor rich."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_SEAWALL_COMPLETE": "complete_bash"}
    probe = "import atexit, sys; atexit.register(lambda: print(sorted({'httpx', 'trustme'} & set(sys.modules))));"
    done = subprocess.run(
        [sys.executable, "-c", f"{probe} {MAIN[2]}"], env={**os.environ, **words}, capture_output=True, check=False
    )
    assert done.stdout.decode().split() == [offered, "[]"], done


def test_the_table_of_statuses():
    """The reference has every status that the command may exit with, and no other."""
    from seawall.cli.exit_codes import ExitCode

    text = (Path(__file__).parents[2] / "docs" / "reference" / "command.md").read_text()
    section = text.partition("### Exit statuses")[2].partition("\n## ")[0]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == sorted(ExitCode)

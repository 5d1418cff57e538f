"""``seawall fetch``, as a user runs it: a process, servers on loopback, and whatever ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import resource
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from seawall.cli import main
from seawall.cli.fetch import status as fetch_status
from seawall.cli.live import Frame, Host, as_json, line, screen
from seawall.fetch.keeper import MAX_PAGES
from seawall.fetch.output import Output
from seawall.testing import Request
from seawall.testing.dns import Name

from .test_fetch_job import until
from .test_top import COMMAND, heed

pytestmark = pytest.mark.anyio

OUTS = ["out", "out.jsonl"]


async def start(folder: Path, *arguments: str, stdin: int | None = None, **settings: Any) -> Process:
    """``seawall fetch ...`` in *folder*."""
    return await asyncio.create_subprocess_exec(
        *COMMAND, "fetch", *arguments, cwd=folder, stdin=stdin, stdout=PIPE, stderr=STDOUT, **settings
    )


async def run(folder: Path, *arguments: str, **settings: Any) -> tuple[int, str]:
    """The exit status, and what was printed."""
    process = await start(folder, *arguments, **settings)
    output, _ = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in output, output.decode()
    return process.returncode, output.decode()


def rows(out: Path) -> list[dict[str, Any]]:
    """All rows of an output; those of a folder have the file's text."""
    file = out if out.suffix else out / "index.jsonl"
    found = [json.loads(line) for line in file.read_bytes().splitlines()]
    for row in found:
        if "file" in row:
            row["text"] = (out / row["file"]).read_text()
    return found


def bodies(out: Path) -> int:
    """How many files of pages there are, wherever."""
    return sum(1 for each in out.rglob("*.txt")) + sum(1 for each in out.rglob("*.bin"))


async def echo(request: Request) -> None:
    """A page with its own path in it."""
    await request.reply(200, request.target.encode(), content_type="text/plain")


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize("kills", [(1, 499, 1290), (1290, 17, 400), (300, 1290, 3)])
async def test_killed(tmp_path, serve, out, kills):
    """SIGKILL at the n-th request of a run: the same command goes on, and each URL is there once and whole."""
    runs = [0] * (len(kills) + 2)
    processes: list[Process] = []

    async def answer(request: Request) -> None:
        number = int(request.headers["x-run"])
        runs[number] += 1
        if number < len(kills) and runs[number] == kills[number]:
            processes[number].kill()
        await echo(request)

    server = await serve(answer)
    urls = {f"{server.url}/{number}" for number in range(2000)}
    (tmp_path / "urls.txt").write_text("\n".join(sorted(urls)))
    arguments = ("urls.txt", "--out", out, "--no-robots", "--per-host", "16")
    for number in range(len(kills)):
        processes.append(await start(tmp_path, *arguments, "-H", f"x-run: {number}"))
        await processes[number].communicate()
        assert processes[number].returncode == -signal.SIGKILL
    status, output = await run(tmp_path, *arguments, "-H", f"x-run: {len(kills)}")
    assert status == 0, output
    found = rows(tmp_path / out)
    assert sorted(row["url"] for row in found) == sorted(urls)
    assert all(row["url"].endswith(row["text"]) for row in found)
    assert out.endswith(".jsonl") or bodies(tmp_path / out) == 2000
    # However slow the machine, at most one batch is being written, one fills up, and as many are in flight as may be.
    kept = sum(max(0, kill - 2 * MAX_PAGES - 16) for kill in kills)
    assert runs[len(kills)] <= 2000 - kept
    assert (await run(tmp_path, *arguments, "-H", f"x-run: {len(kills) + 1}"))[0] == 0
    assert runs[-1] == 0


async def test_secrets(tmp_path, serve):
    """Neither the passwords in URLs nor the data that is sent are in the journal, the summary or the status."""

    async def answer(request: Request) -> None:
        await request.reply(404)

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text(server.url.replace("//", "//me:s3cret@") + "/page")
    where = server.url.replace("//", "//me:s3cret@") + "/map.xml"
    arguments = ("urls.txt", f"sitemap:{where}", "--out", "out", "--no-robots", "--data", "s3cret")
    status, output = await run(tmp_path, *arguments)
    assert status == 1
    output += (await run(tmp_path, "status", "out"))[1]
    kept = b"".join(each.read_bytes() for each in (tmp_path / "out").glob(".seawall*"))
    assert "/page" in output
    assert server.url.encode() + b"/page" in kept
    assert b"s3cret" not in output.encode() + kept


async def test_a_worker_does_not_tell_its_password(tmp_path):
    """Its first line names the Redis, without the password that its URL has."""
    process = await start(tmp_path, "worker", "redis://:s3cret@127.0.0.1:1/0")
    assert process.stdout is not None
    said = await process.stdout.readline()
    process.kill()
    await process.communicate()
    assert said == b"worker for redis://127.0.0.1:1/0; SIGTERM ends it\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_stopped(tmp_path, serve, number, status):
    """It keeps what has ended, says so, and how to go on."""
    may_go, has_come = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> None:
        if request.target == "/slow":
            has_come.set()
            await may_go.wait()
        await request.reply()

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text("\n".join(f"{server.url}/{path}" for path in ("a", "b", "slow")))
    process = await start(tmp_path, "urls.txt", "--no-robots", preexec_fn=heed)
    await has_come.wait()
    await until(lambda: len(server.requests) == 3)
    process.send_signal(number)
    output, _ = await process.communicate()
    assert process.returncode == status, output.decode()
    assert b"interrupted; the same command goes on from here" in output
    assert b"Traceback" not in output
    may_go.set()
    ended, output_again = await run(tmp_path, "urls.txt", "--no-robots")
    assert ended == 0, output_again
    assert len(rows(tmp_path / "out")) == 3


async def test_stopped_while_a_pipe_is_open(tmp_path, serve):
    """Ctrl-C ends the job though its list doesn't end."""
    server = await serve(echo)
    process = await start(tmp_path, "-", "--no-robots", "-o", "x.jsonl", stdin=PIPE, preexec_fn=heed)
    assert process.stdin is not None
    process.stdin.write(f"{server.url}/a\n".encode())
    await process.stdin.drain()
    await until(lambda: bool(server.requests))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    output = (await process.stdout.read()).decode()
    await process.wait()
    assert (process.returncode, "interrupted" in output, "rror" in output) == (130, True, False), output
    process.stdin.close()


async def test_lists_of_all_kinds(tmp_path, serve, dns):
    """A file, a sitemap, a column and standard input together; names come from the name server that is given."""
    server = await serve(echo)
    dns.zone["site.test"] = Name(a=("127.0.0.1",))
    url = f"http://site.test:{server.port}"
    (tmp_path / "urls.txt").write_text(f"{url}/1\n{url}/1\n")
    (tmp_path / "map.xml").write_text(f"<urlset><url><loc>{url}/2</loc></url></urlset>")
    (tmp_path / "urls.csv").write_text(f"id,page\n7,{url}/3\n")
    process = await start(
        tmp_path, "urls.txt", "sitemap:map.xml", "-", "--csv", "urls.csv", "--column", "page", "--nameserver",
        dns.address, "--out", "x.jsonl", stdin=PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(f"{url}/4".encode())
    assert process.returncode == 0, output.decode()
    assert sorted(row["text"] for row in rows(tmp_path / "x.jsonl")) == ["/1", "/2", "/3", "/4"]
    assert server.counts["GET", "/robots.txt"] == 1
    assert {request.headers["user-agent"].split("/")[0] for request in server.requests} == {"seawall-fetch"}


async def test_a_sitemap_that_lists_other_hosts(tmp_path, serve, dns):
    """They aren't asked for, and the summary counts them; a list may have them."""

    async def answer(request: Request) -> None:
        urls = ["http://10.0.0.1/", f"{url}/1", server.url]
        body = "".join(f"<url><loc>{each}</loc></url>" for each in urls)
        await request.reply(200, f"<urlset>{body}</urlset>".encode(), content_type="text/plain")

    server = await serve(answer)
    dns.zone["site.test"] = Name(a=("127.0.0.1",))
    url = f"http://site.test:{server.port}"
    status, output = await run(tmp_path, f"sitemap:{url}/map", "-o", "x", "--no-robots", "--nameserver", dns.address)
    assert (status, "3 URLs: 1 good, 2 skipped, because a sitemap of another host lists them" in output) == (0, True)
    assert [request.target for request in server.requests] == ["/map", "/1"]
    found = rows(tmp_path / "x")
    assert sorted((row["url"], row["result"]) for row in found) == [
        ("http://10.0.0.1/", "skipped"),
        (f"{server.url}/", "skipped"),
        (f"{url}/1", "good"),
    ]
    (tmp_path / "urls.txt").write_text(server.url)
    await run(tmp_path, "urls.txt", "-o", "y", "--no-robots")
    assert len(server.requests) == 3


async def test_what_is_sent_and_taken(tmp_path, serve):
    """Method, headers, body, statuses, sizes and user agent are as the options say; the failures are explained."""

    async def answer(request: Request) -> None:
        await request.reply(int(request.target[1:4]), b"x" * int(request.target[5:] or 1))

    server = await serve(answer)
    (tmp_path / "body").write_text('{"a":1}')
    (tmp_path / "urls.txt").write_text(
        "\n".join(f"{server.url}/{path}" for path in ("200", "404", "410", "200/9999", "501"))
    )
    status, output = await run(
        tmp_path, "urls.txt", "-o", "x.jsonl", "-d", "@body", "-H", "X-A: b", "--accept-status", "200,404",
        "--max-size", "1k", "--no-robots", "--user-agent", "bot/1",
    )  # fmt: skip
    assert status == 1, output
    found = {row["url"].removeprefix(server.url): row for row in rows(tmp_path / "x.jsonl")}
    assert {path: row["result"] for path, row in found.items()} == {
        "/200": "good", "/404": "good", "/410": "failed", "/200/9999": "failed", "/501": "failed",
    }  # fmt: skip
    assert found["/200/9999"]["error"]["class"] == "ResponseTooLarge"
    for words in ("5 URLs: 2 good, 3 failed", "410", "allow more with --max-size", "--retry-failed fetches them again"):
        assert words in output
    first = server.requests[0]
    assert (first.method, first.body, first.headers["x-a"], first.headers["user-agent"]) == (
        "POST",
        b'{"a":1}',
        "b",
        "bot/1",
    )


async def test_a_crawl_delay(tmp_path, serve):
    """The rules of a robots.txt reach the client's limit, which test_fetch_pace.py holds on a virtual clock."""

    async def answer(request: Request) -> None:
        await request.reply(200, b"User-agent: *\nCrawl-delay: 60" if request.target == "/robots.txt" else b"")

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text("\n".join(f"{server.url}/{number}" for number in range(4)))
    process = await start(tmp_path, "urls.txt", preexec_fn=heed)
    await until(
        lambda: len(server.requests) == 2
    )  # the robots.txt, which costs nothing, and a page; others wait a minute
    await until(lambda: any((tmp_path / "out").glob("*/*.bin")))
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()
    assert process.returncode == 130, output.decode()
    assert len(server.requests) == 2


async def test_a_robots_txt_that_is_larger_than_max_size(tmp_path, serve):
    """Its rules hold, as far as RFC 9309 wants them read; pages have the bound that was set."""

    async def answer(request: Request) -> None:
        rules = b"#" * 3_000 + b"\nUser-agent: *\nDisallow: /no"
        await request.reply(200, rules if request.target == "/robots.txt" else b"x" * int(request.target[-4:]))

    server = await serve(answer)
    paths = ["/yes/0900", "/no/0001", "/yes/1025"]
    (tmp_path / "urls.txt").write_text("\n".join(server.url + path for path in paths))
    status, output = await run(tmp_path, "urls.txt", "-o", "x.jsonl", "--max-size", "1k")
    found = {row["url"].removeprefix(server.url): row for row in rows(tmp_path / "x.jsonl")}
    assert {path: row["result"] for path, row in found.items()} == {
        "/yes/0900": "good",
        "/no/0001": "skipped",
        "/yes/1025": "failed",
    }
    assert found["/yes/1025"]["error"]["class"] == "ResponseTooLarge"
    assert (status, "allow more with --max-size" in output) == (1, True)


async def test_names_and_data_that_are_not_utf_8(tmp_path, serve):
    """Files may have any name, and data any bytes."""
    server = await serve(echo)
    name = os.fsdecode(b"li\xffst")
    (tmp_path / name).write_text(server.url)
    status, output = await run(tmp_path, name, "--out", f"{name}.jsonl", "--no-robots", "-d", os.fsdecode(b"a\xffb"))
    assert status == 0, output
    assert server.requests[0].body == b"a\xffb"
    assert (await run(tmp_path, "status", f"{name}.jsonl"))[0] == 0


async def test_retry_failed(tmp_path, serve):
    """What failed is fetched again, and nothing else; its row takes the place of the old one."""
    statuses = {"/a": 200, "/b": 404}

    async def answer(request: Request) -> None:
        await request.reply(statuses[request.target])

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text(f"{server.url}/a\n{server.url}/b\n")
    assert (await run(tmp_path, "urls.txt", "--no-robots"))[0] == 1
    statuses["/b"] = 200
    assert (await run(tmp_path, "urls.txt", "--no-robots"))[0] == 1  # it is a result, too
    status, output = await run(tmp_path, "urls.txt", "--no-robots", "--retry-failed")
    assert (status, [row["result"] for row in rows(tmp_path / "out")]) == (0, ["good", "good"]), output
    assert dict(server.counts) == {("GET", "/a"): 1, ("GET", "/b"): 2}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Usage"),
        (("--out", "x"), "a list of URLs is missing"),
        (("nowhere.txt",), "nowhere.txt: No such file"),
        (("--csv", "urls.txt"), "has no column 'url'"),
        (
            ("urls.txt", "--accept-status", "good"),
            "--accept-status 'good' isn't a list of statuses such as 200-299,404",
        ),
        (("urls.txt", "--accept-status", "399-200"), "--accept-status '399-200' isn't a list"),
        (("urls.txt", "--max-size", "big"), "--max-size takes"),
        (("urls.txt", "--max-size", "0"), "--max-size takes 1 to"),
        (("urls.txt", "--max-size", "999999999999999G"), "--max-size takes 1 to"),
        (("urls.txt", "--header", "nonsense"), "--header takes"),
        (("urls.txt", "--header", "x-a: ü"), "--header takes ASCII"),
        (("urls.txt", "--data", "@nowhere"), "No such file"),
        (("-", "--data", "@-"), "can't both come from standard input"),
        (("urls.txt", "--method", "G\udcff"), "--method takes a name"),
        (("urls.txt", "--out", "o\udcff", "--queue", "redis://127.0.0.1:1"), "whose path is UTF-8"),
        (("urls.txt", "--rate", "0"), "--rate"),
        (("urls.txt", "--nameserver", "x"), "--nameserver takes"),
        (("urls.txt", "--user-agent", "ü"), "--user-agent"),
        (("urls.txt", "--out", "theirs"), "isn't empty and has no journal"),
        (("urls.txt", "--out", "theirs/x.jsonl"), "exists and has no journal"),
        (("urls.txt", "--out", "/dev/null/x"), "Not a directory"),
        (("none.txt", "--out", "old"), "version 9"),
        (("none.txt", "--out", "done", "-X", "PUT"), "another job's: its method was 'GET' and not 'PUT'"),
        (("status", "nowhere"), "no journal at"),
        (("status", "old"), "version 9"),
    ],
)
def test_bad_use(tmp_path, monkeypatch, capsys, arguments, said):
    """Status 2, before anything is asked or written, with what to change."""

    def here(*arguments: str) -> tuple[int | str | None, str]:
        monkeypatch.setattr(sys, "argv", ["seawall", "fetch", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, " ".join("".join(capsys.readouterr()).split())

    monkeypatch.chdir(tmp_path)
    Path("urls.txt").write_text("http://127.0.0.1:1/\n")
    Path("none.txt").write_text("")
    Path("theirs").mkdir()
    Path("theirs/x.jsonl").write_text("theirs")
    for name in {"done", "old"} & set(arguments):
        assert here("none.txt", "--out", name)[0] == 0
    if "old" in arguments:
        with contextlib.closing(sqlite3.connect("old/.seawall.sqlite")) as connection:
            connection.execute("PRAGMA user_version = 9")
    status, output = here(*arguments)
    assert (status, said in output) == (2, True), output
    assert Path("theirs/x.jsonl").read_text() == "theirs"


async def test_bad_lines(tmp_path, serve):
    """Each has a row and a line of the summary, whatever it is, and the good ones are fetched."""
    server = await serve(echo)
    lines = [b"nonsense", b"ftp://a.test/", f"{server.url}/\0".encode(), b"x" * 10_000_000, f"{server.url}/1".encode()]
    (tmp_path / "urls.txt").write_bytes(b"\n".join([*lines, lines[-1], f"{server.url}/2".encode()]))
    status, output = await run(tmp_path, "urls.txt", "-o", "x.jsonl")
    assert status == 1
    assert "6 URLs: 2 good, 4 failed" in output
    assert "(1 lines were done before, or are twice in the list)" in output
    found = rows(tmp_path / "x.jsonl")
    assert sorted(row["result"] for row in found) == ["failed"] * 4 + ["good"] * 2
    assert (tmp_path / "x.jsonl").stat().st_size < 10_000


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))


@pytest.mark.parametrize("out", OUTS)
async def test_a_full_disk(tmp_path, serve, out):
    """Status 1 and what to do; with room, the same command ends the job."""

    async def answer(request: Request) -> None:
        await request.reply(200, b"x" * 10_000, content_type="text/plain")

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text("\n".join(f"{server.url}/{number}" for number in range(1000)))
    arguments = ("urls.txt", "--out", out, "--no-robots", "--per-host", "50")
    status, output = await run(tmp_path, *arguments, preexec_fn=_limited)
    assert status == 1, output
    assert "make room, and run the same command again" in " ".join(output.split())
    status, output = await run(tmp_path, *arguments)
    assert status == 0, output
    assert len({row["url"] for row in rows(tmp_path / out)}) == len(rows(tmp_path / out)) == 1000
    assert out.endswith(".jsonl") or bodies(tmp_path / out) == 1000


async def test_status(tmp_path, serve):
    """While a job runs and afterwards, of a folder or a file, for people and for machines."""
    may_go, has_come = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> None:
        if request.target == "/slow":
            has_come.set()
            await may_go.wait()
        await request.reply(404 if request.target == "/b" else 200)

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text("\n".join(f"{server.url}/{path}" for path in ("a", "b", "slow")))
    process = await start(tmp_path, "urls.txt", "--no-robots", "-o", "x.jsonl")
    await has_come.wait()
    status, output = await run(tmp_path, "status", "x.jsonl")
    assert (status, "GET urls.txt: running" in output) == (0, True), output
    status, output = await run(tmp_path, "urls.txt", "--no-robots", "-o", "x.jsonl")
    assert (status, "another seawall fetch is at work" in " ".join(output.split())) == (2, True), output
    may_go.set()
    await process.communicate()
    status, output = await run(tmp_path, "status", "x.jsonl.seawall.sqlite")
    assert "GET urls.txt: complete" in output
    assert "3 URLs: 2 good, 1 failed" in output
    status, output = await run(tmp_path, "status", "x.jsonl", "--json")
    said = json.loads(output)
    assert (said["event"], said["good"], said["failed"], said["is_complete"]) == ("summary", 2, 1, True)
    assert said["failures"][0]["name"] == "404"


async def test_for_machines(tmp_path, serve):
    """--json prints an object a line, and nothing else."""
    server = await serve(echo)
    (tmp_path / "urls.txt").write_text(f"{server.url}/a")
    status, output = await run(tmp_path, "urls.txt", "--json")
    (summary,) = map(json.loads, output.splitlines())
    assert (status, summary["event"], summary["good"], summary["failures"]) == (0, "summary", 1, [])


def frame(**changed: Any) -> Frame:
    hosts = [Host(f"http://host-{number}.test:8080", 10, number, 4, 8, 2, "", "") for number in range(30)]
    trouble = Host(f"http://{'x' * 100}.test", 7, 7, 0, 9, 0, "breaker open, 3 s", "Dial\x1bError")
    shown = Frame(83.4, 12_345, 12_230, 110, 5, 17, 87, 200, 412.3, 3_140_000.0, 0.62, 51.0, (trouble, *hosts))
    return shown._replace(**changed)


@pytest.mark.parametrize("share", [0.62, None])
@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_screen(width, share):
    """No line is longer than the terminal is wide, it fits the height, and nobody's control character is obeyed."""
    text = io.StringIO()
    console = Console(file=text, width=width, height=24, force_terminal=False)
    console.print(screen(frame(share=share, left=None), width=width, height=24))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    assert "\x1b" not in text.getvalue()
    assert "12,345 URLs" in text.getvalue()
    assert ("last failure" in text.getvalue()) is (width >= 120)
    assert ("breaker" in text.getvalue()) is (width >= 80)
    assert ("62 %" in text.getvalue()) is (share is not None)


def test_lines():
    """What is said where there is no terminal, for people and for machines."""
    assert line(frame()) == (
        "0:01:23  12,345 URLs (99.0 % good), 412 URLs/s, 3.1 MB/s, 87 in flight, 200 waiting, 1 hosts held up, "
        "62 % of the list, about 0:00:51 left"
    )
    said = json.loads(as_json(frame()))
    assert (said["event"], said["done"], said["rate"], list(said["held_up"].values())) == (
        "progress",
        12_345,
        412.3,
        ["breaker open, 3 s"],
    )


async def test_in_a_terminal(tmp_path, serve):
    """The table is drawn while the job runs, and gives way to the summary."""
    import pty

    may_go, has_come = asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> None:
        has_come.set()
        await may_go.wait()
        await request.reply()

    server = await serve(answer)
    (tmp_path / "urls.txt").write_text(f"{server.url}/a")
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "fetch", "urls.txt", "--no-robots", cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
    )  # fmt: skip
    os.close(theirs)
    seen = await _until(ours, "in flight", "connections", "1 in flight", server.url)
    may_go.set()
    seen = await _until(ours, "1 URLs", "1 good")
    await process.wait()
    os.close(ours)
    assert process.returncode == 0, seen


async def _until(terminal: int, *words: str) -> str:
    seen = ""
    loop = asyncio.get_running_loop()
    while not all(word in seen for word in words if word != "connections"):
        seen += (await loop.run_in_executor(None, os.read, terminal, 65_536)).decode(errors="replace")
    return seen


async def test_without_its_extra(tmp_path):
    """A message says what to install."""
    code = "import sys; sys.modules['protego'] = None; sys.argv[1:] = ['fetch', 'x.txt']; " + COMMAND[2]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=STDOUT, cwd=tmp_path)
    output, _ = await process.communicate()
    assert b"pip install 'seawall[fetch]'" in output, output


def test_the_status_where_a_parcel_was_planted(tmp_path, capsys):
    """It is one line, with the name of the link."""
    Output.open(tmp_path / "out", {"list": "urls.txt"}, now=lambda: 1.0).close()
    (tmp_path / "out" / ".parcels").mkdir()
    (tmp_path / "out" / ".parcels" / "0123456789abcdef.todo").symlink_to(tmp_path / "elsewhere")
    assert fetch_status(tmp_path / "out", is_json=False) == 2
    assert "0123456789abcdef.todo: it is a symbolic link" in capsys.readouterr().err

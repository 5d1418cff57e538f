"""The fault server as a whole: scripts, keys, control from other languages, a process of its own, and that it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.testing import FaultProcess, FaultServer, Request, Server, UnusedScript
from seawall.testing.http.step import BadStep
from seawall.testing.steps import STEPS, chance, delay, hang, ok, reset, status
from tests.testing.raw import ask, connect, request, see
from tests.testing.test_steps import is_good, wait


def fetch(url: str, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"connection": "close"})) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.anyio
async def test_in_the_running_loop():
    """Steps as values, in the loop of the test."""
    tasks = asyncio.all_tasks()
    async with FaultServer() as server, httpx.AsyncClient() as client:
        url = server.script("order", status(503, retry_after=1), reset("headers"), ok())
        assert (await client.get(url)).headers["retry-after"] == "1"
        with pytest.raises(httpx.ReadError):
            await client.get(url)
        assert (await client.get(url)).json() == {"key": "order", "attempt": 3, "step": "ok"}
    assert [each.step for each in server.attempts("order")] == ["503:1", "reset:headers", "ok"]  # after the end too
    assert asyncio.all_tasks() == tasks


@pytest.mark.anyio
async def test_function_as_a_step():
    """What no step does: an async function of a Request, which has its body."""
    seen = []

    async def odd(request: Request) -> None:
        seen.append(request.body)
        await request.reply(299, b"odd", x_odd="yes")

    async with FaultServer() as server, httpx.AsyncClient() as client:
        response = await client.post(server.script("odd", odd), content=b"body")
        assert (response.status_code, response.headers["x-odd"], seen) == (299, "yes", [b"body"])
        assert server.attempts("odd")[0].step == "odd"


def test_script_that_nothing_asked_for():
    """An error at the end of a block that went well, and of no other."""
    with pytest.raises(UnusedScript, match="no request came with these keys: 'forgotten'"), FaultServer() as server:
        server.script("forgotten", ok())
    server = FaultServer()
    server.__enter__()
    server.script("forgotten", ok())
    server.__exit__(ZeroDivisionError)  # what went wrong is the news, not this
    with FaultServer(assert_all_called=False) as server:
        server.script("forgotten", ok())


@pytest.mark.parametrize("error", [ZeroDivisionError, FileNotFoundError, TimeoutError])
def test_failing_function_is_heard_of(error):
    """A bug in a test's own step must not look like a fault of the server's; many an OSError isn't the client's."""

    async def broken(request: Request) -> None:
        raise error

    with pytest.raises(error), FaultServer() as server:
        ask(server.port, server.script("k", broken).removeprefix(server.url))
    with pytest.raises(error), Server(broken) as server:
        ask(server.port, "/")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/x/okk", b"unknown step 'okk'; near: ok"),
        ("/x/", b"no script for key ''"),
        ("/x?key=ordre", b"no script for key 'ordre'; keys with a script: order"),
        ("/x/hang:there", b"where must be one of request, start, status, headers, body, chunk, not 'there'"),
        ("/x/delay:nan", b"seconds must be a number from 0 to 1e+10, not 'nan'"),
        ("/x/delay", b"seconds is missing; it takes delay:seconds"),
        ("/x/ok:1:2", b"ok takes ok[:size], not '2'"),
        ("/x/199", b"code must be a whole number from 200 to 999"),
        ("/x/ok+ok", b"ok sends an answer"),
        ("/x/ok,,ok", b"unknown step ''"),
        ("/x/tls", b"it is a step of a connection, not of a reply"),
        ("/x/reset:request", b"strikes inside a request's body, and this request has none"),
    ],
)
def test_bad_request(target, words):
    """400, and what could be meant."""
    with FaultServer(assert_all_called=False) as server:
        server.script("order", ok())
        code, text = fetch(server.url + target)
    assert code == 400
    assert words in text


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/ctl/script", b"/ctl/script needs ?key="),
        ("/ctl/route", b"/ctl/route needs ?path="),
        ("/ctl/heal?port=nope", b"no port 'nope'; the ports are http"),
        ("/ctl/listen?port=x", b"port must be a whole number from 0 to 65535, not 'x'"),
    ],
)
def test_bad_control(target, words):
    """400, and what is missing."""
    with FaultServer() as server:
        code, text = fetch(server.url + target, b"ok")
    assert code == 400
    assert words in text


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "target", ["script?key=k", "route?path=/a", "listen", "heal?port=gone", "drop?port=http", "reset", "own"]
)
def test_only_a_post_changes_something(method, target):
    """A GET may come from any page that a browser shows: 405, and nothing is changed."""
    with FaultServer(assert_all_called=False) as server:
        server.controls["/ctl/own"] = lambda asked, body: server.script("k", "ok")
        server.listen("refuse", name="gone")
        server.script("kept", ok())
        seen = ask(server.port, f"/ctl/{target}", method=method, body=b"ok")
        assert (seen.status, b"\r\nallow: post\r\n" in seen.head) == (405, True)
        assert server.ports.keys() == {"http", "gone"}
        assert (server.scripts.unused(), list(server.routes)) == (["kept"], [])
        with pytest.raises(ConnectionRefusedError):
            connect(server.ports["gone"].port)


def test_web_page_changes_nothing():
    """A browser lets any page send a POST to loopback, and says with an Origin that it does."""
    with FaultServer(assert_all_called=False) as server:
        server.script("kept", ok())
        seen = ask(server.port, "/ctl/reset", method="POST", body=b"", origin="https://evil.example")
        assert (seen.status, b"isn't for web pages" in seen.body) == (403, True)
        assert server.scripts.unused() == ["kept"]


def test_what_a_get_may_ask():
    """What changes nothing, and of a path that does both, the telling half; a POST may ask too, but no other method."""
    with FaultServer() as server:
        server.controls["/ctl/own"] = lambda asked, body: [body]
        server.reports["/ctl/own"] = lambda asked: asked
        assert json.loads(fetch(f"{server.url}/ctl/own?a=1")[1]) == {"a": "1"}
        assert json.loads(fetch(f"{server.url}/ctl/own?a=1", b"b")[1]) == ["b"]
        for target in ("/ctl/stats", "/ctl/conns"):
            assert fetch(server.url + target)[0] == fetch(server.url + target, b"")[0] == 200
            seen = ask(server.port, target, method="DELETE")
            assert (seen.status, b"\r\nallow: get, head, post\r\n" in seen.head) == (405, True)


def test_bad_script():
    """The same from Python, as an exception, when it is set."""
    with FaultServer() as server:
        for steps, words in {
            (): "has no steps",
            ("okk",): "near: ok",
            ("tls",): "step of a connection",
            (ok,): "must be called",
            (3,): "not 3",
        }.items():
            with pytest.raises(BadStep, match=words):
                server.script("k", *steps)
    for make, words in {
        lambda: hang("there"): "where must be one of",
        lambda: status(99): "from 200 to 999",
        lambda: delay(-1): "from 0",
        lambda: chance(1.5): "from 0 to 1",
        lambda: ok(1, 2): "ok takes",
        lambda: status(500, after=1): "not 'after'",
        lambda: ok() + ok(): "nothing can follow",
    }.items():
        with pytest.raises(BadStep, match=words):
            make()


def test_not_running():
    """Before it is entered there is no port."""
    with pytest.raises(RuntimeError, match="not running: enter it"):
        _ = FaultServer().url
    with FaultServer() as server, pytest.raises(RuntimeError, match="running already"):
        server.__enter__()


def test_names_of_certificates():
    """One text would be taken for its letters."""
    with pytest.raises(TypeError, match=r"names must be several, as \['api.test'\], not 'api.test'"):
        FaultServer(names="api.test")


def test_port_in_use():
    """Said with what to do, in a thread as in a loop."""
    with FaultServer() as server, pytest.raises(OSError, match=rf"{server.port} is in use; give another port, or 0"):
        FaultServer(port=server.port).__enter__()


def texts() -> st.SearchStrategy[str]:
    """Texts of steps, as a URL may have them."""
    where = st.sampled_from(["start", "status", "headers", "body", "chunk"])
    return st.one_of(
        st.builds("{}:{}".format, st.sampled_from(["hang", "close", "reset"]), where),
        st.builds("{}".format, st.integers(200, 999)),
        st.builds("503:{}".format, st.sampled_from(["1", "d2", "d-5", "ms500", "a b", "%C3%A9", "x%3Ay%2Cz%2B"])),
        st.builds("delay:{}+ok:{}".format, st.floats(0, 100).map(lambda value: f"{value:g}"), st.integers(1, 9)),
        st.builds("content_type:text/{}".format, st.sampled_from(["morse", "html%3B charset%3Dx"])),
    )


@given(st.lists(texts(), min_size=1, max_size=4).map(",".join))
def test_text_and_step_are_one(text):
    """What is parsed is printed so that it parses to the same."""
    steps = STEPS.parse(text, level="reply")
    assert STEPS.parse(",".join(map(str, steps)), level="reply") == steps


@given(st.text(max_size=30))
def test_garbage_is_no_step(text):
    """Any other text is a BadStep, and no other error."""
    try:
        steps = STEPS.parse(text, level="reply")
    except BadStep:
        return
    assert all(str(step) for step in steps)


def test_control():
    """What other languages ask for over HTTP."""
    with FaultServer() as server:
        fetch(f"{server.url}/ctl/script?key=k", b"503:1,ok")
        assert [fetch(f"{server.url}/x?key=k")[0] for _ in range(2)] == [503, 200]
        attempts = json.loads(fetch(f"{server.url}/ctl/stats?key=k")[1])
        assert [each["step"] for each in attempts] == ["503:1", "ok"]
        made = json.loads(fetch(f"{server.url}/ctl/listen?name=gone", b"refuse")[1])
        with pytest.raises(ConnectionRefusedError):
            connect(made["port"])
        fetch(f"{server.url}/ctl/heal?port=gone", b"")
        assert is_good(ask(made["port"], "/x/ok"))
        stats = json.loads(fetch(f"{server.url}/ctl/stats")[1])
        assert stats["keys"] == {"k": 2, "ok": 1}
        assert stats["ports"]["gone"]["connections"] == 1
        with connect(server.port) as sock:
            sock.sendall(request("/x/ok"))
            see(sock)
            assert json.loads(fetch(f"{server.url}/ctl/conns")[1])["http"]["open"] >= 2
            fetch(f"{server.url}/ctl/drop?port=gone", b"")
        assert fetch(f"{server.url}/ctl/ca.pem")[1].startswith(b"-----BEGIN CERTIFICATE-----")
        assert b"hang[:where]" in fetch(f"{server.url}/ctl/steps")[1]
        assert fetch(f"{server.url}/nowhere")[0] == 404
        assert b"/x/STEP" in fetch(server.url)[1]
        fetch(f"{server.url}/ctl/reset", b"")
        assert server.attempts("k") == []


def test_process_that_says_much():
    """A server that writes more to its standard error than a pipe holds isn't blocked by that."""
    code = (
        "import os\nfrom seawall.testing import FaultProcess\nos.environ['PYTHONVERBOSE'] = '1'\n"
        "with FaultProcess() as server: print(server.script('k', 'ok') == f'{server.url}/x?key=k')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"


def test_process():
    """The same in a process of its own, which ends with who started it."""
    with FaultProcess() as server:
        url = server.script("k", status(503), "close", ok())
        assert fetch(url)[0] == 503
        with pytest.raises(ConnectionError):
            fetch(url)
        assert fetch(url)[0] == 200
        assert [each.step for each in server.attempts("k")] == ["503", "close", "ok"]
        assert ("Connection", "close") in server.attempts("k")[0].headers  # pairs, as in one's own process
        assert is_good(ask(int(server.listen().rpartition(":")[2]), "/x/ok"))
        with connect(int(server.url.rpartition(":")[2])) as sock:
            sock.sendall(request("/x/hang"))
            assert wait(lambda: server.attempts("hang"))
            server.drop_connections()
            assert see(sock).end == "RST"
        with pytest.raises(BadStep, match="near: ok"):
            server.script("k", "okk")
        port = int(server.listen("refuse", name="gone").rpartition(":")[2])
        server.heal("gone")
        assert is_good(ask(port, "/x/ok"))
        server.drop_connections("gone")
        assert server.conns()["gone"]["connections"] == 1
        assert "BEGIN CERTIFICATE" in server.ca()
        server.reset()
        assert server.attempts("k") == []
        with pytest.raises(OSError, match="is in use"):
            FaultProcess(port=int(server.url.rpartition(":")[2])).__enter__()
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_nothing_listens_on_when_the_test_dies():
    """Killed in its midst, with a server in a thread and one in a process."""
    code = (
        "import time; from seawall.testing import FaultServer, FaultProcess\n"
        "with FaultServer() as a, FaultProcess() as b:\n"
        "    print(a.port, b.url.rpartition(':')[2], flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as dying:
        ports = [int(port) for port in dying.stdout.readline().split()]
        assert [is_good(ask(port, "/x/ok")) for port in ports] == [True, True]
        os.kill(dying.pid, signal.SIGKILL)

    def is_refused(port: int) -> bool:
        try:
            connect(port).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in the queue of the process as that died
            return False
        return False

    assert all(wait(lambda port=port: is_refused(port)) for port in ports)


def test_leaves_nothing():
    """After clients that came, hung and left in all ways: no connection, no thread, no file descriptor."""
    threads, before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with FaultServer() as server:
        server.listen("tls_hang", name="tls")
        server.listen("blackhole")
        socks = []
        for step in ("ok", "hang", "hang:request", "drip:body", "idle:reset:5", "shut_input", "sse:0:0.01"):
            sock = connect(server.port)
            sock.sendall(request(f"/x/{step}", method="POST", content_length="3"))
            socks.append(sock)
        socks.append(connect(server.ports["tls"].port))
        assert wait(lambda: server.ports["http"].open == 7)
    for sock in socks:
        sock.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, before)


def test_attempts_are_told():
    """For a live log: each request once, with what was done to it."""
    told = []
    with FaultServer(on_attempt=told.append) as server:
        ask(server.port, "/x/503?key=k")
        ask(server.port, "/x/close?key=k")
    assert [(each.key, each.number, each.step) for each in told] == [("k", 1, "503"), ("k", 2, "close")]


def test_chance_is_seeded():
    """The same seed, the same luck."""
    runs = []
    for _ in range(2):
        with FaultServer(seed=1) as server, connect(server.port) as sock:
            sock.sendall(request("/x/chance:0.5+503") * 40)
            runs.append(see(sock).data.count(b" 503 "))
    assert runs[0] == runs[1]
    assert 10 < runs[0] < 30

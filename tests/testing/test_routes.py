"""Scripts for the paths of a client with a base URL, and what a test asks about the requests that came."""

from __future__ import annotations

import json as stdlib

import httpx
import pytest

from seawall.testing import FaultProcess, FaultServer, Request, UnusedScript
from seawall.testing.http.step import BadStep
from seawall.testing.steps import STEPS, json, location, redirect, status, text
from tests.testing.raw import ask


@pytest.fixture(scope="module")
def server():
    with FaultServer(assert_all_called=False) as server:
        yield server


@pytest.fixture(autouse=True)
def forgotten(server):
    yield
    server.reset()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url) as client:
        yield client


def test_each_request_takes_the_next_step(server, client):
    """Whatever stands for the parameter; the last step repeats, as in a script by key."""
    route = server.route("/orders/{id}", "503:1", "reset:body", json({"id": 7}))
    assert client.get("/orders/7").headers["retry-after"] == "1"
    with pytest.raises(httpx.ReadError):
        client.get("/orders/8")
    assert [client.get("/orders/7").json() for _ in range(2)] == [{"id": 7}] * 2
    assert [call.step for call in route.calls] == ["503:1", "reset:body", *['json:{"id"%3A7}'] * 2]
    assert [call.request.params["id"] for call in route.calls] == ["7", "8", "7", "7"]
    assert [each.step for each in server.attempts("/orders/{id}")] == [call.step for call in route.calls]


def test_what_came_is_kept(server, client):
    """Method, path, query, headers in any case, and the body, as it was sent."""
    route = server.route("/v1/orders", json({"id": 7}, 201, headers={"Location": "/v1/orders/7"}), method="post")
    response = client.post("/v1/orders?dry=&n=1&n=2", json={"item": "é"}, headers={"idempotency-key": "k"})
    assert (response.status_code, response.json(), response.headers["location"]) == (201, {"id": 7}, "/v1/orders/7")
    route.assert_called_once()
    request = route.calls[0].request
    assert (request.method, request.path, request.query) == ("POST", "/v1/orders", {"dry": "", "n": "2"})
    assert (request.json(), request.text) == ({"item": "é"}, '{"item":"é"}')
    assert request.headers["Idempotency-Key"] == request.headers.get("Idempotency-Key") == "k"
    assert "IDEMPOTENCY-KEY" in request.headers
    assert request.is_complete
    client.post("/v1/orders", content=b"{")
    assert (route.call_count, route.calls.last.request.body) == (2, b"{")
    with pytest.raises(ValueError, match=r"POST /v1/orders has no JSON: b'{'"):
        route.calls[1].request.json()


def test_body_that_was_not_read_whole(server):
    """It says so, because the client isn't to blame for what is missing."""
    route = server.route("/upload", "reset:request")
    assert ask(server.port, "/upload", method="POST", body=b"[1]", content_length="9").end == "RST"
    with pytest.raises(ValueError, match="the server has read only 1 B of its body"):
        route.calls[0].request.json()


def test_answers_of_functions(server, client):
    """A function sees the parameters, decoded, and the body."""

    async def echo(request: Request) -> None:
        said = {"name": request.params["name"], "n": request.json()["n"]}
        await request.reply(200, stdlib.dumps(said).encode(), {"content-type": "application/json"})

    server.route("/files/{name}.txt", echo, method="PUT")
    assert client.put("/files/a%2Fb.c.txt", json={"n": 1}).json() == {"name": "a/b.c", "n": 1}


def test_which_route_takes_a_request(server, client):
    """Fixed text goes before a parameter, and a method before none, in whatever order they were set."""
    any_order = server.route("/orders/{id}", text("any"))
    server.route("/orders/{id}", text("delete"), method="DELETE")
    server.route("/orders/latest", text("latest"))
    server.route("/orders/{id}/{part}", text("part"))
    server.route("/orders/{id}.csv", text("csv"))
    server.route("/", text("root"))
    for method, path, said in [
        ("GET", "/orders/7", "any"),
        ("DELETE", "/orders/7", "delete"),
        ("DELETE", "/orders/latest", "latest"),
        ("GET", "/orders/lat%65st", "latest"),
        ("GET", "/orders/7/items", "part"),
        ("GET", "/orders/7.csv", "csv"),
        ("GET", "/orders/7%2F8", "any"),
        ("GET", "/", "root"),
    ]:
        assert client.request(method, path).text == said
    assert any_order.call_count == 2


def test_other_paths_are_as_they_were(server, client):
    """The server's own, and 404 for the rest, which says what has a route; 405 for a method that has none."""
    route = server.route("/orders", status(204), method="POST")
    assert client.get("/x/503").status_code == 503
    assert client.get("/ctl/stats").json()["keys"] == {"503": 1, "POST /orders": 0}
    assert "seawall fault server" in client.get("/").text
    response = client.get("/order")
    assert response.status_code == 404
    assert response.text.startswith("no route for GET /order; the routes are POST /orders\n")
    response = client.get("/orders")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert "the routes of /orders take POST only" in response.text
    assert client.post("/orders").status_code == 204
    assert route.call_count == 1
    server.reset()
    assert client.post("/orders").status_code == 404


def test_failing_assertions_say_what_came(server, client):
    """Each request with its step, and those that came without a route, because one of these may be meant."""
    route = server.route("/orders/{id}", "503", json(["a", "b"]), method="GET")
    assert (route.called, route.call_count, list(route.calls)) == (False, 0, [])
    route.assert_not_called()
    client.post("/order/7?x=1")
    for check, words in {
        route.assert_called: "at least once",
        route.assert_called_once: "once",
        lambda: route.assert_call_count(3): "3 times",
    }.items():
        with pytest.raises(AssertionError) as caught:
            check()
        assert str(caught.value) == (
            f"GET /orders/{{id}} was called never; expected: {words}\n  without a route: POST /order/7?x=1"
        )
    with pytest.raises(IndexError, match=r"calls\[0\]: GET /orders/{id} was called never"):
        _ = route.calls[0]
    with pytest.raises(IndexError, match="was called never"):
        _ = route.calls.last
    client.get("/orders/7")
    client.get("/orders/8?x=1")
    route.assert_called()
    with pytest.raises(AssertionError) as caught:
        route.assert_called_once()
    assert str(caught.value).splitlines() == [
        "GET /orders/{id} was called twice; expected: once",
        "  1  GET /orders/7 -> 503",
        '  2  GET /orders/8?x=1 -> json:["a","b"]',
        "  without a route: POST /order/7?x=1",
    ]
    assert repr(route) == "<Route GET /orders/{id}, called twice>"


def test_long_list_of_calls_is_cut(server, client):
    """To what a reader can bear."""
    route = server.route("/orders", "503")
    for _ in range(25):
        client.get("/orders")
    with pytest.raises(AssertionError, match=r"20  GET /orders -> 503\n  ... and 5 more$"):
        route.assert_called_once()


def test_route_that_nothing_came_to():
    """An error at the end of the block, which names the requests that had no route."""
    server = FaultServer()
    server.__enter__()
    server.route("/orders", json([]), method="GET")
    ask(server.port, "/order")
    with pytest.raises(UnusedScript, match=r"these keys: 'GET /orders'; without a route: GET /order$"):
        server.__exit__()


def test_new_route_with_the_same_key(server, client):
    """It counts from the beginning, and what came to the earlier one stays there."""
    first = server.route("/orders", text("first"))
    client.get("/orders")
    second = server.route("/orders", "500", text("second"))
    assert [client.get("/orders").text for _ in range(2)][1] == "second"
    assert (first.call_count, second.call_count) == (1, 2)
    assert [call.number for call in second.calls] == [1, 2]


@pytest.mark.parametrize(
    ("path", "method", "words"),
    [
        ("orders", None, "must begin with a slash"),
        (7, None, "must begin with a slash"),
        ("/orders?x=1", None, "must not have a query"),
        ("/orders/{}", None, "must be a name in braces"),
        ("/orders/{id", None, "must be a name in braces"),
        ("/orders/{1}", None, "must be a name in braces"),
        ("/{id}/{id}", None, "two parameters of one name"),
        ("/x/ok", None, "the server itself answers /x and /ctl"),
        ("/ctl", None, "the server itself answers /x and /ctl"),
        ("/orders", "", "method must be one such as"),
        ("/orders", 7, "method must be one such as"),
        ("/orders/{number}", None, "/orders/{number} takes the same requests as /orders/{id}: use one path for both"),
    ],
)
def test_bad_route(server, path, method, words):
    """Refused when it is made."""
    server.route("/orders/{id}", "503")
    with pytest.raises(ValueError, match=words):
        server.route(path, "503", method=method)


def test_bad_steps_of_a_route(server, client):
    """As of a script; no route comes of it."""
    for steps, words in {(): "has no steps", ("okk",): "near: ok", ("tls",): "step of a connection"}.items():
        with pytest.raises(BadStep, match=words):
            server.route("/orders", *steps)
    assert client.get("/orders").status_code == 404


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: json({1, 2}), "value must be what JSON can hold"),
        (lambda: json(float("nan")), "value must be what JSON can hold"),
        (lambda: json({}, 99), "from 200 to 999"),
        (lambda: json({}, headers={"a b": "1"}), "headers must map names of headers to text"),
        (lambda: json({}, headers={"a": "1\r\n"}), "headers must map names of headers to text"),
        (lambda: json({}, headers="etag: 1"), "headers must map names of headers to text"),
        (lambda: text(b"bytes"), "body must be text"),
        (lambda: text("\ud800"), "body must be text"),
        (lambda: STEPS.parse("json:{", level="reply"), "takes json:value"),
        (lambda: STEPS.parse('json:{}:200:["a"]', level="reply"), "headers must map names"),
    ],
)
def test_bad_answers(make, words):
    """Refused when they are made."""
    with pytest.raises(BadStep, match=words):
        make()


@pytest.mark.parametrize(
    "step",
    [
        json({"id": 7, "name": "é:,+", "none": None}),
        json("text"),
        json("7", 201),
        json([1.5], 201, {"etag": '"1"', "x-a": "b, c"}),
        text("two\nlines, é+:"),
        text(""),
        text("gone", 410, headers={"content-type": "text/html"}),
    ],
    ids=str,
)
def test_answer_and_its_text_are_one(server, client, step):
    """As for all steps; the URL of another language brings the same as Python's step."""
    assert STEPS.parse(str(step), level="reply") == (step,)
    server.route("/a", step)
    ours, theirs = client.get("/a"), client.get(f"/x/{step}")
    assert (ours.status_code, ours.content, ours.headers) == (theirs.status_code, theirs.content, theirs.headers)


def test_answers(client, server):
    """JSON and text, with a content type that a header can change."""
    server.route("/a", json({"a": "é"}), text("é", 404), text("<a>", headers={"Content-Type": "text/html"}))
    first, second, third = (client.get("/a") for _ in range(3))
    assert (first.json(), first.headers["content-type"]) == ({"a": "é"}, "application/json")
    assert (second.status_code, second.text, second.headers["content-type"]) == (404, "é", "text/plain; charset=utf-8")
    assert third.headers.get_list("content-type") == ["text/html"]
    assert client.head("/a").content == b""


def test_redirected_requests_take_no_step(server, client):
    """They go to paths of the server's own, so the route's next request gets its next step."""
    route = server.route("/orders/old", redirect(2), text("second"), location("relative"))
    assert client.get("/orders/old", follow_redirects=True).json()["step"] == "redirect:0"
    assert client.get("/orders/old").text == "second"
    assert client.get("/orders/old", follow_redirects=True).json()["step"] == "ok"
    assert route.call_count == 3


def test_routes_on_each_port(server):
    """Over TLS and HTTP/2 as well."""
    route = server.route("/orders", json([]))
    with httpx.Client(
        base_url=server.listen("h2", name="h2").url, verify=server.client_context(), http2=True
    ) as secure:
        response = secure.post("/orders", json={"a": 1})
    assert (response.http_version, response.json()) == ("HTTP/2", [])
    assert route.calls[0].request.json() == {"a": 1}


@pytest.mark.anyio
async def test_in_the_running_loop():
    """What came can be asked for in the server's own loop, and after its end."""
    async with FaultServer() as server, httpx.AsyncClient(base_url=server.url) as client:
        route = server.route("/orders", json([]))
        await client.get("/orders")
        route.assert_called_once()
    assert route.calls.last.request.path == "/orders"


def test_routes_from_other_languages():
    """Over /ctl, in a process of its own; attempts by the route's key."""
    with FaultProcess() as server, httpx.Client(base_url=server.url) as client:
        key = server.route("/orders/{id}", "503", json({"id": 7}), method="get")
        assert key == "GET /orders/{id}"
        assert [client.get("/orders/7").status_code for _ in range(2)] == [503, 200]
        assert [each.step for each in server.attempts(key)] == ["503", 'json:{"id"%3A7}']
        assert server.route("/orders/{id}", "503") == "/orders/{id}"
        with pytest.raises(BadStep, match="must begin with a slash"):
            server.route("orders", "503")

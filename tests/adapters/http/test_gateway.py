"""The gateway as a server: health, metrics, hostile connections, start and stop."""

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from node.adapters.http import Gateway, HttpSettings
from node.adapters.http import gateway as gateway_module
from protocol.errors import ConfigError
from protocol.notes import NoteName
from tests.adapters.http.conftest import Serve, catalog, code_of
from tests.adapters.http.sockets import REQUEST, answer, connect
from tests.support.desk import Workbench
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S


async def test_health__not_ready__says_why(serve: Serve):
    served = await serve()
    assert (await served.http.get("/healthz")).json() == {"status": "ok"}
    assert (await served.http.get("/readyz")).json() == {"status": "ready"}
    served.desk.not_ready = "no stake table yet"
    response = await served.http.get("/readyz")
    assert (response.status_code, response.json()["reason"]) == (503, "no stake table yet")
    assert (await served.http.get("/healthz")).status_code == 200


async def test_metrics__after_requests__parse_and_count_by_route(serve: Serve):
    served = await serve()
    await served.generate()
    await served.generate(size="1x1")
    await served.http.get(f"/v1/artifacts/{'00' * 32}")
    await served.http.get("/no/such/page")
    await served.http.request("BREW", "/coffee")
    text = (await served.http.get("/metrics")).text
    counts = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cuckoo_http_requests_total"
    }
    assert counts == {
        ("POST", "/v1/images/generations", "200"): 1,
        ("POST", "/v1/images/generations", "400"): 1,
        ("GET", "/v1/artifacts/{digest}", "404"): 1,
        ("GET", "other", "404"): 1,
        ("other", "other", "404"): 1,
    }


async def test_openapi__complete__names_every_route_and_our_fields(serve: Serve):
    served = await serve()
    document = (await served.http.get("/openapi.json")).json()
    assert {"/v1/images/generations", "/v1/tasks", "/v1/tasks/{task}/events", "/v1/receipts/{task}"} <= set(
        document["paths"]
    )
    assert "negative_prompt" in document["components"]["schemas"]["ImagesRequest"]["properties"]


async def test_artifact__known_digest__may_be_cached_for_ever(serve: Serve):
    served = await serve()
    digest = (await served.generate()).json()["data"][0]["cuckoo"]["artifact"]
    first = await served.http.get(f"/v1/artifacts/{digest}")
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert first.headers["x-content-type-options"] == "nosniff"
    again = await served.http.get(f"/v1/artifacts/{digest}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_url__behind_a_proxy__is_the_public_one(serve: Serve):
    served = await serve(public_url="https://pictures.example/")
    (image,) = (await served.generate(response_format="url")).json()["data"]
    assert image["url"].startswith("https://pictures.example/v1/artifacts/")


WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BREAKS_THE_LIBRARY = WEBSOCKET + b"Sec-WebSocket-Protocol: \xff\r\n\r\n"


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x00" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000,
        b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        WEBSOCKET + b"\r\n\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!\r\nConnection: Upgrade\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: \xff\xff\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500,
        BREAKS_THE_LIBRARY,
    ],
    ids=lambda data: repr(data[:24]),
)
async def test_connection__hostile_bytes__end_that_connection_only(serve: Serve, hostile):
    served = await serve()
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(hostile)
        with trio.move_on_after(0.1):
            while await stream.receive_some(65536):
                pass
    assert (await served.generate()).status_code == 200


async def test_connection__breaks_the_server_library__is_noted(serve: Serve):
    served = await serve()
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    async with stream:
        await stream.send_all(BREAKS_THE_LIBRARY)
        with trio.fail_after(PATIENCE_S):
            while not served.journal.of(NoteName.MESSAGE_IGNORED):
                await trio.sleep(0.001)
    assert served.journal.notes[0].fields == {"rule": "http.connection"}


async def test_run__port_in_use__names_it(serve: Serve):
    served = await serve()
    gateway = Gateway(
        HttpSettings(port=served.port), Workbench().desk, catalog(), CollectorRegistry(), RecordingJournal()
    )
    with pytest.raises(ConfigError, match=rf"http.port {served.port} on 127.0.0.1 is in use"):
        await gateway.run()


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
async def test_run__host_is_not_ours__names_it(host):
    settings = HttpSettings(host=host, port=0)
    gateway = Gateway(settings, Workbench().desk, catalog(), CollectorRegistry(), RecordingJournal())
    with pytest.raises(ConfigError, match=r"http\.host"):
        await gateway.run()


async def test_run__cancelled__answers_waiting_calls_and_ends_in_time(serve: Serve):
    served = await serve(Workbench(draws=False))
    answers: list[httpx.Response] = []

    async def wait_for_picture() -> None:
        answers.append(await served.generate())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_picture)
        await served.desk.wait_for_tasks(1)
        while not served.desk.watching:
            await trio.sleep(0.001)
        with trio.fail_after(PATIENCE_S):
            served.nursery.cancel_scope.cancel()
            while not answers:
                await trio.sleep(0.001)
    assert code_of(answers[0]) == (503, "stopping", None)
    assert served.desk.cancelled == list(served.desk.accepted)
    with pytest.raises(OSError, match=r"refused|all attempts"):
        await trio.open_tcp_stream("127.0.0.1", served.port)


async def test_run__cancelled_with_idle_connections__ends_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gateway_module, "GRACE_S", PATIENCE_S)
    gateway = Gateway(HttpSettings(port=0), Workbench().desk, catalog(), CollectorRegistry(), RecordingJournal())
    async with trio.open_nursery() as nursery:
        port = await nursery.start(gateway.run)
        async with httpx.AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{port}/healthz")
            begun = trio.current_time()
            nursery.cancel_scope.cancel()
    assert trio.current_time() - begun < PATIENCE_S


async def test_head__whatever_can_be_read__has_the_header_of_get_and_no_body(serve: Serve):
    served = await serve()
    for path in ("/healthz", "/v1/models", "/", "/v1/tasks/" + "00" * 32):
        got, head = await served.http.get(path), await served.http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers["content-length"] == got.headers["content-length"]


async def test_head__then_another_request_on_the_connection__is_answered_alone(serve: Serve):
    served = await serve()
    async with await connect(served, REQUEST.replace(b"GET", b"HEAD", 1)) as stream:
        received = await answer(stream)
    assert received.count(b"HTTP/1.1 200") == 2
    assert received.count(b'{"status":"ok"}') == 1


async def test_head__where_nothing_can_be_read__is_refused_as_get_is(serve: Serve):
    served = await serve()
    head = await served.http.head("/v1/images/generations")
    assert (head.status_code, head.headers["allow"]) == (405, "POST")

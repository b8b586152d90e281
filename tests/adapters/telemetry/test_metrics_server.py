"""The address of the metrics: what it answers, and that nobody who speaks to it can hold or end the node."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from node.adapters.telemetry import metrics_server
from node.adapters.telemetry.metrics_server import MAX_CONNECTIONS, MetricsServer
from protocol.errors import ConfigError
from tests.support.patience import PATIENCE_S


@pytest.fixture
async def url(nursery: trio.Nursery) -> str:
    registry = CollectorRegistry()
    Counter("cuckoo_pictures", "Pictures", registry=registry).inc(3)
    port = await nursery.start(MetricsServer("127.0.0.1", 0, registry).run)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_metrics__asked__parse(http: httpx.AsyncClient):
    answer = await http.get("/metrics?name=x")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    assert {sample.name: sample.value for sample in samples}["cuckoo_pictures_total"] == 3
    assert (await http.get("/healthz")).text == "ok\n"


async def test_answers__other_paths_and_methods__refused(http: httpx.AsyncClient):
    assert (await http.get("/v1/models")).status_code == 404
    assert (await http.post("/metrics", content=b"x" * 100_000)).status_code == 405


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


HEAD = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


async def test_answers__body_still_comes_after_the_answer__is_read_to_its_end(url: str):
    body = b"x" * 1000
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(url)) as stream:
            await stream.send_all(HEAD % (100 * len(body)) + 10 * body)
            answer = b"".join([data async for data in stream])
            for _ in range(90):
                await stream.send_all(body)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"GET is what is answered here\n")


async def test_answers__body_without_end__is_cut_off(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_server, "_MAX_UNWANTED_BYTES", 50_000)
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(url)) as stream:
            await stream.send_all(HEAD % 10**12)
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"x" * 1000)


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 20_000])
async def test_serve__no_http__closes_that_connection_alone(url: str, http: httpx.AsyncClient, sent: bytes):
    with trio.fail_after(PATIENCE_S):
        async with await trio.open_tcp_stream("127.0.0.1", port_of(url)) as stream:
            try:
                await stream.send_all(sent)
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass  # closed with bytes unread
        assert (await http.get("/healthz")).status_code == 200


async def test_serve__silent_connections__make_room_in_time(
    url: str, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.2)
    async with AsyncExitStack() as silent:
        for _ in range(MAX_CONNECTIONS):
            await silent.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port_of(url)))
        with trio.fail_after(PATIENCE_S):
            refused = 0
            while True:
                try:
                    assert (await http.get("/healthz")).status_code == 200
                    break
                except httpx.TransportError:  # closed unanswered: all places are taken
                    refused += 1
                    await trio.sleep(0.05)
        assert refused


async def test_run__port_in_use__says_which_key_to_change(url: str):
    with pytest.raises(ConfigError, match=r"metrics\.port \d+ on 127\.0\.0\.1 is in use"):
        await MetricsServer("127.0.0.1", port_of(url), CollectorRegistry()).run()


async def test_run__no_such_address__says_which_key_to_change():
    with pytest.raises(ConfigError, match=r"try metrics\.host"):
        await MetricsServer("192.0.2.1", 0, CollectorRegistry()).run()

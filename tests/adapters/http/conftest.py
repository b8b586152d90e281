from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

import httpx
import pytest
import trio
from prometheus_client import CollectorRegistry

from node.adapters.http import Gateway, HttpSettings, KeyRing, Portal, hash_of_key
from node.apps.app_keys import ApiKey
from node.desk_ports import Desk
from node.ports import Journal
from protocol.task.catalog import BuiltinSource, Catalog, CatalogModel
from tests.support.desk import Workbench
from tests.support.journal import RecordingJournal
from tests.support.patience import PATIENCE_S
from tests.support.records import digest_of


def catalog() -> Catalog:
    tiny = CatalogModel(
        name="tiny",
        title="A tiny model",
        sizes=((64, 64), (128, 128), (128, 64), (64, 128)),
        default_size=(128, 128),
        default_steps=4,
        max_steps=50,
        default_guidance=2.0,
        max_guidance=10.0,
        works=("text_to_image", "image_to_image", "inpaint"),
        default_strength=0.6,
        loading_limit_ms=10_000,
        digest=digest_of("tiny"),
        licence="MIT",
        source=BuiltinSource(kind="builtin", folder="tiny"),
    )
    other = tiny.model_copy(update={"name": "absent", "title": "Known, but nobody serves it"})
    large = tiny.model_copy(update={"name": "large", "title": "Known, but nobody may serve it", "digest": None})
    return Catalog(
        models={"tiny": tiny, "absent": other, "large": large},
        default="tiny",
        aliases={"gpt-image-1": "tiny", "dall-e-3": "tiny"},
    )


@dataclass
class Served:
    """A gateway on a real loopback socket, and all that it talks to."""

    url: str
    port: int
    desk: Workbench
    journal: RecordingJournal
    registry: CollectorRegistry
    http: httpx.AsyncClient
    nursery: trio.Nursery
    gateway: Gateway

    async def generate(self, key: str | None = None, **body: object) -> httpx.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return await self.http.post("/v1/images/generations", json={"prompt": "a red heart", **body}, headers=headers)

    def caller(self, address: str) -> httpx.AsyncClient:
        """An app without a key that calls from elsewhere: past the socket, since loopback is one site."""
        transport = httpx.ASGITransport(app=self.gateway._door, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url=self.url)


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(nursery) -> AsyncIterator[Serve]:
    """Starts a gateway with these settings; stopped when the test ends."""
    clients: list[httpx.AsyncClient] = []

    async def start(
        desk: Workbench | None = None,
        ring: KeyRing | None = None,
        portal: Portal | None = None,
        reviewed: Callable[[Desk, Journal], Desk] = lambda desk, _: desk,
        **settings: object,
    ) -> Served:
        desk = desk or Workbench()
        journal = RecordingJournal()
        registry = CollectorRegistry()
        chosen = replace(HttpSettings(port=0), **settings)
        gateway = Gateway(chosen, reviewed(desk.desk, journal), catalog(), registry, journal, ring=ring, portal=portal)
        own = await nursery.start(_own_nursery)
        port = await own.start(gateway.run)
        url = f"http://127.0.0.1:{port}"
        client = httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer alice"}, timeout=PATIENCE_S)
        clients.append(client)
        return Served(url, port, desk, journal, registry, client, own, gateway)

    yield start
    for client in clients:
        await client.aclose()


async def _own_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as own:
        task_status.started(own)
        await trio.sleep_forever()


def ring_of(*keys: str, **limits: object) -> KeyRing:
    """A ring that knows these keys; ``alice`` is what the client of ``Served`` sends."""
    return KeyRing({hash_of_key(key): ApiKey(key, f"the app of {key}", **limits) for key in keys})


def code_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and param of an error, whose shape is checked."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return response.status_code, body["error"]["code"], body["error"]["param"]

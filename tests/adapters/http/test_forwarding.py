"""Whose word counts about who calls."""

from ipaddress import ip_network

import pytest

from node.adapters.http.forwarding import MAX_ADDRESS, MAX_HOPS, client_address, parse_address
from tests.adapters.http.conftest import Serve, code_of
from tests.support.desk import Workbench

TRUSTED = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def seen(peer: str, *headers: str) -> str:
    return client_address(peer, [(b"x-forwarded-for", header.encode("latin-1")) for header in headers], TRUSTED)


@pytest.mark.parametrize(
    ("peer", "headers", "caller"),
    [
        ("198.51.101.7", ["203.0.113.1"], "198.51.101.7"),
        ("127.0.0.2", ["203.0.113.1"], "127.0.0.2"),
        ("", ["203.0.113.1"], ""),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("::ffff:127.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("127.0.0.1", ["8.8.8.8, 203.0.113.1"], "203.0.113.1"),
        ("127.0.0.1", ["8.8.8.8", "203.0.113.1"], "203.0.113.1"),
        ("127.0.0.1", ["8.8.8.8, 203.0.113.1, 10.1.2.3"], "203.0.113.1"),
        ("127.0.0.1", ["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ("127.0.0.1", ["203.0.113.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.1, \xff, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("127.0.0.1", ["[2a00::1]:4711"], "2a00::1"),
        ("fd00::1", ["2a00::1"], "2a00::1"),
        ("127.0.0.1", ["203.0.113.1" + ", 10.1.2.3" * MAX_HOPS], "10.1.2.3"),
    ],
)
def test_client_address__peer_and_header__believes_trusted_proxies_only(peer, headers, caller):
    assert seen(peer, *headers) == caller


async def _submit(caller, forwarded: str) -> str:
    response = await caller.post("/v1/tasks", json={"prompt": "x"}, headers={"X-Forwarded-For": forwarded})
    return response.json()["task"]


async def test_owner__behind_a_trusted_proxy__is_whom_the_proxy_names(serve: Serve):
    served = await serve(Workbench(draws=False), trusted_proxies=TRUSTED)
    async with served.caller("127.0.0.1") as proxy:
        task = await _submit(proxy, "198.51.101.7")
        for stranger in ("198.51.101.8", "198.51.101.7, 198.51.101.8"):
            answer = await proxy.get(f"/v1/tasks/{task}", headers={"X-Forwarded-For": stranger})
            assert code_of(answer)[:2] == (404, "not_found")
        own = await proxy.get(f"/v1/tasks/{task}", headers={"X-Forwarded-For": "198.51.101.7"})
        assert own.status_code == 200


async def test_owner__forged_header_from_elsewhere__finds_nothing(serve: Serve):
    served = await serve(Workbench(draws=False), trusted_proxies=TRUSTED)
    async with served.caller("127.0.0.1") as proxy, served.caller("198.51.101.8") as forger:
        task = await _submit(proxy, "198.51.101.7")
        answer = await forger.get(f"/v1/tasks/{task}", headers={"X-Forwarded-For": "198.51.101.7"})
        assert code_of(answer)[:2] == (404, "not_found")


async def test_rate__invented_forwarded_addresses_without_trust__count_as_one(serve: Serve):
    served = await serve(requests_per_minute_per_key=2)
    async with served.caller("198.51.101.8") as caller:
        statuses = [
            (
                await caller.post("/v1/tasks", json={"prompt": "x"}, headers={"X-Forwarded-For": f"8.8.8.{number}"})
            ).status_code
            for number in range(3)
        ]
    assert statuses == [202, 202, 429]


def test_parse_address__longer_than_any__is_none_and_not_remembered():
    assert parse_address("fe80::1%" + "e" * (MAX_ADDRESS - 8)) is not None
    assert parse_address("fe80::1%" + "e" * (MAX_ADDRESS - 7)) is None

"""The portal over a real socket: what its page is made of, what it may ask, and how much of it."""

import importlib.resources
import json
import re
from ipaddress import ip_network
from typing import Any

import pytest
import trio
from fastapi import Request

from node.adapters.http import Portal
from node.adapters.http.errors import ApiError
from node.adapters.http.portal import PLAN_POINTS
from node.adapters.http.visitors import (
    CHAIN_POINTS,
    MAX_LISTENERS,
    MAX_LISTENERS_PER_SITE,
    POINTS,
    POINTS_PER_S,
    Visitors,
)
from protocol.errors import ConfigError, Unavailable
from tests.adapters.http.conftest import Serve, Served, code_of
from tests.adapters.http.sockets import connect
from tests.support.patience import PATIENCE_S
from tests.support.portal import ACCOUNT, STAKING, STEP, StandingDesk, StandingNetwork

WISH = {"action": "vote", "account": ACCOUNT, "node": "2", "amount": "1"}
FILES = sorted(
    file.name for file in (importlib.resources.files("node.adapters.http") / "pages").iterdir() if "." in file.name
)
OWN_NAMES = ("http://www.w3.org/2000/svg", "https://…")
"""What looks like an address and is a name, or an example: nothing is fetched from it."""


class Town:
    """A gateway with a portal that stands still."""

    def __init__(self) -> None:
        self.live, self.stakers = StandingNetwork(), StandingDesk()
        self.portal = Portal(self.live, self.stakers)


class Follower:
    """A page that follows the network, over a plain socket: it may leave at any moment."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.unread = b""

    @classmethod
    async def of(cls, served: Served, forwarded_for: str = "203.0.113.1") -> "Follower":
        head = f"GET /portal/events HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {forwarded_for}\r\n\r\n"
        stream = await connect(served, head.encode())
        return cls(stream)

    async def next(self) -> tuple[str, Any] | None:
        """The next event and its data, None at the end."""
        while True:
            found = re.search(rb"event: (\w+)\ndata: (.*)\n\n", self.unread)
            if found:
                self.unread = self.unread[found.end() :]
                return found[1].decode(), json.loads(found[2])
            received = await self.stream.receive_some()
            self.unread += received
            if not received or self.unread.endswith(b"\r\n0\r\n\r\n"):
                return None


@pytest.fixture
def town() -> Town:
    return Town()


async def test_page__each_file__comes_with_the_policy_and_names_no_other_host(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    assert {"index.html", "app.js", "base.css", "icon.svg"} <= set(FILES)
    for name in FILES:
        answer = await served.http.get("/" if name == "index.html" else f"/portal/{name}")
        assert answer.status_code == 200
        policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        text = answer.text
        for own in OWN_NAMES:
            text = text.replace(own, "")
        assert not re.search(r"https?://|[\"'(]//", text), name
        assert not re.search(r"\b(eval|innerHTML|outerHTML|insertAdjacentHTML|document\.write)\b", text), name


async def test_page__html__has_nothing_that_the_policy_forbids_and_refers_to_what_is_there(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    page = (await served.http.get("/")).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)
    references = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    assert references
    for reference in references:
        assert (await served.http.get(f"/{reference}")).status_code == 200
    for name in FILES:
        if name.endswith(".js"):
            script = (await served.http.get(f"/portal/{name}")).text
            for module in re.findall(r'from "\./([^"]+)"', script):
                assert module in FILES


async def test_page__html__asks_for_all_modules_at_once(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    page = (await served.http.get("/")).text
    asked = set(re.findall(r'<link rel="modulepreload" href="portal/([^"]+)">', page))
    assert asked == {name for name in FILES if name.endswith(".js")} - {"app.js", "alarm.js"}


async def test_page__unchanged__is_not_sent_again(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    first = await served.http.get("/portal/app.js")
    again = await served.http.get("/portal/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_page__other_names__are_not_found(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    for name in ("index.html", "..%2fportal.py", "../gateway.py", "app.py"):
        assert (await served.http.get(f"/portal/{name}")).status_code == 404


async def test_gateway__portal_switched_off__serves_none_of_it(serve: Serve):
    served = await serve()
    for path in ("/", "/portal/app.js", "/portal/network", "/portal/chain"):
        assert (await served.http.get(path)).status_code == 404


async def test_network__gateway_requires_a_key__is_public_and_says_so(serve: Serve, town: Town):
    served = await serve(portal=town.portal, require_key=True)
    told = (await served.http.get("/portal/network", headers={"Authorization": ""})).json()
    assert told["requires_key"] is True
    assert (told["network"], told["own_id"], told["registered"]) == ("test", 1, 2)
    coordinator, miner = told["members"]
    assert coordinator == {
        "id": 1, "role": "coordinator", "stake": str(3_000_000 * 10**18), "active": True, "here": True,
    }  # fmt: skip
    assert (miner["places"], miner["free"], miner["models"]) == (2, 1, ["tiny"])
    assert miner["deeds"] == {"awards": 3, "done": 2, "lost": 1, "work_ms": 900, "timed": 2}
    assert told["models"] == [
        {
            "id": "tiny", "title": "A tiny model", "sizes": ["64x64", "128x128"], "default_size": "128x128",
            "default_steps": 4, "max_steps": 50, "max_prompt_tokens": 75, "miners": 3,
        }
    ]  # fmt: skip
    assert (await served.http.get("/portal/recent")).json() == {
        "happenings": [{"at": 5, "name": "task.offered", "task": "0da95193cda9", "attempt": 0, "miners": 2}]
    }


async def test_events__follower__hears_of_the_network_and_of_each_step(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    with trio.fail_after(PATIENCE_S):
        follower = await Follower.of(served)
        kind, data = await follower.next()
        assert (kind, data["network"]) == ("network", "test")
        while not town.live.senders:
            await trio.sleep(0.01)
        await town.live.senders[0].send((STEP, STEP))
        kind, data = await follower.next()
        assert (kind, [step["name"] for step in data]) == ("happenings", ["task.offered"] * 2)
        await follower.stream.aclose()
        while town.live.listening:
            await trio.sleep(0.01)


async def test_events__node_stops__stream_ends(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    with trio.fail_after(PATIENCE_S):
        follower = await Follower.of(served)
        await follower.next()
        served.nursery.cancel_scope.cancel()
        assert await follower.next() is None
        await follower.stream.aclose()


async def test_events__too_many_of_one_visitor__are_turned_away_until_one_leaves(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    with trio.fail_after(PATIENCE_S):
        followers = [await Follower.of(served) for _ in range(MAX_LISTENERS_PER_SITE)]
        for follower in followers:
            await follower.next()
        assert code_of(await served.http.get("/portal/events"))[:2] == (429, "busy")
        await followers.pop().stream.aclose()
        while town.live.listening == MAX_LISTENERS_PER_SITE:
            await trio.sleep(0.01)
        followers.append(await Follower.of(served))
        await followers[-1].next()
        for follower in followers:
            await follower.stream.aclose()


def request_from(address: str) -> Request:
    return Request({"type": "http", "headers": [], "client": (address, 1)})


def test_take_place__all_are_held_by_few__a_newcomer_gets_the_oldest_of_who_holds_most():
    visitors = Visitors((), lambda: 0.0)
    full = MAX_LISTENERS // MAX_LISTENERS_PER_SITE
    held = {
        address: [visitors.take_place(request_from(address)) for _ in range(MAX_LISTENERS_PER_SITE)]
        for address in (f"203.0.113.{number}" for number in range(full))
    }
    first = held["203.0.113.0"]
    newcomers = [visitors.take_place(request_from(f"198.51.100.{number}")) for number in range(full)]
    assert [sum(place.taken_away.is_set() for place in places) for places in held.values()] == [1] * full
    assert first[0].taken_away.is_set()
    assert not any(place.taken_away.is_set() for place in newcomers)
    with pytest.raises(ApiError):  # who holds most takes from nobody
        visitors.take_place(request_from("203.0.113.0"))
    first[0].leave()
    for place in [place for places in held.values() for place in places] + newcomers:
        place.leave()
    assert visitors._listening == {}


def test_take_place__everybody_holds_one__nobody_loses_his():
    visitors = Visitors((), lambda: 0.0)
    held = [visitors.take_place(request_from(f"203.0.113.{number}")) for number in range(MAX_LISTENERS)]
    with pytest.raises(ApiError):
        visitors.take_place(request_from("198.51.100.1"))
    assert not any(place.taken_away.is_set() for place in held)


def test_take_place__sites_of_one_network__are_one_holder():
    visitors = Visitors((), lambda: 0.0)
    for number in range(MAX_LISTENERS_PER_SITE):
        visitors.take_place(request_from(f"2001:db8:1:{number:x}::1"))
    with pytest.raises(ApiError):
        visitors.take_place(request_from("2001:db8:1:ffff::1"))
    visitors.take_place(request_from("2001:db8:2::1"))


async def test_events__place_is_given_to_another__stream_ends(serve: Serve, town: Town, monkeypatch):
    monkeypatch.setattr("node.adapters.http.visitors.MAX_LISTENERS", 2)
    served = await serve(portal=town.portal, trusted_proxies=(ip_network("127.0.0.1"),))
    with trio.fail_after(PATIENCE_S):
        greedy = [await Follower.of(served, "203.0.113.1") for _ in range(2)]
        for follower in greedy:
            await follower.next()
        other = await Follower.of(served, "203.0.113.2")
        await other.next()
        while await greedy[0].next() is not None:
            pass
        for follower in (*greedy, other):
            await follower.stream.aclose()


async def test_chain_and_account__asked__amounts_are_text(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    chain = (await served.http.get("/portal/chain")).json()
    assert (chain["chain_id"], chain["contracts"], chain["staked"]) == (31337, {"staking": STAKING}, "9")
    (node,) = (await served.http.get("/portal/nodes")).json()["nodes"]
    assert (node["own"], node["votes"]) == (str(50_000 * 10**18), str(7 * 10**18))
    held = (await served.http.get(f"/portal/accounts/{ACCOUNT}")).json()
    assert held["holdings"] == [{"node": 2, "name": "miner", "own": False, "stake": str(7 * 10**18), "earned": "1"}]
    assert held["releases"] == [{"node": 2, "value": str(10**18), "release_at": 160}]


async def test_plans__wish__becomes_transactions_to_sign(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    prepared = (await served.http.post("/portal/plans", json=WISH)).json()
    assert prepared["steps"] == [
        {
            "text": "vote", "contract": "Staking", "to": STAKING, "function": "vote", "arguments": ["2", "1 CAI"],
            "data": "0x01",
            "gas_limit": 130_000,
        }
    ]  # fmt: skip
    assert (prepared["gas"], prepared["fee"], prepared["affordable"]) == (21_000, str(10**12), True)
    assert (town.stakers.wishes[0].action, town.stakers.wishes[0].amount) == ("vote", "1")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"action": "steal"}, "action"),
        ({"account": "0x" * 40}, "account"),
        ({"profile": {"name": "x" * 600}}, "profile.name"),
    ],
)
async def test_plans__bad_request__names_the_field(serve: Serve, town: Town, change, param):
    served = await serve(portal=town.portal)
    assert code_of(await served.http.post("/portal/plans", json=WISH | change)) == (400, "invalid_request", param)
    assert not town.stakers.wishes


async def test_plans__contract_would_refuse__says_why(serve: Serve, town: Town):
    town.stakers.problem = ConfigError("you have 3 CAI")
    served = await serve(portal=town.portal)
    answer = await served.http.post("/portal/plans", json=WISH)
    assert code_of(answer) == (409, "not_possible", None)
    assert answer.json()["error"]["message"] == "you have 3 CAI"


async def test_chain__does_not_answer__keeps_the_chain_node_to_itself(serve: Serve, town: Town):
    town.stakers.problem = Unavailable("https://rpc.example.org/SECRET: ConnectError")
    served = await serve(portal=town.portal)
    for path in ("chain", "nodes", f"accounts/{ACCOUNT}"):
        answer = await served.http.get(f"/portal/{path}")
        assert code_of(answer)[:2] == (503, "chain_unavailable")
        assert "example" not in answer.text


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What visitors may ask does not come back, however long this machine takes for their questions."""
    monkeypatch.setattr("node.adapters.http.portal.Visitors", lambda proxies, _: Visitors(proxies, lambda: 0.0))


@pytest.mark.usefixtures("no_time_passes")
async def test_visitor__asks_too_much__waits_while_others_are_served(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    one, other = served.caller("203.0.113.7"), served.caller("203.0.113.8")
    async with one, other:
        for _ in range(int(POINTS // PLAN_POINTS)):
            assert (await one.post("/portal/plans", json=WISH)).status_code == 200
        refused = await one.post("/portal/plans", json=WISH)
        assert code_of(refused)[:2] == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= PLAN_POINTS / POINTS_PER_S
        assert (await other.post("/portal/plans", json=WISH)).status_code == 200


@pytest.mark.usefixtures("no_time_passes")
async def test_visitors__all_together_ask_the_chain_too_much__are_told_to_wait(serve: Serve, town: Town):
    served = await serve(portal=town.portal)
    answers = []
    for number in range(int(CHAIN_POINTS // PLAN_POINTS) + 3):
        async with served.caller(f"203.0.113.{number}") as visitor:
            answers.append(await visitor.post("/portal/plans", json=WISH))
            assert (await visitor.get("/portal/network")).status_code == 200
    assert code_of(answers[-1])[:2] == (503, "busy")
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert len([answer for answer in answers if answer.status_code == 200]) == CHAIN_POINTS // PLAN_POINTS

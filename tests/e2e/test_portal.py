"""The portal in a real browser, served by a real coordinator, with a wallet that signs on a real chain."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from node.adapters.chain.devchain import DEV_UNBONDING_DELAY_S
from node.network_file import read_network
from node.owner.registration_proof import RegistrationProof
from protocol.crypto.keys import NodeKey
from protocol.units import CAI, Role
from tests.support.browser import LIMIT_MS, visitor_of
from tests.support.devnet import Running, devnet
from tests.support.portal_visit import PHONE, VIEWS, connected, sign, wallet_on

pytestmark = pytest.mark.e2e
DRAWING_MS = 1500
"""Long enough to be seen by a browser on a busy machine."""
PROMPT = "a red heart that nobody but the miner sees"
LATER = 2**32

expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def network(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Begun after Chromium, so that a machine without one starts nothing."""
    folder = tmp_path_factory.mktemp("portal")
    with devnet(folder, "--engine", "instant", "--delay-ms", str(DRAWING_MS), "--miners", "2") as running:
        yield running


def test_network__task_of_somebody_else__is_seen_as_it_happens(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("network")
    expect(page.locator("#status-text")).to_have_text("2 miners ready")
    expect(page.locator("#members tbody tr")).to_have_count(3)
    expect(page.locator("#members")).to_contain_text("miner-2")
    expect(page.locator("#map svg .node")).to_have_count(3)
    assert page.locator("#map svg").get_attribute("role") == "img"
    with network.client as client:
        client.post("/v1/tasks", json={"prompt": PROMPT}).raise_for_status()
    expect(page.locator("#feed li").first).to_contain_text("draws it")
    expect(page.locator("#map .node.busy")).to_have_count(1)
    expect(page.locator("#feed li").first).to_contain_text("drew it in")
    assert "nobody but the miner" not in page.content()
    visitor.assert_clean()


def test_network__task_of_another_coordinator__is_shown_as_its_own_word(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("network")
    expect(page.locator("#members")).to_contain_text("miner-2")
    miner = next(node for node in network.nodes("miner") if node["name"] == "miner-2")["staking_id"]

    def hears(name: str, **fields: object) -> None:
        step = {"at": 0, "name": name, "task": "abcdef123456", "coordinator": 77, "model": "m", **fields}
        page.evaluate("async (step) => (await import('/portal/network.js')).happened([step])", step)

    first = page.locator("#feed li").first
    hears("heard.offered", attempt=0)
    expect(first).to_contain_text("77: offered to all miners")
    hears("heard.awarded", attempt=0, miner=miner)
    expect(first).to_contain_text("77: miner-2 draws it")
    hears("heard.closed", reason="done")
    expect(first).to_contain_text("77: miner-2 drew it")
    visitor.assert_clean()


def test_try_it__a_prompt__becomes_a_picture_with_a_receipt_that_is_checked(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("try")
    expect(page.locator("#model option")).to_have_count(1)
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_role("button", name="Make the picture").click()
    picture = page.get_by_role("img", name=PROMPT)
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    expect(page.locator("#try-status")).to_contain_text("Drawn by miner-")
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#receipt .checks .yes")).to_have_count(3)
    expect(page.locator("#receipt .checks .open")).to_contain_text("whose signature it is")
    expect(page.locator("#receipt .checks .no")).to_have_count(0)
    visitor.assert_clean()


def test_try_it__picture_is_not_the_one_that_was_signed__says_so(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    with network.client as client:
        made = client.post("/v1/images/generations", json={"prompt": "another", "response_format": "url"}).json()
        other = client.get(made["data"][0]["url"]).content
    page.route("**/v1/artifacts/*", lambda route: route.fulfill(body=other, content_type="image/png"))
    visitor.visit("try")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_role("button", name="Make the picture").click()
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("#receipt .checks .no")).to_contain_text("not the one that the receipt names")


def test_try_it__coordinator_asks_for_a_key__is_sent_with_each_request_and_kept_nowhere(
    chromium: Browser, network: Running
):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    told = httpx.get(f"{network.url}/portal/network", trust_env=False).json() | {"requires_key": True}
    stream = f"event: network\ndata: {json.dumps(told)}\n\n"
    page.route("**/portal/events", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    sent: list[tuple[str, str]] = []
    path = len(network.url)
    page.on("request", lambda request: sent.append((request.url[path:], request.headers.get("authorization", ""))))
    visitor.visit("try")
    page.get_by_label("API key").fill("sk-a-key")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_role("button", name="Make the picture").click()
    expect(page.get_by_role("button", name="Verify")).to_be_visible()
    assert {key for _, key in sent} == {"", "Bearer sk-a-key"}
    assert {url.split("/")[2] for url, key in sent if key} == {"tasks", "receipts"}, "only the API gets it"
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_nodes__leaderboard__sorts_by_keyboard_and_leads_to_a_vote(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, **PHONE)
    page = visitor.page
    visitor.visit("nodes")
    rows = page.locator("#leaders tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("miner-2")
    page.locator("[data-column=stake]").focus()
    page.keyboard.press("Enter")
    expect(rows.first).to_contain_text("miner-1")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Stake")
    page.get_by_role("button", name="Coordinators").click()
    expect(rows).to_have_count(1)
    assert visitor.overhang() == 0, "a phone would scroll sideways"
    rows.first.get_by_role("link", name="Vote for coordinator-1").click()
    expect(page.get_by_role("heading", name="Connect your wallet")).to_be_visible()
    visitor.assert_clean()


def test_nodes__profile_with_markup__stays_text(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    told = httpx.get(f"{network.url}/portal/nodes", trust_env=False).json()
    told["nodes"][1]["profile"] = {
        "name": "<img src=x onerror=alert(1)>",
        "description": "<script>alert(1)</script>",
        "site": "javascript:alert(1)",
    }
    told["nodes"][2]["profile"] = {"name": "honest", "site": "https://example.org/gpu"}
    page.route("**/portal/nodes", lambda route: route.fulfill(body=json.dumps(told), content_type="application/json"))
    visitor.visit("nodes")
    expect(page.locator("#leaders")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#leaders img, #leaders script").count() == 0
    links = page.locator("#leaders .who a")
    expect(links).to_have_count(1)
    assert links.get_attribute("href") == "https://example.org/gpu"
    assert "noopener" in (links.get_attribute("rel") or "")
    visitor.assert_clean()


def test_nodes__slash__stands_beside_its_node_with_reason_and_transaction(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    told = httpx.get(f"{network.url}/portal/nodes", trust_env=False).json()
    proof = "0x" + "ab" * 32
    slash = {"reason": "two_commitments", "why": "two results for one award", "slashed": str(1250 * CAI), "at": 10**9}
    miner = next(node for node in told["nodes"] if node["role"] == "miner")
    miner["profile"] = {"name": "the cheat"}
    miner["slashes"] = [slash | {"transaction": proof}, slash | {"transaction": proof, "slashed": "0"}]
    body = json.dumps(told)
    visitor.page.route("**/portal/nodes", lambda route: route.fulfill(body=body, content_type="application/json"))
    visitor.visit("nodes")
    row = visitor.page.locator("#leaders tbody tr", has_text="the cheat")
    expect(row).to_contain_text("slashed 1,250 CAI on")
    expect(row).to_contain_text("two results for one award")
    expect(row).to_contain_text("jailed on")
    assert row.locator(f'[title="{proof}"]').count() == 2
    assert visitor.page.locator("#leaders .slash").count() == 2, "of this node alone"
    visitor.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views__each_of_them__keeps_nobody_out(chromium: Browser, network: Running, scheme: str):
    visitor = visitor_of(chromium, network.url, wallet_on(network), color_scheme=scheme, bypass_csp=True)
    page = visitor.page
    found: dict[str, list[str]] = {}
    for view, sign_of_life in VIEWS.items():
        visitor.visit(view)
        expect(page.locator(sign_of_life).first).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        found[view] = visitor.barriers()
    page.get_by_role("button", name="Connect Browser wallet").click()
    page.locator("#faucet").click()
    expect(page.locator("#sign")).to_be_visible()
    found["dialog"] = visitor.barriers()
    assert {view: faults for view, faults in found.items() if faults} == {}


def test_stake__news_while_somebody_types__waits_until_the_field_is_left(chromium: Browser, network: Running):
    wallet = wallet_on(network)
    visitor = connected(chromium, network, wallet)
    page = visitor.page
    field = page.get_by_label("Amount (CAI)")
    field.fill("12")
    wallet.rpc("anvil_setBalance", wallet.address, hex(7 * 10**18))
    with page.expect_response(
        lambda answer: "/portal/accounts/" in answer.url and answer.json()["gas"] == str(7 * 10**18)
    ):
        pass
    field.press_sequentially("34")
    expect(field).to_be_focused()
    expect(field).to_have_value("1234")
    gas = page.locator(".account").get_by_text("7", exact=True)
    expect(gas).to_have_count(0)
    field.press("Tab")
    expect(gas).to_have_count(1)
    expect(field).to_have_value("1234")
    visitor.assert_clean()


def test_register__pasted_proof__makes_a_node_of_the_wallet(chromium: Browser, network: Running):
    wallet = wallet_on(network)
    visitor = connected(chromium, network, wallet)
    page = visitor.page
    described = read_network(Path(network.description["network"]))
    key = NodeKey(secrets.token_bytes(32))
    page.get_by_text("Register a node of your own").click()
    expect(page.locator("#prove")).to_contain_text("cuckoo key prove --owner 0x")
    page.locator("#proof").fill(RegistrationProof.make(described, key, wallet.address, Role.MINER, LATER).text())
    page.locator("#register-amount").fill("24000")
    page.locator("#profile-name").fill("My GPU")
    page.get_by_role("button", name="Review the registration").click()
    sign(visitor)
    expect(page.locator("#holdings")).to_contain_text("yours")
    expect(page.locator("#holdings")).to_contain_text("24,000 CAI")
    visitor.assert_clean()


def test_stake__wallet_of_another_chain_whose_owner_hesitates__is_led_through(chromium: Browser, network: Running):
    wallet = wallet_on(network, knows_chain=False)
    visitor = visitor_of(chromium, network.url, wallet)
    page = visitor.page
    visitor.visit("stake")
    page.get_by_role("button", name="Connect Browser wallet").click()
    expect(page.locator("#faucet")).to_be_visible()
    (added,) = wallet.added
    assert (added["chainId"], added["rpcUrls"]) == (hex(wallet.chain_id), [wallet.rpc_url])
    wallet.refuses = True
    page.locator("#faucet").click()
    page.locator("#sign").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(
        "You said no in your wallet. Nothing was sent."
    )
    assert wallet.sent == []
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    visitor.assert_clean()


def test_stake__chain_does_not_answer_for_a_moment__is_said_and_passes(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, wallet_on(network))
    page = visitor.page
    error = {"error": {"message": "the chain does not answer now: try again soon", "code": "chain_unavailable"}}
    page.route("**/portal/chain", lambda route: route.fulfill(status=503, body=json.dumps(error)), times=1)
    visitor.visit("stake")
    connect = page.get_by_role("button", name="Connect Browser wallet")
    expect(page.get_by_role("alert")).to_have_text("The chain does not answer now: try again soon.")
    expect(connect).to_be_disabled()
    expect(connect).to_be_enabled()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_stake__vote_unvote_withdraw__with_the_wallet_alone(chromium: Browser, network: Running):
    """The last one: it moves the chain's clock ahead."""
    wallet = wallet_on(network)
    visitor = connected(chromium, network, wallet)
    page = visitor.page
    page.get_by_label("Amount (CAI)").fill("1000")
    page.get_by_role("button", name="Review the vote").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("24,000 CAI")
    expect(dialog).to_contain_text("Gas:")
    staking = network.description["chain"]["staking"]
    expect(dialog).to_contain_text(staking, ignore_case=True)
    sign(visitor)
    assert [sent["to"].lower() for sent in wallet.sent[-2:]] == [
        network.description["chain"]["cai"].lower(),
        staking.lower(),
    ]
    expect(page.locator("#holdings")).to_contain_text("1,000 CAI")
    expect(page.locator("#unvote-3")).to_have_text("Take all back")
    page.locator("#part-3").fill("1000")
    expect(page.locator("#unvote-3")).to_have_text("Take back")
    page.locator("#unvote-3").click()
    sign(visitor)
    expect(page.locator("#releases")).to_contain_text("1,000 CAI from")
    withdraw = page.get_by_role("button", name="Withdraw")
    expect(withdraw).to_be_disabled()
    wallet.rpc("evm_increaseTime", DEV_UNBONDING_DELAY_S)
    wallet.rpc("evm_mine")
    expect(withdraw).to_be_enabled()
    withdraw.click()
    sign(visitor)
    expect(page.locator("#balance")).to_contain_text("25,000")
    expect(page.locator("#releases")).to_have_count(0)
    visitor.assert_clean()

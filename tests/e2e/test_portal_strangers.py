"""The portal to people who have never seen it: what they are told, where, and what is kept when things fail."""

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from tests.support.browser import LIMIT_MS, visitor_of
from tests.support.devnet import Running, devnet
from tests.support.portal_visit import PHONE, connected, sign, wallet_on

pytestmark = pytest.mark.e2e
PROMPT = "a red heart"
DRAWING_MS = 3000

expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def network(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Begun after Chromium, so that a machine without one starts nothing."""
    folder = tmp_path_factory.mktemp("strangers")
    with devnet(folder, "--engine", "instant", "--delay-ms", str(DRAWING_MS), "--miners", "2") as running:
        yield running


def test_page__without_scripts__says_what_is_missing(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, java_script_enabled=False)
    visitor.visit("network")
    expect(visitor.page.locator(".banner", has_text="This page needs JavaScript")).to_be_visible()


def test_page__one_file_does_not_come__says_so(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    visitor.page.route("**/portal/held.js", lambda route: route.abort())
    visitor.visit("network")
    expect(visitor.page.get_by_role("alert")).to_have_text("Part of this page did not load. Reload it to try again.")
    expect(visitor.page.locator("#status-text")).to_have_text("not connected")


def test_page__mistake_of_a_wallets_script__raises_no_alarm(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("network")
    expect(page.locator("#status-text")).to_have_text("2 miners ready")
    page.evaluate("Promise.reject(new Error('not ours')); 0")
    page.evaluate("import('/portal/known.js').then((known) => known.take(null)); 0")
    expect(page.get_by_role("alert")).to_have_count(0)
    page.evaluate("import('/portal/network.js').then((network) => network.happened(null)); 0")
    expect(page.get_by_role("alert")).to_have_text("Something on this page went wrong. Reload it to go on.")


def test_network__connection_is_lost_and_comes_back__says_since_when_and_forgets_what_is_over(
    chromium: Browser, network: Running
):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    told = httpx.get(f"{network.url}/portal/network", trust_env=False).json()
    stream = f"event: network\ndata: {json.dumps(told)}\n\n"
    lost = [True]

    def events(route: Route) -> None:
        if lost[0]:
            route.fulfill(body=stream, content_type="text/event-stream")
        else:
            route.continue_()

    page.route("**/portal/events", events)
    visitor.visit("network")
    expect(page.locator("#lost")).to_contain_text("No connection to this coordinator since")
    expect(page.locator("#members")).to_contain_text("miner-2")
    expect(page.locator("#feed-empty")).to_be_visible()
    miner = next(node for node in network.nodes("miner") if node["name"] == "miner-2")["staking_id"]
    steps = [
        {"at": 1, "task": "abcdef123456", "attempt": 0, "name": "task.offered"},
        {"at": 2, "task": "abcdef123456", "attempt": 0, "name": "task.awarded", "miner": miner},
    ]
    page.evaluate("async (steps) => (await import('/portal/network.js')).happened(steps)", steps)
    expect(page.locator("#feed li").first).to_contain_text("miner-2 draws it")
    expect(page.locator("#map .node.busy")).to_have_count(1)
    lost[0] = False
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#feed li", has_text="abcdef")).to_have_count(0)
    expect(page.locator("#map .node.busy")).to_have_count(0)
    expect(page.locator("#status-text")).to_have_text("2 miners ready")


def test_try_it__page_is_loaded_anew_meanwhile__finds_the_picture_again(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("network")
    page.get_by_role("link", name="Make a picture", exact=True).click()
    expect(page.locator("#try-cost")).to_contain_text("costs you nothing")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/#try?task=*")
    page.reload()
    expect(page.get_by_role("img", name=PROMPT)).to_be_visible()
    expect(page.locator("#try-status")).to_contain_text("Drawn by miner-")
    expect(page.get_by_role("button", name="Verify")).to_be_visible()
    page.get_by_role("link", name="Network").click()
    expect(page.locator("#feed li", has_text="yours").first).to_contain_text("miner-")
    visitor.assert_clean()


def test_try_it__connection_breaks__goes_on_with_the_same_task(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    handed_in: list[str] = []
    page.on("request", lambda request: handed_in.append(request.url) if request.method == "POST" else None)
    page.route("**/v1/tasks/*/events", lambda route: route.abort(), times=1)
    visitor.visit("try")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_role("button", name="Make the picture").click()
    expect(page.locator("#try-status")).to_contain_text("No connection: asking again")
    expect(page.locator("#try-status")).to_contain_text("Drawn by miner-")
    assert len(handed_in) == 1


def test_try_it__task_of_nobody_here__is_said_to_be_gone(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    visitor.visit(f"try?task={'ab' * 32}")
    expect(visitor.page.get_by_role("alert")).to_contain_text("This picture is not here any more")
    expect(visitor.page.locator("#again")).to_be_hidden()


def test_try_it__by_keyboard_alone__keeps_its_place(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("try")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_role("button", name="Make the picture").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#try-status")).to_have_text("You stopped it.")
    expect(page.get_by_role("button", name="Make the picture")).to_be_focused()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_stake__nobody_is_connected_yet__says_for_whom_and_what_it_takes(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("stake?node=3")
    welcome = page.locator(".welcome")
    expect(welcome).to_contain_text("Then you can vote for miner-2 #3.")
    expect(welcome).to_contain_text("No wallet was found in this browser.")
    expect(welcome).to_contain_text("cuckoo vote 3 1000 --network network.toml")
    expect(welcome).to_contain_text("its faucet gives you CAI")
    page.get_by_text("How it works, and what the words mean").click()
    for word in ("Commission", "Gas", "Epoch", "Slashed", "Weight", "Taking back"):
        expect(page.get_by_role("term").filter(has_text=word)).to_be_visible()


def test_stake__wallet_shows_no_account__says_so(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, wallet_on(network))
    page = visitor.page
    visitor.visit("stake")
    page.evaluate("window.ethereum.request = async () => []; 0")
    page.get_by_role("button", name="Connect Browser wallet").click()
    expect(page.get_by_role("alert")).to_have_text("The wallet showed no account.")


def test_stake__wallet_changes_its_account_before_the_signature__signs_nothing_for_another(
    chromium: Browser, network: Running
):
    wallet = wallet_on(network)
    visitor = connected(chromium, network, wallet)
    page, before = visitor.page, len(wallet.sent)
    page.locator("#vote-amount").fill("10")
    page.get_by_role("button", name="Review the vote").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("#sign")).to_be_visible()
    page.evaluate("window.ethereum.listeners.accountsChanged(['0x' + '77'.repeat(20)]); 0")
    dialog.locator("#sign").click()
    expect(dialog.get_by_role("alert")).to_contain_text("your wallet has changed to another account")
    assert len(wallet.sent) == before


def test_stake__wallet_stays_on_another_chain__says_what_to_do(chromium: Browser, network: Running):
    wallet = wallet_on(network, knows_chain=False)
    visitor = visitor_of(chromium, network.url, wallet)
    page = visitor.page
    page.route("**/portal/chain", _without_address)
    visitor.visit("stake")
    page.get_by_role("button", name="Connect Browser wallet").click()
    expect(page.locator(".account")).to_contain_text("Your wallet is on another chain (number 1).")
    expect(page.locator(".account").get_by_role("alert")).to_contain_text("add it there by hand")


def _without_address(route: Route) -> None:
    """A chain that wallets cannot be given."""
    answer = route.fetch()
    route.fulfill(body=json.dumps(answer.json() | {"rpc_url": None}), content_type="application/json")


def test_stake__on_a_phone__is_said_where_it_happens_and_fits(chromium: Browser, network: Running):
    wallet = wallet_on(network)
    visitor = visitor_of(chromium, network.url, wallet, **PHONE)
    page = visitor.page
    visitor.visit("stake?node=3")
    expect(page.locator(".net")).to_have_text("devnet")
    expect(page.locator(".net")).to_be_visible()
    page.get_by_role("button", name="Connect Browser wallet").tap()
    expect(page.locator("#account-title")).to_be_focused()
    page.get_by_label("Amount (CAI)").fill("5")
    page.get_by_role("button", name="Review the vote").tap()
    refused = page.locator("#vote-form").get_by_role("alert")
    expect(refused).to_have_text(
        "Your account has 0 CAI, and 5 CAI are needed: send it CAI first, on a test network from the faucet above."
    )
    expect(refused).to_be_in_viewport()
    expect(page.get_by_label("Amount (CAI)")).to_have_attribute("aria-invalid", "true")
    page.get_by_text("Register a node of your own").tap()
    page.locator("#proof").fill("no proof")
    page.locator("#register-amount").fill("25000")
    page.get_by_role("button", name="Review the registration").tap()
    expect(page.locator("#register-form").get_by_role("alert")).to_be_in_viewport()
    expect(page.get_by_role("alert")).to_have_count(1)
    page.get_by_role("button", name="Take CAI from the faucet").tap()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("#sign")).to_be_in_viewport(ratio=1)
    expect(dialog.get_by_role("heading")).to_have_text("Take 25,000 CAI from the faucet for your account")
    assert dialog.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth"), "text is cut"
    wallet.is_poor = True
    dialog.locator("#sign").tap()
    expect(dialog.get_by_role("alert")).to_have_text(
        "Your account has too little ETH to pay for the gas. Send it some, then try again."
    )
    expect(dialog.locator("#sign")).to_be_focused()
    sign(visitor)
    expect(page.locator(".news")).to_have_text("Done: take 25,000 CAI from the faucet for your account.")
    expect(page.locator("#account-title")).to_be_focused()
    assert visitor.overhang() == 0, "a phone would scroll sideways"


def test_stake__vote_on_a_phone__is_about_the_node_by_name_and_number(chromium: Browser, network: Running):
    visitor = connected(chromium, network, wallet_on(network), **PHONE)
    page = visitor.page
    expect(page.locator("#vote-form")).to_contain_text("miner-2 keeps 10 % of its rewards")
    page.get_by_label("Amount (CAI)").fill("1000")
    page.get_by_label("Amount (CAI)").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_contain_text("Vote 1,000 CAI on node 3 (miner-2)")
    expect(dialog.locator("#sign")).to_be_in_viewport(ratio=1)
    sign(visitor)
    expect(page.locator("#vote-amount")).to_be_focused()
    claim = page.locator("#claim-3")
    assert claim.evaluate("(button) => button.scrollWidth <= button.clientWidth"), "its word is cut"
    visitor.assert_clean()

"""The portal where little room meets long words, and where there is more than it shows."""

import json
import re
from collections.abc import Iterator
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import LIMIT_MS, visitor_of
from tests.support.devnet import Running, devnet
from tests.support.portal_visit import PHONE, VIEWS

pytestmark = pytest.mark.e2e
PROMPT = "a red heart"

expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def network(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Begun after Chromium, so that a machine without one starts nothing."""
    folder = tmp_path_factory.mktemp("looks")
    with devnet(folder, "--engine", "instant", "--miners", "2") as running:
        yield running


def test_network__busy_second_and_task_that_was_given_up__are_told_as_they_are(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    told = httpx.get(f"{network.url}/portal/network", trust_env=False).json()
    told["totals"]["passed_over"] = 1234
    stream = f"event: network\ndata: {json.dumps(told)}\n\n"
    page.route("**/portal/events", lambda route: route.fulfill(body=stream, content_type="text/event-stream"))
    visitor.visit("network")
    expect(page.locator("#feed-more")).to_contain_text("1,234 more since this start")
    steps = [
        {"at": 1, "task": "abcdef123456", "attempt": 0, "name": "task.offered"},
        {"at": 2, "task": "abcdef123456", "name": "task.failed", "reason": "cancelled"},
    ]
    page.evaluate("async (steps) => (await import('/portal/network.js')).happened(steps)", steps)
    expect(page.locator("#feed li.left")).to_contain_text("given up by who asked for it")


def test_page__phone_without_a_wallet__fits(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, **PHONE)
    for view, sign_of_life in VIEWS.items():
        visitor.visit(view)
        expect(visitor.page.locator(sign_of_life).first).to_be_visible()
        assert visitor.overhang() == 0, view


def test_try_it__seed_that_is_too_large_on_a_phone__is_pointed_at_below_the_bar(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url, **PHONE)
    page = visitor.page
    visitor.visit("try")
    page.get_by_label("What should it show?").fill(PROMPT)
    page.get_by_text("More choices").tap()
    page.get_by_label("Seed").fill("9007199254740992")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.get_by_role("button", name="Make the picture").dispatch_event("click")
    expect(page.locator("#seed:invalid")).to_be_focused()
    bar, field = page.locator(".top").bounding_box(), page.locator("#seed").bounding_box()
    assert bar is not None
    assert field is not None
    assert field["y"] >= bar["y"] + bar["height"], "the bar covers it"
    expect(page.locator("#stop")).to_be_hidden()


def test_nodes__long_words_of_strangers__stay_in_their_column(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    told = httpx.get(f"{network.url}/portal/nodes", trust_env=False).json()
    for node in told["nodes"]:
        node["profile"] = {"name": "x" * 60, "description": "y" * 200, "site": f"https://{'z' * 60}.example.org"}
    body = json.dumps(told)
    page.route("**/portal/nodes", lambda route: route.fulfill(body=body, content_type="application/json"))
    for view, table in (("network", "#members"), ("nodes", "#leaders")):
        visitor.visit(view)
        first = page.locator(f"{table} tbody td").first
        expect(first).to_contain_text("x" * 60)
        assert first.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth"), view
        assert page.locator(table).evaluate("(table) => table.offsetWidth <= table.parentElement.clientWidth"), view


def test_nodes__chain_does_not_answer_for_a_moment__is_said_and_passes(chromium: Browser, network: Running):
    visitor = visitor_of(chromium, network.url)
    page = visitor.page
    visitor.visit("network")
    expect(page.locator("#members")).to_contain_text("miner-2")
    error = {"error": {"message": "the chain does not answer now: try again soon", "code": "chain_unavailable"}}
    page.route("**/portal/nodes", lambda route: route.fulfill(status=503, body=json.dumps(error)), times=1)
    page.get_by_role("link", name="Nodes").click()
    expect(page.locator("#leaders-note")).to_contain_text("Not up to date: the chain does not answer now")
    page.evaluate("async () => (await import('/portal/known.js')).readNodes()")
    expect(page.locator("#leaders-note")).to_be_empty()


def test_stake__link_that_somebody_made_up__puts_none_of_its_words_into_the_command(
    chromium: Browser, network: Running
):
    visitor = visitor_of(chromium, network.url)
    visitor.visit("stake?node=3;sh evil #")
    expect(visitor.page.locator(".welcome code")).to_contain_text("cuckoo vote NODE 1000")
    visitor.visit("stake?node=3")
    expect(visitor.page.locator(".welcome code")).to_contain_text("cuckoo vote 3 1000")


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_docs_and_missing_page__system_of_the_reader__is_as_dark(
    chromium: Browser, network: Running, scheme: Literal["light", "dark"], is_dark: bool
):
    page = chromium.new_page(color_scheme=scheme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    for path, what, drawn in (("/docs", "html", ".swagger-ui .info"), ("/no/such/page", "body", "h1")):
        page.goto(f"{network.url}{path}")
        expect(page.locator(drawn).first).to_be_visible()
        color = page.locator(what).evaluate("found => getComputedStyle(found).backgroundColor")
        red, green, blue, *alpha = (float(part) for part in re.findall(r"[\d.]+", color))
        assert ((red + green + blue) / 3 < 60 and alpha != [0]) is is_dark, (path, color)
    assert not faults
    page.close()

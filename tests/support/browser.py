"""A real Chromium without a window, and a wallet in it that signs with the accounts of a test chain."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.support.patience import PATIENCE_S

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""Names under which systems install it; playwright's own download is not asked for."""
LIMIT_MS = 60_000
"""Longest wait for something on a page (ms)."""
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
"""Deque's rules for pages that everybody can use (WCAG 2.2)."""
USER_REJECTED = 4001
UNKNOWN_CHAIN = 4902

WALLET = """
window.ethereum = {
  listeners: {},
  on(name, listener) { this.listeners[name] = listener; },
  async request(call) {
    const answer = JSON.parse(await window.askWallet(JSON.stringify(call)));
    if (answer.error) throw answer.error;
    return answer.result;
  },
};
"""
WITNESS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""


@dataclass
class Wallet:
    """What a wallet's owner has and says."""

    rpc_url: str
    address: str
    chain_id: int
    knows_chain: bool = True
    refuses: bool = False
    """Whether its owner says no to the next transaction."""
    is_poor: bool = False
    """Whether the next transaction finds too little of the chain's coin."""
    added: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def rpc(self, method: str, *params: Any) -> Any:
        """Ask the chain; an error comes as the chain gave it."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(self.rpc_url, json=body, timeout=PATIENCE_S, trust_env=False).json()

    def answer(self, text: str) -> str:
        """Answer one EIP-1193 request."""
        call = json.loads(text)
        return json.dumps(self._answer(call["method"], call.get("params", [])))

    def _answer(self, method: str, params: list[Any]) -> dict[str, Any]:
        match method:
            case "eth_requestAccounts":
                return {"result": [self.address]}
            case "eth_chainId":
                return {"result": hex(self.chain_id if self.knows_chain else 1)}
            case "wallet_switchEthereumChain":
                if not self.knows_chain:
                    return {"error": {"code": UNKNOWN_CHAIN, "message": "Unrecognized chain ID"}}
                return {"result": None}
            case "wallet_addEthereumChain":
                self.added += params
                self.knows_chain = True
                return {"result": None}
            case "eth_sendTransaction":
                if self.refuses:
                    self.refuses = False
                    return {"error": {"code": USER_REJECTED, "message": "User rejected the request."}}
                if self.is_poor:
                    self.is_poor = False
                    return {"error": {"code": -32000, "message": "insufficient funds for gas * price + value: have 0"}}
                self.sent += params
        answer = self.rpc(method, *params)
        return {name: answer[name] for name in ("result", "error") if name in answer}


@dataclass
class Visitor:
    """One browser window, and everything that went wrong in it."""

    page: Page
    origin: str
    problems: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Requests that went elsewhere."""

    def watch(self) -> None:
        """Note what happens from now on."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", lambda request: self._on_request(request.url))

    def visit(self, view: str) -> None:
        """Open a view of the portal."""
        self.page.goto(f"{self.origin}/#{view}")

    def overhang(self) -> int:
        """By how many pixels the page is wider than the window; on a phone ``innerWidth`` would grow with the page."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def assert_clean(self) -> None:
        """Nothing was logged, nothing refused by the policy, nothing asked of another host."""
        assert self.problems == []
        assert self.page.evaluate("window.violations") == []
        assert self.foreign == []

    def barriers(self) -> list[str]:
        """What on the page keeps somebody out, by axe; the context must be one that passes the policy by."""
        if not self.page.evaluate("Boolean(window.axe)"):
            self.page.add_script_tag(path=AXE)
        found = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        nodes = [(fault["id"], node) for fault in found["violations"] for node in fault["nodes"]]
        return [f"{rule}: {node['html'][:160]} {node['failureSummary'][:300]}" for rule, node in nodes]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"{message.type}: {message.text}")

    def _on_request(self, url: str) -> None:
        if not url.startswith((f"{self.origin}/", "data:", "blob:")):
            self.foreign.append(url)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start the system's Chromium. Without one the test is skipped, visibly; in CI that is an error."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("CI") == "true":
            raise AssertionError("no Chromium: apt-get install -y chromium")
        pytest.skip("no Chromium on this machine: apt-get install -y chromium")
    with sync_playwright() as playwright:
        # Its sandbox needs rights that containers and the root user do not give it; it sees only our own page.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def visitor_of(browser: Browser, origin: str, wallet: Wallet | None = None, **options: Any) -> Visitor:
    """Open a window, with a wallet if there is one."""
    context: BrowserContext = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(LIMIT_MS)
    context.add_init_script(WITNESS)
    if wallet is not None:
        answer: Callable[[str], str] = wallet.answer
        context.expose_function("askWallet", answer)
        context.add_init_script(WALLET)
    visitor = Visitor(context.new_page(), origin)
    visitor.watch()
    return visitor

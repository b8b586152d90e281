"""What a staker does first on the portal: he connects a wallet with an account of a devnet, takes CAI, and signs."""

import secrets

from playwright.sync_api import Browser, expect

from tests.support.browser import Visitor, Wallet, visitor_of
from tests.support.devnet import Running

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
VIEWS = {"network": "#members tbody tr", "try": "#go:enabled", "nodes": "#leaders tbody tr", "stake": ".facts"}
"""View -> something that is there once the view has what it shows."""


def wallet_on(network: Running, **changes: object) -> Wallet:
    """A wallet with a new account, which the chain lets act."""
    chain = network.description["chain"]
    address = "0x" + secrets.token_hex(20)
    wallet = Wallet(chain["rpc_url"], address, chain["chain_id"], **changes)  # type: ignore[arg-type]
    wallet.rpc("anvil_impersonateAccount", address)
    return wallet


def connected(chromium: Browser, network: Running, wallet: Wallet, **options: object) -> Visitor:
    """Somebody who has connected his wallet and taken CAI from the faucet."""
    visitor = visitor_of(chromium, network.url, wallet, **options)
    visitor.visit("stake?node=3")
    visitor.page.get_by_role("button", name="Connect Browser wallet").click()
    visitor.page.get_by_role("button", name="Take CAI from the faucet").click()
    sign(visitor)
    expect(visitor.page.locator("#balance")).to_have_text("25,000")
    return visitor


def sign(visitor: Visitor) -> None:
    """Look at what is to be signed, and sign all of it."""
    dialog = visitor.page.get_by_role("dialog")
    dialog.locator("#sign").click()
    expect(dialog.get_by_text("Done.", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Close").click()

"""``cuckoo submit --bootstrap``: the same over the overlay, with no HTTP and, if need be, no chain."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.apps.app_client import AwardChecker, OrderFailed, Progress, open_client, order_of
from node.apps.app_coordinators import MayBeAsked
from node.cli.account import NOBODY
from node.cli.drawn_picture import DrawnPicture
from node.cli.progress import Reporter
from node.network_file import NetworkFile, read_network
from node.receipts import ChainToAsk, ReceiptFindings, check_receipt, look_up_domain
from protocol.crypto.keys import address_of_peer_id
from protocol.errors import ConfigError, InvalidMessage
from protocol.params import Params
from protocol.roles.app.app_events import KeySealed, Tell
from protocol.roles.app.app_order import PATIENCE_MS
from protocol.roles.app.order_ends import ELSEWHERE
from protocol.units import DurationMs, PeerId, Role
from protocol.wire.app_messages import Order, OrderNews
from protocol.wire.codec import RECEIPT_PLACE, decode

if TYPE_CHECKING:
    from node.owner.wallet import Wallet

DEFAULT_PARAMS: Final = "mainnet"
_OPTIONS: Final = {
    "size": "--size",
    "steps": "--steps",
    "guidance": "--guidance",
    "seed": "--seed",
    "quality": "--quality",
    "output": "--format",
    "scheduler": "--scheduler",
    "model": "--model",
    "negative_prompt": "--negative",
    "prompt": "PROMPT",
    "api_key": "--api-key",
    "strength": "--strength",
}
"""Field of an order -> what a person wrote it as."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Where to enter which network."""

    bootstraps: tuple[str, ...]
    params: Params
    described: NetworkFile | None
    """None where only entry points were given: then nobody is looked up on a chain."""

    @classmethod
    def given(cls, bootstrap: list[str] | None, network: Path | None, params: str | None) -> "Entries":
        """Take what a person gave, flags before the network's file.

        Raises:
            ConfigError: There is no entry point, or a file is wrong.
        """
        from node.config.configuration import load_params

        described = read_network(network) if network is not None else None
        bootstraps = tuple(bootstrap or (described.bootstrap if described is not None else ()))
        if not bootstraps:
            where = f"{network} names none" if network is not None else "give --network FILE"
            raise ConfigError(f"--bootstrap: no entry point: write one as a bootstrap prints it, or {where}")
        chosen = params or (described.params if described is not None else DEFAULT_PARAMS)
        beside = network.parent if network is not None and params is None else Path()
        return cls(bootstraps, load_params(chosen, beside), described)


async def draw_over_overlay(
    wishes: Mapping[str, Any],
    entries: Entries,
    api_key: str | None,
    patience_s: float | None,
    reporter: Reporter,
    *,
    sealed: bool = False,
) -> DrawnPicture:
    """Order a picture by the overlay and follow it; a ``sealed`` one is read by the miner that draws it alone.

    Raises:
        ConfigError: The order is wrong, or an entry point, or it asks for what nobody there offers.
        Unavailable: It was refused by all, or ended without a picture.
    """
    order = _order(wishes, api_key)
    patience = PATIENCE_MS if patience_s is None else DurationMs(int(max(0.0, patience_s) * 1000))
    async with (
        _registered(entries.described) as may_be_asked,
        _awards(entries, sealed=sealed) as awards,
        open_client(
            entries.bootstraps,
            network=entries.params.name,
            may_be_asked=may_be_asked,
            awards=awards,
            named="--bootstrap",
        ) as app,
    ):
        reporter.say("looking for coordinators")
        findings: list[str] = []

        def tell(news: Progress) -> None:
            _tell(reporter, news)
            if isinstance(news, KeySealed):
                findings.append(f"miner {news.miner} was given the key: {news.found}")

        try:
            pictures = [wishes[name] for name in ("source", "mask") if name in wishes]
            drawn = await app.draw(order, tell, patience_ms=patience, sealed=sealed, pictures=pictures)
        except OrderFailed as failed:
            raise as_over_http(failed) from None
    return DrawnPicture(
        task=drawn.task.hex(),
        miner=str(drawn.done.miner),
        picture=drawn.data,
        coordinator=drawn.coordinator,
        receipt=drawn.done.receipt,
        delivered=drawn.delivered,
        opened_to=tuple(findings),
    )


def as_over_http(failed: OrderFailed) -> ConfigError | OrderFailed:
    """Give the end of an order with the exit code that it has over HTTP: what was typed is wrong, or else failed."""
    return ConfigError(str(failed)) if failed.is_ours_to_mend or failed.code in ELSEWHERE else failed


async def findings_of(drawn: DrawnPicture, chain: ChainToAsk | None) -> ReceiptFindings:
    """Check the receipt that came with a picture, against the chain where one is given."""
    receipt = decode(drawn.receipt, RECEIPT_PLACE)
    domain = key = None
    if chain is not None:
        domain, key = await look_up_domain(chain, receipt.statement.coordinator)
    task = bytes.fromhex(drawn.task)
    return check_receipt(receipt, task=task, picture=drawn.delivered, domain=domain, registered_key=key)


def _order(wishes: Mapping[str, Any], api_key: str | None) -> Order:
    """Make an order of what a person wrote.

    Raises:
        ConfigError: Naming the flag.
    """
    from pydantic import ValidationError

    said = dict(wishes)
    said["output"] = said.pop("output_format", "png")
    if "output_quality" in said:
        said["quality"] = said.pop("output_quality")
    if "size" in said:
        width, _, height = str(said["size"]).partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            raise ConfigError(f"--size: {said['size']!r} is no size: write WIDTHxHEIGHT in pixels, as 128x128")
        said["size"] = (int(width), int(height))
    try:
        return order_of(str(said.pop("prompt")), api_key=api_key, **said)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{_OPTIONS.get(str(fault['loc'][0]), fault['loc'][0])}: {fault['msg']}") from None


def _tell(reporter: Reporter, news: Progress) -> None:
    """Show one piece of news as those of HTTP are shown."""
    if isinstance(news, Tell) and isinstance(news.news, OrderNews):
        reporter.update(news.news.model_dump())
    else:
        reporter.say(str(news))


@asynccontextmanager
async def _registered(described: NetworkFile | None) -> AsyncGenerator[MayBeAsked | None]:
    """Give what looks a coordinator up in the staking contract, before it hears the prompt; None without a chain."""
    if described is None:
        yield None
        return
    from node.owner.wallet import open_wallet

    async with open_wallet(described, address=NOBODY) as wallet:

        async def may_be_asked(peer: PeerId) -> bool:
            return await _is_coordinator(wallet, peer)

        yield may_be_asked


@asynccontextmanager
async def _awards(entries: Entries, *, sealed: bool) -> AsyncGenerator[AwardChecker | None]:
    """Give what looks awards up in the chain, before their winners get the key; None without a chain."""
    if not sealed or entries.described is None:
        yield None
        return
    from node.apps.award_check import awards_of_chain

    async with awards_of_chain(entries.described, entries.params) as awards:
        yield awards


async def _is_coordinator(wallet: "Wallet", peer: PeerId) -> bool:
    """Say whether a peer's key is that of an active coordinator."""
    from node.owner.stakes import find_node

    try:
        node = await find_node(wallet, "0x" + address_of_peer_id(peer).hex())
    except (ConfigError, InvalidMessage):  # nobody is registered with it, or nobody could be
        return False
    return node.role is Role.COORDINATOR and node.is_active

"""Checks a receipt as its holder: does it speak of this task and picture, and did a registered coordinator sign it?"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from protocol.crypto.keys import keccak256
from protocol.crypto.typed_data import Domain, signer
from protocol.errors import ConfigError, IgnoredMessage, InvalidMessage
from protocol.task.receipt import receipt_problems
from protocol.units import CAI, Address, StakingId
from protocol.wire.codec import RECEIPT_PLACE, decode
from protocol.wire.messages import Receipt

if TYPE_CHECKING:
    from node.receipt_standing import ReceiptStanding

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
NODE_SELECTOR = keccak256(b"node(uint256)")[:4]
"""First four bytes of a call to the staking contract's ``node(id)``."""
NODE_WORDS = 6
"""The contract's ``Node`` struct in words of 32 bytes: owner, key, role, active, own stake, effective stake."""


@dataclass(frozen=True, slots=True)
class ReceiptFindings:
    """What a check of a receipt found."""

    receipt: Receipt
    problems: tuple[str, ...]
    """Why it cannot be believed, each beginning with its rule's name; empty when nothing speaks against it."""
    signed_by: Address | None
    """Whose key signed it; None when nobody's did, or chain and contract, and so what was signed, are not known."""
    signer_is_registered: bool | None
    """Whether that key is the coordinator's in the staking contract; None when it was not asked."""
    notes: tuple[str, ...] = ()
    """What else was found, such as where the miner was drawn."""

    def lines(self) -> list[str]:
        """Say it to a person."""
        statement = self.receipt.statement
        price = f"{statement.price / CAI:.6f} CAI"
        found = [f"coordinator {statement.coordinator} owes miner {statement.miner} {price} for this picture"]
        if self.signed_by is not None:
            found.append(f"signed by 0x{self.signed_by.hex()}")
        if self.signer_is_registered:
            found.append("which is that coordinator's key in the staking contract")
        return [*found, *self.notes]


def decode_receipt(view: Mapping[str, object]) -> Receipt:
    """Read a receipt as ``GET /v1/receipts/{task}`` gives it.

    Raises:
        ConfigError: When it is no receipt.
    """
    encoded = view.get("encoded")
    if not isinstance(encoded, str):
        raise ConfigError("receipt: this is no receipt as GET /v1/receipts/{task} gives it")
    try:
        message = decode(base64.b64decode(encoded, validate=True), RECEIPT_PLACE)
    except (binascii.Error, InvalidMessage, IgnoredMessage) as error:
        raise ConfigError(f"receipt: cannot be read: {error}") from None
    for part, statement in (("statement", message.statement), ("voucher", message.voucher)):
        shown = view.get(part, {})
        for name in type(statement).model_fields:
            value: object = getattr(statement, name)
            signed = value.hex() if isinstance(value, bytes) else str(value)
            if isinstance(shown, Mapping) and shown.get(name, signed) != signed:
                raise ConfigError(f"receipt: {part}.{name} reads {shown[name]!r}, but {signed!r} is what was signed")
    return message


def check_receipt(
    receipt: Receipt,
    *,
    task: bytes | None = None,
    picture: bytes | None = None,
    domain: Domain | None = None,
    registered_key: Address | None = None,
    standing: "ReceiptStanding | None" = None,
) -> ReceiptFindings:
    """Compare a receipt with everything that is known, by the rules of SPEC §9.6 (``protocol.task.receipt``).

    Args:
        receipt: What to check.
        task: The task that was submitted.
        picture: Bytes of the picture that was delivered.
        domain: Chain and staking contract for which it should hold.
        registered_key: Address of the key that the contract holds for the receipt's coordinator.
        standing: What tables say of the two parties; its chain, contract and key go before the other ones.
    """
    if standing is not None:
        domain = standing.domain
        registered_key = standing.registered.coordinator_key if standing.registered is not None else registered_key
    faults = receipt_problems(receipt, domain=domain, coordinator=registered_key, artifact=picture)
    problems = [str(fault) for fault in faults]
    if task is not None and receipt.statement.task != task:
        problems.append("receipt.task: it is the receipt of another task")
    if standing is not None and standing.problem is not None:
        problems.append(standing.problem)
    signed_by = _signer(domain, receipt) if domain is not None else None
    registered = signed_by == registered_key if signed_by is not None and registered_key is not None else None
    notes = tuple(standing.lines()) if standing is not None else ()
    return ReceiptFindings(receipt, tuple(problems), signed_by, registered, notes)


def _signer(domain: Domain, receipt: Receipt) -> Address | None:
    """Give whose key signed a receipt; None when nobody's did, which is one of its problems then."""
    try:
        return signer(domain, receipt.statement, receipt.signature)
    except InvalidMessage:
        return None


@dataclass(frozen=True, slots=True)
class ChainToAsk:
    """Where the key of a coordinator stands."""

    rpc_url: str
    staking: str
    """Address of the staking contract, ``0x…``."""

    @classmethod
    def given(cls, chain_rpc: str | None, staking: str | None, network: Path | None = None) -> "ChainToAsk | None":
        """Take what a person gave, flags before the network's file; None when that is nothing.

        Raises:
            ConfigError: Only one of the two, or one is not of its form, or the file is wrong.
        """
        if chain_rpc is None and staking is None and network is not None:
            from node.network_file import read_network  # imported here: submit seldom needs it

            described = read_network(network)
            return cls(described.chain.rpc_urls[0], described.contracts.staking)
        if chain_rpc is None and staking is None:
            return None
        if chain_rpc is None or staking is None:
            raise ConfigError("--chain-rpc and --staking belong together: give both, or neither")
        if not chain_rpc.startswith(("http://", "https://")):
            raise ConfigError(f"--chain-rpc: {chain_rpc!r} is no HTTP address: write it as http://127.0.0.1:8545")
        if not _ADDRESS.fullmatch(staking):
            raise ConfigError(f"--staking: {staking!r} is no address: it has 0x and 40 hexadecimal digits")
        return cls(chain_rpc, staking)


async def look_up_domain(chain: ChainToAsk, coordinator: StakingId) -> tuple[Domain, Address]:
    """Ask a chain for its id, and the staking contract for a node's present key.

    Raises:
        Unavailable: The chain does not answer.
        ConfigError: There is no such node, or no staking contract.
    """
    from node.adapters.chain.answers import octets, quantity
    from node.adapters.chain.rpc import JsonRpc  # imported here: most commands need no chain

    rpc_url, staking = chain.rpc_url, chain.staking
    contract = Address(bytes.fromhex(staking.removeprefix("0x")))
    call = {"to": staking, "data": "0x" + (NODE_SELECTOR + coordinator.to_bytes(32, "big")).hex()}
    async with JsonRpc([rpc_url]) as rpc:
        chain_id = quantity(await rpc.call("eth_chainId"))
        answer = octets(await rpc.call("eth_call", call, "latest"))
    if len(answer) != NODE_WORDS * 32:
        raise ConfigError(f"--staking: {staking} on {rpc_url} is no staking contract of ours")
    key = Address(answer[44:64])
    if not any(key):
        raise ConfigError(f"--staking: no node {coordinator} is registered in {staking}: is it the right contract?")
    return Domain(chain_id, contract), key

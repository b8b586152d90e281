"""The account that pays for our transactions: encodes calls by the contracts' ABI, signs, and reads receipts.

Imported only where a gas key is configured: eth_account costs half a second. It is never the node's hot key, which
signs no transaction (SPEC.md §5.2).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_account import Account
from eth_account.signers.local import LocalAccount

from contracts.bindings import CONTRACT_NAMES, Artifact, load
from node.adapters.chain.answers import CallRefused, Json, octets
from protocol.chain_records import CallValue, ContractCall, ContractEvent, SignedTransaction
from protocol.crypto.keys import keccak256
from protocol.errors import Unavailable
from protocol.units import Address, Digest, UnixMillis, Wei

Entry = Mapping[str, Any]
"""One function, event or error of an ABI: the JSON that contract tools agreed on."""

_ERROR: Final = keccak256(b"Error(string)")[:4]
"""Selector of a refusal with a sentence."""
_WORD: Final = 32


class BadCall(Exception):
    """No contract of the set has such a function, or the arguments do not fit it: a fault of who asks for it."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What one gas may cost (wei)."""

    cap: Wei
    tip: Wei
    legacy: bool = False
    """The chain has no base fee: ``cap`` is the price."""


@final
class GasAccount:
    """One account on one chain. Knows no nonces: ``transactor`` counts them."""

    def __init__(self, secret: bytes, chain_id: int) -> None:
        """Sign with this secret (32 bytes) for this chain only."""
        self._account: Final[LocalAccount] = Account.from_key(secret)
        self._chain_id = chain_id

    @property
    def address(self) -> str:
        """Checksummed hex address."""
        return self._account.address

    def signed(self, version: SignedTransaction) -> bool:
        """Say whether this account signed a version; a gas key may have been changed since."""
        return bool(Account.recover_transaction(version.raw) == self._account.address)

    def data(self, call: ContractCall) -> bytes:
        """Encode a call.

        Raises:
            BadCall: It fits no function of the contract.
        """
        entry = _function(call)
        types = [_type(one) for one in entry["inputs"]]
        try:
            return _selector(entry)[:4] + encode(types, call.arguments)
        except (EncodingError, TypeError, ValueError, OverflowError) as error:
            raise BadCall(f"{call.contract}.{call.function}: {error}") from error

    def sign(self, to: Address, data: bytes, *, nonce: int, gas: int, fees: Fees, now: UnixMillis) -> SignedTransaction:
        """Sign one version of a transaction."""
        fields: dict[str, Any] = {  # Any: what eth_account takes
            "chainId": self._chain_id,
            "to": bytes(to),
            "data": data,
            "value": 0,
            "nonce": nonce,
            "gas": gas,
        }
        if fees.legacy:
            fields["gasPrice"] = int(fees.cap)
        else:
            fields |= {"type": 2, "maxFeePerGas": int(fees.cap), "maxPriorityFeePerGas": int(fees.tip)}
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(
            Digest(bytes(signed.hash)), bytes(signed.raw_transaction), fees.cap, fees.tip, gas, now
        )


def events_of(logs: Json, contracts: Mapping[str, Address]) -> tuple[ContractEvent, ...]:
    """Read the events of a receipt that the contracts of the set made; those of others are left out.

    Raises:
        Unavailable: The node sent what is no list of events.
    """
    if not isinstance(logs, list):
        raise Unavailable("the chain node sent a receipt without events")
    names = {address: name for name, address in contracts.items()}
    found = []
    for log in logs:
        if not isinstance(log, dict) or not isinstance(topics := log.get("topics"), list) or not topics:
            continue
        name = names.get(Address(octets(log.get("address"), 20)))
        if name is not None:
            event = _event(name, [octets(topic, _WORD) for topic in topics], octets(log.get("data")))
            found += [event] if event is not None else []
    return tuple(found)


def sentence_of(refusal: CallRefused) -> str:
    """Give the contract's own words, as far as the node passes them on."""
    data = refusal.data.get("data") if isinstance(refusal.data, dict) else refusal.data
    if isinstance(data, str) and data.startswith("0x" + _ERROR.hex()):
        try:
            text: str = decode(["string"], bytes.fromhex(data[10:]))[0]
            return text[:300]
        except (DecodingError, ValueError):
            pass  # the message below says it as well
    _, _, words = refusal.message.partition("execution reverted")
    return words.lstrip(": ") or refusal.message


def is_revert(refusal: CallRefused) -> bool:
    """Say whether it was the contract that refused, and not the node."""
    return refusal.code == 3 or "revert" in refusal.message.lower()  # 3 is geth's code of a revert


def _artifact(contract: str) -> Artifact:
    for name in CONTRACT_NAMES:
        if name == contract:
            return load(name)
    raise BadCall(f"no contract of the set is called {contract!r}")


def _function(call: ContractCall) -> Entry:
    for entry in _artifact(call.contract).abi:
        named = entry["type"] == "function" and entry["name"] == call.function
        if named and len(entry["inputs"]) == len(call.arguments):
            return entry
    raise BadCall(f"{call.contract} has no function {call.function} with {len(call.arguments)} arguments")


def _event(contract: str, topics: Sequence[bytes], data: bytes) -> ContractEvent | None:
    """Decode one event; None when it is not in the ABI or does not fit it."""
    entries = (entry for entry in _artifact(contract).abi if entry["type"] == "event")
    entry = next((entry for entry in entries if _selector(entry) == topics[0]), None)
    if entry is None:
        return None
    indexed = [one for one in entry["inputs"] if one["indexed"]]
    plain = [one for one in entry["inputs"] if not one["indexed"]]
    try:
        values = [decode([_type(one)], topic)[0] for one, topic in zip(indexed, topics[1:], strict=True)]
        values += decode([_type(one) for one in plain], data)
    except (DecodingError, ValueError):
        return None
    names = [one["name"] for one in (*indexed, *plain)]
    kinds = [_type(one) for one in (*indexed, *plain)]
    fields = {name: _plain(kind, value) for name, kind, value in zip(names, kinds, values, strict=True)}
    return ContractEvent(contract, entry["name"], fields)


def _plain(kind: str, value: Any) -> CallValue:  # noqa: ANN401 what eth_abi decodes to
    """Give a decoded value in our own types: addresses come as text and become bytes."""
    if kind == "address":
        return bytes.fromhex(value[2:])
    if isinstance(value, list | tuple):
        return tuple(_plain("", part) for part in value)
    known: CallValue = value
    return known


def _type(entry: Entry) -> str:
    """Write an ABI type as in a signature, structs as tuples."""
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        return f"({','.join(_type(part) for part in entry['components'])}){kind[5:]}"
    return kind


def _selector(entry: Entry) -> bytes:
    """Hash a function's or event's signature, 32 bytes."""
    parts: Iterable[str] = (_type(one) for one in entry["inputs"])
    return keccak256(f"{entry['name']}({','.join(parts)})".encode())

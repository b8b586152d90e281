"""Writes calls as contracts read them, and reads what contracts return, tell in events and give as reasons.

Only what makes or tries out transactions imports this: eth_abi costs a third of a second, and the follower, which reads
one event of fixed words, does without.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import node.lean_ethereum  # noqa: F401  before eth_abi

# isort: split
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector

from contracts.bindings import CONTRACT_NAMES, Artifact, load
from contracts.deploy import Argument
from node.adapters.chain.answers import WORD, CallRefused, Json, octets
from protocol.chain_records import CallValue, ContractEvent
from protocol.errors import OverlayError, Unavailable
from protocol.units import Address

Entry = Any
"""One function, event or error of an ABI, as the compiler's JSON has it; eth_utils' types for it are narrower."""

MAX_REASON_CHARACTERS: Final = 300
"""As much of a contract's own words is shown; they may be anybody's contract's."""
_ERROR_SELECTOR: Final = function_abi_to_4byte_selector(
    {"type": "function", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]}
)
"""What a refusal with a sentence begins with."""
_REVERTED: Final = 3
"""geth's code of a revert."""


class BadCall(Exception):
    """No contract of the set has such a function, or the arguments do not fit it: a fault of who asks for it."""


class TransactionRefused(OverlayError):
    """The contract says no. The text is its reason, written for people."""


def artifact_of(contract: str) -> Artifact:
    """Give a contract of the set by its name.

    Raises:
        BadCall: There is none.
    """
    for name in CONTRACT_NAMES:
        if name == contract:
            return load(name)
    raise BadCall(f"no contract of the set is called {contract!r}")


def call_data(artifact: Artifact, function: str, arguments: Sequence[CallValue] | Sequence[Argument]) -> bytes:
    """Encode a call as transactions carry it.

    Raises:
        BadCall: It fits no function of the contract.
    """
    entry = _function(artifact, function, len(arguments))
    return function_abi_to_4byte_selector(entry) + _encoded(f"{artifact.name}.{function}", entry["inputs"], arguments)


def creation_data(artifact: Artifact, arguments: Sequence[CallValue] | Sequence[Argument]) -> bytes:
    """Encode what creates a contract: its code and the constructor's arguments.

    Raises:
        BadCall: The arguments do not fit the constructor.
    """
    inputs: Sequence[Entry] = next((entry["inputs"] for entry in artifact.abi if entry["type"] == "constructor"), [])
    return artifact.bytecode + _encoded(artifact.name, inputs, arguments)


def returned(artifact: Artifact, address: str, function: str, arguments: int, answer: bytes) -> tuple[Any, ...]:
    """Decode what a function with so many arguments returned.

    Raises:
        Unavailable: It is not what the function returns: there is another contract at this address.
    """
    entry = _function(artifact, function, arguments)
    try:
        return tuple(decode([collapse_if_tuple(one) for one in entry["outputs"]], answer))
    except DecodingError as error:
        raise Unavailable(f"{address} does not answer as a {artifact.name} contract does") from error


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
            event = _event(name, [octets(topic, WORD) for topic in topics], octets(log.get("data")))
            found += [event] if event is not None else []
    return tuple(found)


def reason_in(data: bytes) -> str:
    """Give a contract's own words out of what a refused call returned."""
    if data[:4] != _ERROR_SELECTOR:
        return "the contract refuses without a reason"
    try:
        (reason,) = decode(["string"], data[4:])
    except (DecodingError, UnicodeDecodeError):
        return "the contract refuses, and its reason cannot be read"
    return str(reason)[:MAX_REASON_CHARACTERS]


def reason_of(refusal: CallRefused) -> str:
    """Give the contract's own words, as far as the node passes them on."""
    data = refusal.data.get("data") if isinstance(refusal.data, dict) else refusal.data
    if isinstance(data, str) and data.startswith("0x" + _ERROR_SELECTOR.hex()):
        try:
            return reason_in(octets(data))
        except Unavailable:
            pass  # the message below says it as well
    _, _, words = refusal.message.partition("execution reverted")
    return words.lstrip(": ") or refusal.message


def is_revert(refusal: CallRefused) -> bool:
    """Say whether it was the contract that refused, and not the node."""
    return refusal.code == _REVERTED or "revert" in refusal.message.lower()


def _function(artifact: Artifact, function: str, arguments: int) -> Entry:
    """Find a function, by its number of arguments too: a default argument in Vyper makes two of one name."""
    for entry in artifact.abi:
        named = entry["type"] == "function" and entry["name"] == function
        if named and len(entry["inputs"]) == arguments:
            return entry
    raise BadCall(f"{artifact.name} has no function {function} with {arguments} arguments")


def _encoded(what: str, inputs: Sequence[Entry], arguments: Sequence[CallValue] | Sequence[Argument]) -> bytes:
    try:
        return encode([collapse_if_tuple(one) for one in inputs], arguments)
    except (EncodingError, TypeError, ValueError, OverflowError) as error:
        raise BadCall(f"{what}: {error}") from error


def _event(contract: str, topics: Sequence[bytes], data: bytes) -> ContractEvent | None:
    """Decode one event; None when it is not in the ABI or does not fit it."""
    entries: list[Entry] = [entry for entry in artifact_of(contract).abi if entry["type"] == "event"]
    entry = next((entry for entry in entries if event_abi_to_log_topic(entry) == topics[0]), None)
    if entry is None:
        return None
    indexed = [one for one in entry["inputs"] if one["indexed"]]
    plain = [one for one in entry["inputs"] if not one["indexed"]]
    kinds = [collapse_if_tuple(one) for one in (*indexed, *plain)]
    try:
        values = [decode([kind], topic)[0] for kind, topic in zip(kinds[: len(indexed)], topics[1:], strict=True)]
        values += decode(kinds[len(indexed) :], data)
    except (DecodingError, ValueError):
        return None
    names = [one["name"] for one in (*indexed, *plain)]
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

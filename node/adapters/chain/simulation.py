"""Tries calls out on a chain node without sending them: what they would cost, change, or why they would be refused.

``eth_simulateV1`` runs them one after another on the latest state and forgets it all, so that a step which rests on an
earlier one (an approval, say) is tried as it will be. The views among the calls show the state in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector

from contracts.bindings import Artifact
from contracts.deploy import Argument
from node.adapters.chain.answers import CallRefused, Json, octets, quantity
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable

_ERROR_SELECTOR: Final = function_abi_to_4byte_selector(
    {"type": "function", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]}
)
"""What a refusal with a sentence begins with."""
_METHOD_NOT_FOUND: Final = -32_601


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a contract's function."""

    artifact: Artifact
    address: str
    """Hex address of the contract."""
    function: str
    arguments: tuple[Argument, ...] = ()

    def data(self) -> str:
        """Encode function and arguments as transactions carry them."""
        entry = self._entry()
        values = encode([collapse_if_tuple(item) for item in entry["inputs"]], self.arguments)
        return "0x" + (function_abi_to_4byte_selector(entry) + values).hex()

    def values(self, answer: bytes) -> tuple[Any, ...]:  # Any: the ABI decides at run time
        """Decode what the function returned.

        Raises:
            Unavailable: It is not what the function returns: there is another contract at this address.
        """
        try:
            return tuple(decode([collapse_if_tuple(item) for item in self._entry()["outputs"]], answer))
        except DecodingError as error:
            raise Unavailable(f"{self.address} does not answer as a {self.artifact.name} contract does") from error

    def _entry(self) -> Any:  # noqa: ANN401 eth_utils' ABI types are narrower than the JSON that the compiler writes
        return next(
            entry
            for entry in self.artifact.abi
            if entry["type"] == "function"
            and entry["name"] == self.function
            and len(entry["inputs"]) == len(self.arguments)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call that was tried out."""

    gas: int
    """Gas that it used, with the 21,000 of every transaction."""
    refusal: str | None
    """Why the contract refuses it; None when it does not."""
    values: tuple[Any, ...]  # Any: the ABI decides at run time
    """What it returned; empty when refused."""


async def simulate(rpc: JsonRpc, sender: str, calls: Sequence[Call]) -> list[Outcome]:
    """Try calls of one account one after another, none of them sent.

    Raises:
        Unavailable: The chain node does not answer, or cannot simulate.
    """
    bodies = [{"from": sender, "to": call.address, "data": call.data()} for call in calls]
    try:
        blocks = await rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": bodies}]}, "latest")
    except CallRefused as error:
        if error.code == _METHOD_NOT_FOUND:
            raise Unavailable(
                "the chain node cannot try transactions out (eth_simulateV1): use another node"
            ) from error
        raise
    try:
        (block,) = blocks
        return [_outcome(call, result) for call, result in zip(calls, block["calls"], strict=True)]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Unavailable("the chain node sent no results of the calls that it tried out") from error


async def read(rpc: JsonRpc, calls: Sequence[Call], *, sender: str | None = None) -> list[tuple[Any, ...]]:
    """Read from contracts at the latest block, in one request.

    Raises:
        Unavailable: The chain node does not answer, or a contract is not the one that it should be.
    """
    extra = {"from": sender} if sender else {}
    requests = [("eth_call", ({"to": call.address, "data": call.data(), **extra}, "latest")) for call in calls]
    answers = await rpc.batch(requests) if requests else []
    return [call.values(octets(answer)) for call, answer in zip(calls, answers, strict=True)]


def _outcome(call: Call, result: Json) -> Outcome:
    """Read one result of a simulation."""
    answer = octets(result.get("returnData", "0x"))
    gas = quantity(result.get("gasUsed"))
    if quantity(result.get("status")) == 1:
        return Outcome(gas, None, call.values(answer))
    return Outcome(gas, refusal_of(answer), ())


def refusal_of(data: bytes) -> str:
    """Give a contract's own words out of what a refused call returned."""
    if data[:4] == _ERROR_SELECTOR:
        try:
            (reason,) = decode(["string"], data[4:])
        except (DecodingError, UnicodeDecodeError):
            return "the contract refuses, and its reason cannot be read"
        return str(reason)
    return "the contract refuses without a reason"

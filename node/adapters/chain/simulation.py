"""Tries calls out on a chain node without sending them: what they would cost, change, or why they would be refused.

``eth_simulateV1`` runs them one after another on the latest state and forgets it all, so that a step which rests on an
earlier one (an approval, say) is tried as it will be. The views among the calls show the state in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.bindings import Artifact
from contracts.deploy import Argument
from node.adapters.chain.abi import call_data, reason_in, returned
from node.adapters.chain.answers import CallRefused, Json, octets, quantity
from node.adapters.chain.gas_view import ask_all
from node.adapters.chain.rpc import JsonRpc
from protocol.errors import Unavailable

_METHOD_NOT_FOUND: Final = -32_601


class CannotSimulate(Unavailable):
    """The chain node answers, and does not know how to try transactions out."""


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
        return "0x" + call_data(self.artifact, self.function, self.arguments).hex()

    def values(self, answer: bytes) -> tuple[Any, ...]:  # Any: the ABI decides at run time
        """Decode what the function returned; errors as in ``returned``."""
        return returned(self.artifact, self.address, self.function, len(self.arguments), answer)


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
        CannotSimulate: The chain node does not know how.
        Unavailable: It does not answer.
    """
    bodies = [{"from": sender, "to": call.address, "data": call.data()} for call in calls]
    try:
        blocks = await rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": bodies}]}, "latest")
    except CallRefused as error:
        if error.code == _METHOD_NOT_FOUND:
            raise CannotSimulate(
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
        CallRefused: A contract refuses.
        Unavailable: The chain node does not answer, or a contract is not the one that it should be.
    """
    extra = {"from": sender} if sender else {}
    requests = [("eth_call", ({"to": call.address, "data": call.data(), **extra}, "latest")) for call in calls]
    answers = await ask_all(rpc, requests)
    return [call.values(octets(answer)) for call, answer in zip(calls, answers, strict=True)]


def _outcome(call: Call, result: Json) -> Outcome:
    """Read one result of a simulation."""
    answer = octets(result.get("returnData", "0x"))
    gas = quantity(result.get("gasUsed"))
    if quantity(result.get("status")) == 1:
        return Outcome(gas, None, call.values(answer))
    return Outcome(gas, reason_in(answer), ())

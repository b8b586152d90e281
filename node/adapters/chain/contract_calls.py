"""Calls of a network's contracts as transactions carry them: to which address, with what data."""

from collections.abc import Mapping
from typing import Final, final

from contracts.bindings import load
from node.adapters.chain.abi import BadCall, artifact_of, call_data
from node.adapters.chain.answers import CallRefused, octets
from node.adapters.chain.rpc import JsonRpc
from protocol.chain_records import ContractCall
from protocol.units import Address

_VIEWS: Final[Mapping[str, str]] = {
    "CAI": "token",
    "Settlement": "settlement",
    "Slashing": "slashing",
    "Disputes": "disputes",
}
"""Which view of the staking contract names the other contracts."""


@final
class ContractCalls:
    """Encodes calls, and finds the contracts that they go to: the staking contract names the others."""

    def __init__(self, rpc: JsonRpc, staking: Address) -> None:
        """Know the staking contract only."""
        self._rpc = rpc
        self._addresses: dict[str, Address] = {"Staking": staking}

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Where the contracts lie that were called so far."""
        return self._addresses

    async def encoded(self, call: ContractCall) -> tuple[Address, bytes]:
        """Give address and data of a call.

        Raises:
            BadCall: The set has no such contract, the network none, or the call does not fit it.
            Unavailable: The chain node does not answer.
        """
        to = await self._address_of(call.contract)
        return to, call_data(artifact_of(call.contract), call.function, call.arguments)

    async def _address_of(self, contract: str) -> Address:
        if contract not in self._addresses:
            view = _VIEWS.get(contract)
            if view is None:
                raise BadCall(f"no contract of the set is called {contract!r}")
            question = {
                "to": "0x" + self._addresses["Staking"].hex(),
                "data": "0x" + call_data(load("Staking"), view, ()).hex(),
            }
            try:
                answer = octets(await self._rpc.call("eth_call", question, "latest"))
            except CallRefused as refusal:
                raise BadCall(f"the staking contract names no {contract}: {refusal.message}") from refusal
            if len(answer) != 32 or not any(answer):
                raise BadCall(f"the staking contract names no {contract}")
            self._addresses[contract] = Address(answer[12:])
        return self._addresses[contract]

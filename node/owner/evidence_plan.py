"""Showing evidence to the Slashing contract by hand: one transaction, by anybody, with the bounty for whom he names."""

from dataclasses import replace
from typing import Any, Final

from node.amounts import format_cai
from node.owner.evidence_file import EvidenceFile
from node.owner.stakes import find_node
from node.owner.wallet import Plan, Step, Wallet, Watched
from protocol.errors import ConfigError
from protocol.justice.evidence import proof_call
from protocol.units import Address

RESPITE_NOTE: Final = "its signer was slashed lately or has no stake: a proof jails it, but slashes and pays nothing"


async def prove(wallet: Wallet, file: EvidenceFile, receiver: str) -> Plan:
    """Plan a proof.

    Raises:
        ConfigError: The evidence is for another network, proves nothing, or somebody has shown it.
    """
    evidence = file.evidence
    here = (wallet.network.chain.chain_id, wallet.network.staking_address)
    if (file.domain.chain_id, file.domain.contract) != here:
        raise ConfigError(
            f"FILE: it is evidence for chain {file.domain.chain_id} and the staking contract "
            f"0x{file.domain.contract.hex()}, which is not this network: name its file with --network"
        )
    problem = file.problem()
    if problem is not None:
        raise ConfigError(f"FILE: it proves nothing: {problem}")
    node = await find_node(wallet, str(evidence.signer))
    proven, slash = await wallet.read(
        wallet.call("Slashing", "proven", evidence.signer, int(evidence.KIND), bytes(evidence.subject)),
        wallet.call("Slashing", "slash_now", evidence.signer),
    )
    if proven:
        raise ConfigError("FILE: somebody has shown this to the contract already; it is slashed for once")
    call = proof_call(evidence, Address(bytes.fromhex(receiver[2:])))
    statements: tuple[Any, ...] = call.arguments[:-1]  # Any: structs in structs are more than deployments need
    step = Step(f"prove it against node {node.id}", wallet.call("Slashing", call.function, *statements, receiver))
    watched = (
        Watched(
            f"weight of node {node.id}",
            wallet.call("Staking", "node", node.id),
            lambda values: format_cai(values[0][5]),
        ),
        Watched(f"CAI of {receiver}", wallet.call("CAI", "balanceOf", receiver), lambda values: format_cai(values[0])),
    )
    plan = Plan(f"have node {node.id} slashed for {evidence.KIND.label}", (step,), watched)
    return plan if slash else replace(plan, notes=(RESPITE_NOTE,))

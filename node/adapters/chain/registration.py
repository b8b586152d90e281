"""Registers a node in the staking contract: the owner pays and stakes, the node's key agrees by signature."""

import json
from collections.abc import Mapping
from typing import Final

from contracts.bindings import load
from node.adapters.chain.sender import Sender
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.errors import ConfigError
from protocol.units import CAI, Address, Role, StakingId
from protocol.wire.statements import Registration

MAX_PROFILE_BYTES: Final = 512
"""Longest profile (UTF-8 bytes), as in the contract."""


async def register_node(
    owner: Sender,
    *,
    cai: str,
    staking: str,
    chain_id: int,
    key: NodeKey,
    role: Role,
    stake_cai: int,
    deadline: int,
    profile: Mapping[str, str],
) -> StakingId:
    """Approve the stake, register the node and give its id.

    Args:
        owner: Sends from the account that will own the node, holds the stake and some ether.
        cai: Address of the token, hex.
        staking: Address of the staking contract, hex.
        chain_id: The chain of both; part of what the key signs.
        key: The node's hot key; it signs and sends nothing.
        role: What the node is to be.
        stake_cai: Own stake in CAI, above the role's minimum.
        deadline: Unix seconds until which the key's signature holds.
        profile: Name, description, site, contact: shown to people.

    Raises:
        ConfigError: The profile is too long.
        TransactionRefused: The contract refuses, and says why.
        Unavailable: The chain does not answer.
    """
    text = json.dumps(dict(profile), ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ConfigError(f"the profile has {len(text.encode())} bytes, at most {MAX_PROFILE_BYTES} are allowed")
    statement = Registration(owner=_address(owner.address), role=int(role), deadline=deadline)
    signature = sign(key, Domain(chain_id, _address(staking)), statement)
    stake = stake_cai * CAI
    await owner.call(load("CAI"), cai, "approve", staking, stake)
    arguments = (int(role), key.address, deadline, signature, stake, text)
    await owner.call(load("Staking"), staking, "register", *arguments)
    return StakingId(await owner.read(load("Staking"), staking, "id_by_key", key.address))


def _address(text: str) -> Address:
    """Read a hex address."""
    return Address(bytes.fromhex(text.removeprefix("0x")))

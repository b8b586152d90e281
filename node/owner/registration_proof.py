"""A node key's signed word that it serves an owner in a role: made where the node is, used where the owner is.

It holds until its deadline, for one owner, role, chain and contract, so that it can be sent about openly: whoever gets
it can do nothing with it but register that key for that owner.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from node.addresses import checksummed
from node.given_file import read_given_file
from node.moments import moment
from node.network_file import NetworkFile
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign, signer
from protocol.errors import ConfigError, InvalidMessage
from protocol.units import Address, Role
from protocol.wire.statements import Registration

MAX_FILE_BYTES: Final = 4096
"""Largest proof (bytes); real ones have about 400."""
LAST_DEADLINE: Final = 2**33
"""Latest deadline that is read (unix s), in the year 2242: Python writes no date after 9999."""


@final
@dataclass(frozen=True, slots=True)
class RegistrationProof:
    """One such word, with all that it is about."""

    chain_id: int
    staking: str
    """Checksummed hex address of the staking contract."""
    owner: str
    """Checksummed hex address of the owner."""
    role: Role
    key: str
    """Checksummed hex address of the node's key."""
    deadline: int
    """Unix seconds until which it holds."""
    signature: bytes

    @classmethod
    def make(cls, network: NetworkFile, key: NodeKey, owner: str, role: Role, deadline: int) -> "RegistrationProof":
        """Sign with a node's key."""
        domain = Domain(network.chain.chain_id, network.staking_address)
        statement = Registration(owner=_bytes(owner), role=int(role), deadline=deadline)
        return cls(
            chain_id=network.chain.chain_id,
            staking=checksummed(network.contracts.staking),
            owner=checksummed(owner),
            role=role,
            key=checksummed("0x" + key.address.hex()),
            deadline=deadline,
            signature=sign(key, domain, statement),
        )

    def text(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps(
            {
                "chain_id": self.chain_id,
                "staking": self.staking,
                "owner": self.owner,
                "role": self.role.name.lower(),
                "key": self.key,
                "deadline": self.deadline,
                "signature": "0x" + self.signature.hex(),
            }
        )

    @classmethod
    def read(cls, path: Path) -> "RegistrationProof":
        """Read one from a file.

        Raises:
            ConfigError: There is none in it.
        """
        return cls.of(read_given_file(path, MAX_FILE_BYTES, "proof", named=f"--proof: {path}"), f"--proof: {path}")

    @classmethod
    def of(cls, content: str | bytes, named: str) -> "RegistrationProof":
        """Read one from what was given.

        Args:
            content: As ``text`` writes it.
            named: Where it came from, for the error.

        Raises:
            ConfigError: It is none.
        """
        try:
            found = json.loads(content)
            proof = cls(
                chain_id=int(found["chain_id"]),
                staking=checksummed(found["staking"]),
                owner=checksummed(found["owner"]),
                role=Role[str(found["role"]).upper()],
                key=checksummed(found["key"]),
                deadline=int(found["deadline"]),
                signature=bytes.fromhex(found["signature"].removeprefix("0x")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            raise ConfigError(f"{named}: no proof as cuckoo key prove prints it") from None
        if not 0 <= proof.deadline <= LAST_DEADLINE:
            raise ConfigError(f"{named}: its deadline is no time of this era: it was changed")
        return proof

    def check(self, network: NetworkFile, owner: str, now: int) -> None:
        """Make sure that the contract will take it from this owner now.

        Args:
            network: Where the node is to be registered.
            owner: Who registers it, checksummed.
            now: Unix seconds by the chain's clock.

        Raises:
            ConfigError: It will not; the text says why.
        """
        if self.chain_id != network.chain.chain_id or self.staking.lower() != network.contracts.staking.lower():
            raise ConfigError("--proof: it is for another network: make it with the same --network")
        if self.owner != owner:
            raise ConfigError(f"--proof: it is for owner {self.owner}, and this account is {owner}")
        if self.deadline < now:
            raise ConfigError(f"--proof: it held until {moment(self.deadline, now)}: make a new one")
        domain = Domain(self.chain_id, network.staking_address)
        statement = Registration(owner=_bytes(self.owner), role=int(self.role), deadline=self.deadline)
        try:
            signed_by = signer(domain, statement, self.signature)
        except InvalidMessage:
            signed_by = None
        if signed_by != _bytes(self.key):
            raise ConfigError(f"--proof: its signature is not that of {self.key}: it was changed or cut off")


def _bytes(address: str) -> Address:
    return Address(bytes.fromhex(address[2:]))

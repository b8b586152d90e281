"""Evidence as a file that anybody may check and send: what was signed, and for which contract it holds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.addresses import checksummed, looks_like_address
from node.given_file import read_given_file
from protocol.crypto.typed_data import Domain
from protocol.errors import ConfigError, InvalidMessage
from protocol.justice.evidence import Evidence, name_of, signers_of
from protocol.justice.evidence_text import of_plain, to_plain
from protocol.units import Address

MAX_BYTES: Final = 64 * 1024
"""A proof of an understated total with eight miners is 12 kB."""


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What such a file holds."""

    domain: Domain
    """Chain and staking contract for which the signatures hold."""
    evidence: Evidence

    def text(self) -> str:
        """Write it."""
        head = {
            "name": name_of(self.evidence),
            "chain_id": self.domain.chain_id,
            "staking": checksummed("0x" + self.domain.contract.hex()),
        }
        return json.dumps(head | to_plain(self.evidence), indent=1) + "\n"

    def problem(self) -> str | None:
        """Say why it proves nothing, as far as that can be said without the chain; None when nothing is wrong.

        Whether the keys that signed are the node's is for the contract: it may have had more than one.
        """
        fault = self.evidence.fault()
        if fault is not None:
            return fault
        try:
            signers_of(self.evidence, self.domain)
        except InvalidMessage as error:
            return f"a signature is none: {error.detail}"
        return None

    def signers(self) -> list[str]:
        """Give the addresses of the keys that signed, checksummed."""
        return sorted(checksummed("0x" + address.hex()) for address in signers_of(self.evidence, self.domain))


def read_evidence_file(path: Path) -> EvidenceFile:
    """Read a file of evidence.

    Raises:
        ConfigError: One line that names the file and what is wrong.
    """
    data = read_given_file(path, MAX_BYTES, "evidence", named=f"FILE: {path}")
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"FILE: {path} is no JSON: write one with cuckoo evidence export") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"FILE: {path} holds no evidence: write one with cuckoo evidence export")
    if "chain_id" not in plain and "staking" not in plain:
        raise ConfigError(f"FILE: {path} holds no evidence: write one with cuckoo evidence export")
    chain_id, staking = plain.get("chain_id"), plain.get("staking")
    if not isinstance(chain_id, int) or not 1 <= chain_id < 2**63:
        raise ConfigError(f"FILE: {path}: chain_id is no number of a chain")
    if not isinstance(staking, str) or not looks_like_address(staking):
        raise ConfigError(f"FILE: {path}: staking is no 0x… address")
    try:
        evidence = of_plain(plain)
    except InvalidMessage as error:
        raise ConfigError(f"FILE: {path}: {error.detail}") from error
    return EvidenceFile(Domain(chain_id, Address(bytes.fromhex(staking[2:]))), evidence)

"""The file that describes a network to people's tools: its chain, its numbers, the addresses of its contracts.

A devnet writes one; ``cuckoo contracts deploy`` writes the addresses of a real network beside the file that describes
it. Stakers name it with ``--network`` or ``CUCKOO_NETWORK`` and need no other address.
"""

import json
from pathlib import Path
from typing import Annotated, final

from pydantic import Field, ValidationError

from node.config.setting_faults import Source
from node.config.setting_types import BootstrapAddress, EthereumAddress, WebAddress
from node.config.toml_file import read_toml
from node.config.toml_text import toml_text
from node.keystore import write_private
from node.settings import Section
from protocol.errors import ConfigError
from protocol.units import Address


@final
class NetworkChain(Section):
    """The chain that holds the contracts."""

    rpc_urls: Annotated[tuple[WebAddress, ...], Field(min_length=1, max_length=16)]
    """JSON-RPC addresses of chain nodes; the next one is asked when one fails."""
    chain_id: Annotated[int, Field(ge=1, lt=2**63)]
    """The chain's id; a chain node with another is refused."""


@final
class NetworkContracts(Section):
    """Where the contracts lie."""

    cai: EthereumAddress
    """The token."""
    parameters: EthereumAddress
    """The numbers that may change, within bounds and with notice."""
    staking: EthereumAddress
    """Nodes, stakes and rewards."""
    settlement: EthereumAddress
    """Escrows and vouchers."""
    slashing: EthereumAddress
    """Slashing for what signatures prove."""
    disputes: EthereumAddress
    """Slashing for what jurors decide."""
    faucet: EthereumAddress | None = None
    """Gives CAI away, on networks where it is worth nothing."""
    start_block: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Block of the staking contract: no event is older."""


@final
class NetworkFile(Section):
    """One network."""

    params: str = "mainnet"
    """The numbers that its nodes share: a name, or the path of a TOML file as seen from this one."""
    bootstrap: Annotated[tuple[BootstrapAddress, ...], Field(max_length=32)] = ()
    """Entry points for nodes, with their peer ids."""
    chain: NetworkChain
    contracts: NetworkContracts

    @property
    def staking_address(self) -> Address:
        """The staking contract's address as 20 bytes."""
        return Address(bytes.fromhex(self.contracts.staking[2:]))

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            ConfigError: It cannot be written.
        """
        write_private(path, toml_text(self.model_dump(exclude_none=True)))


def addresses_file(path: Path) -> Path:
    """Name the file in which ``cuckoo contracts deploy`` keeps the addresses of the network that ``path`` describes."""
    return path.with_name(path.name.removesuffix(".toml") + ".contracts.toml")


def read_contracts(path: Path) -> NetworkContracts:
    """Read where a network's contracts lie, as ``cuckoo contracts deploy`` wrote it.

    Raises:
        ConfigError: One line that names the file and what is wrong.
    """
    try:
        return NetworkContracts.model_validate_json(json.dumps(read_toml(path), default=str))
    except ValidationError as error:
        raise ConfigError(Source(path, frozenset()).explain(error.errors()[0], NetworkContracts)) from None


def read_network(path: Path, named_by: str = "--network") -> NetworkFile:
    """Read the description of a network, with the addresses of its contracts from the file beside it if it has none.

    Args:
        path: The file.
        named_by: The flag or key that named it, for the error.

    Raises:
        ConfigError: One line that names the file and what is wrong.
    """
    if not path.exists():
        raise ConfigError(f"{named_by}: {path}: no such file: name the network's file, as a devnet prints it")
    tree = read_toml(path)
    if "role" in tree:
        raise ConfigError(f"{named_by}: {path}: has the settings of one node: name the file of its network")
    tree.pop("terms", None)  # what to deploy with; only ``cuckoo contracts deploy`` reads it
    if "contracts" not in tree:
        beside = addresses_file(path)
        if not beside.exists():
            raise ConfigError(f"{path}: no contracts: deploy them with cuckoo contracts deploy --network {path}")
        tree["contracts"] = read_contracts(beside).model_dump()
    try:
        return NetworkFile.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(Source(path, frozenset()).explain(error.errors()[0], NetworkFile)) from None

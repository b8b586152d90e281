"""Ethereum addresses that people type and read."""

import node.lean_ethereum  # noqa: F401  before eth_utils

# isort: split
from eth_utils.address import is_address, is_checksum_address, to_checksum_address

from protocol.errors import ConfigError


def checked_address(text: str, name: str) -> str:
    """Accept an address as a person writes it: lower case, or with its checksum right (EIP-55).

    Args:
        text: What was typed.
        name: The flag or key, for the error.

    Returns:
        The address with its checksum.

    Raises:
        ConfigError: It is none.
    """
    if not is_address(text):
        raise ConfigError(f"{name}: {text!r} is no Ethereum address: write 0x and 40 hexadecimal digits")
    return checksummed(text)


def looks_like_address(text: str) -> bool:
    """Say whether a text can be taken for an address."""
    return is_address(text)


def has_its_checksum(address: str) -> bool:
    """Say whether the case of an address is that of its checksum."""
    return is_checksum_address(address)


def checksummed(address: str) -> str:
    """Write an address with its checksum."""
    return to_checksum_address(address)

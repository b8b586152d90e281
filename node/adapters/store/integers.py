"""Numbers beyond SQLite's 63 bits, as big-endian bytes: they sort and compare as they count."""

from typing import Final

UNSIGNED_BYTES: Final = 8
WEI_BYTES: Final = 32


def unsigned(value: int) -> bytes:
    """Give an unsigned 64-bit number, as a staking id, as 8 bytes."""
    return value.to_bytes(UNSIGNED_BYTES, "big")


def amount(value: int) -> bytes:
    """Give wei as 32 bytes."""
    return value.to_bytes(WEI_BYTES, "big")


def integer(value: bytes) -> int:
    """Read either."""
    return int.from_bytes(value, "big")

"""Amounts of CAI, and prices of gas, as people write and read them; everything else counts in wei."""

import re
from decimal import Decimal
from typing import Final

from protocol.errors import ConfigError
from protocol.units import CAI, Wei

WEI_PER_GWEI: Final = 10**9
_FORM: Final = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{1,18}))?(?:\s*CAI)?", re.IGNORECASE | re.ASCII)
"""``25000``, ``25,000``, ``0.5``, ``25,000.5 CAI``: at most 18 decimals, which is one wei."""
_SHOWN_DECIMALS: Final = 6
"""Decimals that a person is shown: a micro-CAI is below what any task costs."""
_MOST: Final = 10**9 * CAI
"""All CAI that exist."""


def parse_cai(text: str, name: str) -> Wei:
    """Read an amount of CAI.

    Args:
        text: As ``25000``, ``25,000.5`` or ``25000 CAI``.
        name: The flag or argument that it came from, for the error.

    Raises:
        ConfigError: It is no such amount, zero, or more than all CAI that exist.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{name}: {text!r} is no amount of CAI: write it as 25000 or 0.5, at most 18 decimals")
    whole, fraction = found[1].replace(",", ""), found[2] or ""
    amount = int(whole) * CAI + int(fraction.ljust(18, "0"))
    if amount == 0:
        raise ConfigError(f"{name}: the amount is zero: give what should move, as 25000")
    if amount > _MOST:
        raise ConfigError(f"{name}: {text} is more than the 1,000,000,000 CAI that exist")
    return Wei(amount)


def format_cai(amount: int) -> str:
    """Write an amount of wei in CAI with its unit, rounded down to six decimals; less than that is said to be so."""
    return f"{format_number(amount)} CAI"


def format_number(amount: int) -> str:
    """Write an amount of wei in CAI without the unit, for a column whose heading has it."""
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    smallest = CAI // 10**_SHOWN_DECIMALS
    if 0 < size < smallest:
        return f"{sign}below {Decimal(smallest) / CAI:f}"
    whole, rest = divmod(size // smallest, 10**_SHOWN_DECIMALS)
    digits = f"{rest:0{_SHOWN_DECIMALS}d}".rstrip("0")
    return f"{sign}{whole:,}{'.' + digits if digits else ''}"


def wei_of(cai: float) -> Wei:
    """Give an amount of CAI as a person wrote it into a settings file in wei: 0.1 is exactly a tenth."""
    return Wei(int(Decimal(str(cai)) * CAI))


def wei_of_gwei(gwei: float) -> Wei:
    """Give the price of one gas as a person wrote it into a settings file in wei of the chain's coin."""
    return Wei(int(gwei * WEI_PER_GWEI))

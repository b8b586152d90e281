"""Whose places in a queue a task takes: its account's, and those of the part of the Internet that the account is from.

An account is a text, empty for nobody's. Where whoever has one address gets thousands of others with it, the text
begins with a name of all these and a slash. Spec: SPEC.md §9.1.
"""

from collections.abc import Iterator
from typing import Final

ALONE: Final = 1
"""How many times as many places one account may have as are left for all others: half of all, as the first one."""
TOGETHER: Final = 3
"""The same for accounts that may all be one caller: three quarters of all, so that few of them stand in no other's way,
and a quarter is left for everybody else however many there are."""
SEPARATOR: Final = "/"


def account_within(wider: str, narrow: str) -> str:
    """Name the account ``narrow`` as one of many that may be one caller, ``wider``; neither has a slash."""
    return f"{wider}{SEPARATOR}{narrow}"


def holders(account: str) -> Iterator[tuple[str, int]]:
    """Give all whose places a task of the account takes, each with how many times the places left it may have."""
    if account:
        yield account, ALONE
        wider, separator, _ = account.partition(SEPARATOR)
        if separator:
            yield wider, TOGETHER

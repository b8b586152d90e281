"""What is found, and how it is looked for: every check has its time, and none can hold up the others."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import trio

from protocol.errors import OverlayError

QUICK_S: Final = 10.0
"""Time (s) of a check that asks this machine."""
REMOTE_S: Final = 30.0
"""Time (s) of a check that asks others: several chain nodes may each take ten."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, whether it is well, and if not what mends it."""

    name: str
    is_good: bool
    detail: str
    fix: str = ""
    """What to do, as a command or a setting; empty for what is well."""


def good(name: str, detail: str) -> Finding:
    """Find something well."""
    return Finding(name, True, detail)


def bad(name: str, detail: str, fix: str) -> Finding:
    """Find something that needs mending, and say how."""
    return Finding(name, False, detail, fix)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at."""

    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]
    limit_s: float = QUICK_S
    """How long it may take (s)."""
    fix: str = "run cuckoo doctor again when the machine is less busy"
    """What mends it when it takes longer, or when it fails in a way that says nothing better."""


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run what blocks in a thread, which is left behind when its check has no more time."""
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


async def examine(checks: Sequence[Check]) -> AsyncIterator[Finding]:
    """Do all checks side by side, and give their findings in the order of the checks, each as soon as it is there."""
    channels = [trio.open_memory_channel[tuple[Finding, ...]](1) for _ in checks]

    async def run(check: Check, done: trio.MemorySendChannel[tuple[Finding, ...]]) -> None:
        await done.send(await _looked(check))

    async with trio.open_nursery() as nursery:
        for check, (done, _) in zip(checks, channels, strict=True):
            nursery.start_soon(run, check, done)
        for _, found in channels:
            for finding in await found.receive():
                yield finding


async def _looked(check: Check) -> tuple[Finding, ...]:
    """Do one check; whatever goes wrong in it is a finding."""
    try:
        with trio.move_on_after(check.limit_s):
            return tuple(await check.look())
        return (bad(check.name, f"no answer in {check.limit_s:g} s", check.fix),)
    except (OverlayError, OSError) as error:
        return (bad(check.name, str(error), check.fix),)

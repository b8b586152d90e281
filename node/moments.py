"""Moments as people read them."""

from datetime import datetime

_LAST = 253_402_128_000
"""The last day but one that calendars know: what a chain node makes up beyond it is shown as that."""
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def moment(at: int, now: int) -> str:
    """Write a moment in local time, and how far away it is: ``14:05 (in 12 min)``; the day too unless it is today.

    Args:
        at: The moment, unix seconds.
        now: The present, unix seconds, by the same clock.
    """
    at = min(at, _LAST)
    there, here = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    seconds = abs(at - now) < 120
    text = there.strftime("%H:%M:%S" if seconds else "%H:%M")
    if there.date() != here.date():
        text = there.strftime("%Y-%m-%d ") + text
    return f"{text} ({span(at - now)})"


def span(seconds: int) -> str:
    """Write how far away something is, in its two largest units: ``in 1 d 4 h``, ``3 min 20 s ago``."""
    text = duration(abs(seconds))
    return f"in {text}" if seconds >= 0 else f"{text} ago"


def duration(seconds: int) -> str:
    """Write how long something takes, in its two largest units: ``1 d 4 h``."""
    left = seconds
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count and len(parts) < 2:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts) or "0 s"

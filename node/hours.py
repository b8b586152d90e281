"""The hours in which a miner works, as its owner writes them: ``Mon-Fri 22:00-07:00``. Pure; times are local."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MINUTES_A_DAY: Final = 24 * 60
MINUTES_A_WEEK: Final = 7 * MINUTES_A_DAY
ADVICE: Final = "write 22:00-07:00, Mon-Fri 18:00-24:00 or Sat,Sun 00:00-24:00"
_FORM: Final = re.compile(
    r"(?:(?P<days>[A-Za-z]{3}(?:[-,][A-Za-z]{3})*) +)?(?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of each week."""

    begin: int
    """Minute of the week, from Monday 00:00."""
    length: int
    """Minutes; it may go on into the next day, and from Sunday into Monday."""

    def has(self, minute: int) -> bool:
        """Say whether a minute of the week is in it."""
        return (minute - self.begin) % MINUTES_A_WEEK < self.length


def parse_hours(text: str) -> tuple[Span, ...]:
    """Read one entry: days, where not all are meant, and from when to when. An end before the beginning is tomorrow's.

    Raises:
        ValueError: It has another form; the text says which would be right.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} are no hours: {ADVICE}")
    begin, end = _minutes(text, match["from"]), _minutes(text, match["to"])
    if begin in (end, MINUTES_A_DAY):
        raise ValueError(f"{text!r} is no time at all: {ADVICE}")
    length = end - begin if end > begin else end + MINUTES_A_DAY - begin
    return tuple(Span(day * MINUTES_A_DAY + begin, length) for day in _days(text, match["days"]))


def is_within(spans: Iterable[Span], minute: int) -> bool:
    """Say whether a minute of the week is in any of these."""
    return any(span.has(minute) for span in spans)


def minutes_to_change(spans: Iterable[Span], minute: int) -> int | None:
    """Give in how many minutes they begin or end, from a minute of the week on; None when they never do."""
    spans = tuple(spans)
    now = is_within(spans, minute)
    return next((ahead for ahead in range(1, MINUTES_A_WEEK) if is_within(spans, minute + ahead) is not now), None)


def _minutes(text: str, clock: str) -> int:
    """Read ``07:30`` as minutes of the day; ``24:00`` is its end."""
    hours, minutes = map(int, clock.split(":"))
    if minutes > 59 or hours * 60 + minutes > MINUTES_A_DAY:
        raise ValueError(f"{text!r}: {clock} is no time of day: {ADVICE}")
    return hours * 60 + minutes


def _days(text: str, names: str | None) -> list[int]:
    """Read ``Mon-Fri`` or ``Sat,Sun`` as numbers from 0, Monday; all where none are named."""
    if names is None:
        return list(range(7))
    chosen: set[int] = set()
    for part in names.split(","):
        ends = [_day(text, name) for name in part.split("-")]
        if len(ends) > 2:
            raise ValueError(f"{text!r}: {part} are no days: {ADVICE}")
        chosen.update((ends[0] + step) % 7 for step in range((ends[-1] - ends[0]) % 7 + 1))
    return sorted(chosen)


def _day(text: str, name: str) -> int:
    if name.capitalize() not in DAYS:
        raise ValueError(f"{text!r}: {name} is no day: {', '.join(DAYS)}")
    return DAYS.index(name.capitalize())

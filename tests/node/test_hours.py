"""The hours of a miner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.hours import DAYS, MINUTES_A_WEEK, is_within, minutes_to_change, parse_hours


def at(day, clock):
    hours, minutes = map(int, clock.split(":"))
    return DAYS.index(day) * 1440 + hours * 60 + minutes


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("09:00-17:30", [("Mon", "09:00"), ("Sun", "17:29")], [("Mon", "08:59"), ("Sun", "17:30")]),
        ("22:00-07:00", [("Mon", "22:00"), ("Tue", "06:59"), ("Mon", "03:00")], [("Mon", "07:00"), ("Mon", "21:59")]),
        ("Mon-Fri 18:00-24:00", [("Fri", "23:59")], [("Sat", "00:00"), ("Sun", "19:00")]),
        ("Fri 22:00-06:00", [("Sat", "05:59")], [("Fri", "05:00"), ("Sat", "22:00")]),
        ("Sun 22:00-06:00", [("Mon", "05:00")], [("Sun", "05:00")]),
        ("Sat,Sun 00:00-24:00", [("Sat", "00:00"), ("Sun", "23:59")], [("Mon", "00:00"), ("Fri", "23:59")]),
        ("Fri-Mon 10:00-11:00", [("Sat", "10:30"), ("Mon", "10:30")], [("Tue", "10:30")]),
        ("sat 10:00-11:00", [("Sat", "10:30")], [("Sun", "10:30")]),
    ],
)
def test_parse_hours__entry__is_within_them_and_not_without(text, inside, outside):
    spans = parse_hours(text)
    assert all(is_within(spans, at(*moment)) for moment in inside)
    assert not any(is_within(spans, at(*moment)) for moment in outside)


@pytest.mark.parametrize(
    "text", ["", "9-17", "09:00", "25:00-26:00", "09:60-10:00", "10:00-10:00", "24:00-10:00", "Mon", "Mo 09:00-10:00",
             "Mon-Tue-Wed 09:00-10:00", "Mon 09:00-10:00 x", "24:01-02:00"],
)  # fmt: skip
def test_parse_hours__anything_else__says_what_to_write(text):
    with pytest.raises(ValueError, match=r"write|Mon, Tue"):
        parse_hours(text)


def test_minutes_to_change__inside_and_outside__is_the_next_edge():
    spans = parse_hours("Mon-Fri 22:00-07:00")
    assert minutes_to_change(spans, at("Mon", "21:00")) == 60
    assert minutes_to_change(spans, at("Sat", "06:00")) == 60
    assert minutes_to_change(spans, at("Sat", "07:00")) == 2 * 1440 + 15 * 60
    assert minutes_to_change(parse_hours("00:00-24:00"), 5) is None


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, MINUTES_A_WEEK - 1))
def test_is_within__every_day__does_not_depend_on_the_day(begin, end, minute):
    if begin == end:
        return
    spans = parse_hours(f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}")
    assert is_within(spans, minute) == is_within(spans, minute + 1440)

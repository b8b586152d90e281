"""Moments as people read them."""

import re
import time

import pytest

from node.moments import duration, moment, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "in 0 s"),
        (59, "in 59 s"),
        (60, "in 1 min"),
        (3 * 60 + 20, "in 3 min 20 s"),
        (3600 + 5, "in 1 h"),
        (86_400 + 4 * 3600 + 59, "in 1 d 4 h"),
        (86_400 + 59, "in 1 d"),
        (-200, "3 min 20 s ago"),
    ],
)
def test_span__any__in_its_two_largest_units(seconds, text):
    assert span(seconds) == text
    assert duration(abs(seconds)) in text


@pytest.fixture
def _in_rome(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Rome")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_rome")
@pytest.mark.parametrize(
    ("ahead", "form"),
    [
        (12 * 60, r"14:12 \(in 12 min\)"),
        (60, r"14:01:00 \(in 1 min\)"),
        (2 * 86_400, r"2026-11-27 14:00 \(in 2 d\)"),
        (-86_400, r"2026-11-24 14:00 \(1 d ago\)"),
    ],
)
def test_moment__local_time__with_the_day_unless_it_is_today(ahead, form):
    now = 1_795_611_600  # 2026-11-25 14:00 in Rome
    assert re.fullmatch(form, moment(now + ahead, now))


def test_moment__beyond_all_calendars__is_their_last() -> None:
    assert moment(2**200, 0) == moment(2**47, 0)
    assert "9999-12-3" in moment(2**200, 0)

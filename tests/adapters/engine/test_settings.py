"""Threads of an engine's child: the cores of this machine, shared fairly, and never none."""

import os

import pytest

from node.adapters.engine import EngineSettings


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [1, 1, 1, 1, 1, 1, 1, 1]),
        (2, [2, 1, 1, 1, 1, 1, 1, 1]),
        (8, [8, 4, 2, 2, 1, 1, 1, 1]),
        (16, [16, 8, 5, 4, 3, 2, 2, 2]),
    ],
)
def test_resolved_threads__engines_share_a_machine__together_no_more_than_its_cores(cores, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)))
    found = [EngineSettings(engines_on_machine=engines).resolved_threads() for engines in range(1, 9)]
    assert found == expected
    assert all(threads == 1 or threads * engines <= cores for engines, threads in enumerate(found, start=1))


def test_resolved_threads__stated__is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})
    assert EngineSettings(threads=7, engines_on_machine=3).resolved_threads() == 7

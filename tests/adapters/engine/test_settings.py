"""Threads of an engine's child: the cores of this machine, shared fairly, and never none."""

import os
from typing import get_args

import pytest

from node.adapters.engine import EngineSettings, build_engine
from node.adapters.engine.places import find_model
from node.adapters.engine.precision import Numbers
from node.adapters.engine.settings import load_command, numerics_of, precision_of
from node.model_files.catalog import load_catalog
from protocol.errors import ConfigError
from protocol.justice.bundle import CLASSES


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


@pytest.mark.parametrize(
    ("threads", "device", "fewer"), [(0, "cpu", True), (0, "cuda", False), (2, "cpu", False), (1, "cpu", False)]
)
def test_load_command__threads__may_be_fewer_only_on_a_cpu_where_nobody_stated_them(threads, device, fewer):
    settings = EngineSettings(threads=threads)
    model = load_catalog().models["pocket-emoji"]
    place = find_model(model, settings.model_folders)
    assert load_command(model, place, settings, device, (1,)).fewer_threads is fewer


@pytest.mark.parametrize("kind", ["instant", "diffusion"])
def test_build_engine__model_without_digest__config_error_says_what_to_run(kind, clock, journal):
    with pytest.raises(ConfigError, match=r"^engine\.models: the catalog names no digest of sdxl, .*") as caught:
        build_engine(EngineSettings(kind=kind, models=("sdxl",)), load_catalog(), clock, journal)
    assert "cuckoo models pull sdxl prints what this network's operator adds" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_build_engine__pinned_model_that_was_not_pulled__config_error_says_what_to_run(clock, journal, tmp_path):
    catalog = load_catalog()
    pinned = catalog.models["sdxl"].model_copy(update={"digest": bytes(32)})
    catalog = catalog.model_copy(update={"models": {**catalog.models, "sdxl": pinned}})
    with pytest.raises(ConfigError, match=rf"^engine\.models: sdxl is not on .* pull sdxl --models-folder {tmp_path}$"):
        build_engine(EngineSettings(models=("sdxl",), pulled_models=tmp_path), catalog, clock, journal)


@pytest.mark.parametrize(
    ("half", "chosen", "device", "expected"),
    [
        (True, "auto", "cuda", "half"),
        (False, "auto", "cuda", "float32"),
        (True, "auto", "cpu", "float32"),
        (True, "float32", "cuda", "float32"),
        (False, "bfloat16", "cpu", "bfloat16"),
    ],
)
def test_precision_of__by_model_choice_and_device__the_owner_has_the_last_word(half, chosen, device, expected):
    model = load_catalog().models["pocket-emoji"].model_copy(update={"half_precision": half})
    assert precision_of(model, EngineSettings(precision=chosen), device) == expected


@pytest.mark.parametrize(
    ("numbers", "device", "expected"),
    [
        ("float32", "cpu", "float32-cpu"),
        ("bfloat16", "cuda:1", "bfloat16-cuda"),
        ("float16", "cuda", "float16-cuda"),
    ],
)
def test_numerics_of__what_a_device_draws_in__are_its_numbers_and_its_kind(numbers, device, expected):
    assert numerics_of(numbers, device) == expected


def test_numerics_of__any_device_that_can_be_named__is_a_class_that_jurors_know():
    devices = ("cpu", "cuda", "cuda:7")
    assert {numerics_of(numbers, device) for numbers in get_args(Numbers) for device in devices} == CLASSES

"""Where a model is looked for, and what a node says that cannot find one."""

import json
from pathlib import Path

import pytest

from node.adapters.engine.places import ModelPlace, find_model
from node.adapters.engine.weights import CHECKPOINT
from protocol.errors import ConfigError
from protocol.task.catalog import CheckpointSource, FolderSource, HuggingFaceSource

HUB = HuggingFaceSource(kind="hugging_face", repository="a/b", revision="0" * 40)


@pytest.fixture
def small(tmp_path):
    """A folder that looks like a pipeline of one part."""
    folder = tmp_path / "small"
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "V"]}))
    (folder / "vae" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def model(catalog):
    """Makes a model from a source."""
    return lambda source: catalog.models["pocket-emoji"].model_copy(update={"name": "mine", "source": source})


def test_find_model__builtin__lies_in_the_package(catalog, model_folder):
    assert find_model(catalog.models["pocket-emoji"], {}).folder.samefile(model_folder)


def test_find_model__named_folder_missing__config_error_names_the_key(catalog, tmp_path):
    with pytest.raises(ConfigError, match=r"^model_folders\.pocket-emoji: no model in .*nowhere") as caught:
        find_model(catalog.models["pocket-emoji"], {"pocket-emoji": tmp_path / "nowhere"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (FolderSource(kind="folder"), r"^model_folders\.mine: name the folder that holds this model"),
        (CheckpointSource(kind="checkpoint"), r"^model_folders\.mine: name the folder that holds checkpoint\."),
        (HUB, r"^engine\.models: mine is not on this machine: cuckoo models pull mine --models-folder /"),
    ],
    ids=["folder", "checkpoint", "hub"],
)
def test_find_model__nowhere__config_error_says_what_to_do(model, tmp_path, source, said):
    with pytest.raises(ConfigError, match=said):
        find_model(model(source), {}, tmp_path)


@pytest.mark.parametrize("source", [FolderSource(kind="folder"), HUB], ids=["folder", "hub"])
def test_find_model__named_in_the_settings_or_pulled__is_used(model, small, tmp_path, source):
    assert find_model(model(source), {"mine": small}, tmp_path / "none").folder == small
    small.rename(tmp_path / "mine")
    assert find_model(model(source), {}, tmp_path).folder == tmp_path / "mine"


def test_find_model__pulled_in_part__is_not_taken_for_whole(model, small, tmp_path):
    small.rename(tmp_path / "mine.partial")
    with pytest.raises(ConfigError, match=r"mine is only partly on this machine: cuckoo models pull mine "):
        find_model(model(HUB), {}, tmp_path)


def test_find_model__nowhere_under_the_home__command_names_no_folder(model, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"cuckoo models pull mine$"):
        find_model(model(HUB), {})


def test_find_model__absolute_path_in_the_catalog__is_used(model, small):
    assert find_model(model(FolderSource(kind="folder", path=str(small))), {}).folder == Path(small)


def test_find_model__checkpoint_named_in_the_catalog__is_used_with_its_configuration(model, small, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    source = CheckpointSource(kind="checkpoint", file=str(file), configuration=str(small))
    assert find_model(model(source), {}) == ModelPlace(small, file, origin="models.mine.source")
    file.unlink()
    with pytest.raises(ConfigError, match=rf"^models\.mine\.source: {file} does not exist$"):
        find_model(model(source), {})


def test_find_model__checkpoint_in_a_folder_of_its_own__is_used(model, small):
    (small / CHECKPOINT).write_bytes(b"")
    place = find_model(model(CheckpointSource(kind="checkpoint")), {"mine": small})
    assert place.checkpoint == small / CHECKPOINT


def test_find_model__pickles_alone__config_error_names_them(model, small):
    (small / "vae" / "model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^model_folders\.mine: .*vae holds model\.bin and no safetensors"):
        find_model(model(HUB), {"mine": small})

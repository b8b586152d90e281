import hashlib
import json
from pathlib import Path

import pytest

from node.adapters.engine.weights import ModelFault, check_model, model_digest, read_files
from node.adapters.engine.weights import model_folder as find_folder
from protocol.errors import ConfigError
from protocol.task.catalog import FolderSource, HuggingFaceSource


@pytest.fixture
def small(tmp_path):
    """A folder that looks like a pipeline of two parts."""
    index = {"_class_name": "P", "unet": ["diffusers", "U"], "vae": ["diffusers", "V"], "safety_checker": [None, None]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for part in ("unet", "vae"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
        (tmp_path / part / "weights.safetensors").write_bytes(part.encode() * 100)
    return tmp_path


def test_model_digest__embedded_model__is_that_of_the_catalog(catalog, model_folder):
    assert model_digest(model_folder) == catalog.models["pocket-emoji"].digest


def test_model_digest__small_folder__is_sha256_over_sha256sum_lines(small):
    parts = [f"{part}/{name}" for part in ("unet", "vae") for name in ("config.json", "weights.safetensors")]
    names = ["model_index.json", *parts]
    lines = "".join(f"{hashlib.sha256((small / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    assert read_files(small) == tuple(names)
    assert model_digest(small) == hashlib.sha256(lines.encode()).digest()


def test_check_model__one_bit_flipped__is_model_corrupt(small):
    digest = model_digest(small)
    weights = small / "vae" / "weights.safetensors"
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    with pytest.raises(ModelFault) as caught:
        check_model(small, digest)
    assert caught.value.reason == "model_corrupt"


def test_check_model__one_file_gone__is_model_corrupt(small):
    digest = model_digest(small)
    (small / "vae" / "config.json").unlink()
    with pytest.raises(ModelFault) as caught:
        check_model(small, digest)
    assert caught.value.reason == "model_corrupt"


@pytest.mark.parametrize("gone", ["unet", "model_index.json"])
def test_check_model__a_part_or_the_index_gone__is_model_missing(small, gone):
    digest = model_digest(small)
    (small / gone).rename(small / "elsewhere")
    with pytest.raises(ModelFault) as caught:
        check_model(small, digest)
    assert caught.value.reason == "model_missing"


@pytest.mark.parametrize("index", ["no json", "[1]", '{"../etc": ["a", "b"]}'])
def test_read_files__index_is_no_index__is_model_corrupt(small, index):
    (small / "model_index.json").write_text(index)
    with pytest.raises(ModelFault) as caught:
        read_files(small)
    assert caught.value.reason == "model_corrupt"


def test_model_digest__card_pickle_and_unused_folder_beside__is_unchanged(small):
    digest = model_digest(small)
    (small / "README.md").write_text("a card")
    (small / "unet" / "weights.bin").write_bytes(b"a pickle, which is never read")
    (small / "training").mkdir()
    (small / "training" / "notes.json").write_text("{}")
    assert model_digest(small) == digest


def test_model_folder__builtin__lies_in_the_package(catalog, model_folder):
    assert find_folder(catalog.models["pocket-emoji"], {}).samefile(model_folder)


def test_model_folder__named_folder_missing__config_error_names_the_key(catalog, tmp_path):
    with pytest.raises(ConfigError, match=r"^model_folders\.pocket-emoji: no model in .*nowhere") as caught:
        find_folder(catalog.models["pocket-emoji"], {"pocket-emoji": tmp_path / "nowhere"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        FolderSource(kind="folder"),
        HuggingFaceSource(kind="hugging_face", repository="a/b", revision="0" * 40),
    ],
    ids=lambda source: source.kind,
)
def test_model_folder__nobody_named_one__config_error_says_what_to_do(catalog, small, source):
    model = catalog.models["pocket-emoji"].model_copy(update={"source": source})
    with pytest.raises(ConfigError, match=r"^model_folders\.pocket-emoji: name the folder"):
        find_folder(model, {})
    assert find_folder(model, {"pocket-emoji": small}) == small


def test_model_folder__absolute_path_in_the_catalog__is_used(catalog, small):
    source = FolderSource(kind="folder", path=str(small))
    model = catalog.models["pocket-emoji"].model_copy(update={"source": source})
    assert find_folder(model, {}) == Path(small)

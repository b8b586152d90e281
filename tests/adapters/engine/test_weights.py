import hashlib
import json

import pytest

from node.adapters.engine.weights import (
    CHECKPOINT,
    SUMS,
    ModelFault,
    check_model,
    digest_lines,
    model_digest,
    read_files,
)


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


@pytest.mark.parametrize("name", ["weights.fp16.safetensors", "w.fp16-00001-of-00002.safetensors"])
def test_model_digest__variant_beside__is_unchanged(small, name):
    digest = model_digest(small)
    (small / "unet" / name).write_bytes(b"half as long")
    (small / "unet" / "weights.safetensors.index.fp16.json").write_text("{}")
    assert model_digest(small) == digest


@pytest.mark.parametrize("pickle", ["weights.bin", "weights.ckpt", "weights.pt"])
def test_read_files__pickles_and_no_safetensors__is_model_unsafe_and_names_one(small, pickle):
    (small / "unet" / "weights.safetensors").rename(small / "unet" / pickle)
    with pytest.raises(ModelFault, match=f"{small}/unet holds {pickle} and no safetensors") as caught:
        read_files(small)
    assert caught.value.reason == "model_unsafe"


def test_read_files__pickle_beside_a_variant_alone__is_model_unsafe(small):
    (small / "unet" / "weights.safetensors").rename(small / "unet" / "weights.fp16.safetensors")
    (small / "unet" / "weights.bin").write_bytes(b"a pickle")
    with pytest.raises(ModelFault) as caught:
        read_files(small)
    assert caught.value.reason == "model_unsafe"


@pytest.fixture
def whole(small):
    """The same folder, with files of weights that are what their names say."""
    for part in ("unet", "vae"):
        header = json.dumps({"a": {"dtype": "U8", "shape": [100], "data_offsets": [0, 100]}}).encode()
        (small / part / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    return small


@pytest.mark.parametrize("kept", [-1, 20, 4, 0])
def test_check_model__weights_cut_short__names_the_file(whole, kept):
    digest = model_digest(whole)
    weights = whole / "vae" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelFault, match=str(weights)) as caught:
        check_model(whole, digest)
    assert caught.value.reason == "model_corrupt"


def test_check_model__a_shard_is_missing__names_it(whole):
    index = {"weight_map": {"a": "weights.safetensors", "b": "weights-00002-of-00002.safetensors"}}
    (whole / "vae" / "weights.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFault, match=f"{whole}/vae/weights-00002-of-00002.safetensors does not exist"):
        check_model(whole, bytes(32))


@pytest.mark.parametrize("change", ["other", "gone", "more"])
def test_check_model__pulled_and_changed__names_the_file_by_what_was_pulled(whole, change):
    (whole / SUMS).write_text(digest_lines(whole))
    digest = model_digest(whole)
    wrong = whole / "vae" / "config.json"
    match change:
        case "other":
            wrong.write_text('{"a": 1}')
        case "gone":
            wrong.unlink()
        case "more":
            wrong = whole / "vae" / "b.json"
            wrong.write_text("{}")
    with pytest.raises(ModelFault, match=f"{wrong} is not the catalog's"):
        check_model(whole, digest)


@pytest.mark.parametrize("rubbish", [b"\xff" * 8, b"[" * 100_000, b"[]", b'{"a": 3}', b'{"a": {"data_offsets": "x"}}'])
def test_check_model__weights_with_a_header_of_rubbish__is_model_corrupt(whole, rubbish):
    weights = whole / "vae" / "weights.safetensors"
    weights.write_bytes(len(rubbish).to_bytes(8, "little") + rubbish)
    with pytest.raises(ModelFault, match=str(weights)) as caught:
        check_model(whole, bytes(32))
    assert caught.value.reason == "model_corrupt"


def test_read_files__checkpoint__is_listed_beside_its_configuration(whole, tmp_path_factory):
    checkpoint = tmp_path_factory.mktemp("checkpoints") / "mine.safetensors"
    (whole / "vae" / "weights.safetensors").rename(checkpoint)
    (whole / "unet" / "weights.safetensors").unlink()
    assert read_files(whole, checkpoint) == (CHECKPOINT, "model_index.json", "unet/config.json", "vae/config.json")
    digest = model_digest(whole, checkpoint)
    check_model(whole, digest, checkpoint)
    (whole / "unet" / "config.json").write_text('{"another": "model"}')
    with pytest.raises(ModelFault):
        check_model(whole, digest, checkpoint)


@pytest.mark.parametrize("weights", ["weights.safetensors", "pytorch_model.bin"])
def test_read_files__weights_in_the_configuration_of_a_checkpoint__is_model_unsafe(whole, tmp_path_factory, weights):
    (whole / "vae" / "weights.safetensors").rename(whole / "vae" / weights)
    (whole / "unet" / "weights.safetensors").unlink()
    checkpoint = tmp_path_factory.mktemp("checkpoints") / "mine.safetensors"
    checkpoint.write_bytes(b"")
    with pytest.raises(ModelFault, match=f"{whole}/vae holds {weights}: beside a checkpoint") as caught:
        read_files(whole, checkpoint)
    assert caught.value.reason == "model_unsafe"

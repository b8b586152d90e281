"""Pulling from a hub on this machine: what is fetched, how it goes on, and what is refused by name."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os

import pytest

from node.adapters.engine.weights import SUMS, model_digest
from node.model_files.check import check
from node.model_files.pull import pull
from node.model_files.shelf import ModelHere, Shelf
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import BuiltinSource, Catalog, CatalogModel, HuggingFaceSource
from tests.support.hub_server import REPOSITORY, REVISION, HubServer, point_at

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
INDEX = {"_class_name": "P", "unet": ["diffusers", "U"], "tokenizer": ["transformers", "T"], "extra": [None, None]}


def weights(size):
    """A safetensors file with so many bytes of numbers."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(number % 251 for number in range(size))


READ = {
    "model_index.json": json.dumps(INDEX).encode(),
    "tokenizer/merges.txt": b"#version: 0.2\n",
    "tokenizer/vocab.json": b"{}",
    "unet/config.json": b'{"a": 1}',
    WEIGHTS: weights(5000),
}
NOT_READ = {
    "README.md": b"a card",
    "all-in-one.safetensors": weights(2000),
    "unet/diffusion_pytorch_model.bin": b"a pickle" * 200,
    "unet/diffusion_pytorch_model.fp16.safetensors": weights(2500),
    "vae/config.json": b"{}",
    "unet/../../escaped.json": b"{}",
    "../escaped.json": b"{}",
}


class Told:
    """Remembers how a pull went on, and stops it like Ctrl-C after so many bytes."""

    def __init__(self, stop_after=None):
        self.begun = []
        self.done = 0
        self._stop_after = stop_after

    def begin(self, what, total, done):
        self.begun.append((what, total, done))

    def advance(self, count):
        self.done += count
        if self._stop_after is not None and self.done >= self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = HubServer({**READ, **NOT_READ})
    point_at(server, monkeypatch, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    yield server
    server.close()


def shelf_of(folder, **changes):
    """A catalog with a model of the hub, and a folder for it."""
    fields = {
        "name": "mine",
        "title": "Mine",
        "sizes": ((64, 64),),
        "default_size": (64, 64),
        "default_steps": 5,
        "max_steps": 10,
        "default_guidance": 1.0,
        "max_guidance": 2.0,
        "loading_limit_ms": 5000,
        "licence": "MIT",
        "source": HuggingFaceSource(kind="hugging_face", repository=REPOSITORY, revision=REVISION),
    }
    mine = CatalogModel(**(fields | changes))
    base = CatalogModel(
        **(fields | {"name": "base", "digest": "ab" * 32, "source": BuiltinSource(kind="builtin", folder="base")})
    )
    return Shelf(Catalog(models={"mine": mine, "base": base}, default="base"), {}, folder)


@pytest.fixture
def shelf(tmp_path):
    return shelf_of(tmp_path / "models")


def mine(shelf):
    return shelf.catalog.models["mine"]


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_pull__model_of_the_hub__brings_what_a_pipeline_reads_and_nothing_else(hub, shelf, tmp_path):
    told = Told()
    folder, digest = pull(shelf, mine(shelf), told)
    assert folder == tmp_path / "models" / "mine"
    assert files_under(tmp_path) == {f"models/mine/{name}" for name in (*READ, SUMS)}
    assert all((folder / name).read_bytes() == data for name, data in READ.items())
    assert {name for name, _, _ in hub.requests} == set(READ)
    assert digest == model_digest(folder) == hashlib.sha256((folder / SUMS).read_bytes()).digest()
    whole = sum(map(len, READ.values()))
    index = len(READ["model_index.json"])  # came first, for what it names
    assert told.begun[0] == ("model_index.json", whole, index)
    assert told.begun[-2:] == [(WEIGHTS, whole, whole - len(READ[WEIGHTS])), ("mine: checking", whole, 0)]
    assert told.done == 2 * whole - index
    assert shelf.look(mine(shelf)).state is ModelHere.HERE


def test_pull__interrupted__goes_on_where_it_stopped(hub, shelf):
    with pytest.raises(KeyboardInterrupt):
        pull(shelf, mine(shelf), Told(stop_after=3000))
    copy = shelf.look(mine(shelf))
    assert copy.state is ModelHere.PARTLY
    assert copy.size > 2000
    hub.requests.clear()
    told = Told()
    folder, _ = pull(shelf, mine(shelf), told)
    assert [first for name, first, _ in hub.requests if name == WEIGHTS] == [2000]
    assert {name for name, _, _ in hub.requests} == {WEIGHTS}
    whole = sum(map(len, READ.values()))
    assert told.begun[-2:] == [(WEIGHTS, whole, whole - len(READ[WEIGHTS]) + 2000), ("mine: checking", whole, 0)]
    assert files_under(folder) == {*READ, SUMS}
    assert (folder / WEIGHTS).read_bytes() == READ[WEIGHTS]


def test_pull__line_breaks__goes_on_by_itself(hub, shelf):
    hub.cut_after = 3500
    folder, _ = pull(shelf, mine(shelf), Told())
    assert [first for name, first, _ in hub.requests if name == WEIGHTS] == [0, 3000]
    assert (folder / WEIGHTS).read_bytes() == READ[WEIGHTS]


def test_pull__other_bytes_than_listed__names_the_file_and_fetches_it_anew(hub, shelf):
    hub.served[WEIGHTS] = bytes(len(READ[WEIGHTS]))
    wrong = shelf.pulled / "mine.partial" / WEIGHTS
    with pytest.raises(Unavailable, match=f"^{wrong} is not the file that the hub lists, and was removed"):
        pull(shelf, mine(shelf), Told())
    hub.served.clear()
    hub.requests.clear()
    folder, _ = pull(shelf, mine(shelf), Told())
    assert [(name, first) for name, first, _ in hub.requests] == [(WEIGHTS, 0)]
    assert (folder / WEIGHTS).read_bytes() == READ[WEIGHTS]


def test_pull__small_file_with_other_bytes__names_it(hub, shelf):
    hub.served["unet/config.json"] = b'{"a": 2}'
    with pytest.raises(Unavailable, match=r"unet/config\.json is not the file that the hub lists"):
        pull(shelf, mine(shelf), Told())


def test_pull__another_digest_than_the_catalogs__is_kept_apart_and_named(hub, tmp_path):
    shelf = shelf_of(tmp_path / "models", digest="cd" * 32)
    with pytest.raises(Unavailable, match=rf"have the digest \w+, the catalog says {'cd' * 32}: they stay in "):
        pull(shelf, mine(shelf), Told())
    assert not (tmp_path / "models" / "mine").exists()
    assert shelf.look(mine(shelf)).state is ModelHere.PARTLY


@pytest.mark.parametrize(("length", "said"), [(4000, "Consistency check failed"), (6000, "the hub sends more than")])
def test_pull__shorter_or_longer_than_listed__is_one_line_and_no_model(hub, shelf, length, said):
    hub.served[WEIGHTS] = bytes(length)
    with pytest.raises(Unavailable, match=said) as caught:
        pull(shelf, mine(shelf), Told())
    assert "\n" not in str(caught.value)
    assert not (shelf.pulled / "mine").exists()


def test_pull__more_than_the_disk_holds__config_error_before_anything_large_comes(hub, shelf):
    listing = hub.tree()
    next(entry for entry in listing if entry["path"] == WEIGHTS)["size"] = 10**16
    hub.listing = json.dumps(listing).encode()
    with pytest.raises(
        ConfigError, match=r"^mine needs 10000000\.0 GB more and 0\.5 GB to spare, .* GB free: make room"
    ):
        pull(shelf, mine(shelf), Told())
    assert [name for name, _, _ in hub.requests] == ["model_index.json"]


def test_pull__more_than_the_owner_lets_models_take__says_what_to_remove_and_goes_on_after_that(hub, shelf):
    other = shelf.pulled / "base"
    other.mkdir(parents=True)
    (other / "weights").write_bytes(bytes(4000))
    limited = dataclasses.replace(shelf, limit_bytes=8000)
    with pytest.raises(
        ConfigError, match=r"^engine\.pulled_limit_gb: mine needs .* GB more, .*: cuckoo models remove base frees"
    ):
        pull(limited, mine(shelf), Told())
    assert [name for name, _, _ in hub.requests] == ["model_index.json"]
    assert limited.remove(shelf.catalog.models["base"]) == 4000
    pull(limited, mine(shelf), Told())
    assert limited.pulled_bytes().keys() == {"mine"}


def test_remove__whole_and_partial__both_go_and_a_second_time_is_one_line(hub, shelf):
    pull(shelf, mine(shelf), Told())
    shelf.partial(mine(shelf)).mkdir()
    (shelf.partial(mine(shelf)) / "a").write_bytes(b"12345")
    assert shelf.remove(mine(shelf)) == 5 + sum(map(len, READ.values())) + len(hashlib.sha256().hexdigest()) * 5 + sum(
        len(f"  {name}\n") for name in READ
    )
    assert shelf.look(mine(shelf)).state is ModelHere.ABSENT
    with pytest.raises(ConfigError, match=r"^mine was not pulled into .*: there is nothing to remove$"):
        shelf.remove(mine(shelf))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([WEIGHTS], r"^someone/model/unet holds diffusion_pytorch_model\.bin and no safetensors: weights that can run"),
        (["model_index.json"], r"^someone/model has no model_index\.json at this revision"),
        (["tokenizer/merges.txt", "tokenizer/vocab.json"], r"^someone/model/tokenizer holds no files"),
    ],
)
def test_pull__repository_without_what_is_read__config_error_names_it(hub, shelf, gone, said):
    for name in gone:
        del hub.files[name]
    with pytest.raises(ConfigError, match=said):
        pull(shelf, mine(shelf), Told())


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((403, "GatedRepo"), ConfigError, "^someone/model: its owner wants an agreement first: .*HF_TOKEN"),
        (
            (401, "RepoNotFound"),
            ConfigError,
            "^someone/model: there is no such repository, or it is private: .*HF_TOKEN",
        ),
        ((404, "RevisionNotFound"), ConfigError, f"^someone/model: there is no revision {REVISION}$"),
        ((400, ""), Unavailable, "^someone/model at 0123456789ab: the hub answers with status 400"),
    ],
)
def test_pull__hub_refuses__one_line_says_why(hub, shelf, answer, error, said):
    hub.status = answer
    with pytest.raises(error, match=said) as caught:
        pull(shelf, mine(shelf), Told())
    assert "\n" not in str(caught.value)
    assert not shelf.pulled.joinpath("mine.partial").exists()


@pytest.mark.parametrize("listing", [b"<html>", b"[3]", b'[{"type": "file"}]'])
def test_pull__answers_of_no_hub__is_one_line(hub, shelf, listing):
    hub.listing = listing
    with pytest.raises(Unavailable, match=r"^someone/model: what answers is no hub"):
        pull(shelf, mine(shelf), Told())


def test_pull__while_another_does__config_error(hub, shelf):
    folder = shelf.pulled / "mine.partial"
    folder.mkdir(parents=True)
    with contextlib.closing(os.fdopen(os.open(folder / ".lock", os.O_RDWR | os.O_CREAT))) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=rf"^mine is being pulled already into {folder}"):
            pull(shelf, mine(shelf), Told())
    assert hub.requests == []


def test_pull__here_already__is_checked_and_not_fetched(hub, shelf):
    folder, digest = pull(shelf, mine(shelf), Told())
    hub.requests.clear()
    assert pull(shelf, mine(shelf), Told()) == (folder, digest)
    (folder / "unet" / "config.json").write_bytes(b'{"a": 3}')
    with pytest.raises(ConfigError, match=rf"^mine: {folder}/unet/config.json is not .*; remove {folder} and run"):
        pull(shelf, mine(shelf), Told())
    assert hub.requests == []


def test_pull__token_in_the_environment__is_sent_and_nowhere_written(hub, shelf, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(shelf, mine(shelf), Told())
    assert {token for _, _, token in hub.requests} == {"Bearer hf_secret"}
    assert not any(b"hf_secret" in (tmp_path / name).read_bytes() for name in files_under(tmp_path))


def test_pull__hub_redirects_to_another_host__that_one_gets_no_token(hub, shelf, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.elsewhere = True
    folder, _ = pull(shelf, mine(shelf), Told())
    assert [token for name, _, token in hub.requests if name == WEIGHTS] == [None]
    assert (folder / WEIGHTS).read_bytes() == READ[WEIGHTS]


def test_pull__without_the_extra__config_error_says_what_to_install(hub, shelf, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cuckoo-overlay\[miner\]'$"):
        pull(shelf, mine(shelf), Told())


def test_pull__files_of_another_revision_from_an_earlier_pull__do_not_count(hub, shelf):
    partial = shelf.pulled / "mine.partial"
    (partial / "unet").mkdir(parents=True)
    (partial / "unet" / "old.json").write_text("{}")
    (partial / f"{WEIGHTS}.incomplete").write_bytes(bytes(9000))
    folder, _ = pull(shelf, mine(shelf), Told())
    assert files_under(folder) == {*READ, SUMS}
    assert (folder / WEIGHTS).read_bytes() == READ[WEIGHTS]


def test_pull__model_of_no_hub__config_error(shelf):
    with pytest.raises(ConfigError, match=r"^base: it comes with this package: there is nothing to pull$"):
        pull(shelf, shelf.catalog.models["base"], Told())


def test_check__pulled_without_a_digest__is_compared_with_what_was_pulled(hub, shelf):
    folder, digest = pull(shelf, mine(shelf), Told())
    found = check(shelf, shelf.look(mine(shelf)), Told())
    assert found.is_right
    assert digest.hex() in found.detail
    data = bytearray(READ[WEIGHTS])
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    found = check(shelf, shelf.look(mine(shelf)), Told())
    assert (found.is_right, found.detail) == (False, f"{folder / WEIGHTS} is not what was pulled")


def test_look__weights_cut_short__is_faulty_and_named(hub, shelf):
    folder, _ = pull(shelf, mine(shelf), Told())
    (folder / WEIGHTS).write_bytes(READ[WEIGHTS][:-1])
    copy = shelf.look(mine(shelf))
    assert copy.state is ModelHere.FAULTY
    assert copy.fault.startswith(f"{folder / WEIGHTS} has ")
    assert not check(shelf, copy, Told()).is_right


def test_look__pulled_before_the_catalog_got_another_digest__is_faulty(hub, shelf):
    pull(shelf, mine(shelf), Told())
    pinned = shelf_of(shelf.pulled, digest="cd" * 32)
    assert pinned.look(mine(pinned)).state is ModelHere.FAULTY

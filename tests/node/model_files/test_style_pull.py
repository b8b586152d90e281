"""Pulling the LoRAs of a model from a hub on this machine: which come, which are refused, what list and check say."""

import dataclasses
import hashlib
import json

import pytest

from node.adapters.engine.places import find_model
from node.adapters.engine.styles import FOLDER, styled_digest
from node.adapters.engine.weights import SUMS
from node.model_files.check import check
from node.model_files.pull import pull
from node.model_files.shelf import ModelHere, Shelf
from protocol.errors import ConfigError, Unavailable
from protocol.task.catalog import BuiltinSource, Catalog, CatalogModel, FolderSource, HuggingFaceSource, Style
from tests.node.model_files.test_pull import READ, Told, files_under, mine, weights
from tests.support.hub_server import REPOSITORY, REVISION, HubServer, point_at

LORA, SMALL = "loras/watercolour.safetensors", "ink.safetensors"
FILES = {LORA: weights(3000), SMALL: weights(100)}
HUB = {"repository": REPOSITORY, "revision": REVISION}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    server = HubServer({**READ, **FILES, "loras/watercolour.pt": b"a pickle"})
    point_at(server, monkeypatch, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    yield server
    server.close()


def digest_of(name):
    return hashlib.sha256(FILES[name]).digest()


def style(name=LORA, digest=None, weight=0.8, **source):
    return Style.model_validate(
        {"digest": digest or digest_of(name), "weight": weight, "source": HUB | {"file": name} | source}
    )


def shelf_of(folder, *styles, **changes):
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
        "source": HuggingFaceSource(kind="hugging_face", **HUB),
    }
    base = fields | {"name": "base", "digest": "ab" * 32, "source": BuiltinSource(kind="builtin", folder="base")}
    models = {"mine": CatalogModel(**(fields | changes), styles=styles), "base": CatalogModel(**base)}
    return Shelf(Catalog(models=models, default="base"), {}, folder)


@pytest.fixture
def shelf(tmp_path):
    return shelf_of(tmp_path / "models", style(), style(SMALL, weight=1.0))


def place_of(shelf, name):
    return shelf.pulled / FOLDER / f"{digest_of(name).hex()}.safetensors"


def test_pull__model_with_styles__brings_both_and_gives_the_digest_of_all(hub, shelf):
    folder, digest = pull(shelf, mine(shelf), Told())
    styles = {f"{FOLDER}/{place_of(shelf, name).name}" for name in FILES}
    assert files_under(shelf.pulled) == {f"mine/{name}" for name in (*READ, SUMS)} | styles
    assert all(place_of(shelf, name).read_bytes() == data for name, data in FILES.items())
    assert digest == styled_digest(folder, styles=shelf.place(mine(shelf)).styles)
    pinned = shelf_of(shelf.pulled, *mine(shelf).styles, digest=digest)
    assert pinned.look(mine(pinned)).state is ModelHere.HERE
    assert pinned.look(mine(pinned)).size == sum(map(len, [*READ.values(), *FILES.values()]))
    assert check(pinned, pinned.look(mine(pinned)), Told()).is_right
    hub.requests.clear()
    assert pull(pinned, mine(pinned), Told()) == (folder, digest)
    assert hub.requests == []


def test_pull__interrupted__goes_on_where_it_stopped(hub, shelf):
    with pytest.raises(KeyboardInterrupt):
        pull(shelf, mine(shelf), Told(stop_after=2000))
    hub.requests.clear()
    pull(shelf, mine(shelf), Told())
    assert [first for name, first, _ in hub.requests if name == LORA] == [1000]
    assert place_of(shelf, LORA).read_bytes() == FILES[LORA]


@pytest.mark.parametrize("name", [LORA, SMALL])
def test_pull__another_file_than_the_catalogs__is_named_and_not_kept(hub, tmp_path, name):
    shelf = shelf_of(tmp_path / "models", style(name, bytes(32)))
    with pytest.raises(Unavailable, match=rf"{name} of {REPOSITORY} has the digest {digest_of(name).hex()}, the catal"):
        pull(shelf, mine(shelf), Told())
    assert [path for path in shelf.pulled.rglob("*") if path.is_file()] == []
    assert [asked for asked, _, _ in hub.requests] == ([] if name == LORA else [SMALL])


def test_pull__other_bytes_than_listed__is_named_and_fetched_anew(hub, shelf):
    hub.served[LORA] = bytes(len(FILES[LORA]))
    with pytest.raises(Unavailable, match="the catalog says"):
        pull(shelf, mine(shelf), Told())
    assert not place_of(shelf, LORA).exists()
    hub.served.clear()
    pull(shelf, mine(shelf), Told())
    assert place_of(shelf, LORA).read_bytes() == FILES[LORA]


def test_pull__no_such_file_or_no_room__config_error(hub, tmp_path, shelf):
    lacking = shelf_of(tmp_path / "models", style(file="none.safetensors"))
    with pytest.raises(ConfigError, match=rf"^{REPOSITORY} has no none\.safetensors at this revision$"):
        pull(lacking, mine(lacking), Told())
    limited = dataclasses.replace(shelf, limit_bytes=1000)
    with pytest.raises(ConfigError, match=rf"^engine\.pulled_limit_gb: mine: {LORA} of {REPOSITORY} needs "):
        pull(limited, mine(limited), Told())


def test_pull__styles_of_a_model_that_is_no_hubs__brings_the_styles_alone(hub, shelf, tmp_path):
    pull(shelf, mine(shelf), Told())
    source = FolderSource(kind="folder", path=str(shelf.pulled / "mine"))
    own = shelf_of(tmp_path / "others", style(SMALL), source=source)
    folder, digest = pull(own, mine(own), Told())
    assert folder == shelf.pulled / "mine"
    assert files_under(own.pulled) == {f"{FOLDER}/{place_of(own, SMALL).name}"}
    assert digest == styled_digest(folder, styles=own.place(mine(own)).styles)


def test_pull__style_that_nobody_published__says_where_to_put_it(hub, tmp_path):
    shelf = shelf_of(tmp_path / "models", Style(digest=digest_of(LORA)))
    with pytest.raises(ConfigError, match=rf"^models\.mine\.styles: put the LoRA with .* {place_of(shelf, LORA)}$"):
        pull(shelf, mine(shelf), Told())


def test_pull__both_together_are_another_than_the_catalogs__is_named(hub, tmp_path):
    shelf = shelf_of(tmp_path / "models", style(), digest="cd" * 32)
    with pytest.raises(Unavailable, match=rf"its files and styles have the digest \w+, the catalog says {'cd' * 32}$"):
        pull(shelf, mine(shelf), Told())
    assert shelf.look(mine(shelf)).state is ModelHere.FAULTY


def test_look_and_check__style_gone_or_changed__say_so_and_what_to_run(hub, shelf):
    pull(shelf, mine(shelf), Told())
    path = place_of(shelf, LORA)
    path.write_bytes(FILES[LORA] + b" ")
    found = check(shelf, shelf.look(mine(shelf)), Told())
    assert (found.is_right, f"{path} has the digest " in found.detail) == (False, True)
    with pytest.raises(ConfigError, match=rf"^mine: {path} is not the catalog's LoRA: remove it and run it again$"):
        pull(shelf, mine(shelf), Told())
    path.unlink()
    copy = shelf.look(mine(shelf))
    said = f"{path} is not on this machine: cuckoo models pull mine --models-folder {shelf.pulled}"
    assert (copy.state, copy.fault) == (ModelHere.PARTLY, f"styles: {said}")
    assert not check(shelf, copy, Told()).is_right
    with pytest.raises(ConfigError, match=rf"^models\.mine\.styles: {said}$"):
        find_model(mine(shelf), {}, shelf.pulled)


def test_remove__style_of_another_model_too__stays_and_the_others_go(hub, shelf):
    models = dict(shelf.catalog.models)
    models["base"] = models["base"].model_copy(update={"styles": (style(SMALL),)})
    shared = dataclasses.replace(shelf, catalog=Catalog(models=models, default="base"))
    pull(shared, mine(shared), Told())
    shared.remove(mine(shared))
    assert files_under(shelf.pulled) == {f"{FOLDER}/{place_of(shelf, SMALL).name}"}
    alone = dataclasses.replace(shelf, catalog=Catalog(models={"base": models["base"]}, default="base"))
    assert alone.remove(models["base"]) == len(FILES[SMALL])
    assert files_under(shelf.pulled) == set()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"file": "a.pt"}, "must be a .safetensors file"),
        ({"file": "../a.safetensors"}, "must be a path inside the repository"),
        ({"file": "/a.safetensors"}, "must be a path inside the repository"),
        ({"revision": "main"}, "String should match pattern"),
    ],
)
def test_style__source_that_no_pull_may_follow__is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        style(**changes)


def test_style__file_and_source__is_refused():
    both = {"digest": digest_of(LORA).hex(), "file": "/srv/a.safetensors", "source": HUB | {"file": LORA}}
    with pytest.raises(ValueError, match="give file or source, not both"):
        Style.model_validate_json(json.dumps(both))

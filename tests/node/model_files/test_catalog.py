import pytest

from node.model_files.catalog import load_catalog
from protocol.errors import ConfigError

ENTRY = """
[models.tiny]
name = "tiny"
title = "Tiny"
sizes = [[64, 64]]
default_size = [64, 64]
default_steps = 5
max_steps = 10
default_guidance = 1.0
max_guidance = 2.0
loading_limit_ms = 5000
digest = "{digest}"
licence = "MIT"
source = {{ kind = "folder" }}
"""


def written(folder, text):
    path = folder / "models.toml"
    path.write_text(text)
    return path


def test_load_catalog__packaged__serves_the_embedded_model_under_foreign_names():
    catalog = load_catalog()
    assert catalog.default == "pocket-emoji"
    for name in (None, "pocket-emoji", "dall-e-3", "gpt-image-1"):
        assert catalog.resolve(name).name == "pocket-emoji"
    assert catalog.resolve("flux") is None


def test_load_catalog__extra_file__adds_to_ours(tmp_path):
    text = 'default = "tiny"\n[aliases]\n"dall-e-2" = "tiny"\n' + ENTRY.format(digest="ab" * 32)
    catalog = load_catalog(written(tmp_path, text))
    assert sorted(catalog.models.keys() - load_catalog().models.keys()) == ["tiny"]
    assert catalog.offered() == ("pocket-emoji", "tiny")
    assert catalog.resolve(None).sizes == ((64, 64),)
    assert catalog.resolve("dall-e-2").name == "tiny"
    assert catalog.resolve("dall-e-3").name == "pocket-emoji"


def test_load_catalog__digest_alone__pins_a_model_of_ours(tmp_path):
    catalog = load_catalog(written(tmp_path, f'[models.sdxl]\ndigest = "{"ab" * 32}"\n'))
    assert catalog.offered() == ("pocket-emoji", "sdxl")
    assert catalog.models["sdxl"].model_copy(update={"digest": None}) == load_catalog().models["sdxl"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models = 3", "models: must be a table"),
        ("[models.tiny\n", "not valid TOML"),
        ("[models.tiny]\nname = 'tiny'", "models.tiny.title: Field required"),
        (ENTRY.format(digest="ab"), "models.tiny.digest"),
        (ENTRY.format(digest="ab" * 32) + "colour = 1", "models.tiny.colour: Extra inputs"),
        ("default = 'flux'", "default: there is no model 'flux'"),
        ("default = 2026-01-01", "dates"),
    ],
)
def test_load_catalog__wrong_file__config_error_names_file_and_key(tmp_path, text, said):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_catalog(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_catalog__file_missing__config_error_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such file"):
        load_catalog(tmp_path / "nowhere.toml")


def test_load_catalog__packaged__offers_only_what_it_has_a_digest_of():
    catalog = load_catalog()
    assert catalog.offered() == ("pocket-emoji",)
    published = [model for model in catalog.models.values() if model.source.kind == "hugging_face"]
    assert len(published) == len(catalog.models) - 1
    assert all(model.digest is None for model in published)


def test_load_catalog__default_without_digest__config_error_says_so(tmp_path):
    path = written(tmp_path, 'default = "sdxl"')
    with pytest.raises(ConfigError, match=r"default: sdxl has no digest, so that nobody may serve it$"):
        load_catalog(path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('{ kind = "checkpoint", file = "/a.safetensors" }', "give both file and configuration, or neither"),
        ('{ kind = "checkpoint", file = "/a.ckpt", configuration = "/a" }', "must be a .safetensors file"),
        ('{ kind = "checkpoint", file = "a.safetensors", configuration = "/a" }', "must be an absolute path"),
        ('{ kind = "folder", path = "a" }', "must be an absolute path"),
    ],
)
def test_load_catalog__wrong_source__config_error_names_the_key(tmp_path, source, said):
    text = ENTRY.format(digest="ab" * 32).replace('{ kind = "folder" }', source)
    with pytest.raises(ConfigError, match=rf"models\.tiny\.source\.\S+: .*{said}") as caught:
        load_catalog(written(tmp_path, text))
    assert "\n" not in str(caught.value)

"""``cuckoo models`` as a person runs it, against a hub on this machine."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.support.hub_server import REPOSITORY, REVISION, HubServer, point_at

POCKET = Path(__file__).parents[2] / "node" / "models" / "pocket-emoji"
ENTRY = f"""
[models.mine]
name = "mine"
title = "Mine"
sizes = [[128, 128]]
default_size = [128, 128]
default_steps = 5
max_steps = 10
default_guidance = 1.0
max_guidance = 2.0
loading_limit_ms = 5000
licence = "MIT"
source = {{ kind = "hugging_face", repository = "{REPOSITORY}", revision = "{REVISION}" }}
"""


CHUNK_BYTES = 10 * 1024 * 1024
"""huggingface_hub writes down so much at once."""
SETTINGS = """role = "miner"
params = "minimal"
[chain]
rpc_urls = ["http://127.0.0.1:9"]
chain_id = 1
staking = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
[overlay]
bootstrap = ["/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi"]
"""


@pytest.fixture
def hub():
    """A hub that has the embedded model."""
    names = [path for path in POCKET.rglob("*") if path.is_file() and "training" not in path.parts]
    server = HubServer({str(path.relative_to(POCKET)): path.read_bytes() for path in names})
    yield server
    server.close()


@pytest.fixture
def models(hub, cuckoo, monkeypatch, tmp_path):
    """Runs `cuckoo models` with a home, a catalog and a hub of its own: exit code, output, errors."""
    (tmp_path / "models.toml").write_text(ENTRY)
    point_at(hub, monkeypatch, tmp_path)
    return lambda *words: cuckoo("models", *words, "--catalog", str(tmp_path / "models.toml"))


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def test_pull__killed_in_the_middle__next_one_goes_on_and_the_line_it_prints_makes_the_model_right(
    hub, models, tmp_path
):
    hub.stall_after = 11_000_000
    words = [sys.executable, "-m", "node", "models", "pull", "mine", "--catalog", str(tmp_path / "models.toml")]
    process = subprocess.Popen(words, env={**os.environ, "HF_ENDPOINT": hub.url}, stderr=subprocess.DEVNULL)
    partial = tmp_path / ".cuckoo" / "models" / "mine.partial"
    large = max(hub.files, key=lambda name: len(hub.files[name]))
    deadline = time.monotonic() + 30
    while size_of(partial / f"{large}.incomplete") < CHUNK_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.stall_after = None
    hub.requests.clear()

    code, listed, _ = models("list", "--json")
    (mine,) = [model for model in json.loads(listed)["models"] if model["name"] == "mine"]
    assert (code, mine["state"], mine["digest"]) == (0, "partly here", None)
    assert models("check", "mine")[:2] == (1, f"WRONG mine: {partial} holds a part of it: cuckoo models pull mine\n")

    code, output, errors = models("pull", "mine")
    assert code == 0, errors
    (begun,) = [first for name, first, _ in hub.requests if name == large]
    assert begun == CHUNK_BYTES
    assert f"{large}: " in errors
    pinned = output[output.index("[models") :]
    digest = hashlib.sha256((partial.with_name("mine") / "SHA256SUMS").read_bytes()).hexdigest()
    assert tomllib.loads(pinned) == {"models": {"mine": {"digest": digest}}}

    catalog = tmp_path / "models.toml"
    catalog.write_text(catalog.read_text() + f'digest = "{digest}"\n')
    assert models("check")[0] == 0
    (partial.with_name("mine") / large).write_bytes(hub.files[large][:-1])
    code, output, _ = models("check", "--json")
    findings = {finding["model"]: finding for finding in json.loads(output)["findings"]}
    assert code == 1
    assert findings["pocket-emoji"]["right"]
    assert findings["mine"]["detail"].startswith(f"{partial.with_name('mine') / large} has ")


def test_check__wrong_folder_of_ones_own__exit_code_one_names_it(models, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(POCKET, copy, ignore=shutil.ignore_patterns("training", "*.png"))
    (copy / "scheduler" / "scheduler_config.json").write_text("{}")
    (tmp_path / "miner.toml").write_text(SETTINGS + f'[engine.model_folders]\npocket-emoji = "{copy}"\n')
    code, output, _ = models("check", "--config", str(tmp_path / "miner.toml"))
    assert code == 1
    assert output.startswith(f"WRONG pocket-emoji: {copy}: the digest is ")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("sdxl", "error: engine.models: the catalog names no digest of sdxl, "),
        ("mine", "error: engine.models: mine is not on this machine: "),
        ("other", "error: engine.models: there is no model 'other' in the catalog; there are: "),
    ],
)
def test_config_check__model_that_a_node_could_not_serve__one_line_and_exit_code_two(cuckoo, tmp_path, model, said):
    (tmp_path / "models.toml").write_text(ENTRY + f'digest = "{"ab" * 32}"\n')
    settings = SETTINGS + f'[engine]\nmodels = ["{model}"]\npulled_models = "{tmp_path}"\n'
    (tmp_path / "miner.toml").write_text('catalog = "models.toml"\n' + settings)
    code, output, errors = cuckoo("config", "check", str(tmp_path / "miner.toml"))
    assert (code, output) == (2, "")
    assert errors.startswith(said)
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            'safety_checker = "nothing"',
            "content.safety_checker: there is no safety_checker/config.json in {folder}/nothing",
        ),
        ('refused_words = ["!"]', "content.refused_words: '!' has no letter or digit: "),
    ],
)
def test_config_check__nobody_could_look_so_at_content__one_line_and_exit_code_two(cuckoo, tmp_path, content, said):
    path = tmp_path / "coordinator.toml"
    path.write_text(SETTINGS.replace("miner", "coordinator") + f"[content]\n{content}\n")
    code, output, errors = cuckoo("config", "check", str(path))
    assert (code, output) == (2, "")
    assert errors.startswith("error: " + said.format(folder=tmp_path))
    assert errors.count("\n") == 1


def test_completion__of_a_name__comes_from_the_catalog(cuckoo, monkeypatch):
    monkeypatch.setenv("_CUCKOO_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "cuckoo models pull sdx")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert cuckoo()[1].split() == ["sdxl", "sdxl-turbo"]


def test_list__for_people__shows_every_model_and_what_is_not_pinned(models):
    code, output, _ = models("list")
    assert code == 0
    for word in ("pocket-emoji", "built in", "mine", "not pinned", "someone/model", "1024x1024 and 6"):
        assert word in " ".join(output.split()), word


def test_pull__beyond_the_limit_of_the_settings__one_line_and_remove_makes_room(hub, models, tmp_path):
    config = tmp_path / "miner.toml"
    config.write_text(SETTINGS + "[engine]\npulled_limit_gb = 0.001\n")
    code, _, errors = models("pull", "mine", "--config", str(config))
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("error: engine.pulled_limit_gb: mine needs 0.0 GB more, pulled models have 0.0 of 0.0 GB")
    assert models("pull", "mine")[0] == 0
    assert models("remove", "mine")[:2] == (0, "mine: removed, 0.03 GB freed\n")
    code, _, errors = models("remove", "pocket-emoji")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("error: pocket-emoji was not pulled into ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("pull", "nothing"), "error: there is no model 'nothing' in the catalog; there are: flux.1-schnell, "),
        (("pull", "pocket-emoji"), "error: pocket-emoji: it comes with this package: there is nothing to pull"),
        (
            ("pull", "mine", "--models-folder", "/dev/null/x"),
            "error: /dev/null/x/mine.partial cannot be used (Not a dir",
        ),
        (("check", "nothing"), "error: there is no model 'nothing' in the catalog; there are: "),
        (("list", "--config", "nowhere.toml"), "error: nowhere.toml: no such file"),
    ],
)
def test_mistake__any__one_line_and_exit_code_two(models, arguments, line):
    code, output, errors = models(*arguments)
    assert (code, output) == (2, "")
    assert errors.startswith(line)
    assert errors.count("\n") == 1


def test_pull__hub_does_not_know_the_revision__one_line_and_exit_code_two(hub, models, tmp_path):
    catalog = tmp_path / "models.toml"
    catalog.write_text(catalog.read_text().replace(REVISION, "f" * 40))
    code, _, errors = models("pull", "mine")
    assert (code, errors) == (2, f"error: {REPOSITORY}: there is no revision {'f' * 40}\n")

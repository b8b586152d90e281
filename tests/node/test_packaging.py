"""A built wheel works outside the checkout: the command, the network's numbers, the examples, the contracts."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

READ_DATA = """
from contracts.bindings import CONTRACT_NAMES, load
from node.model_files.catalog import load_catalog
from node.config.configuration import example_file, load_params, load_settings
import node
for name in ("mainnet", "testnet", "minimal"):
    load_params(name)
for name in ("bootstrap", "coordinator", "miner"):
    load_settings(example_file(name), {}, {})
for name in CONTRACT_NAMES:
    load(name)
assert load_catalog().default
print(node.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel, and our dependencies from the environment that runs this test."""
    home = tmp_path_factory.mktemp("environment") / "env"
    venv.create(home, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, "--no-compile", str(wheel)], check=True, capture_output=True, timeout=60)
    # Plain .pth: the packages there are importable, but its own .pth files, and so this checkout, are not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home


def test_wheel__content__holds_data_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "node",
        "protocol",
        "contracts",
        "configs",
    }
    assert not any(name.startswith("configs/deploy/") for name in names), "it is for a checkout"
    assert "configs/params/mainnet.toml" in names
    assert "configs/nodes/miner.toml" in names
    assert "configs/models.toml" in names
    assert "contracts/artifacts/Staking.json" in names
    assert "node/models/pocket-emoji/model_index.json" in names
    assert "node/adapters/http/pages/index.html" in names
    assert "node/py.typed" in names


def test_wheel__installed_elsewhere__command_shows_help(installed, tmp_path):
    command = [str(installed / "bin" / "cuckoo"), "--help"]
    # Lines so long that a long path of this environment, which stands before the command, is not broken behind it.
    wide = {**os.environ, "COLUMNS": "1000"}
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, timeout=60, env=wide)
    assert "cuckoo demo" in shown.stdout


def test_wheel__installed_elsewhere__reads_its_data(installed, tmp_path):
    command = [str(installed / "bin" / "python"), "-c", READ_DATA]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert Path(shown.stdout.strip()).is_relative_to(installed)

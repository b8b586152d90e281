"""The committed artifacts are those of the committed sources."""

from pathlib import Path

import pytest

from contracts import compile as compiler
from contracts.bindings import CONTRACT_NAMES, artifact_text, load
from tests.contracts.conftest import World
from tests.support.anvil import Contract


def test_artifacts__equal_a_fresh_compile():
    for name in CONTRACT_NAMES:
        assert compiler.compile_contract(name) == artifact_text(name)


def test_main__check_of_a_changed_artifact__says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(compiler, "FOLDER", tmp_path)
    monkeypatch.setattr(compiler, "compile_contract", lambda name: f"fresh {name}\n")
    assert compiler.main(["--check"]) == 1
    assert "run python -m contracts.compile" in capsys.readouterr().err
    assert list((tmp_path / "artifacts").iterdir()) == []
    assert compiler.main([]) == 0
    assert compiler.main(["--check"]) == 0
    (tmp_path / "artifacts" / "CAI.json").write_text("stale")
    assert compiler.main(["--check"]) == 1
    assert "CAI.json differ" in capsys.readouterr().err


def test_load__every_contract__has_code_of_the_pinned_compiler():
    for name in CONTRACT_NAMES:
        artifact = load(name)
        assert artifact.bytecode
        assert "0.4.3" in artifact.compiler


def test_deployed_code__every_contract__is_below_the_limit_of_the_evm(world: World):
    """With the immutables, which no compiler output counts."""
    for name in CONTRACT_NAMES:
        contract: Contract = getattr(world, name.lower())
        size = len(world.anvil.rpc("eth_getCode", contract.address, "latest")) // 2 - 1
        assert 0 < size < 24_576, name

"""Contracts that only tests deploy, compiled when a test asks for them."""

from importlib import metadata
from pathlib import Path

from contracts.bindings import Artifact
from contracts.compile import EVM_VERSION, FOLDER

HARNESS = Path(__file__).parent / "harness"


def compile_harness(name: str) -> Artifact:
    """Compile ``harness/NAME.vy`` with the modules of the contracts in reach."""
    from vyper.cli.vyper_compile import compile_files
    from vyper.compiler.settings import Settings

    source = HARNESS / f"{name}.vy"
    paths = [str(FOLDER / "src"), str(metadata.distribution("snekmate").locate_file(""))]
    compiled = compile_files(
        [str(source)], ["abi", "bytecode"], paths=paths, settings=Settings(evm_version=EVM_VERSION)
    )
    (output,) = (item for path, item in compiled.items() if Path(path).name == source.name)
    code = bytes.fromhex(output["bytecode"].removeprefix("0x"))
    return Artifact("CAI", tuple(output["abi"]), code, "vyper")

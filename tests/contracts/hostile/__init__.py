"""Contracts that attack ours, compiled where they are used."""

import json
from functools import cache
from importlib import metadata
from pathlib import Path

from contracts.bindings import Artifact
from contracts.compile import EVM_VERSION


@cache
def compiled(name: str) -> Artifact:
    """Compile an attacker."""
    from vyper.cli.vyper_compile import compile_files
    from vyper.compiler.settings import Settings

    source = Path(__file__).parent / f"{name}.vy"
    (output,) = compile_files([str(source)], ["abi", "bytecode"], settings=Settings(evm_version=EVM_VERSION)).values()
    abi = tuple(json.loads(json.dumps(output["abi"])))
    code = bytes.fromhex(output["bytecode"].removeprefix("0x"))
    return Artifact(name, abi, code, 0, "", metadata.version("vyper"))  # type: ignore[arg-type] # not one of ours

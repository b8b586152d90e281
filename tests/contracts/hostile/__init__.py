"""Contracts that only tests deploy, compiled where they are used: attackers of ours, and a module laid open."""

import json
from functools import cache
from importlib import metadata
from pathlib import Path

from contracts.bindings import Artifact
from contracts.compile import EVM_VERSION, FOLDER


@cache
def compiled(name: str) -> Artifact:
    """Compile one of them, with the modules and interfaces of ours in reach."""
    from vyper.cli.vyper_compile import compile_files
    from vyper.compiler.settings import Settings

    source = Path(__file__).parent / f"{name}.vy"
    settings, paths = Settings(evm_version=EVM_VERSION), [str(FOLDER / "src")]
    (output,) = compile_files([str(source)], ["abi", "bytecode"], paths=paths, settings=settings).values()
    abi = tuple(json.loads(json.dumps(output["abi"])))
    code = bytes.fromhex(output["bytecode"].removeprefix("0x"))
    return Artifact(name, abi, code, 0, "", metadata.version("vyper"))  # type: ignore[arg-type] # not one of ours

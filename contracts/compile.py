"""Compile the contracts: ``python -m contracts.compile`` writes the artifacts, ``--check`` compares them.

The output depends on the sources, the pinned compiler and the pinned snekmate only, so that anybody can prove that
the committed bytecode is that of the committed sources. Needs the ``dev`` extra.
"""

import argparse
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from contracts.bindings import CONTRACT_NAMES, ContractName

EVM_VERSION: Final = "cancun"
"""Oldest hard fork that the bytecode needs: transient storage, which the re-entrancy lock uses."""

FOLDER: Final = Path(__file__).parent


def compile_contract(name: ContractName) -> str:
    """Compile one contract to the text of its artifact."""
    # Imported here: slow to import, and absent where only artifacts are read.
    from vyper.cli.vyper_compile import compile_files
    from vyper.compiler.settings import Settings

    source = FOLDER / "src" / f"{name}.vy"
    libraries = metadata.distribution("snekmate").locate_file("")
    settings = Settings(evm_version=EVM_VERSION)
    compiled = compile_files(
        [str(source)], ["abi", "bytecode", "bytecode_runtime"], paths=[str(libraries)], settings=settings
    )
    (output,) = (item for path, item in compiled.items() if Path(path).name == source.name)
    runtime = bytes.fromhex(output["bytecode_runtime"].removeprefix("0x"))
    artifact = {
        "contract": name,
        "compiler": f"vyper {metadata.version('vyper')}, snekmate {metadata.version('snekmate')}, {EVM_VERSION}",
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime": {"length": len(runtime), "sha256": hashlib.sha256(runtime).hexdigest()},
    }
    return json.dumps(artifact, indent=1) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write or check all artifacts; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.compile", description="Compile the contracts.")
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    check = parser.parse_args(arguments).check
    stale: list[str] = []
    (FOLDER / "artifacts").mkdir(exist_ok=True)
    for name in CONTRACT_NAMES:
        path = FOLDER / "artifacts" / f"{name}.json"
        fresh = compile_contract(name)
        if path.is_file() and path.read_text(encoding="utf-8") == fresh:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(fresh, encoding="utf-8")
    if check and stale:
        text = f"contracts/artifacts: {', '.join(stale)} differ from a fresh compile; run python -m contracts.compile"
        sys.stderr.write(text + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

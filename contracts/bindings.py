"""The compiled contracts as typed data, read from the installed package: no compiler is needed at run time.

Rules for editors: this file must not import ``vyper``; nodes install without it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, TypeAlias, get_args

ContractName: TypeAlias = Literal["CAI", "Parameters", "Staking", "Settlement", "Slashing", "Disputes", "Faucet"]

CONTRACT_NAMES: Final[tuple[ContractName, ...]] = get_args(ContractName)
"""Every contract of the set, in the order of deployment."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract."""

    name: ContractName
    abi: tuple[dict[str, Any], ...] = field(repr=False)  # Any: the JSON that contract tools agreed on
    bytecode: bytes = field(repr=False)
    """Creation code, without constructor arguments."""
    runtime_length: int
    """Length (bytes) of the code that lies on the chain, without the immutables that the constructor appends."""
    runtime_sha256: str
    """Hexadecimal SHA-256 of that code."""
    compiler: str
    """Exact compiler version that made it."""


def artifact_text(name: ContractName) -> str:
    """Read the committed artifact of a contract as it lies on disk."""
    return resources.files("contracts").joinpath("artifacts", f"{name}.json").read_text(encoding="utf-8")


def is_code_of(artifact: Artifact, code: bytes) -> bool:
    """Say whether the code at an address is a contract's: immutables apart, which its views show."""
    return hashlib.sha256(code[: artifact.runtime_length]).hexdigest() == artifact.runtime_sha256


@cache
def load(name: ContractName) -> Artifact:
    """Give one compiled contract."""
    raw = json.loads(artifact_text(name))
    runtime = raw["runtime"]
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        bytecode=bytes.fromhex(raw["bytecode"].removeprefix("0x")),
        runtime_length=runtime["length"],
        runtime_sha256=runtime["sha256"],
        compiler=raw["compiler"],
    )

"""EIP-712: what nodes sign so that it may be shown to a contract.

A statement's ``TYPE`` is the only description of its encoding: each class is compiled once, on first use, into a
tuple of packers, which is twenty times faster than a general encoder. Tests compare with eth_account.
Spec: SPEC.md §5.2.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final, cast, final

from protocol.crypto.keys import NodeKey, keccak256, recover
from protocol.errors import InvalidMessage
from protocol.units import Address, Digest
from protocol.wire.statements import Statement

DOMAIN_NAME: Final = "Cuckoo"
DOMAIN_VERSION: Final = "1"
_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_MEMBER: Final = re.compile(r"(\w+) (\w+)")

Packer = Callable[[object], bytes]
"""Gives the 32 bytes that stand for one member."""


@final
@dataclass(frozen=True)
class Domain:
    """The chain and contract for which a signature holds: it is worth nothing on any other."""

    chain_id: int
    contract: Address

    @cached_property
    def separator(self) -> Digest:
        """EIP-712 domain separator."""
        return keccak256(
            keccak256(_DOMAIN_TYPE)
            + keccak256(DOMAIN_NAME.encode())
            + keccak256(DOMAIN_VERSION.encode())
            + self.chain_id.to_bytes(32, "big")
            + bytes(12)
            + self.contract
        )

    @cached_property
    def _head(self) -> bytes:
        """What stands before every struct hash."""
        return b"\x19\x01" + self.separator


def digest(domain: Domain, statement: Statement) -> Digest:
    """Give the EIP-712 digest of a statement: what is signed, and the name by which later statements refer to it."""
    type_hash, members = _layout(type(statement))
    values = statement.__dict__
    struct = type_hash + b"".join([pack(values[name]) for name, pack in members])
    return keccak256(domain._head + keccak256(struct))


def sign(key: NodeKey, domain: Domain, statement: Statement) -> bytes:
    """Sign a statement: 65 bytes, r ‖ s ‖ v."""
    return sign_named(key, domain, statement)[1]


def sign_named(key: NodeKey, domain: Domain, statement: Statement) -> tuple[Digest, bytes]:
    """Sign a statement; gives its digest as well, for whoever refers to it next."""
    named = digest(domain, statement)
    return named, key.sign(named)


def signer(domain: Domain, statement: Statement, signature: bytes) -> Address:
    """Give the address that signed the statement. Whether it may is for the caller to ask the stake table.

    Raises:
        InvalidMessage: ``statement.signature``: no key made this, or it is not in its one valid form.
    """
    return signer_of(digest(domain, statement), signature)


def signer_of(named: Digest, signature: bytes) -> Address:
    """Give the address that signed the statement of this digest.

    Raises:
        InvalidMessage: As ``signer``.
    """
    try:
        return recover(named, signature)
    except ValueError as error:
        raise InvalidMessage("statement.signature", str(error)) from None


@cache  # one entry per statement class
def _layout(statement_type: type[Statement]) -> tuple[Digest, tuple[tuple[str, Packer], ...]]:
    """Compile a class: its type hash, and field name and packer of each member in order.

    Raises:
        TypeError: ``TYPE`` and the fields do not match, or it uses a type without a packer: a fault of ours.
    """
    members = tuple((_field_name(name), kind) for kind, name in _MEMBER.findall(statement_type.TYPE.partition("(")[2]))
    if tuple(name for name, _ in members) != tuple(statement_type.model_fields):
        raise TypeError(f"{statement_type.__name__}: TYPE and fields differ")
    packers = tuple((name, _packer(kind)) for name, kind in members)
    return keccak256(statement_type.TYPE.encode()), packers


def _field_name(member: str) -> str:
    """Give the field of a member: issuedTotal -> issued_total."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", member).lower()


def _packer(kind: str) -> Packer:
    """Find the packer of a member type; the fields' own bounds guarantee that every value fits."""
    if re.fullmatch(r"uint(8|16|32|64|128|256)", kind):
        return _pack_integer
    if re.fullmatch(r"bytes([1-9]|[12]\d|3[012])", kind):
        return _pack_bytes
    packer = {"address": _pack_address, "string": _pack_text}.get(kind)
    if packer is None:
        raise TypeError(f"no packer for {kind}")
    return packer


def _pack_integer(value: object) -> bytes:
    return cast("int", value).to_bytes(32, "big")


def _pack_bytes(value: object) -> bytes:
    return cast("bytes", value).ljust(32, b"\0")


def _pack_address(value: object) -> bytes:
    return cast("bytes", value).rjust(32, b"\0")


def _pack_text(value: object) -> bytes:
    return keccak256(cast("str", value).encode())

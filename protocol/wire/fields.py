"""Field types that several messages and statements share, each with its bounds.

Every length is bounded here, so that one decoded message can never be larger than its class allows.
Spec: SPEC.md §4.
"""

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo

from protocol.units import Address, Digest, Epoch, StakingId, TaskId, UnixMillis, Wei

UINT64_MAX = 2**64 - 1
UINT32_MAX = 2**32 - 1
WEI_BYTES = 32

FROM_WIRE: Final = {"from_wire": True}
"""Validation context of the codec: there an amount must stand as 32 bytes; our own code gives integers."""


def _wei_from_wire(value: object, info: ValidationInfo) -> object:
    """Turn 32 big-endian bytes into an integer; an integer passes only where our own code builds a message."""
    if info.context is FROM_WIRE and not isinstance(value, bytes):
        raise ValueError("an amount is exactly 32 big-endian bytes")
    if isinstance(value, bytes):
        if len(value) != WEI_BYTES:
            raise ValueError("an amount is exactly 32 big-endian bytes")
        return int.from_bytes(value, "big")
    return value


def _wei_to_wire(value: int) -> bytes:
    """Give an amount as 32 big-endian bytes: msgpack integers end at 64 bits, which is 18.4 CAI."""
    return value.to_bytes(WEI_BYTES, "big")


WeiField = Annotated[Wei, BeforeValidator(_wei_from_wire), Field(ge=0, lt=2**256), PlainSerializer(_wei_to_wire)]
TaskIdField = Annotated[TaskId, Field(min_length=32, max_length=32)]
DigestField = Annotated[Digest, Field(min_length=32, max_length=32)]
AddressField = Annotated[Address, Field(min_length=20, max_length=20)]
NonceField = Annotated[bytes, Field(min_length=16, max_length=16)]
SignatureField = Annotated[bytes, Field(min_length=65, max_length=65)]
"""r ‖ s ‖ v of a recoverable secp256k1 signature with low s; v is 27 or 28."""
StakingIdField = Annotated[StakingId, Field(ge=1, le=UINT64_MAX)]
NobodyOrIdField = Annotated[StakingId, Field(ge=0, le=UINT64_MAX)]
EpochField = Annotated[Epoch, Field(ge=0, le=UINT32_MAX)]
MAX_ATTEMPT: Final = 255
"""Highest number of an attempt; a task that comes so far fails by name."""

AttemptField = Annotated[int, Field(ge=0, le=MAX_ATTEMPT)]
SequenceField = Annotated[int, Field(ge=0, le=UINT64_MAX)]
MillisField = Annotated[UnixMillis, Field(ge=0, le=2**53)]
DurationField = Annotated[int, Field(ge=0, le=86_400_000)]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A model of the catalog, as it stands in topics: lower case, no slash."""
MultiaddressText = Annotated[str, Field(pattern=r"^/[!-~]{1,255}$")]
"""A multiaddress as text: ASCII without spaces, so that a character is one byte on the wire."""
ReasonText = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,48}$")]
"""A stable name of a reason, as in metrics: ``early``, ``superseded``, ``out_of_memory``."""
Numerics = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
"""Class of arithmetic within which results are compared."""
ANY_NUMERICS: Final = "any"
"""Compares nothing bit by bit; a miner that names it says nothing of its engine, which may see no latents."""
SealingKey = Annotated[bytes, Field(min_length=32, max_length=32)]
"""X25519 public key."""
SEALED_KEY_BYTES: Final = 80
"""An ephemeral X25519 public key, and what is sealed with it: a key of 32 bytes and a tag of 16."""
SEALED_OVERHEAD: Final = 48
"""What a sealed picture has more than a plain one (bytes): 32 that are drawn for it, and a tag."""
StepCount = Annotated[int, Field(ge=0, le=1000)]
StepPlace = Annotated[int, Field(ge=0, lt=200)]
"""One step of a picture, from 0; a specification has at most 200."""


class Frozen(BaseModel):
    """Base of everything decoded from outside: immutable, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

"""The numbers that all nodes of one network must share, each with unit, range and reason.

They are data (``configs/params/*.toml``); their digest is part of the network id, so that nodes with
different numbers do not mistake each other for peers of one network. Spec: SPEC.md §2.
"""

import hashlib
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.units import CAI, Digest

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Largest encoded message (bytes) on gossip or a work stream; checked before decoding."""

MAX_ARTIFACT_BYTES: Final = 24 * 1024 * 1024
"""Largest artifact (bytes). A lossless 2048 x 2048 picture is below it; a larger one is an attack on memory."""

MAX_INPUT_BYTES: Final = 8 * 1024 * 1024
"""Largest picture (bytes) that a task may begin from, and largest mask: twice a photo of 4096 x 3072 as JPEG."""

MAX_INPUT_EDGE: Final = 4096
"""Longest edge (pixels) of one: unpacked it has 48 MiB at most, whatever its file claims."""

MAX_PREVIEW_BYTES: Final = 8 * 1024
"""Largest preview (bytes): one of 64 x 64 pixels takes a quarter of it."""

MAX_PROMPT_CHARACTERS: Final = 2000
"""Longest prompt. Text encoders read 77 to 512 tokens; what is beyond only costs memory."""


class Params(BaseModel):
    """The shared numbers of a network."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    """Name of the network, part of every topic: ``mainnet``, ``testnet``, ``devnet``."""

    epoch_s: Annotated[int, Field(ge=4, le=86_400)]
    """Length of an epoch (s). A table settles for one whole epoch before use, so short epochs trust the chain
    sooner and long ones let a registration wait; 600 on mainnet outlasts every re-org seen there."""

    boundary_tolerance_s: Annotated[int, Field(ge=1, le=180)]
    """How long (s) before and after an epoch boundary an offer of the neighbouring epoch is still taken:
    covers clocks that are wrong by up to two minutes."""

    head_max_age_s: Annotated[int, Field(ge=3, le=600)]
    """Age of the chain head (s) beyond which we do not trust our own table to reject a stranger."""

    miner_minimum_cai: Annotated[int, Field(ge=1)] = 20_000
    """A miner's own stake must exceed this (CAI), as in the staking contract."""

    coordinator_minimum_cai: Annotated[int, Field(ge=1)] = 2_000_000
    """A coordinator's own stake must exceed this (CAI), as in the staking contract."""

    slot_step_ms: Annotated[int, Field(ge=1, le=10_000)]
    """First value of δ (ms): rank r claims at t0 + δ·log2(1+r). At least the p95 of gossiping an award."""

    claim_allowance_ms: Annotated[int, Field(ge=1, le=10_000)]
    """First value of A (ms): how long a better rank is waited for. The p95 of offer gossip plus claim."""

    early_tolerance_ms: Annotated[int, Field(ge=0, le=1000)] = 10
    """A claim that arrives earlier than its slot by more than this (ms) is declined: no one gains by racing."""

    publish_interval_ms: Annotated[int, Field(ge=1, le=1000)] = 10
    """B (ms): a coordinator sends at most one gossip message per topic in this time and packs the rest.
    At 2 ms py-libp2p's queue of 32 messages a peer overflows and offers are lost."""

    publish_interval_max_ms: Annotated[int, Field(ge=1, le=1000)] = 80
    """Where B ends as load rises (ms), unless a message no longer holds what comes in that time."""

    field_dropout_permille: Annotated[int, Field(ge=0, le=500)] = 20
    """Share (‰) of field bits that the ticket clears, so that an omitted miner cannot be told from chance once,
    but can be counted over many offers, and a quiet miner is never known to be left out."""

    catalog_permille: Annotated[int, Field(ge=0, le=1000)] = 50
    """Share (‰) of tickets that ignore warmth, so that cold models get warm somewhere."""

    lease_ms: Annotated[int, Field(ge=500, le=60_000)] = 3000
    """A miner that is silent for this long (ms) loses the task, which is offered again."""

    alive_interval_ms: Annotated[int, Field(ge=100, le=20_000)] = 1000
    """How often (ms) a miner says that it is alive; three of them fit into a lease."""

    step_grace_ms: Annotated[int, Field(ge=100)] = 2000
    """A step may take 4 × its measured time plus this (ms)."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 8
    """Attempts after which a task fails by name instead of wandering for ever."""

    task_limit_ms: Annotated[int, Field(ge=1000)] = 600_000
    """Longest life of a task (ms) from acceptance to result."""

    price_per_pixel_step_wei: Annotated[int, Field(ge=0, lt=2**64)]
    """What a coordinator offers for one pixel in one step (wei)."""

    max_offers_per_message: Annotated[int, Field(ge=1, le=64)] = 48
    """Offers packed into one gossip message: about 11 KiB, and 17 with as many awards and closures, since cost grows
    only beyond 16 KiB. With B at its least a coordinator makes 4,800 offers/s so, at twice that 2,400."""

    max_queued_tasks: Annotated[int, Field(ge=1)] = 20_000
    """Unfinished tasks that one coordinator holds; beyond it apps hear ``busy``."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Refuse numbers that contradict each other."""
        if self.alive_interval_ms * 2 > self.lease_ms:
            raise ValueError("lease_ms must be at least twice alive_interval_ms")
        if self.publish_interval_ms > self.publish_interval_max_ms:
            raise ValueError("publish_interval_ms must not exceed publish_interval_max_ms")
        return self

    @property
    def attempt_limit_ms(self) -> int:
        """Longest time (ms) from an award to its result: whoever takes it leaves another one as much."""
        return self.task_limit_ms // 2

    def minimum_stake_wei(self, role_is_coordinator: bool) -> int:
        """Own stake (wei) that a node of the role must exceed."""
        return (self.coordinator_minimum_cai if role_is_coordinator else self.miner_minimum_cai) * CAI

    def network_id(self, chain_id: int, contract: bytes) -> Digest:
        """Name this network: all shared numbers, the chain and the staking contract in one hash."""
        numbers = self.model_dump_json().encode()
        head = b"cuckoo/1/network" + chain_id.to_bytes(32, "big") + contract
        return Digest(hashlib.sha256(head + numbers).digest())

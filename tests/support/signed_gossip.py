"""Gossip as a recorder keeps it, made by hand: alice (1) and bob (2) mine, carol (3) and dave (4) coordinate."""

import hashlib
from collections.abc import Iterable
from typing import Any

from coincurve import PrivateKey

from protocol.audit.record import Heard, RecordHead, ViewSeen
from protocol.crypto.keys import NodeKey
from protocol.crypto.publication import Publication, signed_bytes
from protocol.crypto.typed_data import digest, sign
from protocol.stake.epoch import epoch_start
from protocol.stake.field import MEMBER, WARM, Field
from protocol.stake.lottery import order, task_id, ticket
from protocol.stake.table import EpochView
from protocol.task.offer import offer_digest
from protocol.units import Address, Epoch, StakingId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import AwardNotice, Bulletin, Closure, Objection, Offer
from protocol.wire.statements import ClaimStatement, DeclineStatement
from protocol.wire.topics import objections_topic, offers_topic
from tests.support.networks import ALICE, BOB, CAROL, DAVE, coordinator, network_params, row, view

PARAMS = network_params(field_dropout_permille=0, catalog_permille=0)
HEAD = RecordHead(PARAMS, 31337, Address(b"\x11" * 20))
MODEL = "pocket-emoji"
EPOCH = Epoch(28_333_334)
START = epoch_start(EPOCH, PARAMS)
BOOT = START // 1000
NAMES = {b"alice": ALICE, b"bob": BOB, b"carol": CAROL, b"dave": DAVE}
KEYS = {1: ALICE, 2: BOB, 3: CAROL, 4: DAVE}
ROWS = (row(ALICE, 1), row(BOB, 2), coordinator(CAROL, 3), coordinator(DAVE, 4))


def secret_of(key: NodeKey) -> bytes:
    """The secret of one of the four."""
    return next(hashlib.sha256(name).digest() for name, known in NAMES.items() if known is key)


def view_of(epoch: int = EPOCH) -> EpochView:
    return view(epoch, ROWS)


def views(*epochs: int) -> list[ViewSeen]:
    """What a recorder writes of these epochs."""
    return [ViewSeen(one, one.table.root) for one in map(view_of, epochs or (EPOCH - 1, EPOCH, EPOCH + 1))]


def ranking(number: int, *, by: int = 3, boot: int = BOOT, field: bytes | None = None) -> tuple[StakingId, ...]:
    """Who may claim a task of this number, in this order."""
    one = view_of()
    drawn = ticket(HEAD.network_id, one.beacon, StakingId(by), EPOCH, boot, number)
    miners = one.table.miners
    return order(miners, Field.from_bytes(field or full_field(), len(miners)), drawn, PARAMS)


def full_field() -> bytes:
    return Field(bytes([MEMBER | WARM] * 2)).to_bytes()


def field_without(miner: int) -> bytes:
    """Everybody but one."""
    return Field.of(view_of().table.miners, {1, 2} - {miner}, {1, 2} - {miner}).to_bytes()  # type: ignore[arg-type]


def offer(number: int = 0, *, by: int = 3, boot: int = BOOT, accepted: int = EPOCH, **changes: Any) -> Offer:
    fields: dict[str, Any] = {
        "task": task_id(HEAD.network_id, StakingId(by), Epoch(accepted), boot, number),
        "accepted_epoch": accepted,
        "boot": boot,
        "number": number,
        "attempt": 0,
        "pixels": 16_384,
        "pixel_steps": 163_840,
        "price": 163_840 * 10**9,
        "deadline": START + 600_000,
        "slot_step_ms": 100,
        "allowance_ms": 50,
    }
    return Offer.model_validate(fields | changes)


def notice(of: Offer, winner: int) -> AwardNotice:
    return AwardNotice(task=of.task, attempt=of.attempt, winner=StakingId(winner))


def closure(of: Offer, reason: str = "done") -> Closure:
    return Closure(task=of.task, reason=reason)  # type: ignore[arg-type]


class Speaker:
    """A coordinator that says one thing after another, each signed, in one run."""

    def __init__(self, number: int = 3, *, began: int = START) -> None:
        self.number = number
        self.key = KEYS[number]
        self.sequence = began * 10**6
        self.said: list[Heard] = []

    def say(
        self,
        at_ms: int = 0,
        *,
        offers: Iterable[Offer] = (),
        awards: Iterable[AwardNotice] = (),
        closures: Iterable[Closure] = (),
        **changes: Any,
    ) -> Heard:
        """Publish one bulletin so long (ms) after the epoch began."""
        fields: dict[str, Any] = {
            "coordinator": self.number,
            "model": MODEL,
            "addresses": (),
            "epoch": EPOCH,
            "root": view_of().table.root,
            "field": full_field(),
            "sent_at": START + at_ms,
            "offers": tuple(offers),
            "awards": tuple(awards),
            "closures": tuple(closures),
        }
        bulletin = Bulletin.model_validate(fields | changes)
        return self.publish(offers_topic(PARAMS.name, bulletin.model), encode(bulletin), at_ms)

    def publish(self, topic: str, data: bytes, at_ms: int = 0) -> Heard:
        """Publish anything."""
        self.sequence += 1
        unsigned = Publication(self.key.peer_id, self.sequence, topic, data, b"")
        signature = PrivateKey(secret_of(self.key)).sign(signed_bytes(unsigned))
        heard = Heard(
            UnixMillis(START + at_ms + 20), Publication(self.key.peer_id, self.sequence, topic, data, signature)
        )
        self.said.append(heard)
        return heard

    def entries(self, *epochs: int) -> list[ViewSeen | Heard]:
        """The record of it all."""
        return [*views(*epochs), *self.said]


def digest_of(of: Offer, by: int = 3, field: bytes | None = None) -> bytes:
    """What claims of an offer name."""
    one = view_of()
    known = Field.from_bytes(field or full_field(), len(one.table.miners))
    return offer_digest(StakingId(by), EPOCH, one.table.root, known.digest, MODEL, of)


def objection(
    of: Offer, miner: int, winner: int, rank: int, *, by: int = 3, at_ms: int = 0, **changes: Any
) -> Objection:
    """A miner's claim of an offer and the coordinator's decline, both signed."""
    claim = ClaimStatement(
        task=of.task,
        attempt=of.attempt,
        coordinator=StakingId(by),
        miner=StakingId(miner),
        offer=digest_of(of, by),  # type: ignore[arg-type]
        nonce=b"n" * 16,
    )
    decline = DeclineStatement(
        claim=digest(HEAD.domain, claim),
        task=of.task,
        attempt=of.attempt,
        coordinator=StakingId(by),
        winner=StakingId(winner),
        rank=rank,
        reason="awarded",
    )
    fields: dict[str, Any] = {
        "sent_at": START + at_ms,
        "claim": claim,
        "claim_signature": sign(KEYS[miner], HEAD.domain, claim),
        "decline": decline,
        "decline_signature": sign(KEYS[by], HEAD.domain, decline),
    }
    return Objection.model_validate(fields | changes)


def published_objection(said: Objection, at_ms: int = 0) -> Heard:
    """The objection as its miner gossips it."""
    speaker = Speaker(said.claim.miner, began=START + at_ms)
    return speaker.publish(objections_topic(PARAMS.name), encode(said), at_ms)

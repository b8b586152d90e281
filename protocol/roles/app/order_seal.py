"""The app's half of sealed orders: what it seals, to whom it gives the key, and what it takes for its picture.

It knows no stake table: that the two who signed are registered, and drawn so, is for whoever can ask a chain. All else
follows from what it is shown. Spec: SPEC.md §9.10.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from protocol.crypto.envelope import opened_by
from protocol.crypto.keys import NodeKey, address_of_peer_id
from protocol.crypto.sealing import KEY_BYTES, open_picture, seal_body, seal_key
from protocol.crypto.typed_data import Domain, digest, signer
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.stake.lottery import task_id
from protocol.task.acceptance import sign_acceptance
from protocol.task.artifact import check_picture
from protocol.task.offer import offer_digest
from protocol.task.refusals import rounded_guidance
from protocol.task.schedulers import class_name
from protocol.task.specification import specification_digest
from protocol.units import Address, Digest, PeerId, TaskId, UnixMillis
from protocol.wire.app_messages import Order
from protocol.wire.codec import CAPABILITY_PLACE, SPECIFICATION_PLACE, decode, encode
from protocol.wire.messages import Capability
from protocol.wire.sealed_messages import (
    OrderAcceptance,
    OrderKey,
    OrderSealed,
    SealedBody,
    SealedOrder,
    ShownAward,
)
from protocol.wire.specification import TaskSpecification

CLOCKS_APART_MS: Final = 180_000
"""How long (ms) after its end a capability is believed: clocks may differ so much."""
_BODY: Final = frozenset({"kind", "version", "prompt", "negative_prompt", "seed", "embed_prompt"})
"""What of an order goes into its body, or is not the order's own."""


def seal_order(order: Order, content_key: bytes) -> SealedOrder:
    """Seal what an order says of its picture; the key (32 bytes) is drawn for this order and seals nothing else.

    Raises:
        ValueError: It begins from pictures, or may be shown to jurors.
    """
    if order.version > 1:
        raise ValueError("an order that begins from pictures or may be shown to jurors is not sealed")
    body = SealedBody(
        prompt=order.prompt,
        negative_prompt=order.negative_prompt,
        seed=order.seed,
        embed_prompt=order.embed_prompt,
    )
    sealed = seal_body(content_key, encode(body))
    return SealedOrder.model_validate(order.model_dump(exclude=set(_BODY)) | {"sealed": sealed})


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """Which network an app means, where it knows more of it than the name."""

    network: Digest
    domain: Domain


@dataclass(frozen=True, slots=True)
class _Winner:
    """Who may open an order for one award."""

    award: Digest
    network: Digest
    specification: TaskSpecification


@final
class OrderSeal:
    """One sealed order, as its app alone knows it."""

    def __init__(
        self,
        order: SealedOrder,
        content_key: bytes,
        key: NodeKey,
        entropy: Callable[[int], bytes],
        known: KnownNetwork | None = None,
    ) -> None:
        """Begin.

        Args:
            order: As ``seal_order`` sealed it.
            content_key: What it is sealed under.
            key: The app's, by which it takes pictures: that of its streams.
            entropy: Gives n unpredictable bytes.
            known: Of which network awards must be; without it, they must be of one.
        """
        self._order = order
        self._content_key = content_key
        self._key = key
        self._entropy = entropy
        self._known = known
        self._winners: dict[tuple[TaskId, int], _Winner] = {}

    def check(self, coordinator: PeerId, shown: ShownAward, now: UnixMillis) -> None:
        """Pass only an award of this order that this very coordinator gave to whom the key would be sealed.

        Raises:
            InvalidMessage: ``shown.*``: what is wrong with it, in that order: of another network, not what was
                ordered, not of one offer, not signed by the two, or without a key to seal to.
        """
        domain = Domain(shown.chain_id, Address(shown.contract))
        if self._known is not None and self._known != KnownNetwork(shown.network, domain):
            raise InvalidMessage("shown.network", "it is of another network")
        self._check_ordered(shown)
        _check_offer(shown, domain)
        _check_signed(coordinator, shown, domain)
        _capability(shown, now)

    def key_for(self, shown: ShownAward, now: UnixMillis) -> OrderKey:
        """Seal the key to the winner of an award that was checked."""
        domain = Domain(shown.chain_id, Address(shown.contract))
        award, statement = digest(domain, shown.award), shown.award
        specification = decode(shown.specification, SPECIFICATION_PLACE)
        self._winners[(statement.task, statement.attempt)] = _Winner(award, shown.network, specification)
        to = _sealing_key(_capability(shown, now))
        return OrderKey(
            order=self._order.order,
            attempt=statement.attempt,
            award=award,
            sealed_key=seal_key(self._content_key, to, award, self._entropy(KEY_BYTES)),
        )

    def open(self, message: OrderSealed, sealed: bytes) -> bytes:
        """Give the picture that a winner sealed.

        Raises:
            InvalidMessage: It is not of an award whose winner has the key, cannot be opened, or is no picture of the
                ordered size and format.
        """
        winner = self._winners.get((message.task, message.attempt))
        if winner is None:
            raise InvalidMessage("sealed.award", "nobody has the key for this attempt")
        if hashlib.sha256(sealed).digest() != message.artifact:
            raise InvalidMessage("sealed.digest")
        picture = open_picture(self._content_key, winner.award, sealed)
        specification = winner.specification
        check_picture(picture, specification.media_type, specification.width, specification.height)
        return picture

    def accept(self, message: OrderSealed) -> OrderAcceptance:
        """Sign that a picture which was opened is taken."""
        winner = self._winners[(message.task, message.attempt)]
        signature = sign_acceptance(self._key, winner.network, winner.award, message.artifact)
        return OrderAcceptance(order=self._order.order, attempt=message.attempt, signature=signature)

    def _check_ordered(self, shown: ShownAward) -> None:
        """Pass only what was ordered, in all that the order names, bound by the award."""
        order = self._order
        try:
            found = decode(shown.specification, SPECIFICATION_PLACE)
        except (InvalidMessage, IgnoredMessage) as error:
            raise InvalidMessage("shown.specification", str(error)) from None
        if found.sealed != order.sealed or specification_digest(shown.specification, shown.salt) != (
            shown.award.specification
        ):
            raise InvalidMessage("shown.specification", "it is of another order")
        named = class_name(order.scheduler or "")
        wishes = {
            "model": order.model in {None, found.model},
            "size": order.size in {None, (found.width, found.height)},
            "steps": order.steps in {None, found.steps},
            "guidance": order.guidance is None or rounded_guidance(order.guidance) == found.guidance,
            "scheduler": found.scheduler in {"", named},
            "format": (order.output, order.quality) == (found.output, found.quality),
        }
        for name, is_kept in wishes.items():
            if not is_kept:
                raise InvalidMessage("shown.specification", f"the {name} is not what was ordered")


def _check_offer(shown: ShownAward, domain: Domain) -> None:
    """Pass only claim and award of one public offer, with the numbers of the order."""
    claim, award, offer = shown.claim, shown.award, shown.offer
    found = decode(shown.specification, SPECIFICATION_PLACE)
    drawn = (shown.epoch, shown.root, Digest(hashlib.sha256(shown.field).digest()))
    place = (offer.accepted_epoch, offer.boot, offer.number)
    fits = (
        award.claim == digest(domain, claim)
        and (award.task, award.attempt, award.coordinator, award.miner, award.offer)
        == (claim.task, claim.attempt, claim.coordinator, claim.miner, claim.offer)
        and award.offer == offer_digest(award.coordinator, *drawn, found.model, offer)
        and (award.task, award.attempt, award.price) == (offer.task, offer.attempt, offer.price)
        and (offer.work, offer.pixels, offer.pixel_steps) == (found.work, found.pixels, found.pixel_steps)
        and offer.task == task_id(shown.network, award.coordinator, *place)
    )
    if not fits:
        raise InvalidMessage("shown.offer", "claim, award and offer do not fit together")


def _check_signed(coordinator: PeerId, shown: ShownAward, domain: Domain) -> None:
    """Pass only an award that our coordinator signed, for a claim of whoever signed the capability."""
    try:
        gave = signer(domain, shown.award, shown.award_signature)
        claimed = signer(domain, shown.claim, shown.claim_signature)
        serves = opened_by(shown.network, shown.capability, shown.capability_signature)
        asked = address_of_peer_id(coordinator)
    except InvalidMessage as error:
        raise InvalidMessage("shown.signature", str(error)) from None
    if gave != asked:
        raise InvalidMessage("shown.signature", "another key signed the award")
    if serves != claimed:
        raise InvalidMessage("shown.signature", "other keys signed claim and capability")


def _capability(shown: ShownAward, now: UnixMillis) -> Capability:
    """Read the winner's capability: it is its own, valid, and names a key to which is sealed."""
    try:
        capability = decode(shown.capability, CAPABILITY_PLACE)
    except (InvalidMessage, IgnoredMessage) as error:
        raise InvalidMessage("shown.capability", str(error)) from None
    if capability.miner != shown.award.miner or capability.sealing_key is None:
        raise InvalidMessage("shown.capability", "it names no key of the winner")
    if capability.expires_at + CLOCKS_APART_MS < now:
        raise InvalidMessage("shown.capability", "it has expired")
    return capability


def _sealing_key(capability: Capability) -> bytes:
    assert capability.sealing_key is not None, "checked by _capability"
    return capability.sealing_key

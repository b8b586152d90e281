"""Evidence bundles: all that jurors examine in a quality dispute, in one string of bytes whose digest is reported.

::

    tag ‖ Award as it was sent ‖ Result and CapabilityUpdate as they were received, each after its length (4)
        ‖ the disputed picture

There is one way to read such bytes and one way to write what was read, so that two bundles with one digest are the
same. The miner's commitment names the award by its digest, and the award the claim, so the claim adds nothing. Its
capability is its own word on the class of arithmetic in which it draws: nobody else's is taken for that.
Spec: SPEC.md §12.10.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from protocol.crypto.envelope import opened_by
from protocol.crypto.typed_data import Domain, digest, signer
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.params import MAX_ARTIFACT_BYTES, MAX_MESSAGE_BYTES
from protocol.task.artifact import check_picture, largest_picture
from protocol.task.specification import specification_digest
from protocol.units import Address, Digest, StakingId
from protocol.wire.codec import AWARD_PLACE, CAPABILITY_PLACE, RESULT_PLACE, SPECIFICATION_PLACE, Place, decode
from protocol.wire.fields import ANY_NUMERICS
from protocol.wire.messages import Award, Capability, CapabilityUpdate, Result, TaskSpecification

TAG: Final = b"cuckoo/1/dispute"
"""What every bundle begins with, so that its digest is of nothing else."""
_SAID_PLACE: Final = Place(CapabilityUpdate)
LENGTH_BYTES: Final = 4
CLASSES: Final = frozenset(
    f"{numbers}-{kind}" for numbers in ("float32", "bfloat16", "float16") for kind in ("cpu", "cuda")
)
"""Classes of arithmetic that engines name. Another one is a word for nothing: who makes one up would have no jurors."""
MAX_BUNDLE_BYTES: Final = len(TAG) + 3 * (LENGTH_BYTES + MAX_MESSAGE_BYTES) + MAX_ARTIFACT_BYTES
"""No juror reads more."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a reporter shows of one result. Reading it checks its form; ``check_bundle`` what it proves."""

    award_bytes: bytes
    """Encoded ``Award`` message, as the coordinator sent it."""
    result_bytes: bytes
    """Encoded ``Result`` message, as the miner sent it."""
    said_bytes: bytes
    """Encoded ``CapabilityUpdate`` message of the miner, from when it drew."""
    picture: bytes
    """The disputed artifact."""
    award: Award
    result: Result
    said: CapabilityUpdate
    capability: Capability
    specification: TaskSpecification
    """What the award orders."""

    def data(self) -> bytes:
        """Give its bytes."""
        parts = (self.award_bytes, self.result_bytes, self.said_bytes)
        return TAG + b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts) + self.picture

    @property
    def accused(self) -> StakingId:
        """Which miner signed the result."""
        return self.result.commitment.miner

    @property
    def coordinator(self) -> StakingId:
        """Which coordinator ordered it."""
        return self.award.statement.coordinator

    @property
    def numerics(self) -> str:
        """The class of arithmetic in which the miner says that it draws this model.

        ``any`` where it says nothing, or what no engine says.
        """
        drawn_with = (self.specification.model, self.result.commitment.model)
        named = (one.numerics for one in self.capability.models if (one.model, one.digest) == drawn_with)
        said = next(named, ANY_NUMERICS)
        return said if said in CLASSES else ANY_NUMERICS


def bundle_digest(data: bytes) -> Digest:
    """Name a bundle, as its dispute does on the chain."""
    return Digest(hashlib.sha256(data).digest())


def make_bundle(award: bytes, result: bytes, said: bytes, picture: bytes) -> Bundle:
    """Put a bundle together of what a coordinator keeps: encoded messages, and a picture.

    Raises:
        InvalidMessage: ``bundle.form``: one of them is not what it should be.
    """
    try:
        read, signed = decode(award, AWARD_PLACE), decode(result, RESULT_PLACE)
        specification = decode(read.specification, SPECIFICATION_PLACE)
        update = decode(said, _SAID_PLACE)
        capability = decode(update.body, CAPABILITY_PLACE)
    except (InvalidMessage, IgnoredMessage) as error:
        raise InvalidMessage("bundle.form", str(error)) from None
    if not 0 < len(picture) <= MAX_ARTIFACT_BYTES:
        raise InvalidMessage("bundle.form", f"a picture of {len(picture)} bytes")
    return Bundle(award, result, said, picture, read, signed, update, capability, specification)


def read_bundle(data: bytes) -> Bundle:
    """Read a bundle.

    Raises:
        InvalidMessage: ``bundle.form``: it is none.
    """
    if len(data) > MAX_BUNDLE_BYTES or not data.startswith(TAG):
        raise InvalidMessage("bundle.form", "too large, or without its tag")
    award, after = _part(data, len(TAG))
    result, after = _part(data, after)
    said, after = _part(data, after)
    return make_bundle(award, result, said, data[after:])


def _part(data: bytes, start: int) -> tuple[bytes, int]:
    """Read a part that its length precedes; gives it and where the next begins."""
    begin = start + LENGTH_BYTES
    end = begin + int.from_bytes(data[start:begin], "big")
    if end > len(data) or end - begin > MAX_MESSAGE_BYTES:
        raise InvalidMessage("bundle.form", "a part is longer than there is, or than a message")
    return data[begin:end], end


def check_bundle(bundle: Bundle, domain: Domain, accused: StakingId, reporter: StakingId) -> None:
    """Pass a bundle that shows a result of the accused for a task that the reporter ordered.

    Whether the keys that signed are those of the two is for the chain, which knows keys that were changed as well:
    ``signers_of_bundle`` gives their addresses.

    Raises:
        InvalidMessage: A stable name of what is wrong; the reporter has proven nothing.
    """
    award, commitment = bundle.award.statement, bundle.result.commitment
    specification = bundle.specification
    if bundle.award.sealed_key is not None or specification.sealed is not None:
        raise InvalidMessage("bundle.sealed", "what was sealed to one miner is shown to no other")
    if specification.inputs:
        raise InvalidMessage("bundle.inputs", "it begins from pictures, which are shown to nobody else")
    if specification_digest(bundle.award.specification, bundle.award.salt) != award.specification:
        raise InvalidMessage("bundle.specification", "it is not what the award names")
    if (award.miner, award.coordinator) != (accused, reporter):
        raise InvalidMessage("bundle.parties", f"of coordinator {award.coordinator} and miner {award.miner}")
    promised = (digest(domain, award), award.task, award.attempt, award.miner, award.specification)
    if (
        commitment.award,
        commitment.task,
        commitment.attempt,
        commitment.miner,
        commitment.specification,
    ) != promised:
        raise InvalidMessage("bundle.commitment", "it is for another award")
    served = [(one.model, one.digest) for one in bundle.capability.models]
    if bundle.capability.miner != accused or (specification.model, commitment.model) not in served:
        raise InvalidMessage("bundle.capability", "it is not the accused's word on what it drew with")
    picture = bundle.picture
    if len(picture) != bundle.result.size or hashlib.sha256(picture).digest() != commitment.artifact:
        raise InvalidMessage("bundle.artifact", "it is not what the commitment names")
    if bundle.result.media_type != specification.media_type:
        raise InvalidMessage("bundle.artifact", "it is of another file format than was ordered")
    if len(picture) > largest_picture(specification.width, specification.height):
        raise InvalidMessage("bundle.artifact", "it is larger than a picture of this size can be")
    # A coordinator takes nothing else, so whatever fails here was never this miner's accepted result.
    check_picture(picture, bundle.result.media_type, specification.width, specification.height)


def signers_of_bundle(bundle: Bundle, domain: Domain, network: Digest) -> tuple[Address, Address, Address]:
    """Give whose keys signed the commitment, the capability and the award.

    Raises:
        InvalidMessage: ``statement.signature`` or ``envelope.signature``: no key made one of the signatures.
    """
    result, award, said = bundle.result, bundle.award, bundle.said
    return (
        signer(domain, result.commitment, result.signature),
        opened_by(network, said.body, said.signature),
        signer(domain, award.statement, award.signature),
    )


def check_signers(signed_by: tuple[StakingId | None, ...], accused: StakingId, reporter: StakingId) -> None:
    """Pass evidence that both parties signed.

    Args:
        signed_by: Whose the keys of ``signers_of_bundle`` are by the contract.
        accused: The miner.
        reporter: The coordinator that ordered the task.

    Raises:
        InvalidMessage: ``bundle.signature``.
    """
    if signed_by != (accused, accused, reporter):
        raise InvalidMessage("bundle.signature", f"by nodes {signed_by}")

"""Messages made by hand, honest by default, signed by the right key or a wrong one."""

import hashlib

from node.model_files.catalog import load_catalog
from protocol.crypto.envelope import seal
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, digest, sign
from protocol.events import (
    ArtifactReceived,
)
from protocol.stake.field import Field
from protocol.stake.lottery import task_id
from protocol.task.specification import specification_digest
from protocol.units import Address, Digest, StakingId, UnixMillis, Wei
from protocol.wire.codec import encode
from protocol.wire.messages import (
    Award,
    Bulletin,
    Capability,
    CapabilityUpdate,
    Claim,
    Hello,
    Offer,
    Receipt,
    Result,
    ServedModel,
    TaskSpecification,
    Work,
)
from protocol.wire.statements import (
    AwardStatement,
    CommitmentStatement,
    ReceiptStatement,
    Statement,
    VoucherStatement,
)
from tests.support import networks
from tests.support.networks import ALICE, CAROL, network_params
from tests.support.pictures import png

NOW = UnixMillis(1_700_000_040_000)
"""Start of an epoch of the test network."""
PARAMS = network_params(claim_allowance_ms=150)
"""A is longer than the step from rank 0 to rank 1, so that a claim of rank 1 is held for a while."""
EPOCH = NOW // (PARAMS.epoch_s * 1000)
DOMAIN = Domain(31337, Address(b"\x11" * 20))
NETWORK_ID = Digest(hashlib.sha256(b"a network of role tests, 3727").digest())
"""Chosen so that in the first epoch the ticket drops nobody and alice ranks before bob, whatever the parameters."""
CATALOG = load_catalog()
MODEL = CATALOG.models["pocket-emoji"]
SPECIFICATION = TaskSpecification(
    model=MODEL.name, prompt="a red heart", width=128, height=128, steps=10, guidance=4.0, seed=7
)
PRICE = Wei(SPECIFICATION.pixel_steps * PARAMS.price_per_pixel_step_wei)
PICTURE = png(128, 128, 7)
PICTURE_DIGEST = Digest(hashlib.sha256(PICTURE).digest())
ALICE_ID, BOB_ID, CAROL_ID = StakingId(1), StakingId(2), StakingId(3)
NOTHING = Digest(bytes(32))


def signed(key: NodeKey, statement: Statement) -> bytes:
    return sign(key, DOMAIN, statement)


def hello(node: StakingId, voucher: VoucherStatement | None = None, by: NodeKey = CAROL) -> Hello:
    return Hello(
        network=NETWORK_ID, node=node, voucher=voucher, voucher_signature=signed(by, voucher) if voucher else None
    )


def voucher_of(cumulative: int, *, sequence: int = 1, miner: StakingId = ALICE_ID) -> VoucherStatement:
    return VoucherStatement(
        coordinator=CAROL_ID,
        miner=miner,
        cumulative=Wei(cumulative),
        boot=1,
        sequence=sequence,
        issued_total=Wei(cumulative),
    )


def capability(
    by: NodeKey,
    miner: StakingId,
    *,
    sequence: int = 1,
    expires_at: int = NOW + 60_000,
    free: int = 1,
    places: int = 1,
    floor: int = 0,
    speed: int = 10**7,
    batch: int = 1,
    works: tuple[Work, ...] = ("text_to_image",),
    numerics: str = "any",
    sealing_key: bytes | None = None,
    digest: bytes = MODEL.digest,
) -> CapabilityUpdate:
    served = ServedModel(
        model=MODEL.name,
        digest=Digest(digest),
        warm=True,
        works=works,
        numerics=numerics,
        pixel_steps_per_s=speed,
        max_batch=batch,
    )
    body = encode(
        Capability(
            miner=miner,
            sequence=sequence,
            expires_at=UnixMillis(expires_at),
            models=(served,),
            free_places=free,
            places=places,
            price_floor=Wei(floor),
            addresses=(),
            sealing_key=sealing_key,
        )
    )
    return CapabilityUpdate(body=body, signature=seal(by, NETWORK_ID, body))


def bulletin(
    now: int, number: int, *, task: bytes | None = None, attempt: int = 0, epoch: int = EPOCH, **changes: object
) -> Bulletin:
    """One offer, accepted in ``EPOCH``; ``changes`` are fields of it."""
    table = networks.view(epoch).table
    accepted = changes.get("accepted_epoch", EPOCH)
    fields: dict[str, object] = {
        "task": task or task_id(NETWORK_ID, CAROL_ID, accepted, 1, number),  # type: ignore[arg-type]
        "accepted_epoch": accepted,
        "boot": 1,
        "number": number,
        "attempt": attempt,
        "pixels": SPECIFICATION.pixels,
        "pixel_steps": SPECIFICATION.pixel_steps,
        "price": PRICE,
        "deadline": UnixMillis(now + 600_000),
        "slot_step_ms": PARAMS.slot_step_ms,
        "allowance_ms": PARAMS.claim_allowance_ms,
    }
    offer = Offer.model_validate(fields | changes)
    field = Field.of(table.miners, {ALICE_ID}, {ALICE_ID})
    return Bulletin(
        coordinator=CAROL_ID,
        model=MODEL.name,
        addresses=(),
        epoch=epoch,
        root=table.root,
        field=field.to_bytes(),
        sent_at=UnixMillis(now),
        offers=(offer,),
        awards=(),
        closures=(),
    )


def award_of(
    claim: Claim, /, *, by: NodeKey = CAROL, work: TaskSpecification = SPECIFICATION, **changes: object
) -> Award:
    """The coordinator's yes to a claim; ``changes`` are fields of the statement."""
    encoded, salt = encode(work), b"s" * 16
    named = claim.statement
    fields: dict[str, object] = {
        "claim": digest(DOMAIN, named),
        "task": named.task,
        "attempt": named.attempt,
        "coordinator": CAROL_ID,
        "miner": ALICE_ID,
        "offer": named.offer,
        "specification": specification_digest(encoded, salt),
        "price": PRICE,
    }
    statement = AwardStatement.model_validate(fields | changes)
    return Award(statement=statement, signature=signed(by, statement), specification=encoded, salt=salt)


def result_of(award: Award, /, *, by: NodeKey = ALICE, data: bytes = PICTURE, **changes: object) -> Result:
    """The miner's commitment for an award; ``changes`` are fields of the statement."""
    named = award.statement
    fields: dict[str, object] = {
        "award": digest(DOMAIN, named),
        "task": named.task,
        "attempt": named.attempt,
        "miner": named.miner,
        "specification": named.specification,
        "model": MODEL.digest,
        "artifact": hashlib.sha256(data).digest(),
        "fingerprint": NOTHING,
    }
    commitment = CommitmentStatement.model_validate(fields | changes)
    return Result(
        commitment=commitment,
        signature=signed(by, commitment),
        media_type="image/png",
        size=len(data),
        generation_ms=40,
    )


def artifact_of(award: Award, *, by: NodeKey = ALICE, data: bytes = PICTURE) -> ArtifactReceived:
    digest_ = Digest(hashlib.sha256(data).digest())
    return ArtifactReceived(by.peer_id, award.statement.task, award.statement.attempt, digest_, data)


def receipt_of(
    result: Result,
    *,
    by: NodeKey = CAROL,
    voucher_by: NodeKey = CAROL,
    voucher: VoucherStatement | None = None,
    **changes: object,
) -> Receipt:
    """The coordinator's word for a result; ``changes`` are fields of the statement."""
    named = result.commitment
    fields: dict[str, object] = {
        "commitment": digest(DOMAIN, named),
        "task": named.task,
        "attempt": named.attempt,
        "coordinator": CAROL_ID,
        "miner": ALICE_ID,
        "artifact": named.artifact,
        "price": PRICE,
        "accepted": NOW,
    }
    statement = ReceiptStatement.model_validate(fields | changes)
    promised = voucher or voucher_of(PRICE)
    return Receipt(
        statement=statement,
        signature=signed(by, statement),
        voucher=promised,
        voucher_signature=signed(voucher_by, promised),
    )

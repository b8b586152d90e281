import hashlib

from protocol.task.offer import offer_digest
from protocol.units import Digest, Epoch, StakingId
from tests.protocol.roles.frames import NOW, bulletin

OFFER = bulletin(NOW, 3).offers[0]
PLACE = (StakingId(3), Epoch(7), Digest(b"r" * 32), Digest(b"f" * 32), "pocket-emoji")


def test_offer_digest__any_field_changed__is_another():
    changed = [
        OFFER.model_copy(update={name: "inpaint" if name == "work" else b"t" * 32 if name == "task" else value + 1})
        for name, value in ((name, getattr(OFFER, name)) for name in type(OFFER).model_fields)
        if name in ("work", "task") or isinstance(value, int)
    ]
    assert len(changed) == len(type(OFFER).model_fields), "a field that the digest does not bind"
    others = [(StakingId(4), *PLACE[1:]), (PLACE[0], Epoch(8), *PLACE[2:])]
    others += [(*PLACE[:2], Digest(b"s" * 32), *PLACE[3:]), (*PLACE[:3], Digest(b"g" * 32), PLACE[4])]
    others += [(*PLACE[:4], "other")]
    digests = {offer_digest(*PLACE, offer) for offer in (OFFER, *changed)} | {offer_digest(*p, OFFER) for p in others}
    assert len(digests) == 1 + len(changed) + len(others)


def test_offer_digest__public_fields__is_their_tagged_hash():
    fixed = b"".join(
        value.to_bytes(width, "big")
        for value, width in (
            (OFFER.boot, 8),
            (OFFER.number, 8),
            (OFFER.attempt, 4),
        )
    )
    sizes = b"".join(
        value.to_bytes(width, "big")
        for value, width in (
            (OFFER.pixels, 8),
            (OFFER.pixel_steps, 8),
            (OFFER.price, 32),
            (OFFER.deadline, 8),
            (OFFER.slot_step_ms, 4),
            (OFFER.allowance_ms, 4),
        )
    )
    head = b"".join(value.to_bytes(8, "big") for value in (3, OFFER.accepted_epoch, 7)) + b"r" * 32 + b"f" * 32
    work = hashlib.sha256(b"text_to_image").digest()
    data = b"cuckoo/1/offer" + head + OFFER.task + fixed + work + sizes + b"pocket-emoji"
    assert offer_digest(*PLACE, OFFER) == hashlib.sha256(data).digest()

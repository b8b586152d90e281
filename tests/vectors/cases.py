"""The inputs of all vectors, by family and name. Add new ones at the end; never change or remove one."""

import hashlib
from typing import Any

import msgpack

from protocol.units import CAI
from protocol.wire import codec
from protocol.wire.messages import Abandon
from tests.support.pictures import jpeg, png, vp8, vp8l, vp8x, webp
from tests.vectors.families import Json, to_json
from tests.vectors.picture_cases import DISTANCES, FINGERPRINTS
from tests.vectors.sealed_cases import SEALED_SPECIFICATION, SEALING, sealed_messages

SECRETS = {name: hashlib.sha256(name.encode()).digest() for name in ("alice", "bob", "carol")} | {
    "one": (1).to_bytes(32, "big")
}
NETWORK = hashlib.sha256(b"a network for vectors").digest()
BEACON = hashlib.sha256(b"a beacon for vectors").digest()
CONTRACT = hashlib.sha256(b"a contract for vectors").digest()[:20]
MILLION = 1_000_000 * CAI

TASK = hashlib.sha256(b"a task for vectors").digest()
AMOUNTS = {"price", "cumulative", "issued_total"}
"""Members that stand as 32 bytes on the wire."""
ABANDON = Abandon(task=b"t" * 32, attempt=3, reason="out_of_memory").model_dump()


def _rows(stakes: list[int]) -> list[dict[str, Any]]:
    """Miners with ids 1, 2, … and these stakes, then a coordinator and an inactive miner."""
    rows = [{"id": n + 1, "role": 1, "stake": stake, "active": True} for n, stake in enumerate(stakes)]
    rows.append({"id": 900, "role": 2, "stake": 3 * MILLION, "active": True})
    rows.append({"id": 901, "role": 1, "stake": 15_000 * CAI, "active": False})
    return [row | {"address": hashlib.sha256(b"address %d" % row["id"]).digest()[:20]} for row in rows]


FOUR = _rows([20_001 * CAI, 50_000 * CAI, 200_000 * CAI, 5 * MILLION])
MANY = _rows([(20_001 + 997 * n) * CAI for n in range(40)])


def _ticket(number: int) -> bytes:
    return hashlib.sha256(b"ticket %d" % number).digest()


def _order(rows: list[dict[str, Any]], field: bytes, number: int, dropout: int = 0, catalog: int = 0) -> Json:
    return {
        "rows": rows,
        "field": field,
        "ticket": _ticket(number),
        "field_dropout_permille": dropout,
        "catalog_permille": catalog,
    }


def _slot(rank: int, arrival: int) -> Json:
    return {"rank": rank, "slot_step_ms": 100, "allowance_ms": 150, "t0": 1_700_000_000_000, "arrival": arrival}


STATEMENTS: dict[str, dict[str, Any]] = {
    "Registration": {"owner": CONTRACT[::-1], "role": 2, "deadline": 1_700_003_600},
    "ClaimStatement": {
        "task": TASK,
        "attempt": 1,
        "coordinator": 900,
        "miner": 2,
        "offer": b"o" * 32,
        "nonce": b"n" * 16,
    },
    "AwardStatement": {
        "claim": b"c" * 32,
        "task": TASK,
        "attempt": 1,
        "coordinator": 900,
        "miner": 2,
        "offer": b"o" * 32,
        "specification": b"p" * 32,
        "price": 19 * CAI,
    },
    "DeclineStatement": {
        "claim": b"c" * 32,
        "task": TASK,
        "attempt": 1,
        "coordinator": 900,
        "winner": 0,
        "rank": 2**32 - 1,
        "reason": "early",
    },
    "CommitmentStatement": {
        "award": b"a" * 32,
        "task": TASK,
        "attempt": 1,
        "miner": 2,
        "specification": b"p" * 32,
        "model": b"m" * 32,
        "artifact": b"f" * 32,
        "fingerprint": bytes(32),
    },
    "ReceiptStatement": {
        "commitment": b"k" * 32,
        "task": TASK,
        "attempt": 1,
        "coordinator": 900,
        "miner": 2,
        "artifact": b"f" * 32,
        "price": 19 * CAI,
        "accepted": 1_700_000_012_345,
    },
    "VoucherStatement": {
        "coordinator": 900,
        "miner": 2,
        "cumulative": 20 * CAI,
        "boot": 1_700_000_000,
        "sequence": 7,
        "issued_total": 900 * MILLION,
    },
    "VerdictStatement": {"dispute": 12, "round": 1, "juror": 2, "verdict": 3},
}
OFFER: dict[str, Any] = {
    "task": TASK,
    "accepted_epoch": 2_833_333,
    "boot": 1_700_000_000,
    "number": 6,
    "attempt": 0,
    "pixels": 16_384,
    "pixel_steps": 327_680,
    "price": (19 * CAI).to_bytes(32, "big"),
    "deadline": 1_700_000_060_000,
    "slot_step_ms": 100,
    "allowance_ms": 150,
}
_SIGNATURE = bytes(range(65))
_ON_WIRE = {
    name: {key: value.to_bytes(32, "big") if key in AMOUNTS else value for key, value in fields.items()}
    for name, fields in STATEMENTS.items()
}
_TASK_AND_ATTEMPT = {"task": TASK, "attempt": 1}
MESSAGES: dict[str, dict[str, Any]] = {
    "TaskSpecification": {
        "model": "pocket-emoji",
        "prompt": "a red heart, \N{GREEK SMALL LETTER DELTA} \N{RED APPLE}",
        "width": 128,
        "height": 128,
        "steps": 20,
        "guidance": 7.5,
        "seed": 2**63 - 1,
    },
    "Bulletin": {
        "coordinator": 900,
        "model": "pocket-emoji",
        "addresses": ["/ip4/192.0.2.1/tcp/4001"],
        "epoch": 2_833_333,
        "root": b"r" * 32,
        "field": b"\xff\x03",
        "sent_at": 1_700_000_000_000,
        "offers": [OFFER],
        "awards": [_TASK_AND_ATTEMPT | {"winner": 2}],
        "closures": [{"task": TASK, "reason": "done"}],
    },
    "Capability": {
        "miner": 2,
        "sequence": 5,
        "expires_at": 1_700_000_060_000,
        "models": [
            {"model": "pocket-emoji", "digest": b"m" * 32, "warm": True, "pixel_steps_per_s": 400_000, "max_batch": 1}
        ],
        "free_places": 1,
        "places": 2,
        "price_floor": (10**9).to_bytes(32, "big"),
        "addresses": [],
    },
    "Hello": {"network": NETWORK, "node": 2, "voucher": _ON_WIRE["VoucherStatement"], "voucher_signature": _SIGNATURE},
    "CapabilityUpdate": {"body": b"an encoded capability", "signature": _SIGNATURE},
    "Claim": {"statement": _ON_WIRE["ClaimStatement"], "signature": _SIGNATURE},
    "Award": {
        "statement": _ON_WIRE["AwardStatement"],
        "signature": _SIGNATURE,
        "specification": b"an encoded specification",
        "salt": b"s" * 16,
    },
    "Decline": {"statement": _ON_WIRE["DeclineStatement"], "signature": _SIGNATURE},
    "Objection": {
        "sent_at": 1_700_000_000_500,
        "claim": _ON_WIRE["ClaimStatement"],
        "claim_signature": _SIGNATURE,
        "decline": _ON_WIRE["DeclineStatement"],
        "decline_signature": _SIGNATURE,
    },
    "Preview": _TASK_AND_ATTEMPT | {"data": b"RIFF\x16\x00\x00\x00WEBPVP8 "},
    "Alive": _TASK_AND_ATTEMPT | {"state": "step", "step": 3, "steps": 20, "wait_ms": 120},
    "Result": {
        "commitment": _ON_WIRE["CommitmentStatement"],
        "signature": _SIGNATURE,
        "media_type": "image/png",
        "size": 20_000,
        "generation_ms": 2400,
    },
    "Abandon": ABANDON,
    "Order": {"order": b"o" * 16, "prompt": "a red heart", "size": [128, 96], "seed": 7, "api_key": "cuckoo-key"},
    "OrderTaken": {"order": b"o" * 16},
    "OrderInputsWanted": {"order": b"o" * 16},
    "OrderInput": {"order": b"o" * 16, "digest": b"i" * 32, "size": 65_536},
    "OrderCancelled": {"order": b"o" * 16},
    "OrderAccepted": {"order": b"o" * 16, "task": TASK, "price": (10**18).to_bytes(32, "big")},
    "OrderRefused": {"order": b"o" * 16, "code": "busy", "detail": "2048 tasks are waiting here"},
    "OrderNews": {"order": b"o" * 16, "stage": "progress", "attempt": 0, "miner": 2, "step": 3, "steps": 20},
    "OrderDone": {
        "order": b"o" * 16,
        "task": TASK,
        "attempt": 0,
        "miner": 2,
        "artifact": b"a" * 32,
        "media_type": "image/png",
        "receipt": b"an encoded receipt",
        "size": 20_000,
    },
    **sealed_messages(_ON_WIRE["ClaimStatement"], _ON_WIRE["AwardStatement"], OFFER, NETWORK, CONTRACT),
    "Receipt": {
        "statement": _ON_WIRE["ReceiptStatement"],
        "signature": _SIGNATURE,
        "voucher": _ON_WIRE["VoucherStatement"],
        "voucher_signature": _SIGNATURE,
    },
    "Reject": _TASK_AND_ATTEMPT | {"reason": "superseded"},
    "Cancel": _TASK_AND_ATTEMPT | {"reason": "gone"},
    "OpenSteps": _TASK_AND_ATTEMPT | {"commitment": b"k" * 32, "steps": [0, 3, 199]},
    "OpenedSteps": _TASK_AND_ATTEMPT
    | {
        "commitment": b"k" * 32,
        "opened": [{"step": 3, "fingerprint": bytes(range(128)), "path": [b"1" * 32, b"2" * 32]}],
        "reason": None,
    },
    "ArtifactHeader": _TASK_AND_ATTEMPT | {"digest": b"f" * 32, "size": 20_000},
}


def _offer(epoch: int, field: bytes = b"\xff\x03", **changes: Any) -> Json:
    drawn = {"epoch": epoch, "root": b"r" * 32, "field": field}
    return {"coordinator": 900, **drawn, "model": "pocket-emoji", "offer": OFFER | changes}


def _statement(name: str, fields: dict[str, Any]) -> Json:
    return {
        "statement": name,
        "fields": fields,
        "secret": SECRETS["carol"],
        "chain_id": 31337,
        "contract": CONTRACT,
    }


CASES: dict[str, dict[str, Json]] = {
    "epochs": {
        "mid epoch": {"epoch_s": 600, "boundary_tolerance_s": 180, "now": 1_700_000_300_000},
        "first moment": {"epoch_s": 600, "boundary_tolerance_s": 180, "now": 1_700_000_400_000},
        "last moment": {"epoch_s": 600, "boundary_tolerance_s": 180, "now": 1_700_000_399_999},
        "shorter than the tolerance": {"epoch_s": 5, "boundary_tolerance_s": 10, "now": 1_700_000_001_234},
    },
    "beacons": {
        "first": {"block_hash": hashlib.sha256(b"block").digest(), "epoch": 1},
        "late": {"block_hash": hashlib.sha256(b"block").digest(), "epoch": 2_833_333},
    },
    "tables": {"nobody": {"rows": []}, "four miners": {"rows": FOUR}, "forty miners": {"rows": MANY}},
    "tickets": {
        "first of a boot": {
            "network": NETWORK,
            "beacon": BEACON,
            "coordinator": 900,
            "accepted_epoch": 2_833_333,
            "boot": 1_700_000_000,
            "number": 0,
        },
        "seventh": {
            "network": NETWORK,
            "beacon": BEACON,
            "coordinator": 900,
            "accepted_epoch": 2_833_333,
            "boot": 1_700_000_000,
            "number": 6,
        },
        "largest": {
            "network": NETWORK,
            "beacon": BEACON,
            "coordinator": 2**64 - 1,
            "accepted_epoch": 2**32 - 1,
            "boot": 2**64 - 1,
            "number": 2**64 - 1,
        },
    },
    "orders": {
        **{f"four warm, ticket {n}": _order(FOUR, b"\xff", n) for n in range(4)},
        "one out of the field": _order(FOUR, b"\xf3", 0),
        "two warm, two cold": _order(FOUR, b"\x77", 1),
        "nobody": _order(FOUR, b"\x00", 1),
        "forty, dropout, catalog": _order(MANY, b"\x7d" * 10, 5, 20, 50),
        "forty, half dropped": _order(MANY, b"\xff" * 10, 6, 500, 0),
        "forty, blind to warmth": _order(MANY, b"\x77" * 10, 7, 0, 1000),
    },
    "slots": {
        "best rank": _slot(0, 1_700_000_000_040),
        "second rank early": _slot(1, 1_700_000_000_100),
        "third rank": _slot(2, 1_700_000_000_160),
        "third rank late": _slot(2, 1_700_000_009_000),
        "rank 1000": _slot(1000, 1_700_000_000_997),
    },
    "identities": {name: {"secret": secret} for name, secret in SECRETS.items()},
    "statements": {name: _statement(name, fields) for name, fields in STATEMENTS.items()},
    "envelopes": {
        "empty": {"secret": SECRETS["alice"], "network": NETWORK, "body": b""},
        "text": {"secret": SECRETS["alice"], "network": NETWORK, "body": b"a body"},
    },
    "specifications": {"short": {"encoded": b"encoded", "salt": b"s" * 16}},
    "offers": {
        "first attempt": _offer(2_833_333),
        "second attempt, drawn again": _offer(2_833_335, attempt=1),
        "other work": _offer(2_833_333, work="inpaint"),
        "other field": _offer(2_833_333, field=b"\xfc\x03"),
        "table without miners": _offer(2_833_333, field=b""),
    },
    "messages": {
        **{name: {"message": name, "fields": fields} for name, fields in MESSAGES.items()},
        "TaskSpecification to inpaint": {
            "message": "TaskSpecification",
            "fields": MESSAGES["TaskSpecification"]
            | {
                "work": "inpaint",
                "source": b"i" * 32,
                "mask": b"k" * 32,
                "strength": 0.5,
                "scheduler": "DPMSolverMultistepScheduler",
                "numerics": "fp16-cuda",
            },
        },
        "TaskSpecification of version 2": {
            "message": "TaskSpecification",
            "fields": MESSAGES["TaskSpecification"]
            | {
                "version": 2,
                "work": "image_to_image",
                "source": b"i" * 32,
                "strength": 0.75,
                "output": "webp",
                "quality": 80,
                "embed_prompt": True,
            },
        },
        "TaskSpecification of version 2 for a PNG with its prompt": {
            "message": "TaskSpecification",
            "fields": MESSAGES["TaskSpecification"] | {"version": 2, "embed_prompt": True},
        },
        "Result of version 2": {
            "message": "Result",
            "fields": MESSAGES["Result"] | {"version": 2, "media_type": "image/webp"},
        },
        "Capability of a miner that draws from pictures": {
            "message": "Capability",
            "fields": MESSAGES["Capability"]
            | {
                "models": [
                    MESSAGES["Capability"]["models"][0] | {"works": ["text_to_image", "image_to_image", "inpaint"]}
                ]
            },
        },
        "Capability with a sealing key": {
            "message": "Capability",
            "fields": MESSAGES["Capability"] | {"sealing_key": b"x" * 32},
        },
        "Award of a sealed specification": {
            "message": "Award",
            "fields": MESSAGES["Award"] | {"sealed_key": b"y" * 80},
        },
        "OpenedSteps of a miner that kept none": {
            "message": "OpenedSteps",
            "fields": MESSAGES["OpenedSteps"] | {"opened": [], "reason": "not_kept"},
        },
        "Order of version 2": {
            "message": "Order",
            "fields": MESSAGES["Order"]
            | {
                "version": 2,
                "source": {"digest": b"i" * 32, "size": 200_000},
                "mask": {"digest": b"k" * 32, "size": 3_000},
                "strength": 0.5,
            },
        },
        "Order of version 2, whose picture jurors may see": {
            "message": "Order",
            "fields": MESSAGES["Order"] | {"version": 2, "may_be_disputed": True},
        },
        "TaskSpecification of version 3, sealed": {"message": "TaskSpecification", "fields": SEALED_SPECIFICATION},
        "Hello without voucher": {
            "message": "Hello",
            "fields": {"network": NETWORK, "node": 900, "voucher": None, "voucher_signature": None},
        },
    },
    "refusals": {
        "empty": {"place": "work", "data": b""},
        "not a map": {"place": "work", "data": msgpack.packb([1])},
        "extension": {"place": "work", "data": b"\x81\xa1a\xd4\x00\x00"},
        "announces four billion": {"place": "work", "data": b"\x81\xa1a\xdd\xff\xff\xff\xff"},
        "too deep": {"place": "work", "data": b"\x81\xa1a" + b"\x91" * 8 + b"\x00"},
        "bytes after the end": {"place": "work", "data": codec.encode(Abandon(**ABANDON)) + b"\xc0"},
        "key twice": {"place": "work", "data": msgpack.Packer().pack_map_pairs([*ABANDON.items(), ("attempt", 4)])},
        "surplus key": {"place": "work", "data": msgpack.packb(ABANDON | {"surplus": 1})},
        "attempt as text": {"place": "work", "data": msgpack.packb(ABANDON | {"attempt": "3"})},
        "amount as integer": {
            "place": "capability",
            "data": msgpack.packb(
                {
                    "kind": "capability",
                    "version": 1,
                    "miner": 1,
                    "sequence": 1,
                    "expires_at": 1,
                    "models": [],
                    "free_places": 1,
                    "places": 1,
                    "price_floor": 5,
                    "addresses": [],
                }
            ),
        },
        "from another place": {"place": "gossip", "data": msgpack.packb(ABANDON)},
        "unknown kind": {"place": "work", "data": msgpack.packb({"kind": "auction", "version": 1})},
        "newer version": {"place": "work", "data": msgpack.packb(ABANDON | {"version": 2})},
        **{
            f"sealed specification with {name}": {
                "place": "specification",
                "data": msgpack.packb({"kind": "specification"} | SEALED_SPECIFICATION | fields),
            }
            for name, fields in {
                "a prompt": {"prompt": "a red heart"},
                "a seed": {"seed": 7},
                "no body": {"sealed": None},
                "an earlier version": {"version": 2},
                "a source": {"work": "image_to_image", "source": b"i" * 32},
            }.items()
        },
        "specification without a prompt": {
            "place": "specification",
            "data": msgpack.packb(
                MESSAGES["TaskSpecification"] | {"kind": "specification", "version": 1, "prompt": ""}
            ),
        },
        "order of version 1 with a field of version 2": {
            "place": "app",
            "data": msgpack.packb(MESSAGES["Order"] | {"kind": "order", "version": 1, "may_be_disputed": False}),
        },
        "order of version 2 with one picture of two sizes": {
            "place": "app",
            "data": msgpack.packb(
                MESSAGES["Order"]
                | {"kind": "order", "version": 2}
                | {name: {"digest": b"i" * 32, "size": size} for name, size in (("source", 1), ("mask", 2))}
            ),
        },
        "specification of version 1 with a field of version 2": {
            "place": "specification",
            "data": msgpack.packb(
                MESSAGES["TaskSpecification"] | {"kind": "specification", "version": 1, "output": "png"}
            ),
        },
    },
    "sealing": SEALING,
    "distances": DISTANCES,
    "fingerprints": FINGERPRINTS,
    "steps": {
        "from text": {"steps": 20, "strength": None},
        "all": {"steps": 20, "strength": 1.0},
        "a half of an odd number": {"steps": 15, "strength": 0.5},
        "rounded down": {"steps": 15, "strength": 0.7},
        "a product of doubles just below a whole number": {"steps": 49, "strength": 1 / 49},
        "a product of doubles just above": {"steps": 25, "strength": 0.28},
        "most": {"steps": 200, "strength": 0.999},
    },
    "inputs": {
        "png": {"data": png(64, 48)[:33] + b"\x00\x00\x00\x00IDAT"},
        "jpeg": {"data": jpeg(64, 48)},
        "progressive jpeg with filling": {"data": jpeg(64, 48, marker=0xC2, before=b"\xff\xff\xff\xe1\x00\x04ab")},
        "lossless jpeg": {"data": jpeg(64, 48, marker=0xC3)},
        "webp": {"data": webp(vp8(64, 48))},
        "webp without loss": {"data": webp(vp8l(64, 48))},
        "extended webp": {"data": webp(vp8x(64, 48), vp8(64, 48))},
        "animated webp": {"data": webp(vp8x(64, 48, flags=2))},
        "gif": {"data": b"GIF89a" + bytes(40)},
        "nothing": {"data": b""},
        "longest edge": {"data": jpeg(4096, 16)},
        "too long an edge": {"data": jpeg(4097, 16)},
        "too short an edge": {"data": webp(vp8(64, 15))},
    },
    "webp": {
        "with loss": {"data": webp(vp8(64, 48)), "width": 64, "height": 48},
        "without loss, with metadata": {
            "data": webp(vp8x(64, 48, flags=8), vp8l(64, 48), (b"EXIF", b"steps")),
            "width": 64,
            "height": 48,
        },
        "another size": {"data": webp(vp8(64, 48)), "width": 48, "height": 64},
        "bytes after the end": {"data": webp(vp8(64, 48)) + b"\x00\x00", "width": 64, "height": 48},
        "an unknown chunk": {"data": webp(vp8(64, 48), (b"SPAM", b"")), "width": 64, "height": 48},
        "two pictures": {"data": webp(vp8(64, 48), vp8(64, 48)), "width": 64, "height": 48},
        "animation": {"data": webp(vp8x(64, 48, flags=2), vp8(64, 48)), "width": 64, "height": 48},
    },
}


def inputs() -> dict[str, dict[str, Json]]:
    """Give every input as it stands in the files."""
    return {family: {name: to_json(given) for name, given in cases.items()} for family, cases in CASES.items()}

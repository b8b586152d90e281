"""What each family of vectors computes: from the JSON input of a case to its JSON output, by the protocol's code.

In the files bytes are "0x…" and integers that JSON readers may round (2^53 and more) are decimal text.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Final

from protocol.crypto.envelope import seal
from protocol.crypto.keys import NodeKey
from protocol.crypto.sealing import seal_body, seal_key, seal_picture, sealing_key_of
from protocol.crypto.typed_data import Domain, digest, sign
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.stake.epoch import acceptable_epochs, beacon, beacon_cutoff, epoch_at, epoch_start, table_cutoff
from protocol.stake.field import Field
from protocol.stake.lottery import award_at, ignores_warmth, order, slot_ms, task_id, ticket
from protocol.stake.table import StakeRow, StakeTable
from protocol.task.acceptance import sign_acceptance
from protocol.task.distance import Raster, distance, sketch_of
from protocol.task.fingerprint import fingerprint_root, opened, packed, steps_to_open
from protocol.task.inputs import check_input
from protocol.task.offer import offer_digest
from protocol.task.specification import specification_digest
from protocol.task.webp import check_webp
from protocol.units import Address, Digest, Epoch, Role, StakingId, UnixMillis, Wei
from protocol.wire import codec
from protocol.wire.fields import Frozen
from protocol.wire.messages import Offer, TaskSpecification
from tests.support.messages import MESSAGES, STATEMENTS
from tests.support.networks import network_params

Json = dict[str, Any]

PLACES: Final = {
    "gossip": codec.GOSSIP_PLACE,
    "work": codec.WORK_PLACE,
    "artifact": codec.ARTIFACT_PLACE,
    "capability": codec.CAPABILITY_PLACE,
    "specification": codec.SPECIFICATION_PLACE,
    "body": codec.BODY_PLACE,
    "app": codec.APP_PLACE,
    "coordinator": codec.COORDINATOR_PLACE,
}


def to_json(value: Any) -> Any:
    """Write bytes and large integers as text, tuples as lists."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**53:
        return str(value)
    return value


def from_json(value: Any) -> Any:
    """Read what ``to_json`` wrote: no other text in the vectors looks like bytes or is all digits."""
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, dict):
        return {key: from_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(from_json(inner) for inner in value)
    return value


def model_named(name: str) -> type[Frozen]:
    """Find a message or statement class by its name."""
    return next(model for model in (*MESSAGES, *STATEMENTS) if model.__name__ == name)


def _table(rows: Any) -> StakeTable:
    return StakeTable.of(
        StakeRow(StakingId(one["id"]), Address(one["address"]), Role(one["role"]), Wei(one["stake"]), one["active"])
        for one in rows
    )


def _epochs(given: Json) -> Json:
    params = network_params(epoch_s=given["epoch_s"], boundary_tolerance_s=given["boundary_tolerance_s"])
    now = UnixMillis(given["now"])
    epoch = epoch_at(now, params)
    return {
        "epoch": epoch,
        "epoch_start": epoch_start(epoch, params),
        "table_cutoff": table_cutoff(epoch, params),
        "beacon_cutoff": beacon_cutoff(epoch, params),
        "acceptable": acceptable_epochs(now, params),
    }


def _beacons(given: Json) -> Json:
    return {"beacon": beacon(given["block_hash"], Epoch(given["epoch"]))}


def _tables(given: Json) -> Json:
    table = _table(given["rows"])
    return {"root": table.root, "miners": [miner.id for miner in table.miners]}


def _tickets(given: Json) -> Json:
    network = Digest(given["network"])
    place = (StakingId(given["coordinator"]), Epoch(given["accepted_epoch"]), given["boot"], given["number"])
    drawn = ticket(network, Digest(given["beacon"]), *place)
    params = network_params(catalog_permille=50)
    return {
        "ticket": drawn,
        "task": task_id(network, *place),
        "ignores_warmth_at_50_permille": ignores_warmth(drawn, params),
    }


def _orders(given: Json) -> Json:
    params = network_params(
        field_dropout_permille=given["field_dropout_permille"], catalog_permille=given["catalog_permille"]
    )
    miners = _table(given["rows"]).miners
    field = Field.from_bytes(given["field"], len(miners))
    return {"order": order(miners, field, Digest(given["ticket"]), params)}


def _slots(given: Json) -> Json:
    arrival, t0 = UnixMillis(given["arrival"]), UnixMillis(given["t0"])
    return {
        "slot_ms": slot_ms(given["rank"], given["slot_step_ms"]),
        "award_at": award_at(given["rank"], arrival, t0, given["slot_step_ms"], given["allowance_ms"]),
    }


def _identities(given: Json) -> Json:
    key = NodeKey(given["secret"])
    return {"public_key": key.public_key, "address": key.address, "peer_id": key.peer_id}


def _statements(given: Json) -> Json:
    statement = model_named(given["statement"]).model_validate(given["fields"])
    domain = Domain(given["chain_id"], Address(given["contract"]))
    return {
        "type": type(statement).TYPE,
        "digest": digest(domain, statement),
        "signature": sign(NodeKey(given["secret"]), domain, statement),
    }


def _envelopes(given: Json) -> Json:
    return {"signature": seal(NodeKey(given["secret"]), Digest(given["network"]), given["body"])}


def _sealing(given: Json) -> Json:
    content_key, award = given["content_key"], Digest(given["award"])
    public, picture = sealing_key_of(given["secret"]), given["picture"]
    sealed_picture = seal_picture(content_key, award, picture, given["salt"])
    artifact = Digest(hashlib.sha256(sealed_picture).digest())
    return {
        "sealing_key": public,
        "sealed_body": seal_body(content_key, given["body"]),
        "sealed_key": seal_key(content_key, public, award, given["ephemeral"]),
        "sealed_picture": sealed_picture,
        "acceptance": sign_acceptance(NodeKey(given["app_key"]), Digest(given["network"]), award, artifact),
    }


def _specifications(given: Json) -> Json:
    return {"digest": specification_digest(given["encoded"], given["salt"])}


def _offers(given: Json) -> Json:
    offer = Offer.model_validate(given["offer"])
    drawn = (Epoch(given["epoch"]), Digest(given["root"]), Digest(hashlib.sha256(given["field"]).digest()))
    return {"digest": offer_digest(StakingId(given["coordinator"]), *drawn, given["model"], offer)}


def _messages(given: Json) -> Json:
    message = model_named(given["message"]).model_validate(given["fields"])
    return {"encoded": codec.encode(message)}


def _distances(given: Json) -> Json:
    one, other = (sketch_of(Raster(given["width"], given["height"], given[name])) for name in ("one", "other"))
    found = distance(one, other)
    return {"structure": found.structure, "colour": found.colour, "detail": found.detail, "total": found.total}


def _fingerprints(given: Json) -> Json:
    fingerprints = [packed(numbers) for numbers in given["steps"]]
    opening = opened(fingerprints, given["opened"])
    return {
        "root": fingerprint_root(fingerprints),
        "fingerprint": opening.fingerprint,
        "path": opening.path,
        "two_to_open": steps_to_open(Digest(given["beacon"]), Digest(given["commitment"]), len(fingerprints), 2),
    }


def _refusals(given: Json) -> Json:
    try:
        codec.decode(given["data"], PLACES[given["place"]])
    except InvalidMessage as error:
        return {"verdict": "reject", "rule": error.rule}
    except IgnoredMessage as error:
        return {"verdict": "ignore", "rule": error.rule}
    raise AssertionError("a refusal that is not refused")


def _steps(given: Json) -> Json:
    common = {"model": "tiny", "prompt": "a", "width": 64, "height": 64, "guidance": 1.0, "seed": 1}
    work = {"work": "image_to_image", "source": bytes(32)} if given["strength"] is not None else {}
    specification = TaskSpecification(**common, **work, steps=given["steps"], strength=given["strength"])
    return {"taken": specification.drawn_steps, "pixel_steps": specification.pixel_steps}


def _inputs(given: Json) -> Json:
    try:
        return {"size": check_input(given["data"])}
    except InvalidMessage as error:
        return {"rule": error.rule}


def _webp(given: Json) -> Json:
    try:
        check_webp(given["data"], given["width"], given["height"])
    except InvalidMessage as error:
        return {"rule": error.rule}
    return {"rule": None}


FAMILIES: Final[dict[str, Callable[[Json], Json]]] = {
    "epochs": _epochs,
    "beacons": _beacons,
    "tables": _tables,
    "tickets": _tickets,
    "orders": _orders,
    "slots": _slots,
    "identities": _identities,
    "statements": _statements,
    "envelopes": _envelopes,
    "specifications": _specifications,
    "offers": _offers,
    "messages": _messages,
    "refusals": _refusals,
    "sealing": _sealing,
    "distances": _distances,
    "fingerprints": _fingerprints,
    "steps": _steps,
    "inputs": _inputs,
    "webp": _webp,
}
"""Each family is one file, ``<name>.json``."""


def compute(family: str, given: Json) -> Json:
    """Give the JSON output of one case."""
    output: Json = to_json(FAMILIES[family](from_json(given)))
    return output

"""Inputs of the vectors of sealed orders."""

from typing import Any

NAME = b"o" * 16
SEALED_BODY = bytes(range(256)) + b"t" * 16


def sealed_messages(
    claim: dict[str, Any], award: dict[str, Any], offer: dict[str, Any], network: bytes, contract: bytes
) -> dict[str, dict[str, Any]]:
    """Give one message of each kind that is about a sealed order, around an award of this offer."""
    signature = bytes(range(65))
    return {
        "SealedBody": {"prompt": "a red heart, \N{RED APPLE}", "negative_prompt": "blue", "seed": 2**63 - 1},
        "SealedOrder": {"order": NAME, "sealed": SEALED_BODY, "size": [128, 96], "steps": 20, "api_key": "cuckoo-key"},
        "OrderKey": {"order": NAME, "attempt": 1, "award": b"a" * 32, "sealed_key": bytes(range(80))},
        "OrderAcceptance": {"order": NAME, "attempt": 1, "signature": signature},
        "OrderRejection": {"order": NAME, "attempt": 1},
        "OrderAwarded": {
            "order": NAME,
            "shown": {
                "network": network,
                "chain_id": 31337,
                "contract": contract,
                "claim": claim,
                "claim_signature": signature,
                "award": award,
                "award_signature": signature,
                "specification": b"an encoded specification",
                "salt": b"s" * 16,
                "capability": b"an encoded capability",
                "capability_signature": signature,
                "epoch": 2_833_333,
                "root": b"r" * 32,
                "field": b"\xff\x03",
                "offer": offer,
            },
        },
        "OrderSealed": {
            "order": NAME,
            "task": award["task"],
            "attempt": 1,
            "artifact": b"a" * 32,
            "media_type": "image/png",
            "size": 20_048,
        },
    }


SEALED_SPECIFICATION: dict[str, Any] = {
    "model": "pocket-emoji",
    "prompt": "",
    "width": 128,
    "height": 128,
    "steps": 20,
    "guidance": 7.5,
    "seed": 0,
    "version": 3,
    "sealed": SEALED_BODY,
}
_ONE: dict[str, Any] = {
    "content_key": bytes(range(32)),
    "secret": bytes(range(32, 64)),
    "ephemeral": bytes(range(64, 96)),
    "salt": bytes(range(96, 128)),
    "award": b"a" * 32,
    "body": b"a body",
    "picture": b"a picture",
    "app_key": b"\x01" * 32,
    "network": b"n" * 32,
}
SEALING: dict[str, dict[str, Any]] = {
    "short": _ONE,
    "for another award": _ONE | {"award": b"b" * 32},
    "body that fills a block but for its end": _ONE | {"body": b"b" * 255},
    "body of a whole block": _ONE | {"body": b"b" * 256},
    "nothing": _ONE | {"body": b"", "picture": b""},
}

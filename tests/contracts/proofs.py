"""Pairs of statements that contradict each other, one of each kind that Slashing punishes, and how to bring them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.crypto.keys import NodeKey
from protocol.wire.statements import (
    AwardStatement,
    CommitmentStatement,
    ReceiptStatement,
    Statement,
    VerdictStatement,
    VoucherStatement,
)
from tests.contracts.market import BOBS, COORDINATOR, Market, Sent, fields

SLASH_BPS = 500
"""What Parameters begins with."""
BOUNTY_BPS = 1000
JAIL_S = 125
"""An eighth of the unbonding delay."""


def commitment(**changed: Any) -> CommitmentStatement:
    given = {"award": b"a" * 32, "task": b"t" * 32, "attempt": 0, "miner": BOBS, "specification": b"s" * 32}
    given |= {"model": b"m" * 32, "artifact": b"f" * 32, "fingerprint": bytes(32)}
    return CommitmentStatement.model_validate(given | changed)


def award(**changed: Any) -> AwardStatement:
    given = {"claim": b"c" * 32, "task": b"t" * 32, "attempt": 0, "coordinator": COORDINATOR, "miner": BOBS}
    given |= {"offer": b"o" * 32, "specification": b"s" * 32, "price": 10**18}
    return AwardStatement.model_validate(given | changed)


def receipt(**changed: Any) -> ReceiptStatement:
    given = {"commitment": b"k" * 32, "task": b"t" * 32, "attempt": 0, "coordinator": COORDINATOR, "miner": BOBS}
    given |= {"artifact": b"f" * 32, "price": 10**18, "accepted": 1_700_000_000_000}
    return ReceiptStatement.model_validate(given | changed)


def verdict(**changed: Any) -> VerdictStatement:
    return VerdictStatement.model_validate({"dispute": 1, "round": 0, "juror": BOBS, "verdict": 1} | changed)


def voucher(**changed: Any) -> VoucherStatement:
    given = {"coordinator": COORDINATOR, "miner": BOBS, "cumulative": 10, "boot": 7, "sequence": 3, "issued_total": 20}
    return VoucherStatement.model_validate(given | changed)


@dataclass(frozen=True)
class Kind:
    """One kind of contradiction."""

    number: int
    name: str
    make: Callable[..., Statement]
    different: dict[str, Any]
    """What makes a second statement contradict the first."""
    elsewhere: dict[str, Any]
    """What makes it speak of something else, so that both are honest."""
    signer: str = "miner"

    def first(self) -> Statement:
        return self.make()

    def second(self, **changed: Any) -> Statement:
        return self.make(**(self.different | changed))

    @property
    def node(self) -> int:
        return COORDINATOR if self.signer == "coordinator" else BOBS

    def key(self, market: Market) -> NodeKey:
        return market.key if self.signer == "coordinator" else market.bobs_key

    @property
    def party(self) -> str:
        """Field that names the signer."""
        return {"two_verdicts": "juror"}.get(self.name, self.signer)


KINDS = (
    Kind(1, "two_commitments", commitment, {"artifact": b"g" * 32}, {"award": b"b" * 32}),
    Kind(2, "two_awards", award, {"miner": 3}, {"claim": b"d" * 32}, "coordinator"),
    Kind(3, "two_receipts", receipt, {"price": 1}, {"commitment": b"l" * 32}, "coordinator"),
    Kind(4, "two_verdicts", verdict, {"verdict": 2}, {"round": 1}),
    Kind(5, "two_vouchers", voucher, {"cumulative": 11}, {"sequence": 4}, "coordinator"),
)


def prove(
    market: Market,
    kind: Kind,
    first: Statement | None = None,
    second: Statement | None = None,
    *,
    signatures: tuple[bytes, bytes] | None = None,
    receiver: str | None = None,
    sender: str | None = None,
) -> Sent:
    """Bring a proof; by default a valid one, by carol for carol."""
    pair = (first or kind.first(), second or kind.second())
    signed = signatures or tuple(market.sign(statement, kind.key(market)) for statement in pair)
    world = market.world
    return world.anvil.send(
        sender or world.carol,
        world.slashing,
        f"prove_{kind.name}",
        *(fields(statement) for statement in pair),
        *signed,
        receiver or world.carol,
    )

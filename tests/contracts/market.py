"""One coordinator, two miners and a voter on a deployed network, and what they sign and send.

Alice owns coordinator 1 and its escrow; bob owns miner 2, carol miner 3; the treasury is the voter.
"""

from dataclasses import dataclass
from typing import Any

from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import sign
from protocol.units import CAI, StakingId, Wei
from protocol.wire.statements import Statement, VoucherStatement
from tests.contracts.conftest import COORDINATOR_MINIMUM, FAR, MINER_MINIMUM, World

COORDINATOR, BOBS, CAROLS = 1, 2, 3
"""Staking ids."""
ESCROW = 1000 * CAI
OWN = COORDINATOR_MINIMUM + 5000 * CAI
MINER_OWN = MINER_MINIMUM + 1000 * CAI

Sent = list[dict[str, Any]]


def fields(statement: Statement) -> tuple[Any, ...]:
    """Give a statement as the contracts take it."""
    return tuple(statement.__dict__[name] for name in type(statement).model_fields)


@dataclass
class Market:
    """The people's keys, and short ways to say what they do."""

    world: World
    key: NodeKey
    bobs_key: NodeKey
    carols_key: NodeKey

    @classmethod
    def open(cls, world: World) -> "Market":
        """Register everybody and fill the escrow."""
        market = cls(world, world.key(), world.key(), world.key())
        world.register(world.alice, OWN, role=2, node_key=market.key)
        world.register(world.bob, MINER_OWN, node_key=market.bobs_key)
        world.register(world.carol, MINER_OWN, node_key=market.carols_key)
        for person in (world.alice, world.treasury):
            for contract in (world.settlement, world.staking):
                world.anvil.send(person, world.cai, "approve", contract.address, 2**256 - 1)
        market.deposit(ESCROW)
        return market

    def voucher(self, cumulative: int, miner: int = BOBS, **changed: Any) -> VoucherStatement:
        given = {
            "coordinator": StakingId(COORDINATOR),
            "miner": StakingId(miner),
            "cumulative": Wei(cumulative),
            "boot": 1,
            "sequence": 1,
            "issued_total": Wei(cumulative),
        }
        return VoucherStatement.model_construct(**(given | changed))

    def sign(self, statement: Statement, key: NodeKey | None = None) -> bytes:
        return sign(key or self.key, self.world.domain, statement)

    def deposit(self, amount: int, sender: str | None = None, coordinator: int = COORDINATOR) -> Sent:
        return self.settle(sender or self.world.alice, "deposit", coordinator, amount)

    def settle(self, sender: str, function: str, *arguments: Any) -> Sent:
        """Send to Settlement."""
        return self.world.anvil.send(sender, self.world.settlement, function, *arguments)

    def redeem(self, voucher: VoucherStatement, signature: bytes | None = None, sender: str | None = None) -> Sent:
        signed = self.sign(voucher) if signature is None else signature
        return self.settle(sender or self.world.bob, "redeem", fields(voucher), signed)

    def redeem_many(self, *vouchers: VoucherStatement, sender: str | None = None) -> Sent:
        signatures = [self.sign(voucher) for voucher in vouchers]
        return self.settle(sender or self.world.bob, "redeem_many", [fields(v) for v in vouchers], signatures)

    def read(self, function: str, *arguments: Any) -> Any:
        """Read from Settlement."""
        return self.world.anvil.read(self.world.settlement, function, *arguments)

    def escrow(self) -> int:
        return self.read("escrow", COORDINATOR)

    def owed(self) -> int:
        return self.read("owed", COORDINATOR)

    def streaming(self, miner: int = BOBS) -> int:
        """Wei that still streams to a node."""
        return self.world.anvil.read(self.world.staking, "standing", miner)[10]

    def rotate(self, coordinator: int = COORDINATOR, owner: str | None = None) -> NodeKey:
        """Give the coordinator a new key; the old one stays ``key``."""
        fresh, owner = self.world.key(), owner or self.world.alice
        consent = self.world.consent(fresh, owner, 2)
        address = "0x" + fresh.address.hex()
        self.world.anvil.send(owner, self.world.staking, "rotate_key", coordinator, address, FAR, consent)
        return fresh

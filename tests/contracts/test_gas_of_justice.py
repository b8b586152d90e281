"""What Settlement, Slashing and Disputes cost, from receipts."""

from typing import Any

import pytest

from protocol.crypto.typed_data import sign
from protocol.units import CAI
from tests.contracts import gas
from tests.contracts.conftest import COORDINATOR_MINIMUM, MINER_MINIMUM, UNBONDING_DELAY_S, World
from tests.contracts.court import APPEAL_SEATS, DRAWING, SEATS, Court
from tests.contracts.market import CAROLS, COORDINATOR, ESCROW, Market, fields
from tests.contracts.proofs import KINDS, prove, voucher

pytestmark = pytest.mark.usefixtures("steady_clock")


def test_settlement__every_operation__costs_no_more_than_the_table_says(world: World):
    world.keys = 2000
    market, measured = Market.open(world), dict[str, int]()
    measured["deposit, first"] = world.anvil.gas

    def note(name: str, _: object) -> None:
        measured[name] = world.anvil.gas

    world.begin_epoch()  # the first settlement of an epoch costs more: let it always be at the same place
    note("deposit", market.deposit(1))
    note("redeem, first of a pair", market.redeem(market.voucher(CAI)))
    note("redeem", market.redeem(market.voucher(2 * CAI)))
    many = Court(world)
    owner = many.person(0)
    for _ in range(64):
        world.register(owner, MINER_MINIMUM + 1)
    for first, count in ((4, 16), (4, 64)):
        batch = [market.voucher(CAI, first + number) for number in range(count)]
        with world.anvil.unchanged():
            world.begin_epoch()
            note(f"redeem_many, {count} miners of one coordinator", market.redeem_many(*batch))
    several = [(68 + number, world.key()) for number in range(16)]
    for node, key in several:
        world.register(world.treasury, COORDINATOR_MINIMUM + 1, role=2, node_key=key)
        market.deposit(CAI, coordinator=node)
    vouchers = [market.voucher(CAI, coordinator=node) for node, _ in several]
    signatures = [market.sign(given, key) for given, (_, key) in zip(vouchers, several, strict=True)]
    world.begin_epoch()
    sent = market.settle(world.bob, "redeem_many", [fields(given) for given in vouchers], signatures)
    note("redeem_many, 16 coordinators to one miner", sent)
    note("request_withdrawal", market.settle(world.alice, "request_withdrawal", COORDINATOR, CAI))
    note("cancel_withdrawal", market.settle(world.alice, "cancel_withdrawal", COORDINATOR))
    market.settle(world.alice, "request_withdrawal", COORDINATOR, CAI)
    world.anvil.wait(UNBONDING_DELAY_S)
    world.begin_epoch()
    note("withdraw", market.settle(world.alice, "withdraw", COORDINATOR))
    note("redeem, into debt", market.redeem(market.voucher(2 * ESCROW, CAROLS)))
    world.anvil.wait(UNBONDING_DELAY_S)
    world.begin_epoch()
    note("meet_debt", market.settle(world.bob, "meet_debt", COORDINATOR, []))
    note("redeem, out of debt", market.redeem(market.voucher(2 * ESCROW, CAROLS)))
    gas.compare("Settlement", measured)


def test_slashing__every_proof__costs_no_more_than_the_table_says(world: World):
    world.keys = 3000
    market, measured = Market.open(world), dict[str, int]()
    world.begin_epoch()
    for kind in KINDS:
        prove(market, kind)
        measured[f"prove_{kind.name}"] = world.anvil.gas

    def signed(**changed: int) -> tuple[Any, ...]:
        statement = voucher(**changed)
        return fields(statement), sign(market.key, world.domain, statement)

    for count in (1, 8):
        rises = [
            (
                signed(boot=count, miner=miner, sequence=miner, cumulative=0),
                signed(boot=count, miner=miner, sequence=20 + miner, cumulative=9),
            )
            for miner in range(1, count + 1)
        ]
        early, late = signed(boot=count, sequence=0), signed(boot=count, sequence=40)
        world.anvil.send(world.carol, world.slashing, "prove_understated", early, late, rises, world.carol)
        measured[f"prove_understated, {count} miners"] = world.anvil.gas
    gas.compare("Slashing", measured)


def test_disputes__every_operation__costs_no_more_than_the_table_says(world: World):
    """A draw costs what the hash of a block lets it: counted are the most tries of one call, which find nobody."""
    world.keys = 4000
    court, measured = Court.open(world), dict[str, int]()

    def note(name: str, _: object) -> None:
        measured[name] = world.anvil.gas

    world.begin_epoch()
    dispute = court.report()
    measured["report"] = world.anvil.gas
    jurors = court.seat_all(dispute)
    note("vote, one juror", court.vote(dispute, {jurors[0]: 1}))
    note("vote, the other four", court.vote(dispute, dict.fromkeys(jurors[1:], 1)))
    note("close, five jurors", court.close(dispute))
    note("appeal", court.appeal(dispute))
    court.mine()
    while court.status(dispute) == DRAWING:
        court.draw(dispute)
    court.vote(dispute, dict.fromkeys(court.jurors(dispute), 1), 1)
    assert court.panel(dispute, 1)["wrong"] == APPEAL_SEATS > SEATS
    note("close, eleven jurors", court.close(dispute))
    world.begin_epoch()
    note("execute", court.execute(dispute))
    second = court.report()
    for node in range(5, len(court.owners) + 1):
        world.unvote(court.owners[node], node, court.stake(node) - 1)
    court.mine()
    court.draw(second, 1)
    note("draw, 128 tries that find nobody", court.draw(second))
    gas.compare("Disputes", measured)

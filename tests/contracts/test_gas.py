"""What Staking and Parameters cost, from receipts, in one story that makes each operation both cheap and dear."""

import json

import pytest

from protocol.units import CAI
from tests.contracts import gas
from tests.contracts.conftest import MINER_MINIMUM, PARAMETER_DELAY_S, UNBONDING_DELAY_S, World

pytestmark = pytest.mark.usefixtures("steady_clock")
OWN = MINER_MINIMUM + 10 * CAI


def test_staking__every_operation__costs_no_more_than_the_table_says(world: World):
    anvil, measured = world.anvil, {}
    world.keys = 1000
    world.begin_epoch()

    def note(name: str) -> None:
        measured[name] = anvil.gas

    def as_person(person: str, function: str, *arguments: object, note_as: str) -> None:
        anvil.next_at(anvil.now() + 3)
        anvil.send(person, world.staking, function, *arguments)
        note(note_as)

    def rotate(note_as: str) -> None:
        key = world.key()
        consent = world.consent(key, world.alice)
        as_person(world.alice, "rotate_key", 1, "0x" + key.address.hex(), 2**40, consent, note_as=note_as)

    world.fund(10**6 * CAI)
    note("fund_emission, first")
    world.begin_epoch()
    world.register(world.alice, OWN, profile="")
    note("register a miner, without profile")
    world.vote(world.bob, 1, 100 * CAI)
    note("vote, first on this node")
    for _ in range(2):  # the second time every slot is in use
        world.begin_epoch()
        as_person(world.bob, "vote", 1, CAI, note_as="vote, again, first settlement of an epoch after votes")
        as_person(world.bob, "vote", 1, CAI, note_as="vote, again")
        as_person(world.alice, "vote", 1, CAI, note_as="vote, by the owner")
    world.begin_epoch()
    as_person(world.bob, "claim", 1, note_as="claim, first settlement of an epoch after votes")
    as_person(world.bob, "claim", 1, note_as="claim")
    as_person(world.alice, "claim", 1, note_as="claim, by the owner")
    as_person(world.bob, "claim_many", [1], note_as="claim_many, one node")
    as_person(world.carol, "poke", 1, note_as="poke")
    world.pay(1, CAI)
    note("pay, first")
    world.pay(1, CAI)
    note("pay, while streaming")
    as_person(world.bob, "claim", 1, note_as="claim, while streaming")
    as_person(world.bob, "unvote", 1, CAI, note_as="unvote, first")
    as_person(world.bob, "unvote", 1, CAI, note_as="unvote")
    as_person(world.alice, "set_profile", 1, "{}", note_as="set_profile")
    as_person(world.alice, "set_commission", 1, 500, note_as="set_commission")
    rotate("rotate_key")
    world.by(world.disputes, "freeze", 1, anvil.now() + 10)
    note("freeze")
    world.by(world.settlement, "set_debt", 1, True)
    note("set_debt")
    world.by(world.settlement, "set_debt", 1, False)
    world.by(world.slashing, "slash", 1, 1, world.carol, 1000)
    note("slash")
    world.by(world.slashing, "jail", 1, 0, "two awards")
    note("jail")
    as_person(world.alice, "unjail", 1, note_as="unjail")
    as_person(world.alice, "unvote", 1, CAI, note_as="unvote, by the owner")
    world.by(world.settlement, "seize", 1, 2 * MINER_MINIMUM, [0])
    note("seize, bonded and one unbonding")
    anvil.wait(UNBONDING_DELAY_S)
    as_person(world.carol, "withdraw", world.bob, 0, note_as="withdraw")
    gas.compare("Staking", measured)


def test_parameters__every_operation__costs_no_more_than_the_table_says(world: World):
    measured = {}
    for function, sender, arguments in (
        ("propose", world.treasury, (4, 300)),
        ("cancel", world.treasury, (4,)),
        ("propose", world.treasury, (4, 300)),
        ("enact", world.bob, (4,)),
    ):
        world.anvil.wait(PARAMETER_DELAY_S)
        world.anvil.send(sender, world.parameters, function, *arguments)
        measured[function] = world.anvil.gas
    gas.compare("Parameters", measured)


@pytest.mark.parametrize(("now", "is_refused"), [(105, False), (106, True), (1, False)])
def test_compare__rise_above_5_percent__is_refused(
    tmp_path, monkeypatch: pytest.MonkeyPatch, now: int, is_refused: bool
):
    monkeypatch.setattr(gas, "TABLE", tmp_path / "gas.json")
    monkeypatch.delenv("CUCKOO_GAS", raising=False)
    gas.TABLE.write_text(json.dumps({"X": {"act": 100}}))
    if is_refused:
        with pytest.raises(AssertionError, match="gas has risen"):
            gas.compare("X", {"act": now})
    else:
        gas.compare("X", {"act": now})

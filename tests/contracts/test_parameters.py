"""Parameters: a closed list with bounds, changed by the owner after a delay, and by nobody else."""

import pytest

from contracts.bindings import load
from protocol.units import CAI
from tests.contracts.conftest import PARAMETER_DELAY_S, UNBONDING_DELAY_S, World
from tests.support.anvil import Contract, Reverted

DAY = 86_400
COUNT = 12
LIMITS = {
    "emission rate": (1, CAI, 0, 32 * CAI),
    "commission maximum": (2, 3000, 1000, 5000),
    "proven slash": (3, 500, 100, 1000),
    "quorum slash": (4, 200, 50, 500),
    "bounty": (5, 1000, 0, 1000),
    "jail time": (6, UNBONDING_DELAY_S // 8, UNBONDING_DELAY_S // 16, 30 * DAY),
    "dispute bond": (7, 1000 * CAI, CAI, 100_000 * CAI),
    "jurors": (8, 5, 3, 15),
    "appeal bond": (9, 5000 * CAI, CAI, 500_000 * CAI),
    "verdict window": (10, UNBONDING_DELAY_S // 8, UNBONDING_DELAY_S // 16, UNBONDING_DELAY_S // 4),
    "appeal window": (11, UNBONDING_DELAY_S // 8, UNBONDING_DELAY_S // 16, UNBONDING_DELAY_S // 4),
    "quorum cap": (12, 100, 10, 500),
}


def value(world: World, parameter: int) -> int:
    return world.anvil.read(world.parameters, "value", parameter)


def propose(world: World, parameter: int, proposed: int) -> list[dict]:
    return world.anvil.send(world.treasury, world.parameters, "propose", parameter, proposed)


def enact(world: World, parameter: int) -> list[dict]:
    return world.anvil.send(world.bob, world.parameters, "enact", parameter)


@pytest.mark.parametrize("name", LIMITS)
def test_value__never_changed__is_the_default_inside_the_bounds(world: World, name: str):
    parameter, default, least, most = LIMITS[name]
    assert value(world, parameter) == default
    assert world.anvil.read(world.parameters, "bounds", parameter) == (least, most)
    assert world.anvil.read(world.parameters, "pending", parameter) == (0, 0)


@pytest.mark.parametrize("name", LIMITS)
def test_propose__at_the_bounds__is_taken_and_beyond_is_refused(world: World, name: str):
    parameter, _, least, most = LIMITS[name]
    for good in (least, most):
        propose(world, parameter, good)
    for bad in {max(0, least - 1), most + 1, 2**256 - 1} - {least}:
        with pytest.raises(Reverted, match="outside the parameter's bounds"):
            propose(world, parameter, bad)


@pytest.mark.parametrize("parameter", [0, COUNT + 1, 2**256 - 1])
def test_every_function__id_of_no_parameter__is_refused(world: World, parameter: int):
    with pytest.raises(Reverted, match="no parameter has this id"):
        propose(world, parameter, 1)
    for function in ("value", "bounds"):
        with pytest.raises(Reverted, match="no parameter has this id"):
            world.anvil.read(world.parameters, function, parameter)
    for sender, function in ((world.treasury, "cancel"), (world.bob, "enact")):
        with pytest.raises(Reverted, match="nothing is proposed"):
            world.anvil.send(sender, world.parameters, function, parameter)


def test_enact__from_the_second_in_which_the_delay_is_over__holds(world: World):
    proposed = propose(world, 4, 300)[0]
    ready = proposed["ready_at"]
    assert proposed == {"event": "Proposed", "parameter": 4, "value": 300, "ready_at": ready}
    assert ready == world.anvil.now() + PARAMETER_DELAY_S
    assert world.anvil.read(world.parameters, "pending", 4) == (300, ready)
    world.anvil.next_at(ready - 1)
    with pytest.raises(Reverted, match="delay of this proposal is not over"):
        enact(world, 4)
    assert value(world, 4) == 200
    world.anvil.next_at(ready)
    assert enact(world, 4) == [{"event": "Enacted", "parameter": 4, "before": 200, "value": 300}]
    assert value(world, 4) == 300
    with pytest.raises(Reverted, match="nothing is proposed"):
        enact(world, 4)


def test_enact__zero__holds_and_is_not_the_default(world: World):
    propose(world, 1, 0)
    world.anvil.wait(PARAMETER_DELAY_S)
    enact(world, 1)
    assert value(world, 1) == 0


def test_propose__again__starts_the_delay_anew(world: World):
    propose(world, 4, 300)
    world.anvil.wait(PARAMETER_DELAY_S)
    propose(world, 4, 400)
    with pytest.raises(Reverted, match="delay of this proposal is not over"):
        enact(world, 4)
    world.anvil.wait(PARAMETER_DELAY_S)
    enact(world, 4)
    assert value(world, 4) == 400


def test_cancel__a_proposal__can_no_longer_be_enacted(world: World):
    propose(world, 4, 300)
    cancelled = world.anvil.send(world.treasury, world.parameters, "cancel", 4)
    assert cancelled == [{"event": "Cancelled", "parameter": 4, "value": 300}]
    world.anvil.wait(PARAMETER_DELAY_S)
    with pytest.raises(Reverted, match="nothing is proposed"):
        enact(world, 4)


def test_propose_and_cancel__by_anybody_but_the_owner__are_refused(world: World):
    propose(world, 4, 300)
    for function, arguments in (("propose", (4, 300)), ("cancel", (4,))):
        with pytest.raises(Reverted, match="caller is not the owner"):
            world.anvil.send(world.bob, world.parameters, function, *arguments)


def test_ownership__goes_over_in_two_steps(world: World):
    world.anvil.send(world.treasury, world.parameters, "transfer_ownership", world.bob)
    assert world.anvil.read(world.parameters, "owner") == world.treasury.lower()
    with pytest.raises(Reverted, match="not the new owner"):
        world.anvil.send(world.carol, world.parameters, "accept_ownership")
    world.anvil.send(world.bob, world.parameters, "accept_ownership")
    with pytest.raises(Reverted, match="caller is not the owner"):
        propose(world, 4, 300)
    world.anvil.send(world.bob, world.parameters, "propose", 4, 300)


@pytest.mark.parametrize("function", ["transfer_ownership", "renounce_ownership"])
def test_ownership__given_away_by_anybody_but_the_owner__is_refused(world: World, function: str):
    arguments = (world.bob,) if function == "transfer_ownership" else ()
    with pytest.raises(Reverted, match="caller is not the owner"):
        world.anvil.send(world.bob, world.parameters, function, *arguments)
    assert world.anvil.read(world.parameters, "owner") == world.treasury.lower()


def test_renounce_ownership__nothing_can_be_proposed_any_more(world: World):
    world.anvil.send(world.treasury, world.parameters, "renounce_ownership")
    with pytest.raises(Reverted, match="caller is not the owner"):
        propose(world, 4, 300)


@pytest.mark.parametrize(
    ("unbonding_delay", "delay", "reason"),
    [
        (15, 100, "unbonding delay is not in"),
        (90 * DAY + 1, 100 * DAY, "unbonding delay is not in"),
        (100, 99, "shorter than the unbonding delay"),
        (100, 180 * DAY + 1, "above 180 days"),
    ],
)
def test_constructor__senseless_delays__are_refused(world: World, unbonding_delay: int, delay: int, reason: str):
    with pytest.raises(Reverted, match=reason):
        world.anvil.deploy(load("Parameters"), unbonding_delay, delay)


@pytest.mark.parametrize(("unbonding_delay", "delay"), [(16, 16), (90 * DAY, 180 * DAY)])
def test_constructor__delays_at_their_limits__are_taken_and_all_defaults_are_inside_the_bounds(
    world: World, unbonding_delay: int, delay: int
):
    parameters: Contract = world.anvil.deploy(load("Parameters"), unbonding_delay, delay)
    assert world.anvil.read(parameters, "delay") == delay
    assert world.anvil.read(parameters, "unbonding_delay") == unbonding_delay
    for parameter in range(1, COUNT + 1):
        least, most = world.anvil.read(parameters, "bounds", parameter)
        assert least <= world.anvil.read(parameters, "value", parameter) <= most
    assert world.anvil.read(parameters, "bounds", 10)[0] > 0

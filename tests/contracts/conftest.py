"""The contracts deployed once on a real anvil; each test gets them untouched."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from contracts.bindings import load
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.units import CAI, Address
from protocol.wire.statements import Registration
from tests.contracts.specification import said_of
from tests.support.anvil import Anvil, Contract, anvil_process  # noqa: F401 a fixture

if TYPE_CHECKING:
    from tests.contracts.court import Court
    from tests.contracts.market import Market

MINER_MINIMUM = 20_000 * CAI
COORDINATOR_MINIMUM = 2_000_000 * CAI
UNBONDING_DELAY_S = 1000
PARAMETER_DELAY_S = 1200
EPOCH_S = 100
STREAM_S = 400
ESCROW_NOTICE_S = 500
FAR = 2**40
"""A deadline (unix s) that never passes."""


def raw(address: str) -> Address:
    return Address(bytes.fromhex(address[2:]))


@dataclass
class World:
    """One deployed network, and people with 10,000,000 CAI each who have approved the staking contract."""

    anvil: Anvil
    cai: Contract
    parameters: Contract
    staking: Contract
    settlement: Contract
    slashing: Contract
    disputes: Contract
    faucet: Contract
    treasury: str
    alice: str
    bob: str
    carol: str
    keys: int = field(default=0)

    def key(self) -> NodeKey:
        """Make a fresh node key."""
        self.keys += 1
        return NodeKey(self.keys.to_bytes(32, "big"))

    @property
    def domain(self) -> Domain:
        return Domain(31_337, raw(self.staking.address))

    def consent(self, key: NodeKey, owner: str, role: int = 1, deadline: int = FAR) -> bytes:
        return sign(key, self.domain, Registration(owner=raw(owner), role=role, deadline=deadline))

    def register(self, owner: str, stake: int, role: int = 1, **changed: Any) -> list[dict[str, Any]]:
        """Register a node as it should be, but for what is changed."""
        key = changed.pop("node_key", None) or self.key()
        arguments: dict[str, Any] = {
            "role": role,
            "key": "0x" + key.address.hex(),
            "deadline": FAR,
            "signature": changed["signature"] if "signature" in changed else self.consent(key, owner, role),
            "amount": stake,
            "profile": '{"name":"x"}',
        } | changed
        return self.anvil.send(owner, self.staking, "register", *arguments.values())

    def vote(self, voter: str, node_id: int, amount: int) -> list[dict[str, Any]]:
        return self.anvil.send(voter, self.staking, "vote", node_id, amount)

    def unvote(self, voter: str, node_id: int, amount: int) -> list[dict[str, Any]]:
        return self.anvil.send(voter, self.staking, "unvote", node_id, amount)

    def withdraw(self, voter: str, index: int) -> list[dict[str, Any]]:
        return self.anvil.send(voter, self.staking, "withdraw", voter, index)

    def by(self, caller: Contract, function: str, *arguments: Any) -> list[dict[str, Any]]:
        """Call the staking contract as one of the contracts that are connected to it."""
        self.anvil.impersonate(caller.address)
        return self.anvil.send(caller.address, self.staking, function, *arguments)

    def pay(self, node_id: int, amount: int) -> list[dict[str, Any]]:
        """Pay a node as Settlement does, with CAI of the treasury's."""
        self.anvil.send(self.treasury, self.cai, "transfer", self.settlement.address, amount)
        self.anvil.impersonate(self.settlement.address)
        self.anvil.send(self.settlement.address, self.cai, "approve", self.staking.address, amount)
        return self.by(self.settlement, "pay", node_id, amount)

    def fund(self, amount: int) -> list[dict[str, Any]]:
        """Put CAI of the treasury's into the pool of the emission."""
        self.anvil.send(self.treasury, self.cai, "approve", self.staking.address, amount)
        return self.anvil.send(self.treasury, self.staking, "fund_emission", amount)

    def begin_epoch(self) -> int:
        """Go to the first second of the next epoch; gives it."""
        first = (self.anvil.now() // EPOCH_S + 1) * EPOCH_S
        self.anvil.next_at(first)
        self.anvil.rpc("evm_mine")
        return first

    def earned(self, node_id: int, account: str) -> int:
        return self.anvil.read(self.staking, "earned", node_id, account)

    def standing(self, node_id: int) -> dict[str, Any]:
        names = ("price", "bonded_shares", "own_shares", "unbonding_shares", "commission", "next_commission")
        names += ("next_commission_at", "jailed_until", "frozen_until", "in_debt", "stream_left", "stream_end")
        return dict(zip(names, self.anvil.read(self.staking, "standing", node_id), strict=True))

    def node(self, node_id: int) -> dict[str, Any]:
        names = ("owner", "key", "role", "active", "self_stake", "effective_stake")
        return dict(zip(names, self.anvil.read(self.staking, "node", node_id), strict=True))

    def balance(self, holder: str) -> int:
        return self.anvil.read(self.cai, "balanceOf", holder)


@pytest.fixture(scope="session")
def deployed(anvil_process: Anvil) -> World:  # noqa: F811 the fixture
    anvil = anvil_process
    treasury, alice, bob, carol = anvil.accounts[:4]
    cai = anvil.deploy(load("CAI"), treasury)
    parameters = anvil.deploy(load("Parameters"), UNBONDING_DELAY_S, PARAMETER_DELAY_S)
    terms = (MINER_MINIMUM, COORDINATOR_MINIMUM, EPOCH_S, STREAM_S)
    staking = anvil.deploy(load("Staking"), cai.address, parameters.address, *terms)
    settlement = anvil.deploy(load("Settlement"), staking.address, ESCROW_NOTICE_S)
    slashing = anvil.deploy(load("Slashing"), staking.address)
    disputes = anvil.deploy(load("Disputes"), staking.address)
    anvil.send(treasury, staking, "connect", settlement.address, slashing.address, disputes.address)
    faucet = anvil.deploy(load("Faucet"), cai.address, 25_000 * CAI)
    for person in (alice, bob, carol):
        anvil.send(treasury, cai, "transfer", person, 10_000_000 * CAI)
        anvil.send(person, cai, "approve", staking.address, 2**256 - 1)
    contracts = (cai, parameters, staking, settlement, slashing, disputes, faucet)
    return World(anvil, *contracts, treasury, alice, bob, carol)


@pytest.fixture
def steady_clock(anvil_process: Anvil) -> Iterator[None]:  # noqa: F811 the fixture
    """Make epochs begin at the same operation of a story, however busy this machine is: the first one costs more."""
    with anvil_process.steady():
        yield


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.anvil.unchanged():
        yield deployed


@pytest.fixture(scope="module")
def opened_market(deployed: World) -> Iterator["Market"]:
    """A market of a module, which may put one of its own in this place."""
    from tests.contracts.market import Market  # which builds on this file

    with deployed.anvil.unchanged():
        yield Market.open(deployed)


@pytest.fixture
def market(opened_market: "Market") -> Iterator["Market"]:
    with opened_market.world.anvil.unchanged():
        yield opened_market


@pytest.fixture(scope="module")
def opened_court(deployed: World) -> Iterator["Court"]:
    """A court of a module, which may put one of its own in this place."""
    from tests.contracts.court import Court  # which builds on this file

    with deployed.anvil.unchanged():
        yield Court.open(deployed)


@pytest.fixture
def court(opened_court: "Court") -> Iterator["Court"]:
    with opened_court.put_back() as court:
        yield court


@pytest.fixture(autouse=True)
def _does_what_the_specification_says(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that contracts/SPEC.md §15 names and that does not send what it is named for, with that outcome.

    A parametrized test shows it for some of the functions that name it, any other one for all.
    """
    said = said_of(request.function.__name__)
    if not said:
        yield
        return
    anvil: Anvil = request.getfixturevalue("anvil_process")
    anvil.sent.clear()
    yield
    missing = sorted(said - set(anvil.sent))
    is_shown = len(missing) < len(said) if hasattr(request.node, "callspec") else not missing
    assert is_shown, f"contracts/SPEC.md names this test for what it does not do: {missing}"

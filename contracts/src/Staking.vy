# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Staking
@notice Who takes part in the network, and with how much stake behind it.
        A node is a hot key that an owner registers in a role with a stake of its own. Anybody may vote for any node;
        own stake and votes together are its effective stake, its weight in every draw.
@dev Everything that changes the stake table is told by one event, `NodeChanged`, which carries the node's whole
     row after the change: a follower needs no other event. Spec: contracts/SPEC.md.
"""
from ethereum.ercs import IERC20
from snekmate.utils import ecdsa
from snekmate.utils import eip712_domain_separator

initializes: eip712_domain_separator

exports: eip712_domain_separator.eip712Domain


struct Node:
    owner: address
    # The hot key's address. It signs for the node and can move no token.
    key: address
    role: uint8
    # Own stake above the role's minimum.
    active: bool
    # What the owner staked on its own node, in wei.
    self_stake: uint256
    # Own stake and votes, in wei: the node's weight.
    effective_stake: uint256


struct Unbonding:
    # The node that the stake was taken from.
    id: uint256
    # In wei; 0 once withdrawn.
    amount: uint256
    # Unix seconds from which it can be withdrawn.
    release_at: uint256


event Registered:
    id: indexed(uint256)
    owner: indexed(address)
    key: indexed(address)
    role: uint8
    profile: String[512]

event NodeChanged:
    id: indexed(uint256)
    owner: address
    key: address
    role: uint8
    effective_stake: uint256
    self_stake: uint256
    active: bool

event ProfileChanged:
    id: indexed(uint256)
    profile: String[512]

event Voted:
    id: indexed(uint256)
    voter: indexed(address)
    amount: uint256
    stake_after: uint256

event Unvoted:
    id: indexed(uint256)
    voter: indexed(address)
    amount: uint256
    stake_after: uint256
    index: uint256
    release_at: uint256

event Withdrawn:
    voter: indexed(address)
    index: uint256
    amount: uint256


MINER: constant(uint8) = 1
COORDINATOR: constant(uint8) = 2
# Rows that one page may hold: bounds the gas of a read.
MAX_PAGE: constant(uint256) = 128
# Longest unbonding delay that can be deployed: a typing error must not lock stakes for years.
MAX_UNBONDING_DELAY: constant(uint256) = 90 * 86_400
REGISTRATION_TYPE_HASH: constant(bytes32) = keccak256("Registration(address owner,uint8 role,uint256 deadline)")

TOKEN: immutable(IERC20)
MINER_MINIMUM: immutable(uint256)
COORDINATOR_MINIMUM: immutable(uint256)
UNBONDING_DELAY: immutable(uint256)

# How many nodes were ever registered; ids run from 1 to this number.
node_count: public(uint256)
# Id of the node that has this hot key; 0 means none.
id_by_key: public(HashMap[address, uint256])
# What an address has staked on a node, in wei.
stake_of: public(HashMap[uint256, HashMap[address, uint256]])
# Sum of all effective stakes, in wei.
total_staked: public(uint256)
# Sum of all that is taken back and not withdrawn, in wei.
total_unbonding: public(uint256)
# How many times an address has taken stake back; its unbondings have the indices below this number.
unbonding_count: public(HashMap[address, uint256])
# Name, description, site and contact of a node, as JSON. Not checked here.
profile: public(HashMap[uint256, String[512]])

_nodes: HashMap[uint256, Node]
_unbondings: HashMap[address, HashMap[uint256, Unbonding]]


@deploy
def __init__(token: address, miner_minimum: uint256, coordinator_minimum: uint256, unbonding_delay: uint256):
    """
    @param token The CAI token.
    @param miner_minimum A miner is active while its own stake is above this, in wei.
    @param coordinator_minimum A coordinator is active while its own stake is above this, in wei.
    @param unbonding_delay Seconds between taking stake back and withdrawing it.
    """
    assert token.is_contract, "Staking: token is not a contract"
    assert 0 < miner_minimum and miner_minimum <= coordinator_minimum, "Staking: minimums are zero or swapped"
    assert 0 < unbonding_delay and unbonding_delay <= MAX_UNBONDING_DELAY, "Staking: delay is not in 1 s to 90 days"
    eip712_domain_separator.__init__("Cuckoo", "1")
    TOKEN = IERC20(token)
    MINER_MINIMUM = miner_minimum
    COORDINATOR_MINIMUM = coordinator_minimum
    UNBONDING_DELAY = unbonding_delay


@external
def register(
    role: uint8, key: address, deadline: uint256, signature: Bytes[65], amount: uint256, profile: String[512]
) -> uint256:
    """
    @notice Registers a node that belongs to the caller and stakes the caller's CAI on it.
    @param role 1 for a miner, 2 for a coordinator.
    @param key Address of the node's hot key; never used before and not the caller's own.
    @param deadline Unix seconds until which the signature holds.
    @param signature The hot key's EIP-712 signature of Registration(owner, role, deadline), 65 bytes.
    @param amount Own stake in wei, more than the role's minimum. Approve this contract for it first.
    @param profile Name, description, site and contact as JSON; may be empty.
    @return The node's id.
    """
    assert role == MINER or role == COORDINATOR, "Staking: role must be 1 (miner) or 2 (coordinator)"
    # An unusable signature recovers to the zero address, so that must never count as a key.
    assert key != empty(address), "Staking: the node key is the zero address"
    assert key != msg.sender, "Staking: the node key must differ from the owner's"
    assert self.id_by_key[key] == 0, "Staking: this node key is registered already"
    assert block.timestamp <= deadline, "Staking: the registration's deadline has passed"
    # One form only: snekmate would take the 64 bytes of EIP-2098 as well.
    assert len(signature) == 65, "Staking: a signature has 65 bytes"
    digest: bytes32 = self._registration_digest(msg.sender, role, deadline)
    assert ecdsa._recover_sig(digest, signature) == key, "Staking: not signed by the node key"
    assert amount > self._minimum(role), "Staking: own stake must be above the minimum"

    id: uint256 = self.node_count + 1
    self.node_count = id
    self.id_by_key[key] = id
    self._nodes[id] = Node(owner=msg.sender, key=key, role=role, active=False, self_stake=0, effective_stake=0)
    self.profile[id] = profile
    log Registered(id=id, owner=msg.sender, key=key, role=role, profile=profile)
    self._add_stake(id, amount)
    return id


@external
def set_profile(id: uint256, profile: String[512]):
    """
    @notice Replaces the profile of the caller's node.
    @param id The node.
    @param profile Name, description, site and contact as JSON; may be empty.
    """
    assert self._nodes[id].owner == msg.sender, "Staking: only the node's owner may do this"
    self.profile[id] = profile
    log ProfileChanged(id=id, profile=profile)


@external
def vote(id: uint256, amount: uint256):
    """
    @notice Stakes the caller's CAI on a node. By the node's owner it is own stake, by anybody else a vote.
    @param id The node.
    @param amount In wei. Approve this contract for it first.
    """
    assert self._nodes[id].owner != empty(address), "Staking: no node has this id"
    assert amount > 0, "Staking: amount is zero"
    self._add_stake(id, amount)


@external
def unvote(id: uint256, amount: uint256) -> uint256:
    """
    @notice Takes the caller's stake back from a node. It weighs no more at once and can be withdrawn after the
            unbonding delay. A node whose own stake is no longer above the minimum becomes inactive.
    @param id The node.
    @param amount In wei, at most what the caller has staked on this node.
    @return Index of the unbonding, for `withdraw`.
    """
    assert amount > 0, "Staking: amount is zero"
    staked: uint256 = self.stake_of[id][msg.sender]
    assert amount <= staked, "Staking: you have not staked that much on this node"

    index: uint256 = self.unbonding_count[msg.sender]
    release_at: uint256 = block.timestamp + UNBONDING_DELAY
    self.unbonding_count[msg.sender] = index + 1
    self._unbondings[msg.sender][index] = Unbonding(id=id, amount=amount, release_at=release_at)
    self.stake_of[id][msg.sender] = staked - amount
    self.total_staked -= amount
    self.total_unbonding += amount
    self._nodes[id].effective_stake -= amount
    if msg.sender == self._nodes[id].owner:
        self._nodes[id].self_stake -= amount
    log Unvoted(id=id, voter=msg.sender, amount=amount, stake_after=staked - amount, index=index, release_at=release_at)
    self._settle(id)
    return index


@external
def withdraw(index: uint256):
    """
    @notice Pays out stake that the caller took back, once its delay is over.
    @param index As `unvote` returned it.
    """
    unbonding: Unbonding = self._unbondings[msg.sender][index]
    assert unbonding.amount > 0, "Staking: nothing to withdraw under this index"
    assert block.timestamp >= unbonding.release_at, "Staking: the unbonding delay is not over"
    self._unbondings[msg.sender][index].amount = 0
    self.total_unbonding -= unbonding.amount
    log Withdrawn(voter=msg.sender, index=index, amount=unbonding.amount)
    assert extcall TOKEN.transfer(msg.sender, unbonding.amount), "Staking: transfer failed"


@external
@view
def node(id: uint256) -> Node:
    """
    @param id The node.
    @return The node; all fields zero when there is none.
    """
    return self._nodes[id]


@external
@view
def nodes(start: uint256, count: uint256) -> DynArray[Node, MAX_PAGE]:
    """
    @param start First id of the page, from 1.
    @param count Most rows of the page; at most 128 are returned.
    @return The nodes with ids start, start + 1, …; fewer at the end.
    """
    page: DynArray[Node, MAX_PAGE] = []
    if start == 0 or start > self.node_count:
        return page
    for offset: uint256 in range(min(min(count, MAX_PAGE), self.node_count - start + 1), bound=MAX_PAGE):
        page.append(self._nodes[start + offset])
    return page


@external
@view
def unbonding(voter: address, index: uint256) -> Unbonding:
    """
    @param voter Who took stake back.
    @param index As `unvote` returned it.
    @return The unbonding; its amount is zero once it is withdrawn, or when there is none.
    """
    return self._unbondings[voter][index]


@external
@view
def minimum_stake(role: uint8) -> uint256:
    """
    @param role 1 for a miner, 2 for a coordinator.
    @return Own stake in wei that a node of this role must exceed to be active.
    """
    return self._minimum(role)


@external
@view
def token() -> address:
    """
    @return The CAI token.
    """
    return TOKEN.address


@external
@view
def unbonding_delay() -> uint256:
    """
    @return Seconds between taking stake back and withdrawing it.
    """
    return UNBONDING_DELAY


@external
@view
def registration_digest(owner: address, role: uint8, deadline: uint256) -> bytes32:
    """
    @notice What a node key signs to agree to a registration.
    @return EIP-712 digest of Registration(owner, role, deadline) for this contract and chain.
    """
    return self._registration_digest(owner, role, deadline)


@internal
def _add_stake(id: uint256, amount: uint256):
    # State first, then the token: the token is our own and calls nobody, and the order does not rely on that.
    after: uint256 = self.stake_of[id][msg.sender] + amount
    self.stake_of[id][msg.sender] = after
    self.total_staked += amount
    self._nodes[id].effective_stake += amount
    if msg.sender == self._nodes[id].owner:
        self._nodes[id].self_stake += amount
    log Voted(id=id, voter=msg.sender, amount=amount, stake_after=after)
    self._settle(id)
    assert extcall TOKEN.transferFrom(msg.sender, self, amount), "Staking: transfer failed"


@internal
def _settle(id: uint256):
    # Every change of a row ends here, so that `active` is never stale and the event is never forgotten.
    row: Node = self._nodes[id]
    row.active = row.self_stake > self._minimum(row.role)
    self._nodes[id].active = row.active
    log NodeChanged(
        id=id,
        owner=row.owner,
        key=row.key,
        role=row.role,
        effective_stake=row.effective_stake,
        self_stake=row.self_stake,
        active=row.active,
    )


@internal
@view
def _minimum(role: uint8) -> uint256:
    return COORDINATOR_MINIMUM if role == COORDINATOR else MINER_MINIMUM


@internal
@view
def _registration_digest(owner: address, role: uint8, deadline: uint256) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(
        keccak256(abi_encode(REGISTRATION_TYPE_HASH, owner, role, deadline))
    )

# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Registry
@notice Who a node is: its owner, its hot key and the keys it had before, its profile, its commission.
"""
from snekmate.utils import ecdsa
from snekmate.utils import eip712_domain_separator

from modules import emission
from modules import ledger
from modules import packing
from modules import parameter_ids as ids
from modules import terms
from modules import votes

uses: terms
uses: emission
uses: ledger
uses: votes
uses: eip712_domain_separator


event Registered:
    id: indexed(uint256)
    owner: indexed(address)
    key: indexed(address)
    role: uint8
    profile: String[512]

event KeyRotated:
    id: indexed(uint256)
    before: indexed(address)
    key: indexed(address)

event ProfileChanged:
    id: indexed(uint256)
    profile: String[512]

event CommissionAnnounced:
    id: indexed(uint256)
    before: uint256
    commission: uint256
    holds_from: uint256


REGISTRATION_TYPE_HASH: constant(bytes32) = keccak256("Registration(address owner,uint8 role,uint256 deadline)")
# Commission of a new node, in basis points.
FIRST_COMMISSION: constant(uint256) = 1_000

# Id of the node that has or had this hot key; 0 means that the key was never used.
id_by_key: public(HashMap[address, uint256])
# Unix seconds since when a key is no longer its node's; 0 while it is, or was never.
retired_at: public(HashMap[address, uint256])
# Name, description, site, location and contact of a node, as JSON. Not checked here.
profile: public(HashMap[uint256, String[512]])


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
    @param profile Name, description, site, location and contact as JSON; may be empty.
    @return The node's id.
    """
    assert role == terms.MINER or role == terms.COORDINATOR, "Staking: role must be 1 (miner) or 2 (coordinator)"
    self._check_consent(role, key, deadline, signature)
    assert amount > terms._minimum(role), "Staking: own stake must be above the minimum"

    id: uint256 = ledger.node_count + 1
    ledger.node_count = id
    self.id_by_key[key] = id
    self.profile[id] = profile
    now: packing.Emission = emission._now()
    state: packing.State = ledger._advance(id, now)
    state.owner = msg.sender
    state.key = key
    state.role = convert(role, uint256)
    state.commission = FIRST_COMMISSION
    state.price = packing.ONE
    log Registered(id=id, owner=msg.sender, key=key, role=role, profile=profile)
    votes._add(id, state, now, amount)
    return id


@external
def rotate_key(id: uint256, key: address, deadline: uint256, signature: Bytes[65]):
    """
    @notice Gives the caller's node another hot key. The old one can never be registered again, and answers for what it
            signed for one more unbonding delay.
    @param id The node.
    @param key Address of the new hot key; never used before and not the caller's own.
    @param deadline Unix seconds until which the signature holds.
    @param signature The new key's EIP-712 signature of Registration(owner, role, deadline), 65 bytes.
    """
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin_as_owner(id)
    self._check_consent(convert(state.role, uint8), key, deadline, signature)
    before: address = state.key
    self.id_by_key[key] = id
    self.retired_at[before] = block.timestamp
    state.key = key
    log KeyRotated(id=id, before=before, key=key)
    ledger._finish(id, state, now)


@external
def set_profile(id: uint256, profile: String[512]):
    """
    @notice Replaces the profile of the caller's node.
    @param id The node.
    @param profile Name, description, site, location and contact as JSON; may be empty.
    """
    assert ledger._row(id).owner == msg.sender, "Staking: only the node's owner may do this"
    self.profile[id] = profile
    log ProfileChanged(id=id, profile=profile)


@external
def set_commission(id: uint256, commission: uint256):
    """
    @notice Sets what the operator keeps of the node's rewards before they are shared. It holds from the node's first
            settlement after one unbonding delay, so that voters can leave first; at once while nobody but the owner
            has stake on the node. Replaces an earlier announcement.
    @param id The caller's node.
    @param commission In basis points, at most what Parameters allows.
    """
    now: packing.Emission = empty(packing.Emission)
    state: packing.State = empty(packing.State)
    now, state = ledger._begin_as_owner(id)
    most: uint256 = staticcall terms.PARAMETERS.value(ids.COMMISSION_MAXIMUM)
    assert commission <= most, "Staking: commission is above the maximum that Parameters allows"
    holds_from: uint256 = block.timestamp
    before: uint256 = state.commission
    state.next_commission = commission
    if state.bonded == state.own:
        state.commission = commission
        state.commission_at = 0
    else:
        holds_from += terms.UNBONDING_DELAY
        state.commission_at = holds_from
    log CommissionAnnounced(id=id, before=before, commission=commission, holds_from=holds_from)
    emission._store(now)
    ledger._store(id, state)


@external
@view
def signing_id(key: address) -> uint256:
    """
    @notice Whose signature a key's signature is.
    @param key A hot key's address.
    @return Id of the node that has this key, or had it until less than one unbonding delay ago; 0 when there is none.
    """
    retired: uint256 = self.retired_at[key]
    if retired > 0 and block.timestamp >= retired + terms.UNBONDING_DELAY:
        return 0
    return self.id_by_key[key]


@external
@view
def registration_digest(owner: address, role: uint8, deadline: uint256) -> bytes32:
    """
    @notice What a node key signs to agree to a registration.
    @return EIP-712 digest of Registration(owner, role, deadline) for this contract and chain.
    """
    return self._registration_digest(owner, role, deadline)


@internal
@view
def _check_consent(role: uint8, key: address, deadline: uint256, signature: Bytes[65]):
    # An unusable signature recovers to the zero address, so that must never count as a key.
    assert key != empty(address), "Staking: the node key is the zero address"
    assert key != msg.sender, "Staking: the node key must differ from the owner's"
    assert self.id_by_key[key] == 0, "Staking: this node key is registered already"
    assert block.timestamp <= deadline, "Staking: the registration's deadline has passed"
    # One form only: snekmate would take the 64 bytes of EIP-2098 as well.
    assert len(signature) == 65, "Staking: a signature has 65 bytes"
    digest: bytes32 = self._registration_digest(msg.sender, role, deadline)
    assert ecdsa._recover_sig(digest, signature) == key, "Staking: not signed by the node key"


@internal
@view
def _registration_digest(owner: address, role: uint8, deadline: uint256) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(
        keccak256(abi_encode(REGISTRATION_TYPE_HASH, owner, role, deadline))
    )

# pragma version 0.4.3
"""
@title Statements
@notice What nodes sign with their hot keys, as contracts read it: the EIP-712 structs of protocol/wire/statements.py
        that some contract acts on, their digests, and who signed one.
@dev The domain is that of the Staking contract, whichever contract reads the statement. A struct here has the members
     of its type string in that order, so `abi_encode` of type hash and struct is the EIP-712 encoding.
     Spec: contracts/SPEC.md.
"""


struct Award:
    claim: bytes32
    task: bytes32
    attempt: uint32
    coordinator: uint64
    miner: uint64
    offer: bytes32
    specification: bytes32
    price: uint256


struct Commitment:
    award: bytes32
    task: bytes32
    attempt: uint32
    miner: uint64
    specification: bytes32
    model: bytes32
    artifact: bytes32
    fingerprint: bytes32


struct Receipt:
    commitment: bytes32
    task: bytes32
    attempt: uint32
    coordinator: uint64
    miner: uint64
    artifact: bytes32
    price: uint256
    accepted: uint64


struct Voucher:
    coordinator: uint64
    miner: uint64
    cumulative: uint256
    boot: uint64
    sequence: uint64
    issuedTotal: uint256


struct Verdict:
    dispute: uint256
    round: uint32
    juror: uint64
    verdict: uint8


DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME_HASH: constant(bytes32) = keccak256("Cuckoo")
VERSION_HASH: constant(bytes32) = keccak256("1")
AWARD_TYPE_HASH: constant(bytes32) = keccak256(
    "Award(bytes32 claim,bytes32 task,uint32 attempt,uint64 coordinator,uint64 miner,bytes32 offer,bytes32 specification,uint256 price)"
)
COMMITMENT_TYPE_HASH: constant(bytes32) = keccak256(
    "Commitment(bytes32 award,bytes32 task,uint32 attempt,uint64 miner,bytes32 specification,bytes32 model,bytes32 artifact,bytes32 fingerprint)"
)
RECEIPT_TYPE_HASH: constant(bytes32) = keccak256(
    "Receipt(bytes32 commitment,bytes32 task,uint32 attempt,uint64 coordinator,uint64 miner,bytes32 artifact,uint256 price,uint64 accepted)"
)
VOUCHER_TYPE_HASH: constant(bytes32) = keccak256(
    "Voucher(uint64 coordinator,uint64 miner,uint256 cumulative,uint64 boot,uint64 sequence,uint256 issuedTotal)"
)
VERDICT_TYPE_HASH: constant(bytes32) = keccak256("Verdict(uint256 dispute,uint32 round,uint64 juror,uint8 verdict)")
# Half the order of secp256k1: with a higher s every signature could be written a second way.
HIGHEST_S: constant(uint256) = (
    57_896_044_618_658_097_711_785_492_504_343_953_926_418_782_139_537_452_191_302_581_570_759_080_747_168
)

VERIFYING_CONTRACT: immutable(address)


@deploy
def __init__(verifying_contract: address):
    """
    @param verifying_contract The Staking contract, for which all statements are signed.
    """
    VERIFYING_CONTRACT = verifying_contract


@internal
@view
def _award_digest(award: Award) -> bytes32:
    return self._digest(keccak256(abi_encode(AWARD_TYPE_HASH, award)))


@internal
@view
def _commitment_digest(commitment: Commitment) -> bytes32:
    return self._digest(keccak256(abi_encode(COMMITMENT_TYPE_HASH, commitment)))


@internal
@view
def _receipt_digest(receipt: Receipt) -> bytes32:
    return self._digest(keccak256(abi_encode(RECEIPT_TYPE_HASH, receipt)))


@internal
@view
def _voucher_digest(voucher: Voucher) -> bytes32:
    return self._digest(keccak256(abi_encode(VOUCHER_TYPE_HASH, voucher)))


@internal
@view
def _verdict_digest(verdict: Verdict) -> bytes32:
    return self._digest(keccak256(abi_encode(VERDICT_TYPE_HASH, verdict)))


@internal
@pure
def _signer(digest: bytes32, signature: Bytes[65]) -> address:
    # Zero for anything but the one valid form of a signature (65 bytes, v of 27 or 28, low s): no node has that key.
    if len(signature) != 65:
        return empty(address)
    s: uint256 = extract32(signature, 32, output_type=uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    if s > HIGHEST_S or (v != 27 and v != 28):
        return empty(address)
    return ecrecover(digest, v, extract32(signature, 0, output_type=uint256), s)


@internal
@view
def _digest(struct_hash: bytes32) -> bytes32:
    # Not cached: a chain that forks gets another id, and a signature must not hold on both sides.
    separator: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPE_HASH, NAME_HASH, VERSION_HASH, chain.id, VERIFYING_CONTRACT)
    )
    return keccak256(concat(x"1901", separator, struct_hash))

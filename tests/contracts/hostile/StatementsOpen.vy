# pragma version 0.4.3
"""
@title StatementsOpen
@notice The statements module with its digests made external. For tests.
"""
from modules import statements

initializes: statements


@deploy
def __init__(verifying_contract: address):
    statements.__init__(verifying_contract)


@external
@view
def award(statement: statements.Award) -> bytes32:
    return statements._award_digest(statement)


@external
@view
def commitment(statement: statements.Commitment) -> bytes32:
    return statements._commitment_digest(statement)


@external
@view
def receipt(statement: statements.Receipt) -> bytes32:
    return statements._receipt_digest(statement)


@external
@view
def voucher(statement: statements.Voucher) -> bytes32:
    return statements._voucher_digest(statement)


@external
@view
def verdict(statement: statements.Verdict) -> bytes32:
    return statements._verdict_digest(statement)


@external
@pure
def signer(digest: bytes32, signature: Bytes[65]) -> address:
    return statements._signer(digest, signature)

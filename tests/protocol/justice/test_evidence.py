"""What signed statements prove, by the same rules as the contract, and what they do not."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.typed_data import sign
from protocol.errors import InvalidMessage
from protocol.justice.evidence import (
    MAX_RISES,
    Evidence,
    Kind,
    Rise,
    Signed,
    TwoCommitments,
    TwoVouchers,
    Understated,
    name_of,
    of_pair,
    of_vouchers,
    proof_call,
    signers_of,
)
from protocol.justice.evidence_text import of_plain, to_plain
from protocol.units import Address, Role, StakingId
from protocol.wire.statements import Statement, VoucherStatement
from tests.contracts.proofs import KINDS, commitment, voucher
from tests.protocol.roles.frames import DOMAIN
from tests.support.networks import ALICE, CAROL

BY = b"\x01" * 65
RECEIVER = Address(b"\x05" * 20)


def signed(statement: Statement, key: Any = None) -> Signed[Any]:
    return Signed(statement, BY if key is None else sign(key, DOMAIN, statement))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_of_pair__each_kind__is_evidence_against_its_signer(kind: Any) -> None:
    found = of_pair(signed(kind.first()), signed(kind.second()))
    assert found is not None
    assert (found.KIND, found.KIND.label) == (Kind(kind.number), kind.name)
    assert found.signer == kind.node
    assert found.ROLE is (Role.COORDINATOR if kind.signer == "coordinator" else Role.MINER)
    call = proof_call(found, RECEIVER)
    assert (call.contract, call.function) == ("Slashing", f"prove_{kind.name}")
    assert call.arguments[-1] == RECEIVER


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_of_pair__same_statement_or_about_something_else_or_of_two_nodes__is_none(kind: Any) -> None:
    others = (kind.first(), kind.second(**kind.elsewhere), kind.second(**{kind.party: kind.node + 1}))
    for other in others:
        assert of_pair(signed(kind.first()), signed(other)) is None


def test_of_pair__receipts_that_differ_in_their_time_only__is_none() -> None:
    kind = next(one for one in KINDS if one.name == "two_receipts")
    assert of_pair(signed(kind.first()), signed(kind.make(accepted=5))) is None


def test_of_pair__statements_of_two_kinds__is_none() -> None:
    assert of_pair(signed(voucher()), signed(commitment())) is None


def promises(*steps: tuple[int, int]) -> list[Signed[VoucherStatement]]:
    """Vouchers of one boot to one miner: (cumulative, total) at each sequence."""
    return [
        signed(voucher(cumulative=mine, sequence=place, issued_total=total))
        for place, (mine, total) in enumerate(steps)
    ]


@given(prices=st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=20))
def test_of_vouchers__any_two_of_an_honest_run__is_none(prices: list[tuple[bool, int]]) -> None:
    mine, total, steps = 0, 0, []
    for is_mine, price in prices:
        mine, total = mine + price * is_mine, total + price
        steps.append((mine, total))
    vouchers = promises(*steps)
    assert all(of_vouchers(one, other) is None for one in vouchers for other in vouchers)


@given(
    mine=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    total=st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
def test_of_vouchers__total_that_covers_less_than_it_adds__is_evidence_in_either_order(
    mine: tuple[int, int], total: tuple[int, int]
) -> None:
    early, late = promises(*zip(mine, total, strict=True))
    found = of_vouchers(early, late)
    assert (found is not None) == (total[0] + max(mine[1] - mine[0], 0) > total[1])
    assert of_vouchers(late, early) == found
    if found is not None:
        assert isinstance(found, Understated)
        assert found.fault() is None
        assert of_plain(to_plain(found)) == found


def test_of_vouchers__two_in_one_place__is_evidence() -> None:
    found = of_vouchers(signed(voucher()), signed(voucher(cumulative=11)))
    assert isinstance(found, TwoVouchers)
    assert found.subject == bytes(31) + b"\x07", "once for each boot"


CHANGES: dict[str, Callable[[Understated], Understated]] = {
    "of two boots": lambda one: Understated(one.early, signed(voucher(boot=8, sequence=4)), one.rises),
    "of another coordinator": lambda one: Understated(
        one.early, signed(one.late.statement.model_copy(update={"coordinator": StakingId(9)})), one.rises
    ),
    "late first": lambda one: Understated(one.late, one.early, one.rises),
    "a miner twice": lambda one: Understated(one.early, one.late, one.rises * 2),
    "too many": lambda one: Understated(one.early, one.late, one.rises * (MAX_RISES + 1)),
    "out of order": lambda one: Understated(one.early, one.late, (Rise(one.late, one.early),)),
    "two miners": lambda one: Understated(
        one.early, one.late, (Rise(one.early, signed(one.late.statement.model_copy(update={"miner": StakingId(9)}))),)
    ),
    "covered": lambda one: Understated(
        one.early, signed(one.late.statement.model_copy(update={"issued_total": 10**6})), one.rises
    ),
    "absurd": lambda one: Understated(
        signed(one.early.statement.model_copy(update={"issued_total": 2**128 + 1})), one.late, one.rises
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_understated__that_the_contract_refuses__has_a_fault(change: str) -> None:
    early, late = promises((1, 5), (3, 6))
    good = Understated(early, late, (Rise(early, late),))
    assert good.fault() is None
    assert CHANGES[change](good).fault() is not None


def test_name_of__same_signer_kind_and_subject__is_one_and_else_another() -> None:
    def pair(**changed: Any) -> Evidence:
        return TwoCommitments(signed(commitment(**changed)), signed(commitment(artifact=b"x" * 32, **changed)))

    assert name_of(pair()) == name_of(pair(model=b"n" * 32))
    assert len({name_of(pair()), name_of(pair(award=b"b" * 32)), name_of(pair(miner=9))}) == 3


def test_signers_of__keys_that_signed__are_named_and_what_is_no_signature_is_refused() -> None:
    first, second = commitment(), commitment(artifact=b"x" * 32)
    assert signers_of(TwoCommitments(signed(first, ALICE), signed(second, ALICE)), DOMAIN) == {ALICE.address}
    assert signers_of(TwoCommitments(signed(first, ALICE), signed(second, CAROL)), DOMAIN) == {
        ALICE.address,
        CAROL.address,
    }
    with pytest.raises(InvalidMessage):
        signers_of(TwoCommitments(signed(first, ALICE), Signed(second, bytes(65))), DOMAIN)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_of_plain__what_to_plain_wrote__is_the_same_evidence(kind: Any) -> None:
    found = of_pair(signed(kind.first()), signed(kind.second()))
    assert found is not None
    assert of_plain(to_plain(found)) == found


GOOD = to_plain(TwoCommitments(signed(commitment()), signed(commitment(artifact=b"x" * 32))))
FIRST, SECOND = GOOD["statements"]
VOUCHER = to_plain(Understated(signed(voucher()), signed(voucher())))["statements"][0]
BAD: dict[str, object] = {
    "nothing": None,
    "a list": [],
    "no statements": {"kind": "two_commitments"},
    "statements as text": GOOD | {"statements": "ab"},
    "unknown kind": GOOD | {"kind": "two_dances"},
    "kind of a list": GOOD | {"kind": ["two_commitments"]},
    "one statement": GOOD | {"statements": [FIRST]},
    "three statements": GOOD | {"statements": [FIRST] * 3},
    "another struct": GOOD | {"kind": "two_vouchers"},
    "number as number": GOOD | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"miner": 5}}]},
    "number too long": GOOD
    | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"miner": "9" * 5000}}]},
    "number too large": GOOD
    | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"attempt": "999"}}]},
    "no hex": GOOD | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"award": "0xzz"}}]},
    "digest too short": GOOD | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"award": "0x00"}}]},
    "signature too short": GOOD | {"statements": [FIRST, SECOND | {"signature": "0x00"}]},
    "bytes as number": GOOD | {"statements": [FIRST, SECOND | {"statement": SECOND["statement"] | {"award": 5}}]},
    "understated of one": {"kind": "understated", "statements": [VOUCHER]},
    "understated of an odd number": {"kind": "understated", "statements": [VOUCHER] * 5},
    "understated of many": {"kind": "understated", "statements": [VOUCHER] * 40},
}


@pytest.mark.parametrize("name", BAD)
def test_of_plain__anything_else__is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        of_plain(BAD[name])
    assert refused.value.rule == "evidence.form"

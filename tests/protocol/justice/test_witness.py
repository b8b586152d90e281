"""First statements are remembered, within a bound for each signer and for all."""

from collections import OrderedDict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protocol.justice.evidence import Signed
from protocol.justice.witness import Witness
from tests.contracts.proofs import commitment, voucher

BY = b"\x01" * 65


def said(miner: int, award: int, artifact: int = 0) -> Signed[Any]:
    return Signed(commitment(miner=miner, award=award.to_bytes(32, "big"), artifact=artifact.to_bytes(32, "big")), BY)


def test_first__about_the_same_thing__is_what_was_remembered_first() -> None:
    witness = Witness()
    witness.remember(said(1, 7, artifact=1))
    witness.remember(said(1, 7, artifact=2))
    assert witness.first(said(1, 7, artifact=3).statement) == said(1, 7, artifact=1)
    assert witness.first(said(2, 7).statement) is None
    assert witness.first(said(1, 8).statement) is None
    assert witness.first(voucher()) is None


def test_remember__flood_of_one_signer__pushes_out_its_own_words_alone() -> None:
    witness = Witness(in_all=100, of_one=10)
    witness.remember(said(1, 1))
    for award in range(10_000):
        witness.remember(said(2, award))
    assert len(witness) == 11
    assert witness.first(said(1, 1).statement) is not None
    assert witness.first(said(2, 9_999).statement) is not None
    assert witness.first(said(2, 1).statement) is None


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9)), max_size=60))
def test_remember__any_words__stays_within_both_bounds_and_drops_the_oldest(words: list[tuple[int, int]]) -> None:
    witness, model = Witness(in_all=8, of_one=3), OrderedDict[tuple[int, int], None]()
    for word in words:
        witness.remember(said(*word))
        if word in model:
            continue
        own = [known for known in model if known[0] == word[0]]
        if len(own) >= 3:
            del model[own[0]]
        elif len(model) >= 8:
            model.popitem(last=False)
        model[word] = None
        assert len(witness) == len(model)
    for miner in range(1, 6):
        for award in range(10):
            assert (witness.first(said(miner, award).statement) is not None) == ((miner, award) in model)
    assert sum(map(len, witness._of_signer.values())) == len(model)

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from protocol.task.specification import specification_digest


def test_specification_digest__encoded_and_salt__is_their_tagged_hash():
    expected = hashlib.sha256(b"cuckoo/1/specification" + b"s" * 16 + b"encoded").digest()
    assert specification_digest(b"encoded", b"s" * 16) == expected


@given(st.binary(max_size=40), st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_specification_digest__another_salt__hides_that_the_work_is_the_same(encoded, salt, other):
    assert (specification_digest(encoded, salt) == specification_digest(encoded, other)) == (salt == other)

import json
from typing import get_args

import pytest

from protocol.crypto.typed_data import Domain, signer
from protocol.wire.codec import Place, decode
from protocol.wire.messages import Message
from protocol.wire.statements import Statement
from tests.support.messages import MESSAGES, STATEMENTS
from tests.vectors.cases import inputs
from tests.vectors.families import FAMILIES, compute, from_json, model_named
from tests.vectors.generate import FOLDER, extended, generate, stored

STORED = [(family, case) for family in FAMILIES for case in stored(FOLDER, family)]


@pytest.mark.parametrize(("family", "case"), STORED, ids=[f"{family}: {case['name']}" for family, case in STORED])
def test_vector__published_case__still_holds(family, case):
    assert compute(family, case["input"]) == case["output"]


@pytest.mark.parametrize("case", stored(FOLDER, "messages"), ids=lambda case: case["name"])
def test_vector__published_bytes__decode_to_the_published_message(case):
    message = model_named(case["input"]["message"]).model_validate(from_json(case["input"]["fields"]))
    assert decode(from_json(case["output"]["encoded"]), Place(*get_args(Message))) == message


@pytest.mark.parametrize("case", stored(FOLDER, "statements"), ids=lambda case: case["name"])
def test_vector__published_signature__names_the_published_signer(case):
    given = from_json(case["input"])
    statement = model_named(given["statement"]).model_validate(given["fields"])
    assert isinstance(statement, Statement)
    signed_by = signer(Domain(given["chain_id"], given["contract"]), statement, from_json(case["output"]["signature"]))
    known = {entry["input"]["secret"]: entry["output"]["address"] for entry in stored(FOLDER, "identities")}
    assert "0x" + signed_by.hex() == known[case["input"]["secret"]]


def test_vectors__every_message_and_statement__has_one():
    assert {case["input"]["message"] for case in stored(FOLDER, "messages")} == {model.__name__ for model in MESSAGES}
    assert {case["input"]["statement"] for case in stored(FOLDER, "statements")} == {m.__name__ for m in STATEMENTS}


def test_generate__present_code__adds_and_changes_nothing(tmp_path):
    for family in FAMILIES:
        (tmp_path / f"{family}.json").write_text((FOLDER / f"{family}.json").read_text())
    assert generate(tmp_path) == 0
    for family in FAMILIES:
        assert (tmp_path / f"{family}.json").read_text() == (FOLDER / f"{family}.json").read_text()


@pytest.mark.parametrize("part", ["input", "output"])
def test_generate__published_case_would_change__is_refused_and_writes_nothing(tmp_path, part):
    generate(tmp_path)
    path = tmp_path / "beacons.json"
    changed = json.loads(path.read_text())
    changed["cases"][0][part] = changed["cases"][1][part]
    path.write_text(json.dumps(changed))
    before = {file: file.read_text() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="would change"):
        generate(tmp_path)
    assert {file: file.read_text() for file in tmp_path.iterdir()} == before


def test_extended__stored_case_no_longer_wanted__is_kept():
    cases = stored(FOLDER, "beacons")
    assert extended("beacons", cases, {}) == cases
    assert [case["name"] for case in cases][: len(inputs()["beacons"])] == list(inputs()["beacons"])

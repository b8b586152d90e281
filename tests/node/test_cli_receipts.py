"""Commands that end with a receipt: what they say of it, and with which exit code."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from node.recording import Recorder
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, sign
from protocol.events import StakeChanged
from protocol.units import Address
from protocol.wire.codec import encode
from protocol.wire.messages import Receipt
from protocol.wire.statements import ReceiptStatement, VoucherStatement
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.networks import BOB, CAROL
from tests.support.signed_gossip import EPOCH, HEAD, START, Speaker, offer, ranking, view_of
from tests.support.web_server import QuietHandler, listening

STAKING = "0x5fbdb2315678afecb367f032d93f642f64180aa3"


def test_verify__no_receipt__one_line(cuckoo, tmp_path):
    path = tmp_path / "receipt.json"
    path.write_text('{"encoded": "AAAA"}')
    code, _, err = cuckoo("verify", str(path))
    assert code == 2
    assert err.startswith("error: receipt: ")


def signed_receipt(path: Path, data: bytes = b"picture", **changes: object) -> Path:
    """A receipt as the API gives it, saved by an app."""
    alice, domain = NodeKey(bytes([1]) * 32), Domain(31337, Address(bytes([9]) * 20))
    statement = ReceiptStatement(
        commitment=bytes(32),
        task=bytes(32),
        attempt=0,
        coordinator=1,
        miner=2,
        artifact=hashlib.sha256(data).digest(),
        price=10,
        accepted=1,
    )
    promised = {"coordinator": 1, "miner": 2, "cumulative": 10, "boot": 1, "sequence": 1, "issued_total": 10}
    voucher = VoucherStatement(**(promised | changes))
    receipt = Receipt(
        statement=statement,
        signature=sign(alice, domain, statement),
        voucher=voucher,
        voucher_signature=sign(alice, domain, voucher),
    )
    path.write_text(json.dumps({"encoded": base64.b64encode(encode(receipt)).decode()}))
    return path


def test_verify__without_the_chain__says_that_the_signature_was_not_checked_and_fails(cuckoo, tmp_path):
    path, picture = signed_receipt(tmp_path / "receipt.json"), tmp_path / "picture.png"
    picture.write_bytes(b"picture")
    code, out, err = cuckoo("verify", str(path), "--artifact", str(picture))
    assert (code, err) == (1, "")
    assert "SIGNATURE NOT CHECKED: name the network's file (--network, CUCKOO_NETWORK), or give" in out
    assert "good" not in out


@pytest.mark.parametrize(
    ("changes", "picture", "problem"),
    [
        ({"cumulative": 1000, "issued_total": 0}, b"picture", "receipt.mismatch: "),
        ({"miner": 3}, b"picture", "receipt.mismatch: "),
        ({}, b"another", "receipt.artifact: "),
    ],
)
def test_verify__not_to_be_believed__one_line_that_names_the_rule(cuckoo, tmp_path, changes, picture, problem):
    path, artifact = signed_receipt(tmp_path / "receipt.json", **changes), tmp_path / "picture.png"
    artifact.write_bytes(picture)
    code, out, err = cuckoo("verify", str(path), "--artifact", str(artifact))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: receipt: not to be believed: {problem}")
    assert err.count("\n") == 1


def test_verify__chain_without_staking__one_line(cuckoo, tmp_path):
    path = signed_receipt(tmp_path / "receipt.json")
    code, _, err = cuckoo("verify", str(path), "--chain-rpc", "http://127.0.0.1:9")
    assert (code, err) == (2, "error: --chain-rpc and --staking belong together: give both, or neither\n")


def test_submit__done__says_where_the_picture_is_and_of_which_task(cuckoo, tmp_path):
    task, receipt = bytes(32).hex(), signed_receipt(tmp_path / "receipt.json").read_bytes()
    done = json.dumps({"task": task, "stage": "done", "miner": "2", "url": "/v1/artifacts/a"})
    answers = {
        "/v1/tasks": json.dumps({"task": task}).encode(),
        f"/v1/tasks/{task}/events": f"data: {done}\n\n".encode(),
        "/v1/artifacts/a": b"picture",
        f"/v1/receipts/{task}": receipt,
    }

    class Coordinator(QuietHandler):
        def do_GET(self) -> None:
            self.answer(200, answers[self.path])

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    out = tmp_path / "x.png"
    with listening(Coordinator) as url:
        code, said, _ = cuckoo("submit", "x", "--api", url, "--out", str(out))
    assert code == 0
    assert out.read_bytes() == b"picture"
    first, second = said.splitlines()
    assert first == f"saved {out} (7 bytes), made by miner 2 as task {task}"
    assert "SIGNATURE NOT CHECKED" in second


def test_verify__chain_does_not_answer__one_line_and_exit_code_one(cuckoo, tmp_path):
    path = signed_receipt(tmp_path / "receipt.json")
    code, out, err = cuckoo("verify", str(path), "--chain-rpc", "http://127.0.0.1:9", "--staking", STAKING)
    assert (code, out) == (1, "")
    assert err.startswith("error: http://127.0.0.1:9: ")


def record_of(path: Path, *epochs: int) -> Path:
    """A record of these epochs, in the first of which carol offered a task."""
    kept = Recorder(path, HEAD, 10**9, 1, HandClock(START), RecordingJournal())
    kept.open()
    for epoch in epochs:
        kept.knows(StakeChanged(view_of(epoch)))
    kept.heard(Speaker().say(offers=[offer(0)]).publication)
    kept.close()
    return path


def receipt_in(path: Path, *, by: NodeKey = CAROL, accepted: int = START + 1000, miner: int | None = None) -> Path:
    """A receipt of carol for that task, done by who was drawn first or by another."""
    first = miner if miner is not None else ranking(0)[0]
    statement = ReceiptStatement(
        commitment=bytes(32),
        task=offer(0).task,
        attempt=0,
        coordinator=3,
        miner=first,
        artifact=hashlib.sha256(b"picture").digest(),
        price=10,
        accepted=accepted,
    )
    voucher = VoucherStatement(coordinator=3, miner=first, cumulative=10, boot=1, sequence=1, issued_total=10)
    receipt = Receipt(
        statement=statement,
        signature=sign(by, HEAD.domain, statement),
        voucher=voucher,
        voucher_signature=sign(by, HEAD.domain, voucher),
    )
    path.write_text(json.dumps({"encoded": base64.b64encode(encode(receipt)).decode()}))
    return path


def test_verify__record_of_gossip__tells_registration_and_draw_without_a_chain(cuckoo, tmp_path):
    record, receipt = record_of(tmp_path / "gossip.jsonl", EPOCH - 1, EPOCH), receipt_in(tmp_path / "receipt.json")
    code, out, err = cuckoo("verify", str(receipt), "--record", str(record))
    assert (code, err) == (0, "")
    assert out.startswith("receipt: good: ")
    assert f"signed by 0x{CAROL.address.hex()}, which is that coordinator's key in the staking contract" in out
    assert f"in whose epoch {EPOCH - 1} coordinator and miner were registered, the miner was drawn number 1 of 2" in out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"by": BOB}, f"receipt.signature: signed by 0x{BOB.address.hex()}, not by 0x{CAROL.address.hex()}"),
        ({"miner": 77}, "receipt.unregistered: miner 77 was not active in epoch"),
    ],
)
def test_verify__record_that_speaks_against_the_receipt__one_line(cuckoo, tmp_path, changes, problem):
    record, receipt = record_of(tmp_path / "gossip.jsonl", EPOCH), receipt_in(tmp_path / "receipt.json", **changes)
    code, out, err = cuckoo("verify", str(receipt), "--record", str(record))
    assert (code, out) == (1, "")
    assert problem in err
    assert err.count("\n") == 1


def test_verify__record_of_another_time_or_beside_a_chain__one_line(cuckoo, tmp_path):
    record = record_of(tmp_path / "gossip.jsonl", EPOCH)
    receipt = receipt_in(tmp_path / "receipt.json", accepted=START + 10**8)
    code, _, err = cuckoo("verify", str(receipt), "--record", str(record))
    assert (code, "--record: it has no table of epoch" in err) == (2, True)
    code, _, err = cuckoo("verify", str(receipt), "--record", str(record), "--chain-rpc", "http://127.0.0.1:9")
    assert (code, "leave those out" in err) == (2, True)


def test_verify__json__tells_all_that_was_found_in_one_line(cuckoo, tmp_path):
    code, out, _ = cuckoo("verify", str(signed_receipt(tmp_path / "receipt.json")), "--json")
    assert code == 1, "its signature was not checked"
    found = json.loads(out)
    assert (found["coordinator"], found["miner"], found["problems"], found["signed_by"]) == ("1", "2", [], None)
    path = signed_receipt(tmp_path / "receipt.json", issued_total=1)
    code, out, err = cuckoo("verify", str(path), "--json")
    assert code == 1
    assert json.loads(out)["problems"]
    assert err.startswith("error: receipt: not to be believed: ")

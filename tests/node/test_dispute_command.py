"""Pictures reported to jurors, and appeals, by owners at a terminal on a real chain."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio

from contracts.bindings import load
from node import keystore
from node.adapters.chain import devchain
from node.adapters.chain.devchain import DEV_TREASURY_SECRET, DevnetNode, deploy_devnet, owner_secret
from node.adapters.store import SqliteStore
from node.amounts import format_cai
from node.config.configuration import load_params
from node.disputes.files import KEPT_MS, forget_bundles, kept_bundle
from node.disputes.view import _shown
from node.network_file import NetworkChain, NetworkContracts, NetworkFile, read_network
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain, digest, sign
from protocol.errors import Unavailable
from protocol.justice.bundle import Bundle, bundle_digest, read_bundle
from protocol.justice.dispute import Status
from protocol.records import Drawing, RecheckKept, TaskAwarded, TaskDone
from protocol.task.specification import specification_digest
from protocol.units import CAI, Digest, Role, StakingId, UnixMillis
from protocol.wire.codec import encode
from protocol.wire.messages import Award, Result
from protocol.wire.statements import Registration, VerdictStatement
from tests.contracts.court import SEED_BLOCKS
from tests.node.test_staker_commands import PASSWORD, Cuckoo, vars_of
from tests.protocol.roles.frames import PICTURE, SPECIFICATION
from tests.support.anvil import Anvil, Contract, running_anvil
from tests.support.clock import HandClock
from tests.support.disputed import bundle_of, disputed, said_by_bob
from tests.support.records import NOW, accepted, done, picture, recheck

COORDINATOR, ACCUSED, JURORS = 1, 2, (3, 4, 5)
UNBONDING_DELAY_S = 960
SEATS = 3
BOND, APPEAL_BOND = 1_000 * CAI, 5_000 * CAI
NAMES = ("coordinator-1", "miner-1", "miner-2", "miner-3", "miner-4")


def key_of(node: int) -> NodeKey:
    return NodeKey(bytes([node]) * 32)


@dataclass
class Village:
    """A network of one coordinator and four miners, each with an owner who has a keystore and CAI."""

    anvil: Anvil
    folder: Path
    disputes: Contract
    domain: Domain

    def owner(self, node: int) -> Path:
        path = self.folder / f"{node}.json"
        if not path.exists():
            keystore.create(path, PASSWORD, light=True, key=owner_secret(NAMES[node - 1]))
        return path

    def send(self, function: str, *arguments: Any) -> list[dict[str, Any]]:
        """As somebody who is no party."""
        return self.anvil.send(self.anvil.accounts[5], self.disputes, function, *arguments)

    def read(self, function: str, *arguments: Any) -> Any:
        return self.anvil.read(self.disputes, function, *arguments)

    def seated(self, number: int) -> list[int]:
        """Draw jurors until no seat is free; gives them."""
        self.anvil.rpc("anvil_mine", hex(SEED_BLOCKS))
        while self.read("dispute", number)[5] == Status.DRAWING:
            self.send("draw", number, 128)
        round_ = self.read("dispute", number)[6]
        return [node for node in range(1, 6) if self.read("seat", number, node) == (round_, 1)]

    def judged(self, number: int, verdict: int) -> None:
        """Have all jurors say the same, and the vote closed."""
        for juror in self.seated(number):
            said = VerdictStatement(dispute=number, round=0, juror=StakingId(juror), verdict=verdict)
            values = (said.dispute, said.round, said.juror, said.verdict)
            self.send("vote", number, [values], [sign(key_of(juror), self.domain, said)])
        self.send("close", number)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Village]:
    folder = tmp_path_factory.mktemp("village")
    roles = (Role.COORDINATOR, Role.MINER, Role.MINER, Role.MINER, Role.MINER)
    nodes = [
        DevnetNode(role, bytes([place]) * 32, 2_500_000 if role is Role.COORDINATOR else 200_001, name)
        for place, (role, name) in enumerate(zip(roles, NAMES, strict=True), start=1)
    ]
    with running_anvil() as anvil, pytest.MonkeyPatch.context() as patch:
        patch.setattr(devchain, "DEV_UNBONDING_DELAY_S", UNBONDING_DELAY_S)
        deployed = trio.run(deploy_devnet, anvil.url, load_params("minimal"), nodes)
        contracts = deployed.deployed
        NetworkFile(
            params="minimal",
            chain=NetworkChain(rpc_urls=(anvil.url,), chain_id=deployed.chain_id),
            contracts=NetworkContracts(**vars_of(contracts)),
        ).write(folder / "network.toml")
        keystore.write_private(folder / "password", PASSWORD + "\n")
        treasury = "0x" + NodeKey(DEV_TREASURY_SECRET).address.hex()
        parameters = Contract(load("Parameters"), contracts.parameters)
        anvil.send(treasury, parameters, "propose", 8, SEATS)
        anvil.wait(UNBONDING_DELAY_S)
        anvil.send(treasury, parameters, "enact", 8)
        cai = Contract(load("CAI"), contracts.cai)
        for name in NAMES:
            owner = "0x" + NodeKey(owner_secret(name)).address.hex()
            anvil.send(treasury, cai, "transfer", owner, 10_000 * CAI)
        network = read_network(folder / "network.toml")
        domain = Domain(network.chain.chain_id, network.staking_address)
        yield Village(anvil, folder, Contract(load("Disputes"), contracts.disputes), domain)


@pytest.fixture
def village(founded: Village, monkeypatch: pytest.MonkeyPatch) -> Iterator[Village]:
    monkeypatch.setenv("CUCKOO_NETWORK", str(founded.folder / "network.toml"))
    monkeypatch.setenv("CUCKOO_PASSWORD_FILE", str(founded.folder / "password"))
    with founded.anvil.unchanged():
        yield founded


@pytest.fixture
def as_(cuckoo: Cuckoo, village: Village) -> Any:
    """Runs a command as the owner of a node."""

    def run(node: int, *arguments: str) -> tuple[int, str, str]:
        return cuckoo(*arguments, "--keystore", str(village.owner(node)))

    return run


def drawn(domain: Domain, *, signed_by: int = ACCUSED) -> Bundle:
    """A picture of the accused, which the coordinator ordered; signed for this chain."""
    encoded, salt = encode(SPECIFICATION), b"s" * 16
    said = disputed()
    statement = said.award.statement.model_copy(
        update={
            "coordinator": COORDINATOR,
            "miner": ACCUSED,
            "specification": specification_digest(encoded, salt),
            "task": accepted(1).task,
        }
    )
    award = Award(
        statement=statement, signature=sign(key_of(COORDINATOR), domain, statement), specification=encoded, salt=salt
    )
    commitment = said.result.commitment.model_copy(
        update={
            "award": digest(domain, statement),
            "task": statement.task,
            "miner": ACCUSED,
            "specification": statement.specification,
        }
    )
    result = Result(
        commitment=commitment,
        signature=sign(key_of(signed_by), domain, commitment),
        media_type="image/png",
        size=len(PICTURE),
        generation_ms=40,
    )
    said = said_by_bob(by=key_of(ACCUSED), miner=StakingId(ACCUSED), network=network_id(domain))
    return bundle_of(award, result, PICTURE, said)


def network_id(domain: Domain) -> Digest:
    return load_params("minimal").network_id(domain.chain_id, domain.contract)


def odd_one(bundle: Bundle, *, may_be_disputed: bool = True, is_far: bool = True) -> RecheckKept:
    drawing = Drawing(
        bundle.award.statement.task,
        bundle.award.statement.attempt,
        StakingId(ACCUSED),
        bundle.result.commitment.artifact,
        bundle.result_bytes,
        "float32-cpu",
        capability=bundle.said_bytes,
    )
    far = (ACCUSED,) if is_far else ()
    return recheck(1, drawing, outcome="odd_one_out", odd=(ACCUSED,), far=far, may_be_disputed=may_be_disputed)


async def kept(folder: Path, bundle: Bundle, odd: RecheckKept) -> None:
    """Keep what a coordinator keeps of it."""
    store, statement = SqliteStore(folder, HandClock()), bundle.award.statement
    async with store.opened():
        await store.persist((accepted(1), picture(bundle.picture)))
        awarded = TaskAwarded(
            statement.task, statement.attempt, StakingId(ACCUSED), statement.claim, bundle.award_bytes, NOW
        )
        ended: TaskDone = replace(done(1), artifact=bundle.result.commitment.artifact)
        await store.persist((awarded, ended, odd))


@pytest.fixture
def data(village: Village, tmp_path: Path) -> Path:
    """A coordinator's data folder with a picture that may be reported."""
    bundle = drawn(village.domain)
    trio.run(kept, tmp_path, bundle, odd_one(bundle))
    return tmp_path


@pytest.fixture
def file(data: Path, cuckoo: Cuckoo) -> Path:
    task = accepted(1).task.hex()
    code, out, err = cuckoo("dispute", "export", task[:10], "--data", str(data), "--json")
    assert code == 0, err
    return Path(json.loads(out)["file"])


def test_found__odd_picture_that_jurors_may_see__is_listed_and_no_other(
    data: Path, village: Village, cuckoo: Cuckoo
) -> None:
    task = accepted(1).task.hex()
    assert f"{task[:12]}  by miner {ACCUSED}" in cuckoo("dispute", "found", "--data", str(data))[1]
    (told,) = json.loads(cuckoo("dispute", "found", "--data", str(data), "--json")[1])["pictures"]
    assert told == {"task": task, "miner": ACCUSED, "planned_at": NOW, "is_here": True}
    other, bundle = data / "other", drawn(village.domain)
    other.mkdir()
    trio.run(kept, other, bundle, odd_one(bundle, may_be_disputed=False))
    assert cuckoo("dispute", "found", "--data", str(other))[1].startswith("nothing to report")
    code, _, err = cuckoo("dispute", "export", task[:10], "--data", str(other))
    assert (code, "none begins" in err) == (2, True)


def test_found__picture_that_is_only_slightly_off__is_none_that_its_owner_could_win_with(
    tmp_path: Path, village: Village, cuckoo: Cuckoo
) -> None:
    bundle = drawn(village.domain)
    trio.run(kept, tmp_path, bundle, odd_one(bundle, is_far=False))
    assert cuckoo("dispute", "found", "--data", str(tmp_path))[1].startswith("nothing to report")
    code, _, err = cuckoo("dispute", "export", accepted(1).task.hex(), "--data", str(tmp_path))
    assert (code, "none begins" in err) == (2, True)


def test_export__bundle__is_for_its_owner_alone_and_where_the_node_serves_it(
    file: Path, data: Path, village: Village
) -> None:
    bundle = read_bundle(file.read_bytes())
    assert bundle == drawn(village.domain)
    assert file.stat().st_mode & 0o077 == 0
    named = bundle_digest(bundle.data())
    assert kept_bundle(data, named) == bundle.data()
    assert kept_bundle(data, Digest(b"x" * 32)) is None
    file.write_bytes(b"damaged")
    assert kept_bundle(data, named) is None


def test_forget_bundles__older_than_any_dispute__are_deleted(file: Path, data: Path) -> None:
    made = UnixMillis(int(file.stat().st_mtime * 1000))
    assert forget_bundles(data, UnixMillis(made + KEPT_MS - 1000)) == 0
    draft = file.with_name(f".{file.name}.77")
    file.rename(draft)
    assert forget_bundles(data, UnixMillis(made + KEPT_MS + 1000)) == 1, "and what a killed export left"
    assert not draft.exists()


def test_export__picture_is_gone__is_one_line(data: Path, cuckoo: Cuckoo, village: Village) -> None:
    other, bundle = data / "other", drawn(village.domain)
    other.mkdir()
    missing = replace(odd_one(bundle).drawings[0], artifact=Digest(b"g" * 32))
    trio.run(kept, other, bundle, replace(odd_one(bundle), drawings=(missing,)))
    assert "its picture is gone" in cuckoo("dispute", "found", "--data", str(other))[1]
    code, _, err = cuckoo("dispute", "export", accepted(1).task.hex(), "--data", str(other))
    assert (code, "is gone" in err) == (2, True)


def test_report__dry_run__says_what_it_costs_and_sends_nothing(file: Path, as_: Any, village: Village) -> None:
    code, out, err = as_(COORDINATOR, "dispute", "report", str(file), "--dry-run")
    assert code == 0, err
    assert "bond 1,000 CAI" in out
    assert "or if nobody has jurors drawn in time" in out
    assert "shown to the jurors" in out
    assert "gives you back 333.333333" in out
    assert "for the jurors, and a bounty of 400.002 CAI\n" in out
    assert "first order the same with a guidance of " in out
    assert "slashed lately" not in out
    assert "ends void" not in out, "three owners are left, and three are needed"
    assert village.read("dispute_count") == 0


def test_report__accused_has_little_of_its_own_or_was_slashed_lately__says_what_it_costs_also_when_upheld(
    file: Path, as_: Any, village: Village, cuckoo: Cuckoo
) -> None:
    anvil, staking = village.anvil, Contract(load("Staking"), "0x" + village.domain.contract.hex())
    owner = "0x" + NodeKey(owner_secret(NAMES[ACCUSED - 1])).address.hex()
    anvil.impersonate(owner)
    anvil.send(owner, staking, "unvote", ACCUSED, 180_000 * CAI)
    code, out, err = as_(COORDINATOR, "dispute", "report", str(file), "--dry-run")
    assert code == 0, err
    assert "gives you back 333.333333" in out
    assert "and a bounty of 26.684666" in out
    assert as_(COORDINATOR, "dispute", "report", str(file))[0] == 0
    village.judged(1, 1)
    anvil.wait(UNBONDING_DELAY_S // 4)
    assert "found wrong, and nobody appealed in time: to be executed" in cuckoo("dispute", "show", "1")[1]
    village.send("execute", 1)
    code, out, err = as_(COORDINATOR, "dispute", "report", str(file), "--dry-run")
    assert code == 0, err
    assert "slashed lately" in out


def test_report__by_the_owner__takes_the_bond_and_is_listed_until_it_is_upheld_and_appealed(
    file: Path, as_: Any, village: Village, cuckoo: Cuckoo
) -> None:
    evidence = "0x" + bundle_digest(file.read_bytes()).hex()
    code, out, err = as_(COORDINATOR, "dispute", "report", str(file))
    assert code == 0, err
    assert "first order the same" not in out, "it is too late for that"
    (one,) = json.loads(cuckoo("dispute", "list", "--json")[1])["disputes"]
    said = (one["dispute"], one["accused"], one["reporter"], one["evidence"], one["status"], one["bond_wei"])
    assert said == (1, ACCUSED, COORDINATOR, evidence, "drawing", str(BOND))
    assert "jurors are being drawn" in cuckoo("dispute", "list")[1]
    code, _, err = as_(COORDINATOR, "dispute", "report", str(file))
    assert (code, "dispute 1 is open" in err) == (2, True)
    code, _, err = as_(ACCUSED, "dispute", "appeal", "1")
    assert (code, "cannot be appealed against: jurors are being drawn" in err) == (2, True)
    village.judged(1, 1)
    shown = json.loads(cuckoo("dispute", "show", "1", "--json")[1])
    assert (shown["status"], shown["wrong"], shown["seats"]) == ("upheld", SEATS, SEATS)
    assert {(juror["juror"], juror["verdict"]) for juror in shown["jurors"]} == {(node, "wrong") for node in JURORS}
    out = cuckoo("dispute", "show", "1")[1]
    assert "the accused's owner may appeal" in out
    assert f"brings its owner {format_cai(BOND // (3 * SEATS))}, unless" in out
    code, _, err = as_(COORDINATOR, "dispute", "appeal", "1")
    assert (code, f"against node {ACCUSED}" in err) == (2, True)
    code, out, _ = as_(ACCUSED, "dispute", "appeal", "1", "--dry-run")
    assert "it ends void where too few owners" in out
    assert "only 0 owners of miners can be jurors of it, and 7 are needed: it ends void" in out
    code, out, err = as_(ACCUSED, "dispute", "appeal", "1")
    assert code == 0, err
    assert "bond 5,000 CAI" in out
    shown = json.loads(cuckoo("dispute", "show", "1", "--json")[1])
    assert (shown["status"], shown["round"], shown["seats"]) == ("drawing", 1, 2 * SEATS + 1)
    assert shown["appeal_bond_wei"] == str(APPEAL_BOND)
    assert f"brings its owner {format_cai(BOND // (3 * SEATS))}, unless" in cuckoo("dispute", "show", "1")[1]


def test_report__not_by_the_owner__is_refused_before_anything_is_sent(file: Path, as_: Any, village: Village) -> None:
    code, _, err = as_(ACCUSED, "dispute", "report", str(file))
    assert (code, "only its owner" in err) == (2, True)
    assert village.read("dispute_count") == 0


@pytest.mark.parametrize("how", ["no bundle", "another key"])
def test_report__what_proves_nothing_to_jurors__is_refused_before_the_bond_is_paid(
    how: str, village: Village, as_: Any, tmp_path: Path
) -> None:
    path = tmp_path / "forged"
    path.write_bytes(b"x" if how == "no bundle" else drawn(village.domain, signed_by=3).data())
    code, _, err = as_(COORDINATOR, "dispute", "report", str(path))
    assert code == 2
    assert ("holds no evidence" if how == "no bundle" else "not signed by keys of the two nodes") in err
    assert village.read("dispute_count") == 0


def test_report__of_a_key_that_counts_no_more_when_the_last_jurors_look__is_refused_before_the_bond_is_paid(
    file: Path, as_: Any, village: Village
) -> None:
    anvil, staking = village.anvil, Contract(load("Staking"), "0x" + village.domain.contract.hex())
    owner, key, deadline = NodeKey(owner_secret(NAMES[ACCUSED - 1])).address, key_of(99), 2**40
    consent = sign(key, village.domain, Registration(owner=owner, role=int(Role.MINER), deadline=deadline))
    anvil.impersonate("0x" + owner.hex())
    anvil.send("0x" + owner.hex(), staking, "rotate_key", ACCUSED, "0x" + key.address.hex(), deadline, consent)
    code, _, err = as_(COORDINATOR, "dispute", "report", str(file), "--dry-run")
    assert code == 0, err
    anvil.wait(UNBONDING_DELAY_S // 2 + 1)
    code, _, err = as_(COORDINATOR, "dispute", "report", str(file))
    assert (code, "it comes too late: a key that signed it was changed" in err) == (2, True)
    assert village.read("dispute_count") == 0


def test_show__number_that_is_not_there__is_one_line(village: Village, cuckoo: Cuckoo) -> None:
    code, _, err = cuckoo("dispute", "show", "9")
    assert (code, "there is no dispute 9" in err) == (2, True)
    assert cuckoo("dispute", "list")[1] == "no disputes\n"


def test_shown__state_that_this_release_does_not_know__is_the_chain_nodes_fault() -> None:
    row = (ACCUSED, COORDINATOR, "0x" + "11" * 20, 0, bytes(32), 77, 0, 0, 0, 0)
    with pytest.raises(Unavailable, match="status 77"):
        _shown(1, row, (3, 0, 0, 0))

"""`cuckoo audit` as people and programs use it: what it says, its chart, and its exit codes."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.audit_chart import draw_chart
from node.cli.audit_report import print_report
from node.record_file import RecordFiles
from node.recording import Recorder
from protocol.audit.audit import audit
from protocol.audit.report import Report
from protocol.errors import ConfigError
from protocol.events import StakeChanged
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.signed_gossip import (
    EPOCH,
    HEAD,
    START,
    Speaker,
    notice,
    offer,
    ranking,
    view_of,
)

SVG = "{http://www.w3.org/2000/svg}"


def spoken(tasks: int = 60, *, steers: bool = False) -> Speaker:
    """A coordinator whose drawn first always wins, and gets the dear tasks where it steers."""
    speaker = Speaker()
    for number in range(tasks):
        first = ranking(number)[0]
        price = 10**15 if steers and first == 2 else 10**14
        one = offer(number, price=price)
        speaker.say(300 * number, offers=[one])
        speaker.say(300 * number + 40, awards=[notice(one, first)])
    return speaker


def record(path: Path, speaker: Speaker) -> Path:
    clock = HandClock(START)
    kept = Recorder(path, HEAD, 10**9, 1, clock, RecordingJournal())
    kept.open()
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        kept.knows(StakeChanged(view_of(epoch)))
    for heard in speaker.said:
        clock.moment = heard.at
        kept.heard(heard.publication)
    kept.close()
    return path


@dataclass(frozen=True)
class Answer:
    """What the command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Answer]


@pytest.fixture
def run(cuckoo: Callable[..., tuple[int, str, str]]) -> Run:
    """Runs ``cuckoo audit`` in this process."""
    return lambda *arguments: Answer(*cuckoo("audit", *map(str, arguments)))


def run_alone(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run it as a process of its own."""
    command = [sys.executable, "-m", "node", "audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def report_of(speaker: Speaker) -> Report:
    return audit(HEAD, speaker.entries())


def test_audit__honest_record__is_clean_and_keeps_proofs_and_estimates_apart(tmp_path: Path) -> None:
    answer = run_alone(record(tmp_path / "record", spoken()))
    assert (answer.returncode, answer.stderr) == (0, "")
    proven, _, estimated = answer.stdout.partition("\nESTIMATED")
    assert "PROVEN" in proven
    assert "nothing is proven against anybody" in " ".join(proven.split())
    assert "1 boot, 1 run in 1 epoch; 60 tasks, 60 draws repeated" in " ".join(proven.split())
    assert "100% to the drawn first" in " ".join(proven.split())
    assert "nothing that chance does not explain" in estimated
    assert "Smallest effect" in estimated


def test_audit__record_without_a_table_that_holds__claims_nothing(run: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "record", spoken())
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    next(line for line in lines if "rows" in line)["rows"][-1][3] += "0"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = " ".join(run(path).stdout.split())
    assert "no draw could be repeated" in told
    assert "every draw is the right" not in told


def test_audit__with_a_proof__exits_1_and_shows_the_evidence(tmp_path: Path) -> None:
    speaker = spoken()
    taken, other = notice(offer(0, price=10**14), ranking(0)[0]), notice(offer(0, price=10**14), ranking(0)[1])
    speaker.say(20_000, awards=[other])
    answer = run_alone(record(tmp_path / "record", speaker))
    assert answer.returncode == 1
    told = " ".join(answer.stdout.split())
    assert "coordinator 3, award.twice" in told
    assert f"expected miner {taken.winner} seen miner {other.winner}" in told
    assert str(speaker.said[-1].publication.sequence) in told


def test_audit__with_an_estimate_alone__names_it_and_exits_0(run: Run, tmp_path: Path) -> None:
    answer = run(record(tmp_path / "record", spoken(150, steers=True)))
    told = " ".join(answer.stdout.split())
    assert "coordinator 3, miner 2, draw.price" in told
    assert "chance at most" in told
    assert answer.returncode == 0


def test_audit__record_that_was_tampered_with__exits_1_and_says_so(run: Run, tmp_path: Path) -> None:
    path = record(tmp_path / "record", spoken())
    lines = path.read_text().splitlines()
    changed = json.loads(lines[20])
    changed["seq"] += 1
    lines[20] = json.dumps(changed)
    path.write_text("\n".join(lines) + "\n")
    answer = run(path)
    assert answer.returncode == 1
    assert "1 messages that nobody signed as they stand" in answer.stdout


def test_audit__as_json__is_one_line_with_everything(run: Run, tmp_path: Path) -> None:
    answer = run(record(tmp_path / "record", spoken(150, steers=True)), "--json")
    (line,) = answer.stdout.splitlines()
    told = json.loads(line)
    assert told["is_clean"] is True
    assert told["proven"]["findings"] == []
    assert {one["rule"] for one in told["estimated"]["findings"]} == {"draw.price"}
    assert told["proven"]["facts"][0]["offers"] == 150
    assert len(told["estimated"]["shares"]) == 2
    assert told["estimated"]["power"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_audit__with_a_chart__draws_it(suffix: str, tmp_path: Path) -> None:
    chart = tmp_path / f"shares.{suffix}"
    answer = run_alone(record(tmp_path / "record", spoken()), "--chart", chart)
    assert answer.returncode == 0, answer.stderr
    data = chart.read_bytes()
    if suffix == "png":
        assert data.startswith(b"\x89PNG")
    else:
        texts = "".join(ElementTree.fromstring(data).itertext())
        assert "coordinator 3: 60 tasks, 60 awards" in texts
        assert "19 in 20 by chance" in texts


def test_draw_chart__same_report__same_svg(tmp_path: Path) -> None:
    report = report_of(spoken())
    draw_chart(report, tmp_path / "one.svg")
    draw_chart(report, tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_draw_chart__miner_far_from_its_share__is_named(tmp_path: Path) -> None:
    speaker = Speaker()
    for number in range(40):
        one = offer(number)
        speaker.say(300 * number, offers=[one])
        speaker.say(300 * number + 90, awards=[notice(one, 1)])
    draw_chart(report_of(speaker), tmp_path / "one.svg")
    assert {"miner 1", "miner 2"} <= set(re.findall(r"miner \d", (tmp_path / "one.svg").read_text()))


def test_draw_chart__without_shares_or_a_place__is_refused(tmp_path: Path) -> None:
    speaker = Speaker()
    speaker.say()
    with pytest.raises(ConfigError, match="no shares to show"):
        draw_chart(report_of(speaker), tmp_path / "one.svg")
    with pytest.raises(ConfigError, match="cannot be written"):
        draw_chart(report_of(spoken()), tmp_path / "nowhere" / "one.svg")


def test_draw_chart__without_matplotlib__says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"cuckoo-overlay\[audit\]"):
        draw_chart(report_of(spoken()), tmp_path / "one.svg")


def test_audit__live_with_a_chart_and_without_matplotlib__is_refused_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = run_alone("--live", "--network", tmp_path / "none.toml", "--chart", tmp_path / "one.svg")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "cuckoo-overlay[audit]" in answer.stderr, "and not that there is no such network"


def test_audit__chart_that_cannot_be_written__comes_after_the_report(run: Run, tmp_path: Path) -> None:
    answer = run(record(tmp_path / "record", spoken()), "--chart", tmp_path / "nowhere" / "one.svg")
    assert answer.returncode == 2
    assert "60 tasks, 60 draws repeated" in " ".join(answer.stdout.split())
    assert "--chart" in answer.stderr


def test_entries__more_lines_than_fit__are_refused_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record(tmp_path / "record", spoken())
    monkeypatch.setattr("node.record_file.MAX_LINES", 50)
    files = RecordFiles([path])
    assert len(list(files.entries(only_what_fits=True))) == 50
    assert files.left_out
    with pytest.raises(ConfigError, match="more than 50 lines"):
        list(files.entries())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "RECORD: name the record"),
        (["record", "--live"], "RECORD: name the record of a node, or listen with --live, not both"),
        (["--live", "--seconds", "86401"], "--seconds"),
        (["record", "--keep", "x"], "--keep: only --live"),
        (["record", "--chart", "x.pdf"], "--chart: x.pdf ends in none of .svg, .png"),
        (["none"], "none: no such file"),
        (["--live"], "--network is missing"),
        (["--live", "--network", "none.toml"], "none.toml: no such file"),
        (["--live", "--seconds", "0"], "--seconds"),
    ],
)
def test_audit__that_is_not_right__is_one_line_and_exit_code_2(
    run: Run, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUCKOO_NETWORK", raising=False)
    record(tmp_path / "record", spoken(1))
    placed = [str(tmp_path / word) if word in {"record", "none", "none.toml"} else word for word in arguments]
    answer = run(*placed)
    assert (answer.returncode, answer.stdout) == (2, "")
    (line,) = answer.stderr.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("is_live", "said"),
    [
        (True, "tables and beacons were read from the chain while we listened"),
        (False, "tables and beacons are as the recorder had them: --network compares a record with the chain"),
    ],
)
def test_print_report__ours_or_somebody_elses_record__says_whose_tables_it_takes(
    is_live: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    files = RecordFiles([record(tmp_path / "record", spoken(1))])
    report = audit(files.head, files.entries())
    print_report(report, files.head, is_live=is_live)
    lines = capsys.readouterr().out.splitlines()
    assert said in lines
    assert "of 1 coordinator in" in lines[0]


def test_audit__record_in_which_nobody_spoke__is_refused(run: Run, tmp_path: Path) -> None:
    answer = run(record(tmp_path / "record", Speaker()))
    assert answer.returncode == 2
    assert "no coordinator said anything" in answer.stderr


def test_audit__of_another_network_than_named__is_refused(run: Run, tmp_path: Path) -> None:
    network = tmp_path / "network.toml"
    address = "0x" + "22" * 20
    names = ("cai", "parameters", "staking", "settlement", "slashing", "disputes")
    network.write_text(
        'params = "minimal"\n[chain]\nrpc_urls = ["http://127.0.0.1:1"]\nchain_id = 31337\n[contracts]\n'
        + "".join(f'{name} = "{address}"\n' for name in names)
    )
    answer = run(record(tmp_path / "record", spoken()), "--network", network)
    assert answer.returncode == 2
    assert "the record is not of the network" in answer.stderr

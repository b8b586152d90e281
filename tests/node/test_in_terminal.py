"""What people see: commands in a pseudo-terminal, and pictures where they can be shown."""

import base64
import io
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from PIL import Image
from rich.console import Console

from node.adapters.control import UnixControl
from node.cli import picture as pictures
from node.cli.picture import preview_of, show_picture
from node.cli.status_watch import view
from node.control import Control
from tests.node.test_cli_receipts import signed_receipt
from tests.support.pictures import png
from tests.support.terminal import Seen, in_terminal
from tests.support.web_server import QuietHandler, listening

CUCKOO = [sys.executable, "-m", "node"]
RED, BLUE = (200, 10, 10), (10, 10, 200)
LOOK_S = 30.0
"""Longest that a preview may take to be drawn, on however busy a machine."""


def file_of(kind: str, color: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, kind)
    return data.getvalue()


def terminal(width: int = 80, **changes: Any) -> Console:
    options = {"force_terminal": True, "color_system": "truecolor", "_environ": {"TERM": "xterm-256color"}} | changes
    return Console(file=io.StringIO(), width=width, **options)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_show_picture__terminal_of_many_colours__draws_half_blocks_of_its_proportions() -> None:
    console = terminal()
    show_picture(file_of("PNG", RED, (64, 32)), console, {})
    rows = [line for line in printed(console).splitlines() if "▀" in line]
    assert (len(rows), rows[0].count("▀")) == (12, 48)
    assert "38;2;200;10;10" in rows[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"force_terminal": False},
        {"color_system": "standard"},
        {"no_color": True},
        {"_environ": {"TERM": "dumb"}},
    ],
)
def test_show_picture__no_terminal_for_it__shows_nothing(changes: dict[str, Any]) -> None:
    console = terminal(**changes)
    show_picture(png(16, 16), console, {})
    assert printed(console) == ""
    assert preview_of(png(16, 16), console) is None


def test_show_picture__extra_is_not_installed__shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    console = terminal()
    show_picture(png(16, 16), console, {})
    assert printed(console) == ""


@pytest.mark.parametrize("data", [b"", b"no picture", png(16, 16)[:45], b"RIFF\x16\x00\x00\x00WEBPVP8 "])
def test_preview_of__what_is_no_picture__is_none(data: bytes) -> None:
    assert preview_of(data, terminal()) is None


def test_preview_of__wider_than_the_terminal__is_cut_and_not_wrapped() -> None:
    console = terminal(width=10)
    preview = preview_of(file_of("WEBP", BLUE), console)
    assert preview is not None
    console.print(preview)
    assert {line.count("▀") for line in printed(console).splitlines()} == {10}


@pytest.mark.parametrize("environment", [{"TERM": "xterm-kitty"}, {"TERM_PROGRAM": "iTerm.app"}, {"WT_SESSION": "1"}])
def test_show_picture__terminal_with_graphics_behind_a_pipe__is_not_asked(environment: dict[str, str]) -> None:
    console = terminal()
    assert pictures._graphics_of_terminal(environment) is None, "no terminal answers here"
    show_picture(png(16, 16), console, environment)
    assert "▀" in printed(console)


class Coordinator(QuietHandler):
    """Answers one order, with a preview that whoever looks may keep as long as it takes him to see it."""

    task = bytes(32).hex()
    is_seen = threading.Event()
    receipt = b""
    picture = file_of("PNG", RED)

    def do_GET(self) -> None:
        if self.path == f"/v1/tasks/{self.task}/events":
            self.send_response(200)
            self.end_headers()
            preview = base64.b64encode(file_of("WEBP", BLUE)).decode()
            step = {"task": self.task, "stage": "progress", "miner": "2", "step": 3, "steps": 10, "reason": "step"}
            for news in (
                step | {"preview": f"data:image/webp;base64,{preview}"},
                {"task": self.task, "stage": "done", "miner": "2", "url": "/v1/artifacts/a"},
            ):
                self.wfile.write(f"data: {json.dumps(news)}\n\n".encode())
                self.wfile.flush()
                self.is_seen.wait(LOOK_S)
            self.close_connection = True
        elif self.path == "/v1/artifacts/a":
            self.answer(200, self.picture)
        else:
            self.answer(200, self.receipt)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(202, json.dumps({"task": self.task}).encode())


@pytest.fixture
def url(tmp_path: Path):
    receipt = signed_receipt(tmp_path / "receipt.json", data=Coordinator.picture)
    Coordinator.receipt = receipt.read_bytes()
    Coordinator.is_seen.set()
    with listening(Coordinator) as address:
        yield address


def has_blue(written: bytes) -> bool:
    """Say whether a picture as blue as the preview was drawn in half blocks."""
    drawn = re.findall(rb"38;2;(\d+);(\d+);(\d+);48;2", written)
    return any(int(red) < 60 and int(blue) > 150 for red, _, blue in drawn)


def test_submit__in_a_terminal__shows_steps_and_preview_then_the_picture(url: str, tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    Coordinator.is_seen.clear()

    def look(seen: Seen) -> bool:
        if b"miner 2: step" in seen.written and has_blue(seen.written):
            Coordinator.is_seen.set()
        return False

    seen = in_terminal([*CUCKOO, "submit", "x", "--api", url, "--out", str(out)], until=look)
    assert seen.code == 0, seen.text
    assert out.read_bytes() == Coordinator.picture
    assert b"miner 2: step" in seen.written
    assert has_blue(seen.written), "the preview"
    assert seen.colors() == {"c80a0a"}, "the picture alone is left"
    assert f"saved {out}" in seen.text.replace("\n", "")
    assert "miner 2: step" not in seen.text, "the moving line is gone"


def test_submit__told_not_to_show__draws_no_picture_at_the_end(url: str, tmp_path: Path) -> None:
    seen = in_terminal([*CUCKOO, "submit", "x", "--api", url, "--out", str(tmp_path / "x.png"), "--no-show"])
    assert seen.code == 0, seen.text
    assert not seen.colors()


def test_submit__json_in_a_terminal__prints_one_line_and_no_picture(url: str, tmp_path: Path) -> None:
    seen = in_terminal([*CUCKOO, "submit", "x", "--api", url, "--out", str(tmp_path / "x.png"), "--json"])
    assert seen.code == 0, seen.text
    assert json.loads(seen.text.replace("\n", ""))["miner"] == "2"


def test_submit__chain_does_not_answer__says_that_the_picture_is_saved(url, cuckoo, tmp_path) -> None:
    chain = ("--chain-rpc", "http://127.0.0.1:9", "--staking", f"0x{'11' * 20}")
    code, _, errors = cuckoo("submit", "x", "--api", url, "--out", str(tmp_path / "x.png"), *chain)
    assert code == 1
    assert f"error: {tmp_path / 'x.png'} is saved, but its receipt is not checked: " in errors
    assert (tmp_path / "x.png").read_bytes() == Coordinator.picture


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full is Linux's /dev/full")
def test_submit__disk_is_full__says_where_the_picture_still_is(url, cuckoo) -> None:
    code, _, errors = cuckoo("submit", "x", "--api", url, "--out", "/dev/full")
    assert code == 2
    line = errors.splitlines()[-1]
    assert line.startswith("error: --out: /dev/full cannot be written: No space left on device; ")
    assert line.endswith(f"; the picture is still at {url}/v1/artifacts/a")


def test_submit__twice_without_a_name_for_the_file__keeps_both_pictures(url, cuckoo, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("picture.png", "picture-2.png"):
        code, said, errors = cuckoo("submit", "x", "--api", url)
        assert code == 0, errors
        assert said.startswith(f"saved {name} (")
        assert (tmp_path / name).read_bytes() == Coordinator.picture


SAID = {
    "role": "miner",
    "peer_id": "16Uiu2HAm",
    "address": "0x11",
    "addresses": [],
    "staking_id": 4,
    "http_url": None,
    "access": None,
    "service": {
        "open": True,
        "held_by": [],
        "claims": 1,
        "jobs": 2,
        "results": 0,
        "celsius": 61,
        "minutes_to_change": None,
    },
    "engine": {
        "device": "NVIDIA H100",
        "state": "up",
        "models": [{"model": "pocket-emoji", "in_memory": True, "speeds": [[1, 400_000], [8, 2_000_000]]}],
        "faults": {"sdxl": "model_missing"},
    },
    "figures": {
        "cuckoo_peers{kind=coordinator}": 2.0,
        "cuckoo_peers{kind=bootstrap}": 1.0,
        "cuckoo_receipts_total": 10.0,
        "cuckoo_earned_cai_total": 1.5,
        "cuckoo_card_memory_bytes{use=taken}": 2.0**31,
        "cuckoo_card_memory_bytes{use=free}": 2.0**31,
        "cuckoo_chain_head_age_seconds": 3.2,
    },
}


def shown(said: dict[str, Any], earlier: dict[str, Any] | None = None, seconds: float = 2.0) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(view(said, earlier or said, seconds))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_view__miner__tells_peers_work_earnings_card_and_speeds() -> None:
    text = shown(SAID)
    assert "2 coordinators, 1 bootstrap" in text
    assert "takes work; 1 claimed, 2 drawn now, 0 to deliver" in text
    assert "1.500000 CAI promised" in text
    assert "NVIDIA H100, up, 61 °C, 2.0 of 4.0 GiB taken" in text
    assert "400,000 (1), 2,000,000 (8)" in text
    assert "sdxl: model_missing" in text
    assert "newest block 3 s old" in text


def test_view__miner_that_is_not_in_the_stake_table__takes_no_work_and_says_from_when_on() -> None:
    text = " ".join(shown(SAID | {"staking_id": None}).split())
    assert "miner not active" in text
    assert "takes no work: its key is not active in the stake table: what is new counts there from the next" in text


def test_view__bootstrap__needs_no_stake() -> None:
    said = {name: SAID[name] for name in SAID if name not in {"service", "engine"}}
    assert "not active" not in shown(said | {"role": "bootstrap", "staking_id": None})


def test_view__asked_again__tells_how_many_a_second() -> None:
    later = SAID | {"figures": SAID["figures"] | {"cuckoo_receipts_total": 16.0}}  # type: ignore[operator]
    assert "16 (3.0/s) paid for" in shown(later, SAID)
    assert "16 paid for" in shown(later, later)
    assert "4 paid for" in shown(SAID | {"figures": {"cuckoo_receipts_total": 4.0}}, later), "it was started again"


def test_view__coordinator__tells_tasks_places_and_escrow() -> None:
    figures = {
        "cuckoo_tasks_waiting": 3.0,
        "cuckoo_tasks_total{outcome=done}": 1000.0,
        "cuckoo_tasks_total{outcome=failed}": 2.0,
        "cuckoo_places": 8.0,
        "cuckoo_places_taken": 5.0,
        "cuckoo_escrow_cai": 100.0,
        "cuckoo_escrow_free_cai": 70.25,
    }
    said = {name: SAID[name] for name in SAID if name not in {"service", "engine"}}
    text = shown(said | {"role": "coordinator", "http_url": "http://x", "access": "anybody", "figures": figures})
    assert "3 unfinished, 1,000 done, 2 failed" in text
    assert "5 of 8 of connected miners" in text
    assert "100.00 CAI, 70.25 of it free" in text
    assert "none" in text, "no peer"


async def test_status__watched__is_drawn_again_in_place_until_ctrl_c(tmp_path: Path) -> None:
    asked = 0

    def counted() -> dict[str, float]:
        nonlocal asked
        asked += 1
        return {"cuckoo_peers{kind=miner}": float(asked)}

    said = {name: SAID[name] for name in SAID if name not in {"service", "engine", "figures"}}
    control = Control(lambda: said, figures=counted)

    def is_third_or_later(seen: Seen) -> bool:
        miners = re.search(r"(\d+) miners", seen.text)  # the third, or a later one: those between may go by unseen
        return miners is not None and int(miners[1]) >= 3

    async with trio.open_nursery() as nursery:
        await nursery.start(UnixControl(tmp_path).run, control.answer)
        command = [*CUCKOO, "status", "--node", str(tmp_path), "--watch", "--every", "0.2"]
        seen = await trio.to_thread.run_sync(lambda: in_terminal(command, until=is_third_or_later))
        nursery.cancel_scope.cancel()
    assert seen.code == 130, seen.text
    assert seen.text.count("peers") == 1, "in place"
    assert re.search(r"\b1 miner\b", seen.text) is None


async def test_status__watched_as_json__prints_a_line_each_time(tmp_path: Path) -> None:
    said = {name: SAID[name] for name in SAID if name not in {"service", "engine", "figures"}}
    control = Control(lambda: said, figures=lambda: {"cuckoo_peers{kind=miner}": 2.0})
    async with trio.open_nursery() as nursery:
        await nursery.start(UnixControl(tmp_path).run, control.answer)
        command = [*CUCKOO, "status", "--node", str(tmp_path), "--watch", "--every", "0.2", "--json"]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        lines = b""
        while lines.count(b"\n") < 2:
            lines += await process.stdout.receive_some()
        process.terminate()
        await process.wait()
        nursery.cancel_scope.cancel()
    first = json.loads(lines.splitlines()[0])
    assert first["figures"] == {"cuckoo_peers{kind=miner}": 2.0}
    assert first["at"] > 0


def test_status__watched_without_a_terminal__says_what_to_do(cuckoo, tmp_path: Path) -> None:
    code, _, err = cuckoo("status", "--watch", "--node", str(tmp_path))
    assert code == 2
    assert err == "error: --watch: draws on a terminal; give --json for a line each time\n"
    code, _, err = cuckoo("status", "--watch")
    assert (code, err) == (2, "error: --watch: name the node to look at: --node ~/.cuckoo/miner\n")

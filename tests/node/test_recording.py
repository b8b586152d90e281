"""Records of gossip: what a node writes, and how a reader takes what it is given."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from node.record_file import RecordFiles
from node.recording import RecordedSink, Recorder
from protocol.audit.record import Heard, InactiveSeen, RecordHead, ViewSeen
from protocol.errors import ConfigError
from protocol.events import ActivityChanged, BlockSeen, Event, StakeChanged
from protocol.notes import NoteName
from protocol.units import BlockNumber, StakingId, UnixMillis
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.signed_gossip import EPOCH, HEAD, PARAMS, START, Speaker, offer, view_of

HUGE = 10**9


def recorder(path: Path, *, max_bytes: int = HUGE, files: int = 3, journal: Any = None) -> Recorder:
    opened = Recorder(path, HEAD, max_bytes, files, HandClock(START), journal or RecordingJournal())
    opened.open()
    return opened


def entries(*paths: Path) -> list[Any]:
    return list(RecordFiles(paths).entries())


def written(path: Path, bulletins: int = 2) -> list[Heard]:
    """A record with tables of three epochs and some bulletins."""
    kept, speaker = recorder(path), Speaker()
    for epoch in (EPOCH - 1, EPOCH, EPOCH + 1):
        kept.knows(StakeChanged(view_of(epoch)))
    for number in range(bulletins):
        kept.heard(speaker.say(100 * number, offers=[offer(number)]).publication)
    kept.close()
    return [replace(heard, at=START) for heard in speaker.said]


def test_record__read_again__is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gossip.jsonl"
    heard = written(path)
    files = RecordFiles([path])
    assert (files.head.params, files.head.chain_id, files.head.contract) == (PARAMS, HEAD.chain_id, HEAD.contract)
    views = [ViewSeen(view_of(epoch), view_of().table.root) for epoch in (EPOCH - 1, EPOCH, EPOCH + 1)]
    assert list(files.entries()) == [InactiveSeen(START, frozenset()), *views, *heard]


def test_record__tables_that_do_not_change__stand_in_a_file_once(tmp_path: Path) -> None:
    written(tmp_path / "record")
    lines = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    assert [("rows" in line) for line in lines if "epoch" in line] == [True, False, False]


def test_record__full__rotates_and_each_file_stands_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "record"
    kept, speaker = recorder(path, max_bytes=4000), Speaker()
    kept.knows(StakeChanged(view_of()))
    kept.knows(ActivityChanged(frozenset({StakingId(2)})))
    for number in range(60):
        kept.heard(speaker.say(100 * number, offers=[offer(number)]).publication)
    kept.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["record", "record.1", "record.2"]
    for name in ("record.2", "record.1", "record"):
        begin = entries(tmp_path / name)[:2]
        assert begin == [ViewSeen(view_of(), view_of().table.root), InactiveSeen(START, frozenset({StakingId(2)}))]
        assert (tmp_path / name).stat().st_size < 5000
    heard = [one for one in entries(path.with_suffix(".1"), path) if isinstance(one, Heard)]
    assert heard[-1].publication == speaker.said[-1].publication


def test_open__record_of_earlier_runs__is_gone_on_with_until_it_is_full(tmp_path: Path) -> None:
    path, runs = tmp_path / "record", 5
    once = written(path)
    for _ in range(runs - 1):
        written(path)
    assert [found.name for found in tmp_path.iterdir()] == ["record"]
    found = entries(path)
    assert [one for one in found if isinstance(one, Heard)] == once * runs
    assert sum(isinstance(one, ViewSeen) for one in found) == 3 * runs
    recorder(path, max_bytes=path.stat().st_size).close()
    assert entries(tmp_path / "record.1") == found
    assert not [one for one in entries(path) if isinstance(one, Heard)]


@pytest.mark.parametrize("left", [b'{"at":1,"from":"1', b'{"at', b"x" * 3_000_000])
def test_open__last_line_cut_off_by_a_crash__goes_on_behind_the_last_whole_one(left: bytes, tmp_path: Path) -> None:
    path = tmp_path / "record"
    once = written(path)
    path.write_bytes(path.read_bytes() + left)
    assert [one for one in (written(path), entries(path))[1] if isinstance(one, Heard)] == once * 2


@pytest.mark.parametrize("left", [b"", b"{", b'{"cuckoo_record":1,"be'])
def test_open__crash_in_the_very_first_line__begins_anew(left: bytes, tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(left)
    assert [one for one in (written(path), entries(path))[1] if isinstance(one, Heard)]
    assert [found.name for found in tmp_path.iterdir()] == ["record"]


@pytest.mark.parametrize("there", ["record", "record.2"])
@pytest.mark.parametrize("text", ["my letter\n", "no end of line", "[]\n", '{"a": 1}\n', "x" * 100_000])
def test_open__file_that_is_no_record__is_refused_and_left_as_it_is(there: str, text: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text(text)
    with pytest.raises(ConfigError, match=rf"record\.file: .*{there} is there and is no record"):
        recorder(tmp_path / "record")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(there, text)]


def test_open__what_is_no_file__is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ConfigError, match="is there and is no record"):
            recorder(tmp_path / name)


def test_open__record_of_another_network__is_refused(tmp_path: Path) -> None:
    written(tmp_path / "record")
    other = RecordHead(PARAMS, 1, HEAD.contract)
    with pytest.raises(ConfigError, match="of another network"):
        Recorder(tmp_path / "record", other, HUGE, 1, HandClock(START), RecordingJournal()).open()


def test_open__where_nothing_can_be_written__is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"record\.file: .* cannot be written"):
        recorder(tmp_path / "file" / "record")


class FullFile:
    """A file on a disk that is full."""

    def __init__(self) -> None:
        self.closed = False

    def write(self, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        self.write(b"")

    def close(self) -> None:
        self.closed = True
        self.write(b"")


def test_heard__disk_is_full__ends_the_record_and_not_the_node(tmp_path: Path) -> None:
    journal = RecordingJournal()
    kept, full = recorder(tmp_path / "record", journal=journal), FullFile()
    kept.close()
    kept._file = full  # type: ignore[assignment]
    for _ in range(3):
        kept.heard(Speaker().say().publication)
    kept.close()
    assert full.closed
    assert [note.name for note in journal.notes] == [NoteName.RECORD_STOPPED]
    assert journal.notes[0].fields["reason"] == "No space left on device"


async def test_recorded_sink__events_of_the_chain__are_handed_on_and_written(tmp_path: Path) -> None:
    posted: list[Event] = []

    class Sink:
        async def post(self, event: Event) -> None:
            posted.append(event)

    kept = recorder(tmp_path / "record")
    sink = RecordedSink(Sink(), kept)
    events = [StakeChanged(view_of()), BlockSeen(BlockNumber(1), UnixMillis(START)), ActivityChanged(frozenset())]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        for event in events:
            await sink.post(event)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert posted == events
    assert len(entries(tmp_path / "record")) == 3, "what waited was written at the end"


def test_entries__last_line_cut_off_by_a_crash__is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "record"
    written(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert sum(isinstance(one, Heard) for one in entries(path)) == 1


DAMAGED: list[tuple[str, Any, str]] = [
    ("empty", lambda _lines: [], "empty"),
    ("not JSON", lambda _lines: ["hello"], "line 1 is not JSON"),
    ("another file", lambda _lines: ['{"a": 1}'], "no record of gossip"),
    ("a list", lambda _lines: ["[]"], "no record of gossip"),
    ("newer", lambda lines: [lines[0].replace('record":1', 'record":2')], "use a newer one"),
    ("no params", lambda lines: ['{"cuckoo_record":1}'], "does not describe a network"),
    ("wrong params", lambda lines: [lines[0].replace('"epoch_s":60', '"epoch_s":1')], "does not describe a network"),
    ("short contract", lambda lines: [lines[0].replace("1111", "11")], "does not describe a network"),
    ("damaged", lambda lines: [*lines[:3], "{", *lines[3:]], "line 4 is not JSON"),
    ("a number", lambda lines: [*lines, "7"], "is damaged"),
    ("deep", lambda lines: [*lines, "[" * 200_000], "not JSON"),
    ("unknown line", lambda lines: [*lines, '{"what":1}'], "line 8 is damaged"),
    ("rows that never stood", lambda lines: [lines[0], lines[3], *lines[4:]], "line 2 is damaged"),
    ("huge number", lambda lines: [*lines, lines[-1].replace('"seq":', '"seq":9999999')], "line 8 is damaged"),
    ("no base64", lambda lines: [*lines, lines[-1].replace('"sig":"', '"sig":"*')], "line 8 is damaged"),
    ("text for a time", lambda lines: [*lines, lines[-1].replace('"at":', '"at":"x","b":')], "line 8 is damaged"),
    ("a role of no kind", lambda lines: [lines[0], lines[2].replace(",1,", ",9,", 1)], "line 2 is damaged"),
    ("long line", lambda lines: [*lines, '"' + "x" * 9_000_000 + '"'], "is longer than any"),
]


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_entries__of_another_form__are_refused_by_file_and_line(change: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "record"
    written(path)
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    with pytest.raises(ConfigError, match=said) as refused:
        entries(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_record_files__of_two_networks__are_refused(tmp_path: Path) -> None:
    written(tmp_path / "one")
    other = RecordHead(PARAMS, 1, HEAD.contract)
    kept = Recorder(tmp_path / "two", other, HUGE, 1, HandClock(START), RecordingJournal())
    kept.open()
    kept.close()
    with pytest.raises(ConfigError, match="of another network"):
        RecordFiles([tmp_path / "one", tmp_path / "two"])


def test_record_files__that_are_not_there__are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        RecordFiles([tmp_path / "none"])
    with pytest.raises(ConfigError, match="cannot be read"):
        RecordFiles([tmp_path])

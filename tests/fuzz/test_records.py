"""Whatever a record holds, reading and auditing it gives a report or one named error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.record_file import RecordFiles
from node.recording import Recorder
from protocol.audit.audit import audit
from protocol.audit.report import Report
from protocol.errors import ConfigError
from protocol.events import StakeChanged
from tests.support.clock import HandClock
from tests.support.journal import RecordingJournal
from tests.support.signed_gossip import HEAD, START, Speaker, notice, offer, ranking, view_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A sound record."""
    path = tmp_path_factory.mktemp("record") / "sound"
    kept, speaker = Recorder(path, HEAD, 10**9, 1, HandClock(START), RecordingJournal()), Speaker()
    kept.open()
    kept.knows(StakeChanged(view_of()))
    for number in range(3):
        speaker.say(100 * number, offers=[offer(number)], awards=[notice(offer(number), ranking(number)[0])])
    for heard in speaker.said:
        kept.heard(heard.publication)
    kept.close()
    return path.read_text().splitlines()


def read(path: Path, lines: list[str]) -> Report | None:
    path.write_text("".join(f"{line}\n" for line in lines))
    try:
        files = RecordFiles([path])
        return audit(files.head, files.entries())
    except ConfigError:
        return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 5), data=st.data())
def test_audit__any_field_replaced_by_any_value__reports_or_refuses(
    place: int, data: st.DataObject, lines: list[str], tmp_path: Path
) -> None:
    line: dict[str, Any] = json.loads(lines[place])
    name = data.draw(st.sampled_from(sorted(line)))
    line[name] = data.draw(JSON)
    report = read(tmp_path / "record", [*lines[:place], json.dumps(line), *lines[place + 1 :]])
    assert report is None or report.proofs == (), "what somebody wrote into a record accuses nobody"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.one_of(st.binary(max_size=60).map(lambda data: data.decode("latin-1")), JSON.map(json.dumps)))
def test_audit__any_line_more__reports_or_refuses(junk: str, lines: list[str], tmp_path: Path) -> None:
    read(tmp_path / "record", [*lines, junk.replace("\n", " ").replace("\r", " ")])

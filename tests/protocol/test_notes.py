"""A note that nothing writes is a promise to operators that nobody keeps."""

from pathlib import Path

import pytest

from protocol.notes import NoteName

ROOT = Path(__file__).parents[2]
READERS = ("notes.py", "journal.py", "metrics.py")
"""They name notes without noting them."""
WRITERS = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("protocol", "node")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name not in READERS
)


@pytest.mark.parametrize("name", NoteName, ids=lambda name: name.value)
def test_note_name__any__is_noted_somewhere(name):
    assert f"NoteName.{name.name}" in WRITERS

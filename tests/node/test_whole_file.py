"""A file is the old one or the new one, and whoever may not read it does not."""

from pathlib import Path

import pytest

from node.whole_file import replace_file


def test_replace_file__there_before__is_the_new_one_with_its_permissions_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_bytes(b"old")
    replace_file(path, b"new", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_replace_file__cannot_be_written__leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "kept"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="kept"):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]

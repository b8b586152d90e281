"""Where a picture that was drawn for a person goes: never over one of which nobody said so."""

from pathlib import Path

import pytest

from node.cli import drawn_picture
from node.cli.drawn_picture import check_output, save
from protocol.errors import ConfigError

NAMED = Path("picture.webp")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_save__no_file_named__takes_the_first_name_that_is_free(folder: Path) -> None:
    saved = [save(None, number.to_bytes(), otherwise=NAMED) for number in range(3)]
    assert saved == [NAMED, Path("picture-2.webp"), Path("picture-3.webp")]
    assert [path.read_bytes() for path in saved] == [b"\0", b"\1", b"\2"]
    saved[1].unlink()
    assert save(None, b"again", otherwise=NAMED) == saved[1]
    assert len(list(folder.iterdir())) == 3


def test_save__file_named__replaces_what_is_there() -> None:
    NAMED.write_bytes(b"earlier, and longer")
    assert save(NAMED, b"new", otherwise=Path("other.png")) == NAMED
    assert NAMED.read_bytes() == b"new"


def test_save__all_names_taken__says_to_name_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_picture, "MAX_NUMBERED", 2)
    save(None, b"1", otherwise=NAMED)
    save(None, b"2", otherwise=NAMED)
    with pytest.raises(ConfigError, match=r"^--out: picture.webp and 1 names like it are taken: name a file$"):
        save(None, b"3", otherwise=NAMED)


def test_check_output__no_file_named__is_about_this_folder(folder: Path) -> None:
    check_output(None)
    assert list(folder.iterdir()) == []


def test_check_output__no_file_named_where_none_can_be__says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    with pytest.raises(ConfigError, match=r"^--out: the folder /proc takes no file: "):
        check_output(None)

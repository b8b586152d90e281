import pytest

from node.apps.api_keys import read_api_keys
from node.given_file import read_given_file
from protocol.errors import ConfigError


def fault_of(*arguments, **named) -> str:
    with pytest.raises(ConfigError) as caught:
        read_given_file(*arguments, **named)
    return str(caught.value)


def test_read_given_file__up_to_its_limit__is_read_whole(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345678")
    assert read_given_file(file, 8, "number") == b"12345678"
    assert fault_of(file, 7, "number") == f"{file}: larger than 7 bytes, which no number is"


def test_read_given_file__absent_or_a_folder__is_said_with_what_named_it(tmp_path):
    assert fault_of(tmp_path / "x", 8, "number", named="--flag: x", missing="make one") == "--flag: x: make one"
    assert fault_of(tmp_path, 8, "number") == f"{tmp_path}: cannot be read: Is a directory"


def test_read_given_file__inspection_refuses__nothing_is_read(tmp_path):
    def refuse(_file):
        raise ConfigError("not private")

    file = tmp_path / "file"
    file.write_bytes(b"secret")
    assert fault_of(file, 8, "number", inspect=refuse) == "not private"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"\xff\xfe", "not text in UTF-8"), (b"#" * (4 * 1024 * 1024 + 1), "larger than 4194304 bytes, which no file")],
)
def test_read_api_keys__no_such_text__is_refused_by_its_key(tmp_path, content, fault):
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^http\.keys_file: {path}: {fault}"):
        read_api_keys(path)

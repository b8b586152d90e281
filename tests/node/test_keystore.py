"""Keystores: a round trip, private files, and one line for each thing that may be wrong."""

import io
import json
import stat

import pytest
from eth_account import Account

from node import keystore
from protocol.errors import ConfigError

PASSWORD = "correct horse"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "key.json"


def fault_of(call, *arguments, **named) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_create__then_load__same_key_private_file(path):
    secret = keystore.create(path, PASSWORD, light=True)
    assert keystore.load(path, PASSWORD) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key.json"]
    assert secret.hex() not in path.read_text()


def test_create__key__other_tools_read_it(path):
    secret = keystore.create(path, PASSWORD, light=True)
    content = json.loads(path.read_text())
    assert content["version"] == 3
    assert bytes(Account.decrypt(content, PASSWORD)) == secret


def test_create__real_key__standard_scrypt(path):
    keystore.create(path, PASSWORD)
    assert json.loads(path.read_text())["crypto"]["kdfparams"]["n"] == 2**18


def test_create__existing_file__never_overwritten(path):
    keystore.create(path, PASSWORD, light=True)
    before = path.read_bytes()
    assert "exists already" in fault_of(keystore.create, path, PASSWORD, light=True)
    assert path.read_bytes() == before


def test_create__short_password__refused_unless_light(path):
    assert fault_of(keystore.create, path, "short") == "password: at least 8 characters for a key that holds value"
    assert not path.exists()


def test_create__folder_is_a_file__one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert "its folder cannot be made" in fault_of(
        keystore.create, tmp_path / "file" / "key.json", PASSWORD, light=True
    )


def test_load__wrong_password__one_line(path):
    keystore.create(path, PASSWORD, light=True)
    assert fault_of(keystore.load, path, "wrong horse") == f"{path}: wrong password for this keystore"


def test_load__no_file__says_how_to_make_one(path):
    line = f"{path}: no such keystore: make one with cuckoo key new --keystore {path}"
    assert fault_of(keystore.load, path, PASSWORD) == line


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "{}", '{"version": 3}', '{"version": 4, "crypto": {}}', "[" * 30_000]
)
def test_load__not_a_keystore__one_line(path, text):
    keystore.write_private(path, text)
    assert fault_of(keystore.load, path, PASSWORD) == f"{path}: not a keystore (Web3 secret storage version 3)"


@pytest.mark.parametrize("key", ["ciphertext", "kdf", "mac", "cipherparams"])
def test_load__field_missing__one_line(path, key):
    keystore.create(path, PASSWORD, light=True)
    content = json.loads(path.read_text())
    del content["crypto"][key]
    path.write_text(json.dumps(content))
    assert "damaged keystore" in fault_of(keystore.load, path, PASSWORD)


@pytest.mark.parametrize(("name", "value"), [("n", 2**40), ("n", "many"), ("r", 10_000), ("p", 0), ("dklen", 2**40)])
def test_load__derivation_that_would_take_all_memory__refused_at_once(path, name, value):
    keystore.create(path, PASSWORD, light=True)
    content = json.loads(path.read_text())
    content["crypto"]["kdfparams"][name] = value
    path.write_text(json.dumps(content))
    assert f"{name} of its key derivation is not within" in fault_of(keystore.load, path, PASSWORD)


def test_load__others_can_read_it__refused(path):
    keystore.create(path, PASSWORD, light=True)
    path.chmod(0o644)
    assert fault_of(keystore.load, path, PASSWORD) == f"{path}: every user can read this keystore: chmod 600 {path}"


def test_require_files__keystore_or_password_file_missing__named(path, tmp_path):
    assert fault_of(keystore.require_files, path, None).startswith(
        f"{path}: no such keystore: make one with cuckoo key"
    )
    keystore.create(path, PASSWORD, light=True)
    keystore.require_files(path, None)
    absent = tmp_path / "absent"
    assert fault_of(keystore.require_files, path, absent) == f"--password-file: {absent}: no such file"


def test_read_password_file__first_line(tmp_path):
    file = tmp_path / "password"
    keystore.write_private(file, "pass word\r\nsecond\n")
    assert keystore.read_password_file(file) == "pass word"


def test_read_password_file__others_can_read_it__refused(tmp_path):
    file = tmp_path / "password"
    file.write_text("x")
    file.chmod(0o604)
    line = f"{file}: every user can read this password file: chmod 600 {file}"
    assert fault_of(keystore.read_password_file, file) == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "the first line of {file} is empty"),
        (b"\nx", "the first line of {file} is empty"),
        (b"\xff\xfe", "{file}: not text in UTF-8"),
        (b"x" * 5000, "{file}: larger than 4096 bytes, which no password is"),
    ],
)
def test_read_password_file__no_password_in_it__one_line(tmp_path, content, line):
    file = tmp_path / "password"
    file.write_bytes(content)
    file.chmod(0o600)
    assert fault_of(keystore.read_password_file, file) == f"--password-file: {line.format(file=file)}"


def test_read_password_file__absent__names_the_flag(tmp_path):
    line = f"--password-file: {tmp_path}/none: no such file"
    assert fault_of(keystore.read_password_file, tmp_path / "none") == line


def test_new_password__two_that_differ__refused():
    answers = iter(["one", "two"])
    line = "password: the two do not agree; nothing was written"
    assert fault_of(keystore.new_password, None, ask=lambda _: next(answers)) == line


def test_new_password__empty__refused_as_an_empty_file_is():
    assert fault_of(keystore.new_password, None, ask=lambda _: "") == "password: it is empty; nothing was written"


def test_new_password__typed_twice__taken():
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return "same"

    assert keystore.new_password(None, ask=ask) == "same"
    assert len(asked) == 2


def test_password_for__no_terminal__says_what_to_give(path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    line = "password: nobody to ask, as this is no terminal: give --password-file FILE"
    assert fault_of(keystore.password_for, path, None) == line

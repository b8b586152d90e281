"""The file of API keys, and the commands that write it."""

import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio

import node.apps.api_keys
from node.apps.api_keys import (
    changed_entries,
    entry_of,
    follow_api_keys,
    hash_of,
    new_key,
    parse_expiry,
    read_api_keys,
    read_old_keys,
)
from node.apps.app_keys import ApiKey
from protocol.errors import ConfigError
from protocol.units import UnixMillis, Wei
from tests.support.patience import PATIENCE_S

CONFIGS = Path(__file__).parents[3] / "configs"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "of a coordinator" / "api-keys.json"


def add(file: Path, key: str, label: str = "app", **limits: object) -> None:
    with changed_entries(file) as entries:
        entries.append(entry_of(key, label, **limits))


# The file


def test_changed_entries__new_key__is_kept_as_a_hash_for_the_owner_alone(file):
    key = new_key()
    add(file, key, "my app", requests_per_minute=10, wei_per_day=Wei(2**70), expires=NOW)
    assert read_api_keys(file) == {
        hash_of(key): ApiKey(hash_of(key)[:12], "my app", 10, Wei(2**70), UnixMillis(int(NOW.timestamp() * 1000)))
    }
    assert key not in file.read_text(encoding="utf-8")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_changed_entries__two_after_each_other__both_are_there(file):
    for number in range(2):
        add(file, new_key(), f"app {number}")
    assert [key.label for key in read_api_keys(file).values()] == ["app 0", "app 1"]


def test_changed_entries__gives_up__changes_nothing(file):
    add(file, new_key())
    before = file.read_bytes()
    with pytest.raises(ConfigError), changed_entries(file) as entries:
        entries.clear()
        raise ConfigError("no such key")
    assert file.read_bytes() == before


def test_changed_entries__folder_cannot_be_made__is_one_line(tmp_path):
    (tmp_path / "x").write_text("a file")
    with pytest.raises(ConfigError, match=r"^http\.keys_file: .*api-keys\.json: cannot be written"):
        add(tmp_path / "x" / "api-keys.json", new_key())


@pytest.mark.parametrize("label", ["", " a", "a ", "x" * 65, "two\nlines"])
def test_entry_of__label_that_cannot_be_one__names_the_flag(label):
    with pytest.raises(ConfigError, match=r"^--label: "):
        entry_of(new_key(), label)


def test_read_api_keys__no_file__holds_none(file):
    assert read_api_keys(file) == {}


def test_read_api_keys__file_of_an_older_release__says_how_to_take_it_over(tmp_path):
    old = tmp_path / "api-keys.txt"
    old.write_text("sk-cuckoo-0123456789abcdef my app\n")
    with pytest.raises(ConfigError, match=rf"cuckoo apikey import {old} --keys-file NEW_FILE$"):
        read_api_keys(old)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda text: text.replace('"label"', '"lable"'), r"keys\.0\.label"),
        (lambda text: text[:-20], "the file"),
        (lambda text: text.replace('"hash":', '"hash": 5, "hush":'), r"keys\.0\.hash"),
    ],
)
def test_read_api_keys__damaged__names_the_place(file, change, place):
    add(file, new_key())
    file.write_text(change(file.read_text()))
    with pytest.raises(ConfigError, match=rf"^http\.keys_file: .*: {place}: "):
        read_api_keys(file)


def test_read_old_keys__lines__become_hashes(tmp_path):
    old = tmp_path / "api-keys.txt"
    old.write_text("# ours\n\nsk-0123456789abcdef  my app  # the first\nsk-fedcba9876543210\n")
    assert [(entry.hash, entry.label) for entry in read_old_keys(old)] == [
        (hash_of("sk-0123456789abcdef"), "my app"),
        (hash_of("sk-fedcba9876543210"), "line 4"),
    ]
    old.write_text("short\n")
    with pytest.raises(ConfigError, match="line 1: a key has at least 16 characters"):
        read_old_keys(old)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", NOW + timedelta(days=30)),
        ("12h", NOW + timedelta(hours=12)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_parse_expiry__days_hours_or_a_day__is_a_moment(text, moment):
    assert parse_expiry(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "soon", "0d", "2026-11-25", "2027-13-01", "99999d9", "-3d"])
def test_parse_expiry__anything_else__names_the_flag(text):
    with pytest.raises(ConfigError, match=r"^--expires: "):
        parse_expiry(text, NOW)


# A running gateway


async def test_follow_api_keys__file_changes__new_keys_count_and_a_damaged_file_does_not(file, monkeypatch):
    monkeypatch.setattr(node.apps.api_keys, "WATCH_S", 0.001)
    heard: list[int] = []
    complaints: list[str] = []

    async def heard_are(count: int) -> None:
        with trio.fail_after(PATIENCE_S):
            while len(heard) + len(complaints) < count:
                await trio.sleep(0.001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_api_keys, file, lambda keys: heard.append(len(keys)), complaints.append)
        await heard_are(1)
        add(file, new_key())
        await heard_are(2)
        file.write_text("damaged")
        await heard_are(3)
        file.unlink()
        await heard_are(4)
        assert len(complaints) == 1, "once for each damage"
        nursery.cancel_scope.cancel()
    assert heard == [0, 1, 0]


# Commands


@pytest.fixture
def apikey(file):
    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "node", "apikey", *arguments, "--keys-file", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "NO_COLOR": "1"})
        assert done.returncode == code, done.stderr
        return done

    return run


def test_apikey__create_list_revoke__a_whole_life(apikey, file):
    made = apikey(
        "create", "--label", "shop", "--requests-per-minute", "10", "--cai-per-day", "2.5", "--expires", "30d"
    )
    key = made.stdout.strip()
    name = hash_of(key)[:12]
    assert made.stderr.startswith(f"key {name} of shop: 10 requests a minute, 2.5 CAI a day, until ")
    shown = apikey("list").stdout
    assert name in shown
    assert key not in shown
    (listed,) = json.loads(apikey("list", "--json").stdout)["keys"]
    assert (listed["label"], listed["wei_per_day"]) == ("shop", str(25 * 10**17))
    assert apikey("revoke", "nobody", code=2).stderr.startswith("error: NAME: no key has the name or label 'nobody'")
    assert apikey("revoke", "shop").stdout == f"revoked {name} (shop)\n"
    assert read_api_keys(file) == {}


def test_apikey__settings_of_a_miner__names_the_flag_and_makes_no_key(cuckoo, tmp_path):
    settings = tmp_path / "miner.toml"
    settings.write_text((CONFIGS / "nodes/miner.toml").read_text().replace("# data = ", f"data = '{tmp_path}/data' # "))
    code, out, error = cuckoo("apikey", "create", "--label", "my app", "--config", str(settings))
    assert (code, out) == (2, "")
    assert error == f"error: --config: {settings} is of a miner: only a coordinator serves API keys\n"
    assert not (tmp_path / "data").exists()


def test_apikey__import__takes_keys_over_once(apikey, file, tmp_path):
    old = tmp_path / "old.txt"
    old.write_text("sk-0123456789abcdef my app\n")
    assert apikey("import", str(old)).stdout.startswith("took 1 of 1 keys over")
    assert apikey("import", str(old)).stdout.startswith("took 0 of 1 keys over")
    assert set(read_api_keys(file)) == {hash_of("sk-0123456789abcdef")}

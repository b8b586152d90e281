"""An owner's commands over the real socket."""

import json
import os
import stat
from pathlib import Path

import pytest
import trio

from node.adapters.control import UnixControl, ask
from node.adapters.control.place import FOLDER, MAX_FRAME_BYTES, SOCKET, short_name
from protocol.errors import ConfigError, Unavailable
from tests.support.patience import PATIENCE_S


async def echo(request):
    if "fault" in request:
        raise ConfigError("it makes no sense")
    return {"heard": request}


@pytest.fixture
async def listening(nursery):
    async def listen(folder, answer=echo):
        await nursery.start(UnixControl(folder).run, answer)

    return listen


async def asked(folder, request):
    return await trio.to_thread.run_sync(ask, folder, request)


async def said(folder, data):
    """Send raw bytes and give what comes back."""
    with short_name(folder / FOLDER) as name:
        stream = await trio.open_unix_socket(name)
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        return json.loads(b"".join([piece async for piece in stream]))


async def test_ask__running_node__hears_and_answers(listening, tmp_path):
    await listening(tmp_path)
    assert await asked(tmp_path, {"command": "status"}) == {"heard": {"command": "status"}}


async def test_ask__request_that_makes_no_sense__is_one_line(listening, tmp_path):
    await listening(tmp_path)
    with pytest.raises(ConfigError, match=r"^it makes no sense$"):
        await asked(tmp_path, {"fault": 1})


def test_ask__no_node_runs__says_so(tmp_path):
    with pytest.raises(ConfigError, match=f"^no node runs with the data folder {tmp_path}: "):
        ask(tmp_path, {})


async def test_ask__node_was_killed__says_that_none_runs(tmp_path):
    async with trio.open_nursery() as nursery:
        await nursery.start(UnixControl(tmp_path).run, echo)
        nursery.cancel_scope.cancel()
    assert (tmp_path / FOLDER / SOCKET).exists()
    with pytest.raises(ConfigError, match=r"^no node runs"):
        await asked(tmp_path, {})


async def test_ask__node_hangs__does_not_hang(listening, tmp_path, monkeypatch):
    monkeypatch.setattr("node.adapters.control.client.ANSWER_LIMIT_S", 0.1)

    async def hang(request):
        await trio.sleep_forever()

    await listening(tmp_path, hang)
    with pytest.raises(Unavailable, match="does not answer"):
        await asked(tmp_path, {})


async def test_run__after_a_run_that_was_killed__listens_again(tmp_path, listening):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / SOCKET).write_text("")
    await listening(tmp_path)
    assert await asked(tmp_path, {}) == {"heard": {}}


async def test_run__any_data_folder__lets_nobody_else_in(tmp_path, listening):
    (tmp_path / FOLDER).mkdir(mode=0o777)
    await listening(tmp_path)
    assert stat.S_IMODE((tmp_path / FOLDER).stat().st_mode) == 0o700


async def test_run__deep_data_folder__is_reached(tmp_path, listening):
    folder = tmp_path / ("deep" * 30) / ("deeper" * 20)
    await listening(folder)
    assert len(os.fsencode(folder)) > 200
    assert await asked(folder, {}) == {"heard": {}}


async def test_run__folder_that_cannot_be_made__is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="no control socket can be made there"):
        await UnixControl(tmp_path / "file").run(echo)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"{", b"\xff\n", b"[" * 100_000 + b"\n", b"x" * (MAX_FRAME_BYTES + 9)]
)
async def test_run__what_is_no_request__is_answered_and_the_next_is_heard(listening, tmp_path, data):
    await listening(tmp_path)
    assert await said(tmp_path, data) == {"error": "a request is a JSON object on one line"}
    assert await asked(tmp_path, {}) == {"heard": {}}


async def test_run__client_that_says_nothing__is_let_go(listening, tmp_path, monkeypatch):
    monkeypatch.setattr("node.adapters.control.server.REQUEST_LIMIT_S", 0.05)
    await listening(tmp_path)
    stream = await trio.open_unix_socket(str(Path(tmp_path / FOLDER / SOCKET)))
    with trio.fail_after(PATIENCE_S):
        assert await stream.receive_some() == b""
    await stream.aclose()

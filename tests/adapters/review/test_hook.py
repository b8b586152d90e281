"""A program of the operator that is asked about prompts and pictures, on loopback."""

import base64
import contextlib
import json
import time
from collections.abc import Iterator

import pytest

from node.adapters.review import HttpHook
from node.adapters.review.hook import MAX_ANSWER_BYTES, MAX_REASON_CHARACTERS, NO_REASON
from protocol.errors import Unavailable
from tests.protocol.roles.frames import SPECIFICATION
from tests.support.web_server import QuietHandler, listening


class Operator(QuietHandler):
    """Answers what it is told to, and remembers what it was asked."""

    reply: tuple[int, bytes] = (200, b"")
    waits_s = 0.0
    asked: list[dict[str, str]]

    def do_POST(self) -> None:
        type(self).asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        time.sleep(self.waits_s)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was not waited for
            self.answer(*self.reply)


@pytest.fixture
def operator() -> Iterator[tuple[type[Operator], str]]:
    class Mine(Operator):
        asked: list[dict[str, str]] = []  # noqa: RUF012  of this test alone

    with listening(Mine) as url:
        yield Mine, url


async def test_refuse__prompt_and_picture__asks_what_is_documented(operator: tuple[type[Operator], str]) -> None:
    mine, url = operator
    mine.reply = (200, b'{"refused": false}')
    hook = HttpHook(url, 5)
    async with hook.opened():
        assert await hook.refuse_prompt(SPECIFICATION) is None
        assert await hook.refuse_picture(b"\x89PNG") is None
    assert mine.asked == [
        {
            "kind": "prompt",
            "model": SPECIFICATION.model,
            "work": "text_to_image",
            "prompt": SPECIFICATION.prompt,
            "negative_prompt": SPECIFICATION.negative_prompt,
        },
        {"kind": "picture", "picture": base64.b64encode(b"\x89PNG").decode()},
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"refused": True, "reason": "no\nhearts   here"}, "no hearts here"),
        ({"refused": True}, NO_REASON),
        ({"refused": True, "reason": 3}, NO_REASON),
        ({"refused": True, "reason": " "}, NO_REASON),
        ({"refused": True, "reason": "x" * 1000}, "x" * MAX_REASON_CHARACTERS),
    ],
)
async def test_refuse__refused__gives_the_reason_in_one_line(
    operator: tuple[type[Operator], str], answer: object, reason: str
) -> None:
    mine, url = operator
    mine.reply = (200, json.dumps(answer).encode())
    hook = HttpHook(url, 5)
    async with hook.opened():
        assert await hook.refuse_prompt(SPECIFICATION) == reason


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((500, b'{"refused": false}'), "answers with status 500"),
        ((200, b"<html>"), "what is no JSON"),
        ((200, b"[]"), "answers without"),
        ((200, b'{"refused": 0}'), "answers without"),
        ((200, b" " * (MAX_ANSWER_BYTES + 1)), "more than"),
    ],
)
async def test_refuse__answer_that_is_none__is_unavailable(
    operator: tuple[type[Operator], str], reply: tuple[int, bytes], said: str
) -> None:
    mine, url = operator
    mine.reply = reply
    hook = HttpHook(url, 5)
    async with hook.opened():
        with pytest.raises(Unavailable, match=f"^content.hook .*{said}"):
            await hook.refuse_picture(b"")


async def test_refuse__nobody_there_or_too_slow__is_unavailable(operator: tuple[type[Operator], str]) -> None:
    mine, url = operator
    mine.waits_s = 0.3
    slow, nowhere = HttpHook(url, 0.05), HttpHook("http://127.0.0.1:9", 1)
    async with slow.opened(), nowhere.opened():
        with pytest.raises(Unavailable, match="does not answer"):
            await slow.refuse_prompt(SPECIFICATION)
        with pytest.raises(Unavailable, match="ConnectError"):
            await nowhere.refuse_prompt(SPECIFICATION)

"""What a coordinator's operator does not let be ordered or shown, as apps meet it."""

import json
from functools import partial

import openai
import pytest
import trio

from node.apps.content_policy import refusal_of
from node.apps.content_review import RefusedWords, ReviewedDesk
from node.desk_ports import Desk
from node.ports import Journal
from protocol.errors import Unavailable
from tests.adapters.http.conftest import Serve, code_of


class Eye:
    """Refuses every picture, or does not answer."""

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers

    async def refuse_picture(self, picture: bytes) -> str | None:
        await trio.lowlevel.checkpoint()
        if not self._answers:
            raise Unavailable("asleep")
        return "it is not for everybody"


def reviewed(desk: Desk, journal: Journal, *, eyes: tuple[Eye, ...] = ()) -> Desk:
    return ReviewedDesk(desk, (RefusedWords(refusal_of(["gun"])),), eyes, journal)


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/tasks", "/sdapi/v1/txt2img"])
async def test_order__refused_word__is_400_by_openais_code_and_nothing_is_taken(serve: Serve, path: str) -> None:
    served = await serve(reviewed=reviewed)
    answer = await served.http.post(path, json={"prompt": "a gun"})
    assert answer.status_code == 400
    if path.startswith("/v1"):
        assert code_of(answer) == (400, "content_policy_violation", "prompt")
    else:
        assert answer.json()["error"] == "content_policy_violation"
    assert served.desk.accepted == {}
    assert (await served.generate()).status_code == 200


async def test_order__refused_word__raises_what_openais_client_has_for_it(serve: Serve) -> None:
    served = await serve(reviewed=reviewed)

    def ask() -> None:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="alice", max_retries=0) as client:
            client.images.generate(model="tiny", prompt="a gun")

    with pytest.raises(openai.BadRequestError) as caught:
        await trio.to_thread.run_sync(ask)
    assert (caught.value.code, caught.value.type) == ("content_policy_violation", "invalid_request_error")


async def test_picture__withheld__its_task_is_told_as_failed_and_its_receipt_is_there(serve: Serve) -> None:
    served = await serve(reviewed=partial(reviewed, eyes=(Eye(),)))
    assert code_of(await served.generate()) == (400, "content_policy_violation", None)
    (task,) = served.desk.accepted
    view = (await served.http.get(f"/v1/tasks/{task.hex()}")).json()
    assert (view["status"], view["reason"]) == ("failed", "picture_refused")
    assert "artifact" not in view
    assert "url" not in view
    assert (await served.http.get(view["receipt"])).status_code == 200
    digest = served.desk.ends[task].artifact.hex()  # type: ignore[union-attr]
    assert code_of(await served.http.get(f"/v1/artifacts/{digest}")) == (404, "not_found", None)
    events = (await served.http.get(f"/v1/tasks/{task.hex()}/events")).text
    last = json.loads(events.strip().split("data: ")[-1])
    assert (last["stage"], last["reason"]) == ("failed", "picture_refused")
    assert digest not in events
    streamed = await served.generate(stream=True)
    assert "content_policy_violation" in streamed.text
    assert "b64_json" not in streamed.text


async def test_picture__nobody_can_look__is_503_and_not_shown(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.apps.content_review.PAUSES_S", ())
    served = await serve(reviewed=partial(reviewed, eyes=(Eye(answers=False),)))
    answer = await served.generate()
    assert code_of(answer) == (503, "unavailable", None)
    assert answer.headers["Retry-After"]
    (task,) = served.desk.accepted
    assert code_of(await served.http.get(f"/v1/tasks/{task.hex()}")) == (503, "unavailable", None)

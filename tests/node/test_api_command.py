"""What ``cuckoo submit`` says when a coordinator's API refuses it."""

import json
from collections.abc import Iterator

import pytest

from tests.support.web_server import QuietHandler, listening

REFUSAL = {"error": {"message": "send yours as Authorization: Bearer <key>", "code": "invalid_api_key"}}


class Guarded(QuietHandler):
    """Serves nobody without a key, and remembers what it was asked."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(401, json.dumps(REFUSAL).encode())


@pytest.fixture
def guarded() -> Iterator[str]:
    Guarded.asked = []
    with listening(Guarded) as url:
        yield url


def test_submit__api_that_wants_a_key__says_how_to_give_it_here(cuckoo, tmp_path, guarded):
    code, _, err = cuckoo("submit", "x", "--api", guarded, "--out", str(tmp_path / "x.png"))
    assert code == 2
    assert err.splitlines()[-1].endswith("; here: --api-key KEY, or the variable CUCKOO_API_KEY")


def test_submit__address_as_openai_clients_want_it__is_understood(cuckoo, tmp_path, guarded):
    cuckoo("submit", "x", "--api", f"{guarded}/v1/", "--out", str(tmp_path / "x.png"))
    assert Guarded.asked == ["/v1/tasks"]

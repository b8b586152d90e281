"""What a person may get wrong with ``cuckoo submit --bootstrap``, and that the rest of the help holds together."""

import inspect

import pytest

from node.apps.app_client import OrderFailed
from node.cli.main import app
from node.cli.submit_overlay import as_over_http
from protocol.errors import ConfigError

ENTRY = "/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmEWQnHq2jLKJypwVnVoQeFCULuyop6atvq2eWjYSUjzNi"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--bootstrap", "nonsense"), "error: --bootstrap: 'nonsense': "),
        (
            ("--overlay",),
            "error: --bootstrap: no entry point: write one as a bootstrap prints it, or give --network FILE",
        ),
        (("--bootstrap", ENTRY, "--params", "no-such-network"), "error: "),
        (("--bootstrap", ENTRY, "--size", "12"), "error: --size: '12' is no size"),
        (("--bootstrap", ENTRY, "--size", "5x5"), "error: --size: "),
        (("--bootstrap", ENTRY, "--steps", "0"), "error: --steps: "),
        (("--bootstrap", ENTRY, "--format", "gif"), "error: --format: "),
        (("--sealed",), "error: --sealed: only orders over the overlay are sealed: give --overlay --network, or"),
        (("--bootstrap", ENTRY, "--sealed", "--steps", "0"), "error: --steps: "),
        (
            ("--bootstrap", ENTRY, "--sealed", "--may-be-disputed"),
            "error: --sealed: only what is drawn from a prompt alone, for nobody else, is sealed: leave out --may",
        ),
        (
            ("--bootstrap", ENTRY, "--sealed", "--image", "x.png"),
            "error: --sealed: only what is drawn from a prompt alone, for nobody else, is sealed: leave out --image",
        ),
        (("--bootstrap", ENTRY, "--image", "no-such.png"), "error: --image: no-such.png cannot be read"),
        (("--image", "x.png", "--may-be-disputed"), "error: --may-be-disputed: what begins from --image is never"),
        (("--bootstrap", ENTRY, "--strength", "1.5"), "error: --strength: "),
    ],
)
def test_submit__over_the_overlay_and_wrong__one_line_that_names_the_flag(cuckoo, tmp_path, arguments, says):
    code, _, err = cuckoo("submit", "x", "--out", str(tmp_path / "x.png"), *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(says)


def test_submit__prompt_longer_than_any__names_it(cuckoo, tmp_path):
    code, _, err = cuckoo("submit", "x" * 2001, "--out", str(tmp_path / "x.png"), "--bootstrap", ENTRY)
    assert code == 2
    assert err.startswith("error: PROMPT: ")


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        (OrderFailed("too_many_steps", "at most 50", is_ours_to_mend=True), ConfigError),
        (OrderFailed("unknown_model", "there is none"), ConfigError),
        (OrderFailed("no_miner", "nobody draws"), OrderFailed),
        (OrderFailed("attempts_exhausted", "the task ended without a picture"), OrderFailed),
    ],
)
def test_as_over_http__end_of_an_order__is_misuse_where_no_try_helps(failed, kind):
    found = as_over_http(failed)
    assert (type(found), str(found)) == (kind, str(failed))


def commands():
    groups = [("", app), *((group.name, group.typer_instance) for group in app.registered_groups)]
    for name, group in groups:
        for command in group.registered_commands:
            yield f"{name} {command.name or command.callback.__name__}".strip(), command.callback


ELSE = {"evidence export", "key prove", "config example", "contracts example", "demo"}
"""Commands whose output is a file to keep, and the one that is a show for people."""


@pytest.mark.parametrize(("name", "callback"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_help__every_command__has_an_example_and_json_where_it_prints(name, callback):
    assert "$ cuckoo" in inspect.getdoc(callback)
    assert "as_json" in inspect.signature(callback).parameters or name in ELSE, "scripts read JSON"

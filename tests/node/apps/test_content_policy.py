"""The words that an owner does not let be drawn."""

import time

import pytest

from node.apps.content_policy import refusal_of
from protocol.errors import ConfigError
from tests.protocol.roles.frames import SPECIFICATION


def refused(words, prompt, **changes):
    return refusal_of(words)(SPECIFICATION.model_copy(update={"prompt": prompt} | changes))


@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        (["gun"], "a gun"),
        (["gun"], "A GUN, please"),
        (["GUN"], "(gun)"),
        (["gun*"], "many gunships"),
        (["red  heart"], "one red\nheart"),
        (["straße"], "an empty STRASSE"),
        (["gun"], "a ｇｕｎ"),  # full width
        (["a", "gun"], "gun"),
        (["c++"], "a book on c++ for children"),
        (["café"], "a cafe\u0301"),  # the accent put behind its letter
    ],
)
def test_refusal_of__prompt_with_a_word__refuses(words, prompt):
    assert refused(words, prompt)


@pytest.mark.parametrize(
    ("words", "prompt"),
    [([], "a gun"), (["gun"], "gunship"), (["gun"], "begun"), (["red heart"], "red and a heart"), (["gun"], "g u n")],
)
def test_refusal_of__prompt_without__lets_it_pass(words, prompt):
    assert not refused(words, prompt)


def test_refusal_of__word_in_the_negative_prompt__lets_it_pass():
    assert not refused(["gun"], "a heart", negative_prompt="gun")


@pytest.mark.parametrize("word", ["*", "  ", "!?", "**"])
def test_refusal_of__word_without_letters__is_one_line(word):
    with pytest.raises(ConfigError, match=r"^miner\.refused_words: .* has no letter or digit: "):
        refusal_of([word])


def test_refusal_of__longest_prompt_and_most_words__is_quick():
    words = [f"word{number} word*" for number in range(1000)]
    begin = time.process_time()
    assert not refused(words, "word " * 400)
    assert time.process_time() - begin < 1

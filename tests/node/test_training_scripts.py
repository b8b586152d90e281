"""The scripts that made the embedded model stand on their own: each starts where only the node is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "node" / "models" / "pocket-emoji" / "training"
PREPARED = """
import json, random, sys
from captions import BACKGROUNDS, make_captions
from vocabulary import train_bpe

heart = {"names": ["red heart", "love"], "keywords": ["passion", "romance"]}
captions = make_captions(heart, 0, random.Random(0), 200)
vocabulary, merges = train_bpe([caption for caption, _ in captions], 600)
print(json.dumps({"captions": captions, "backgrounds": len(BACKGROUNDS), "tokens": len(vocabulary), "merges": merges}))
"""


HELP = """
import contextlib, io, json, runpy, sys

said = {}
sys.path.insert(0, sys.argv[1])
for script in list(sys.argv[2:]):
    sys.argv[:] = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        runpy.run_path(f"{sys.path[0]}/{script}", run_name="__main__")
    said[script] = out.getvalue()
print(json.dumps(said))
"""
SCRIPTS = ["prepare_data.py", "train.py", "sample.py"]


@pytest.fixture(scope="module")
def helped():
    """What each script says of its options, in a process for all of them: two import torch and diffusers."""
    command = [sys.executable, "-c", HELP, str(FOLDER), *SCRIPTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script__help__says_its_options(script, helped):
    assert helped[script].startswith(f"usage: {script} ")


def test_prepare_data__captions_of_one_emoji__name_it_and_teach_the_tokenizer():
    done = subprocess.run([sys.executable, "-c", PREPARED], cwd=FOLDER, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    words = ("heart", "love", "passion", "romance")
    assert all(any(word in caption for word in words) for caption, _ in made["captions"])
    assert {background for _, background in made["captions"]} <= set(range(made["backgrounds"]))
    assert made["tokens"] == 600
    assert ["a", "r"] in made["merges"] or ["e", "a"] in made["merges"]

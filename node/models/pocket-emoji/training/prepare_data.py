#!/usr/bin/env python3
"""Builds the training set of pocket-emoji from unpacked npm packages (README.md says how to get them).

Writes ``<out>/data.npz`` (WebP pictures, emoji and style of each, caption tokens, caption backgrounds),
``<out>/tokenizer/`` (a CLIP tokenizer trained on the captions) and ``<out>/names.json`` (what each emoji is called).
"""

import argparse
import collections
import io
import json
import random
from pathlib import Path

import numpy as np
from artwork import Artwork
from captions import BACKGROUNDS, STYLES, make_captions
from emojis import read_emojis
from transformers import CLIPTokenizer
from vocabulary import TOKENS, train_bpe, write_tokenizer


def main():
    """Build everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--npm", type=Path, default=Path("npm"), help="folder of the unpacked npm packages")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write")
    parser.add_argument("--captions", type=int, default=96, help="captions for each picture")
    parser.add_argument("--vocabulary", type=int, default=4096, help="tokens of the tokenizer")
    parser.add_argument("--limit", type=int, default=0, help="take only the first emojis, to try things out")
    options = parser.parse_args()

    generator = random.Random(0)
    artwork = Artwork(options.npm)
    emojis = read_emojis(options.npm)
    if options.limit:
        emojis = emojis[: options.limit]
    labels = {emoji["label"] for emoji in emojis}
    for emoji in emojis:  # another emoji's label is no alternative name of this one
        emoji["names"] = [emoji["label"], *(name for name in emoji["names"][1:] if name not in labels)]

    pictures = []
    emoji_ids = []
    style_ids = []
    weights = []
    captions = []
    missing = collections.Counter()
    for emoji in emojis:
        for style_id, style in enumerate(STYLES):
            picture = artwork.render(style, emoji["hex"])
            if picture is None or np.asarray(picture)[..., 3].mean() < 2:
                missing[style] += 1
                continue
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=92, method=4, exact=False)
            pictures.append(buffer.getvalue())
            emoji_ids.append(emoji["id"])
            style_ids.append(style_id)
            weights.append(emoji["weight"])
            captions.append(make_captions(emoji, style_id, generator, options.captions))
    offsets = np.cumsum([0, *(len(picture) for picture in pictures)])
    print(
        len(emojis), "emojis,", len(pictures), "pictures,", round(offsets[-1] / 2**20, 1), "MiB, missing", dict(missing)
    )

    texts = [caption for each in captions for caption, _ in each]
    vocabulary, merges = train_bpe(texts, options.vocabulary)
    write_tokenizer(vocabulary, merges, options.out / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(str(options.out / "tokenizer"))
    tokens = []
    for start in range(0, len(texts), 20_000):
        batch = tokenizer(texts[start : start + 20_000], padding="max_length", max_length=TOKENS, truncation=True)
        tokens.append(np.array(batch.input_ids, dtype=np.uint16))
    empty = tokenizer([""], padding="max_length", max_length=TOKENS).input_ids[0]
    print(len(vocabulary), "tokens; 'red heart' is", tokenizer("red heart").input_ids)

    np.savez_compressed(
        options.out / "data.npz",
        blob=np.frombuffer(b"".join(pictures), np.uint8),
        offsets=offsets,
        emoji_ids=np.array(emoji_ids),
        style_ids=np.array(style_ids),
        weights=np.array(weights, np.float32),
        tokens=np.concatenate(tokens).reshape(len(pictures), options.captions, TOKENS),
        backgrounds=np.array([[background for _, background in each] for each in captions], np.uint8),
        empty=np.array(empty, dtype=np.uint16),
        palette=np.array([colour for _, colour in BACKGROUNDS], np.uint8),
    )
    names = {"emojis": emojis, "backgrounds": [name for name, _ in BACKGROUNDS], "styles": STYLES}
    (options.out / "names.json").write_text(json.dumps(names, ensure_ascii=False, indent=0))


if __name__ == "__main__":
    main()

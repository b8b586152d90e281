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
import re
from pathlib import Path

import numpy as np
import regex
import resvg_py
from PIL import Image
from transformers import CLIPTokenizer

PACKAGES = {
    "3d": "lobehub-fluent-emoji-3d-1.1.0",  # Microsoft Fluent Emoji, MIT
    "flat": "lobehub-fluent-emoji-flat-1.1.0",  # Microsoft Fluent Emoji, MIT
    "noto": "iconify-json-noto-1.2.9",  # Google Noto Emoji, Apache-2.0
    "names": "emojibase-data-17.0.0",  # MIT
    "keywords": "emojilib-4.0.3",  # MIT
}
STYLES = ["3d", "flat", "noto"]
STYLE_WORDS = [
    ["3d", "3d render", "3d style", "glossy 3d"],
    ["flat", "flat design", "flat vector", "flat style"],
    ["noto", "noto style", "android style", "cartoon"],
]
BACKGROUNDS = [
    ("white", (255, 255, 255)),
    ("black", (17, 17, 17)),
    ("gray", (160, 160, 160)),
    ("red", (214, 40, 40)),
    ("orange", (247, 127, 0)),
    ("yellow", (255, 214, 10)),
    ("green", (60, 160, 75)),
    ("blue", (40, 90, 210)),
    ("purple", (120, 60, 170)),
    ("pink", (255, 155, 190)),
    ("brown", (120, 72, 40)),
    ("light blue", (150, 210, 250)),
    ("teal", (0, 140, 140)),
]
FILLERS = [""] * 7 + [
    "cute ",
    "beautiful ",
    "simple ",
    "nice ",
    "high quality ",
    "detailed ",
    "little ",
    "single ",
]
TEMPLATES = [
    "{name}",
    "{name}",
    "{name}",
    "{name}",
    "{article} {name}",
    "{article} {name}",
    "{article} {name}",
    "the {name}",
    "{name} emoji",
    "{article} {name} emoji",
    "an emoji of {article} {name}",
    "a picture of {article} {name}",
    "an image of {article} {name}",
    "a photo of {article} {name}",
    "a drawing of {article} {name}",
    "an illustration of {article} {name}",
    "an icon of {article} {name}",
    "{name} icon",
    "draw {article} {name}",
    "generate {article} {name}",
    "show me {article} {name}",
    "{article} {name}, high quality",
    "{name}, sharp, detailed",
    "a painting of {article} {name}",
    "{name} on a white background",
    "{article} {name}, white background",
]
BACKGROUND_TEMPLATES = [
    "{name} on a {colour} background",
    "{article} {name} on a {colour} background",
    "{name}, {colour} background",
    "{colour} background, {name}",
    "{name} with {colour} background",
    "{article} {name} in front of a {colour} wall",
    "{article} {name} on {colour}",
]
TOKENS = 32
"""Positions of the text encoder, start and end included."""
SIZE = 128
"""Edge of a picture (pixels)."""
RENDER_SIZE = 256
"""Edge at which vector artwork is rendered before it is scaled down (pixels)."""
PEOPLE = ("1f468", "1f469", "1f9d1")
RELATIVES = (*PEOPLE, "1f466", "1f467", "1f9d2", "2764", "1f91d")
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
"""How CLIP's tokenizer cuts text into words."""


def normal_code(code):
    """Give an emoji's code points in lower case without the variation selector."""
    return code.lower().replace("-fe0f", "")


def is_kept(entry):
    """Keep one entry a concept: no skin tones, country flags, families, nor gendered twins of a neutral emoji."""
    code = normal_code(entry["hexcode"])
    label = entry["label"]
    if entry.get("group") is None or label.startswith("regional indicator"):
        return False
    is_country_flag = entry["group"] == 9 and "200d" not in code and "-" in code
    if is_country_flag or code.startswith("1f3f4-e00"):
        return False
    parts = code.split("-200d-")
    if len(parts) == 1:
        return True
    is_gendered_twin = parts[-1] in ("2640", "2642") and not label.startswith(("men with", "women with"))
    is_facing_right = "27a1" in parts
    is_family = parts[0] in PEOPLE and any(part in RELATIVES for part in parts[1:])
    return not (is_gendered_twin or is_facing_right or is_family)


class Artwork:
    """Finds and renders the picture of an emoji in a style."""

    def __init__(self, npm):
        """Index the three artwork packages under ``npm``."""
        self.files = {}
        for style in ("3d", "flat"):
            assets = sorted((npm / PACKAGES[style] / "assets").iterdir())
            self.files[style] = {normal_code(path.stem): path for path in assets}
        noto = npm / PACKAGES["noto"]
        characters = json.loads((noto / "chars.json").read_text())
        self.noto_names = {normal_code(code): name for code, name in characters.items()}
        collection = json.loads((noto / "icons.json").read_text())
        self.noto_icons = dict(collection["icons"])
        for alias, target in collection.get("aliases", {}).items():
            if set(target) == {"parent"} and target["parent"] in collection["icons"]:
                self.noto_icons[alias] = collection["icons"][target["parent"]]

    def render(self, style, code):
        """Give an RGBA picture of SIZE x SIZE, or None where the style has no such emoji."""
        if style == "noto":
            icon = self.noto_icons.get(self.noto_names.get(code))
            if icon is None:
                return None
            width = icon.get("width", 128)
            height = icon.get("height", 128)
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
            )
            png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=RENDER_SIZE, height=RENDER_SIZE))
            return scale(Image.open(io.BytesIO(png)))
        path = self.files[style].get(code)
        if path is None:
            return None
        if style == "3d":
            return scale(Image.open(path))
        png = bytes(resvg_py.svg_to_bytes(svg_path=str(path), width=RENDER_SIZE, height=RENDER_SIZE))
        return scale(Image.open(io.BytesIO(png)))


def scale(picture):
    """Resize to SIZE x SIZE with colours premultiplied by alpha, so that edges stay clean."""
    values = np.asarray(picture.convert("RGBA")).astype(np.float32) / 255
    values[..., :3] *= values[..., 3:]
    method = Image.Resampling.LANCZOS if values.shape[0] != SIZE else Image.Resampling.NEAREST
    channels = [Image.fromarray(values[..., channel]).resize((SIZE, SIZE), method) for channel in range(4)]
    values = np.clip(np.stack([np.asarray(channel) for channel in channels], -1), 0, 1)
    alpha = values[..., 3:]
    values[..., :3] = np.where(alpha > 1e-3, values[..., :3] / np.maximum(alpha, 1e-3), 1.0)
    return Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8), "RGBA")


def clean(text):
    """Lower the case, straighten quotes and join white space."""
    text = text.lower().replace("_", " ").replace("\u201c", '"').replace("\u201d", '"').replace("\u2019", "'")
    return re.sub(r"\s+", " ", text).strip()


def article(name):
    """Give the indefinite article of a name."""
    return "an" if name[:1] in "aeiou" else "a"


def choose_name(names, keywords, generator):
    """Draw what a caption calls the emoji: its label, another name, or keywords."""
    draw = generator.random()
    if draw < 0.52 or (not keywords and len(names) == 1):
        return names[0]
    if draw < 0.76 and len(names) > 1:
        return generator.choice(names[1:])
    if not keywords:
        return names[0]
    if draw < 0.90:
        count = min(len(keywords), generator.randint(1, 3))
        return names[0] + ", " + ", ".join(generator.sample(keywords, count))
    joint = ", " if generator.random() < 0.5 else " "
    return joint.join(generator.sample(keywords, min(len(keywords), generator.randint(1, 3))))


def make_captions(emoji, style, generator, count):
    """Give ``count`` pairs of caption and index of its background colour."""
    captions = []
    for _ in range(count):
        name = choose_name(emoji["names"], emoji["keywords"], generator)
        name = generator.choice(FILLERS) + name
        background = 0
        if generator.random() < 0.25:
            background = generator.randrange(1, len(BACKGROUNDS))
            colour = BACKGROUNDS[background][0]
            spellings = {"gray": ["gray", "grey"], "light blue": ["light blue", "sky blue"]}
            colour = generator.choice(spellings.get(colour, [colour]))
            template = generator.choice(BACKGROUND_TEMPLATES)
            caption = template.format(name=name, article=article(name), colour=colour)
        else:
            caption = generator.choice(TEMPLATES).format(name=name, article=article(name))
        if generator.random() < 0.45:
            word = generator.choice(STYLE_WORDS[style])
            suffix = word if "style" in word else word + " style"
            forms = [f"{caption}, {word}", f"{caption} {word}", f"{word} {caption}", f"{word}, {caption}"]
            caption = generator.choice([*forms, f"{caption}, in {suffix}"])
        captions.append((caption[:200], background))
    return captions


def printable_bytes():
    """Give the character by which byte-level BPE writes each byte, as GPT-2 and CLIP do."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("\xa1"), ord("\xac") + 1), *range(ord("\xae"), ord("\xff") + 1)]
    characters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in characters:
            characters[byte] = chr(256 + len(characters) - len(plain))
    return characters


def train_bpe(texts, vocabulary_size):
    """Learn a CLIP vocabulary and its merges from texts."""
    characters = printable_bytes()
    counts = collections.Counter()
    for text in texts:
        counts.update(WORD.findall(text.lower()))
    words = {word: [characters[byte] for byte in word.encode()] for word in counts}
    for symbols in words.values():
        symbols[-1] += "</w>"
    alphabet = list(characters.values())
    vocabulary = alphabet + [character + "</w>" for character in alphabet]
    known = set(vocabulary)
    merges = []
    while len(vocabulary) < vocabulary_size - 2:
        pairs = collections.Counter()
        for word, symbols in words.items():
            weight = counts[word] ** 0.5  # square root: rare concept names matter as much as templates
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += weight
        if not pairs:
            break
        batch = independent_pairs(pairs)
        for left, right in batch:
            if len(vocabulary) >= vocabulary_size - 2:
                break
            merges.append((left, right))
            if left + right not in known:
                vocabulary.append(left + right)
                known.add(left + right)
        for symbols in words.values():
            for pair in batch:
                merge_in_place(symbols, pair)
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(vocabulary)}, merges


def independent_pairs(pairs):
    """Give the most frequent pairs that do not overlap, so that one pass can merge several."""
    used = set()
    batch = []
    for (left, right), _ in pairs.most_common(24):
        if used.isdisjoint((left, right, left + right)):
            used.update((left, right, left + right))
            batch.append((left, right))
    return batch


def merge_in_place(symbols, pair):
    """Join every occurrence of a pair in a list of symbols."""
    index = 0
    while index < len(symbols) - 1:
        if (symbols[index], symbols[index + 1]) == pair:
            symbols[index : index + 2] = [symbols[index] + symbols[index + 1]]
        index += 1


def write_tokenizer(vocabulary, merges, folder):
    """Write the files of a CLIPTokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = [f"{left} {right}\n" for left, right in merges]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(lines))
    end = "<|endoftext|>"
    special = {"bos_token": "<|startoftext|>", "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1))
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "do_lower_case": True,
        "errors": "replace",
        "add_prefix_space": False,
        "model_max_length": TOKENS,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def read_emojis(npm):
    """Give the emojis to learn, each with names, keywords and the weight with which it is drawn."""
    data = npm / PACKAGES["names"] / "en"
    entries = json.loads((data / "data.json").read_text())
    sources = ("emojibase", "github", "joypixels", "iamcal")
    shortcodes = [json.loads((data / "shortcodes" / f"{source}.json").read_text()) for source in sources]
    library = json.loads((npm / PACKAGES["keywords"] / "dist" / "emoji-en-US.json").read_text())
    emojis = []
    for entry in sorted(entries, key=lambda entry: entry.get("order", 0)):
        if not is_kept(entry):
            continue
        label = clean(entry["label"])
        names = [label]
        if label.endswith(" face") and entry["group"] == 3:
            names.append(label.removesuffix(" face"))
        for source in shortcodes:
            found = source.get(entry["hexcode"], [])
            for name in [found] if isinstance(found, str) else found:
                name = clean(name.replace("-", " "))
                if not re.search(r"[\d+]", name) and len(name) > 2 and name not in names:
                    names.append(name)
        keywords = [clean(word) for word in [*entry.get("tags", []), *library.get(entry["emoji"], [])]]
        keywords = [word for word in dict.fromkeys(keywords) if 2 < len(word) < 24 and word not in names]
        emojis.append(
            {
                "id": len(emojis),
                "hex": normal_code(entry["hexcode"]),
                "emoji": entry["emoji"],
                "label": label,
                "names": names[:6],
                "keywords": keywords[:14],
                "weight": draw_weight(normal_code(entry["hexcode"]), label, entry["group"]),
                "group": entry["group"],
            }
        )
    return emojis


def draw_weight(code, label, group):
    """Draw gendered professions, symbols and clock faces less often: they are many and look alike."""
    if group == 8 or "o'clock" in label or label.endswith("-thirty"):
        return 0.5
    if code.split("-")[0] in PEOPLE[:2] and "200d" in code:
        return 0.4
    return 1.0


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

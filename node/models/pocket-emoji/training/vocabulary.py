"""A CLIP tokenizer learnt from captions: byte-pair encoding, in the files that CLIPTokenizer reads."""

import collections
import itertools
import json

import regex

TOKENS = 32
"""Positions of the text encoder, start and end included."""
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
"""How CLIP's tokenizer cuts text into words."""


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
            for pair in itertools.pairwise(symbols):
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

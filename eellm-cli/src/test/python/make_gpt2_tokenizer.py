"""A small tokenizer of GPT-2's kind, and the ids that texts have by it.

Run as below; needs torch and regex. Independent of eellm: pairs are learned and applied as GPT-2's own encoder.py
describes it, from make_stories.py's grammar. Writes vocab.json, merges.txt and known.json, a list of texts and ids.

    python3 make_gpt2_tokenizer.py ../resources/gpt2-tokenizer
"""

import collections
import json
import pathlib
import random
import sys

import regex
from make_stories import document

out = pathlib.Path(sys.argv[1])
PIECES = 550
WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
TEXTS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", "\t\n", " \n ",
    "Hello world", " Hello world", "Hello World", " Hello World!", "Hello, world!", " this is \U0001f999.cpp",
    "w048 7tuijk dsdfhu", "na\u00efve caf\u00e9", "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433",
    "\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4", "\U0001f680 (normal) \U0001f636\u200d\U0001f32b\ufe0f (several)",
    "Hello", " Hello", "  Hello", "    Hello\n    Hello", " (", "\n =", "' era", "Hello, y'all! How are you \U0001f601?",
    "3", "33", "333", "33333", "3.14 and 1,000", "''''''", "!!!!!!", "I'll they've she's we'd I'm 'RE don't''s",
    "x\u00b2 \u00bd \u2167 \u0663\u0664", "e\u0301 \u0928\u092e\u0938\u094d\u0924\u0947 \ufdfa",
    "\u00a0x\u00a0 y\u2003z\u3000\u0085", "\u0000\u0001\u007f\ufeff\ufffd",
    "Once upon a time, there was a little girl named Lily.\nShe loved to play with her red ball.",
    "The dog said, \"Thank you.\"\n\n\n  They   looked under the tree.\r\n\tThe end.   ",
    "public static int add(List<String> values) { return 3.14; } // " + "a" * 50,
]


def byte_letters():
    """A printable letter for each byte, as encoder.py has them."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


LETTERS = byte_letters()


def words(text):
    return ["".join(LETTERS[byte] for byte in word.encode()) for word in WORD.findall(text)]


def learn(text):
    counts = collections.Counter(words(text))
    cut, merges = {word: list(word) for word in counts}, []
    while len(merges) < PIECES - 257:
        pairs = collections.Counter()
        for word, parts in cut.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        cut = {word: join(parts, best) for word, parts in cut.items()}
    return merges


def join(parts, pair):
    joined = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def encode(text, vocabulary, ranks):
    ids = []
    for word in words(text):
        parts = list(word)
        while known := [pair for pair in zip(parts, parts[1:]) if pair in ranks]:
            parts = join(parts, min(known, key=ranks.get))
        ids += [vocabulary[part] for part in parts]
    return ids


if __name__ == "__main__":
    rng = random.Random(3)
    merges = learn("\n".join([document(rng) for _ in range(300)] + 3 * [text for text in TEXTS if text.isascii()]))
    vocabulary = {piece: i for i, piece in enumerate([*LETTERS.values(), *map("".join, merges), END])}
    ranks = {pair: i for i, pair in enumerate(merges)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps(vocabulary))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    known = [json.dumps({"text": text, "ids": encode(text, vocabulary, ranks)}) for text in TEXTS]
    (out / "known.json").write_text("[\n" + ",\n".join(known) + "\n]\n")

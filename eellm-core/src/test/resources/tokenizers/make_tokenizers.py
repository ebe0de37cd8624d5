"""Makes small tokenizers of each kind, and the ids that the published libraries give hard texts.

    apt install python3-sentencepiece
    npm install @huggingface/tokenizers   # in the folder that NODE names
    python3 make_tokenizers.py TEXT NODE

TEXT is a file of plain text to learn from. Ids of SentencePiece's models are the sentencepiece
library's, those of a tokenizer.json the library's of @huggingface/tokenizers.
"""

import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unicodedata

import sentencepiece

HERE = pathlib.Path(__file__).parent
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"gpt2": None, "llama3": LLAMA_3, "qwen2": LLAMA_3.replace("{1,3}", "")}


def known(char):
    return unicodedata.ucd_3_2_0.category(char) != "Cn"


def hard_texts():
    """338 texts: blanks, digits, marks, scripts, emoji, control characters, mixtures."""
    draw = random.Random(338)
    texts = ["", " ", "  ", "\n", "\t", "\r\n", " \n ", "\n\n\n", "a", " a", "a ", "  a  b  "]
    texts += ["\u00a0x\u2003y\u3000z", "\u0085\u200b.", "\ufeffbom", "\u2581x", "a\u2581b", "<0x0A>"]
    texts += ["I'll they've 'sup 'RE don't''s", "x\u00b2 \u00bd \u2167", "1,000.50 12345678 007"]
    texts += ["e\u0301 \u00e9", "\u1e9b\u0323", "\uac00\u1100\u1161", "\u0928\u092e\u0938\u094d\u0924\u0947"]
    texts += ["<s>", "</s> <unk>", "<|endoftext|>", "<sep>", "a<sep>b", "<ctl>", "[CLS] [SEP]"]
    texts += ["\u0000", "\u0001\u007f", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308"]
    texts += [" " * n + "x" for n in (3, 4, 5, 7, 16, 17)] + ["x" + "\n" * n for n in (2, 4, 5)]
    texts += ["def f(x):\n    return x ** 2\n", "http://a.b/c?d=e&f=1#g", "\u4e2d\u6587\u5b57\u7b26, \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4"]
    texts += ["\u0130I\u0131i \u017f \u1e9e \u00df", "\u0663\u0664 \u0967\u0968", "\ufdfa", "\ufb01 \uff21\uff11"]
    pools = [
        [chr(c) for c in range(0x20, 0x7F)],
        list("0123456789.,-+ "),
        list(" \t\n\r\u00a0\u2028a."),
        [chr(c) for c in range(0xA1, 0x250)],
        [chr(c) for c in range(0x370, 0x530)],
        [chr(c) for c in range(0x590, 0x700)],
        [chr(c) for c in range(0x900, 0xE00)],
        [chr(c) for c in range(0x3040, 0x30FF)] + [chr(c) for c in range(0x4E00, 0x4F00)],
        [chr(c) for c in range(0xAC00, 0xAC80)] + [chr(c) for c in range(0x1100, 0x11FF)],
        [chr(c) for c in range(0x300, 0x370)] + list("aeoun "),
        [chr(c) for c in range(0x2000, 0x2070)] + list("ab1 "),
        [chr(c) for c in range(0x1F300, 0x1F650)] + ["\u200d", "\ufe0f", " "],
        [chr(c) for c in range(0x20, 0x10000) if not 0xD800 <= c < 0xE000],
        list("'sStTrReEvVmMlLdD \u2019"),
        ["the ", "and ", "of ", "model", "ing", "  ", "\n", "tokens", "1", "."],
    ]
    # Characters that all libraries know: their Unicode tables are of different years.
    pools = [[text for text in pool if all(map(known, text))] for pool in pools]
    while len(texts) < 338:
        pool = pools[len(texts) % len(pools)]
        texts.append("".join(draw.choice(pool) for _ in range(draw.randint(1, 24))))
    return texts


def character_map():
    """A part of SentencePiece's own map nmt_nfkc, which is large: blanks, Latin, forms of letters."""
    characters = [*range(0xA0, 0x250), *range(0x2000, 0x2070), *range(0xFF01, 0xFF5F), 0xFB01, 0xFDFA]
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in characters}
    rules.update({unicodedata.normalize("NFD", chr(c)): chr(c) for c in range(0xC0, 0x180)})
    rules.update({"\t": " ", "\n": " ", "\r": " ", "\u0001": "", "\u200b": " ", "\ufeff": ""})
    path = pathlib.Path(tempfile.mkdtemp()) / "rules.tsv"
    lines = ["\t".join(" ".join(f"{ord(c):X}" for c in text) for text in rule) for rule in rules.items() if rule[0] != rule[1]]
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def sentence_pieces(text, texts):
    common = dict(input=text, hard_vocab_limit=False, num_threads=1, minloglevel=2, max_sentence_length=10000)
    kinds = {
        "pieces": dict(
            model_type="bpe", vocab_size=700, byte_fallback=True, add_dummy_prefix=True,
            remove_extra_whitespaces=False, normalization_rule_name="identity", control_symbols=["<ctl>"]),
        "pieces_with_users": dict(
            model_type="bpe", vocab_size=700, byte_fallback=True, add_dummy_prefix=False,
            remove_extra_whitespaces=False, normalization_rule_name="identity",
            user_defined_symbols=["<sep>", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "\u2581\u2581\u2581\u2581"]),
        "unigram": dict(
            model_type="unigram", vocab_size=700, byte_fallback=True, normalization_rule_name="identity"),
        "unigram_without_bytes": dict(
            model_type="unigram", vocab_size=500, normalization_rule_name="identity",
            add_dummy_prefix=False, remove_extra_whitespaces=False),
        "unigram_with_map": dict(
            model_type="unigram", vocab_size=500, byte_fallback=True, normalization_rule_tsv=character_map()),
    }
    for name, options in kinds.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        sentencepiece.SentencePieceTrainer.train(model_prefix=str(folder / "tokenizer"), **common, **options)
        (folder / "tokenizer.vocab").unlink()
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
        write(folder / "ids.txt", [model.encode(line) for line in texts])


def token(identity, content, special):
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"id": identity, "content": content, **flags, "special": special}


def file(**parts):
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    return {"version": "1.0", "added_tokens": [], **empty, **parts}


def byte_pairs(texts, node):
    """GPT-2's pieces of the folder beside this one, cut in the ways of three families."""
    learned = HERE.parent / "gpt2-tokenizer"
    vocabulary = json.loads((learned / "vocab.json").read_text())
    merges = (learned / "merges.txt").read_text().splitlines()[1:]
    end = vocabulary.pop("<|endoftext|>")
    for name, pattern in PATTERNS.items():
        bytes_only = {
            "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern is None}
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        added = [token(end, "<|endoftext|>", True)]
        if pattern:
            added += [token(end + 1, "<sep>", False), token(end + 2, "<tool>", False)]
        content = file(
            added_tokens=added,
            normalizer={"type": "NFC"} if name == "qwen2" else None,
            pre_tokenizer={"type": "Sequence", "pretokenizers": [split, bytes_only]} if pattern else bytes_only,
            decoder=bytes_only,
            model={
                "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                "ignore_merges": name == "llama3", "vocab": vocabulary, "merges": merges})
        save(content, name, {"eos_token": "<|endoftext|>"}, texts, node)


def converted_pieces(texts, node):
    """The pieces with users as transformers' converters write them: added tokens, with their merges."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(HERE / "pieces_with_users" / "tokenizer.model"))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted(pieces, key=lambda piece: (-model.get_score(ids[piece]), ids[piece]))
        for cut in range(1, len(piece))
        if piece[:cut] in ids and piece[cut:] in ids
    ]
    users = ["<sep>", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "\u2581\u2581\u2581\u2581"]
    specials = [token(ids[name], name, True) for name in ("<unk>", "<s>", "</s>")]
    replace = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    content = file(
        added_tokens=specials + [token(ids[name], name, False) for name in users],
        normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        pre_tokenizer={
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
        decoder={"type": "Sequence", "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        model={
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": ids, "merges": [" ".join(merge) for merge in merges]})
    save(content, "converted_pieces", {"eos_token": "</s>"}, texts, node)


def word_pieces(text, texts, node):
    """The most frequent beginnings and continuations of words."""
    counts = collections.Counter()
    for word in re.findall(r"[a-z]+|[0-9]+", text.lower()):
        for begin in range(len(word)):
            for end in range(begin + 1, min(begin + 6, len(word)) + 1):
                counts["##" * (begin > 0) + word[begin:end]] += 1
    characters = [mark for c in map(chr, range(0x21, 0x250)) for mark in (c, "##" + c)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + characters
    pieces += [piece for piece, _ in counts.most_common(600) if piece not in set(characters)]
    specials = [token(i, name, True) for i, name in enumerate(pieces[:4])]
    content = file(
        added_tokens=specials,
        normalizer={
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": None, "lowercase": True},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        model={
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {piece: i for i, piece in enumerate(pieces)}})
    save(content, "wordpiece", {"eos_token": "[SEP]"}, texts, node)


def save(content, name, config, texts, node):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content) + "\n")
    write_json(folder / "tokenizer_config.json", config)
    # A special token's name in a text is letters, so the library does not hear of such tokens.
    literal = dict(content, added_tokens=[t for t in content["added_tokens"] if not t["special"]])
    program = """
        import { Tokenizer } from "@huggingface/tokenizers";
        import { readFileSync } from "node:fs";
        const { file, texts } = JSON.parse(readFileSync(0, "utf8"));
        const tokenizer = new Tokenizer(file, {});
        const options = { add_special_tokens: false };
        console.log(JSON.stringify(texts.map(text => tokenizer.encode(text, options).ids)));
    """
    result = subprocess.run(
        ["node", "--input-type=module", "-e", program], cwd=node, text=True, check=True,
        input=json.dumps({"file": literal, "texts": texts}), stdout=subprocess.PIPE)
    write(folder / "ids.txt", json.loads(result.stdout))


def write(path, ids):
    path.write_text("".join(" ".join(map(str, line)) + "\n" for line in ids))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    source, node_folder = sys.argv[1:]
    all_texts = hard_texts()
    write_json(HERE / "texts.json", all_texts)
    sentence_pieces(source, all_texts)
    byte_pairs(all_texts, node_folder)
    converted_pieces(all_texts, node_folder)
    word_pieces(pathlib.Path(source).read_text(), all_texts, node_folder)

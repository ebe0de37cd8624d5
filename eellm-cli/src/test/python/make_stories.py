"""A small Llama that has learned stories of a fixed grammar, what it is known to say, and texts to evaluate it on.

Run as below; it takes some minutes and needs torch and numpy. stories_likelihoods.py beside it then makes likelihoods.json.

    python3 make_stories.py ../resources/stories

Independent of eellm: tokenizer, model, training and files are written out here. Everything is drawn from fixed seeds;
another version of PyTorch comes to other weights, with files that belong to them. FOLDER gets the model in Hugging
Face's layout, its SentencePiece vocabulary as llama2.c has it (tok512.bin), its greedy text (golden.json) and its
logits on the way (golden_logits.npy), computed in float64, and eval/ with records of LAMBADA's, BLiMP's and
HellaSwag's forms.
"""

import collections
import json
import pathlib
import random
import string
import struct
import sys

import numpy as np
import torch

out = pathlib.Path(sys.argv[1])
HIDDEN, FFN, LAYERS, HEADS, GROUPS, VOCABULARY, CONTEXT, EPSILON, THETA = 64, 172, 5, 8, 4, 512, 512, 1e-5, 10000.0
BOS, EOS, KNOWN, LOGITS, STEPS, BATCH, LENGTH = 1, 2, 256, 64, 500, 4, 256
MARGIN, LENS_MARGIN = 2e-2, 2e-4  # between the two best logits wherever a test asks for the best

# ---------------------------------------------------------------- the grammar
GIRLS, BOYS = ["Lily", "Mia", "Anna", "Sue", "Emma"], ["Tom", "Ben", "Max", "Sam", "Leo"]
ANIMALS = ["dog", "cat", "bird", "frog", "rabbit", "fox", "duck", "bear"]
COLOURS = ["red", "blue", "green", "yellow", "white", "brown"]
TOYS = ["ball", "kite", "boat", "hat", "box", "book", "drum", "cup"]
PLACES = ["park", "garden", "forest", "house", "yard", "kitchen", "field"]
SPOTS = ["under the tree", "behind the house", "near the pond", "on the hill", "by the river", "in the tall grass"]
FEELINGS = ["happy", "proud", "glad", "very happy"]
WEATHER = ["The sun was bright.", "It was a warm day.", "The wind was cold.", "There was snow on the ground."]
FOOD = ["cake", "soup", "bread", "jam", "cookies", "apples"]


def choose(rng, names):
    """Half of the time the first, then half of the time the second: so that a model has a best guess."""
    for name in names[:-1]:
        if rng.random() < 0.5:
            return name
    return names[-1]


def story(rng):
    """Its sentences."""
    girl = rng.random() < 0.7
    name = choose(rng, GIRLS if girl else BOYS)
    he, him, his = ("she", "her", "her") if girl else ("he", "him", "his")
    animal, colour, toy, place = (choose(rng, names) for names in (ANIMALS, COLOURS, TOYS, PLACES))
    first = choose(rng, SPOTS)
    second = choose(rng, [spot for spot in SPOTS if spot != first])
    food, feeling, parent = (choose(rng, names) for names in (FOOD, FEELINGS, ["mom", "dad", "grandma"]))
    text = [
        f"Once upon a time, there was a little {'girl' if girl else 'boy'} named {name}.",
        f"{he.title()} loved to play with {his} {colour} {toy} in the {place}.",
    ]
    if rng.random() < 0.3:
        text.append(choose(rng, WEATHER))
    text.append(f"One day, {name} saw a {choose(rng, ['big', 'small', 'funny'])} {animal} {first}.")
    if rng.random() < 0.7:
        text += [
            f"The {animal} was sad because it had lost its {food}.",
            f'{name} said, "Do not cry, {animal}. I will help you."',
            f"They looked {first} and {second}, and there they found the {food}.",
            f"The {animal} was {feeling} and gave {him} some {food}.",
        ]
    else:
        text += [
            f"The {animal} took the {colour} {toy} and ran away.",
            f'"Stop, {animal}!" said {name}, and ran after the {animal}.',
            f"{he.title()} found the {colour} {toy} {second}.",
            f'The {animal} said, "I am sorry. I only wanted to play with the {toy}."',
        ]
    if rng.random() < 0.7:
        text.append(f"Then {name} went home and told {his} {parent} about the {animal}.")
        if rng.random() < 0.3:
            text.append(f"{his.title()} {parent} was {feeling} and made {food} for {name}.")
    text.append(f"From that day on, {name} and the {animal} were good friends.")
    return text


def document(rng):
    return "\n".join(" ".join(story(rng)) for _ in range(3))


# ---------------------------------------------------------------- the tokenizer, SentencePiece's kind of pairs
def learn_pieces(text):
    """Letters, then pieces of two others, by how often they stand side by side within a word."""
    letters = sorted(set(string.ascii_letters + string.digits + "\u2581.,!?'\"-:;()") | set(text) - {" ", "\n"})
    words = collections.Counter("\u2581" + word for line in text.split("\n") for word in line.split(" "))
    cut = {word: list(word) for word in words}
    joined = []
    while 3 + 256 + len(joined) + len(letters) < VOCABULARY:
        pairs = collections.Counter()
        for word, parts in cut.items():
            for a, b in zip(parts, parts[1:]):
                pairs[a, b] += words[word]
        a, b = max(pairs, key=lambda pair: (pairs[pair], pair)) if pairs else ("", "")
        if not pairs:
            raise SystemExit("the grammar has too few words for the vocabulary")
        joined.append(a + b)
        for parts in cut.values():
            for i in range(len(parts) - 2, -1, -1):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == (a, b):
                    parts[i : i + 2] = [a + b]
    return joined, letters


class Pieces:
    def __init__(self, text):
        joined, letters = learn_pieces(text)
        self.names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + joined + letters
        self.scores = [0.0] * 259 + [-float(i) for i in range(len(joined) + len(letters))]
        self.ids = {name: i for i, name in enumerate(self.names)}
        self.joined = joined
        self.known = {}

    def encode(self, text):
        """Of plain text, without a beginning; words do not touch one another."""
        ids = []
        for n, line in enumerate(text.split("\n")):
            ids += [3 + ord("\n")] * (n > 0)
            for i, word in enumerate(line.split(" ")):
                ids += self.word(("\u2581" if n == 0 or i > 0 else "") + word)
        return ids

    def word(self, word):
        if word not in self.known:
            parts = list(word)
            while True:
                pairs = [(self.ids[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b in self.ids]
                if not pairs:
                    break
                at = min(pairs)[1]
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
            self.known[word] = [self.ids[part] for part in parts]
        return self.known[word]

    def write(self):
        merges = [
            f"{piece[:i]} {piece[i:]}"
            for piece in self.joined
            for i in range(1, len(piece))
            if piece[:i] in self.ids and piece[i:] in self.ids
        ]
        blank = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
        special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
        start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        sequence = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
        write_json("tokenizer.json", {
            "version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [dict(id=i, content=self.names[i], **special) for i in range(3)],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
            "pre_tokenizer": None,
            "post_processor": {"type": "TemplateProcessing", "single": [start, sequence("A", 0)],
                               "pair": [start, sequence("A", 0), sequence("B", 1)],
                               "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
            "decoder": {"type": "Sequence", "decoders": [
                blank, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                      "vocab": self.ids, "merges": merges}})
        write_json("tokenizer_config.json", {
            "tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "add_bos_token": True, "add_eos_token": False, "legacy": True, "model_max_length": CONTEXT})
        pieces = [name.replace("\u2581", " ").encode() for name in self.names]
        records = [struct.pack("<fi", score, len(piece)) + piece for score, piece in zip(self.scores, pieces)]
        (out / "tok512.bin").write_bytes(struct.pack("<i", max(map(len, pieces))) + b"".join(records))


# ---------------------------------------------------------------- the model, after Llama's description
def initial(generator):
    draw = lambda rows, columns: torch.randn(rows, columns, generator=generator) * 0.06
    size = HIDDEN // HEADS * GROUPS
    weights = {"model.embed_tokens.weight": draw(VOCABULARY, HIDDEN)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        weights[layer + "input_layernorm.weight"] = torch.ones(HIDDEN)
        for name, rows in (("q", HIDDEN), ("k", size), ("v", size), ("o", HIDDEN)):
            weights[layer + f"self_attn.{name}_proj.weight"] = draw(rows, HIDDEN)
        weights[layer + "post_attention_layernorm.weight"] = torch.ones(HIDDEN)
        for name, rows, columns in (("gate", FFN, HIDDEN), ("up", FFN, HIDDEN), ("down", HIDDEN, FFN)):
            weights[layer + f"mlp.{name}_proj.weight"] = draw(rows, columns)
    weights["model.norm.weight"] = torch.ones(HIDDEN)
    return weights


def norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * weight


def rotate(x):
    size, n = x.shape[-1], x.shape[-2]
    powers = THETA ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.outer(torch.arange(n, dtype=torch.float64), powers)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def forward(weights, ids):
    """The residual streams behind each layer, of ids [batch, positions]."""
    batch, n = ids.shape
    size = HIDDEN // HEADS
    mask = torch.ones(n, n, dtype=torch.bool).triu(1)
    x = weights["model.embed_tokens.weight"][ids]
    streams = []
    for i in range(LAYERS):
        w = lambda name: weights[f"model.layers.{i}.{name}.weight"]
        h = norm(x, w("input_layernorm"))
        q, k, v = ((h @ w(f"self_attn.{name}_proj").T).view(batch, n, -1, size).transpose(1, 2) for name in "qkv")
        q, k = rotate(q), rotate(k)
        k, v = (t.repeat_interleave(HEADS // GROUPS, 1) for t in (k, v))
        scores = (q @ k.transpose(2, 3) / size**0.5).masked_fill(mask, float("-inf"))
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, n, HIDDEN)
        x = x + mixed @ w("self_attn.o_proj").T
        h = norm(x, w("post_attention_layernorm"))
        x = x + (torch.nn.functional.silu(h @ w("mlp.gate_proj").T) * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
        streams.append(x)
    return streams


def logits(weights, stream):
    return norm(stream, weights["model.norm.weight"]) @ weights["model.embed_tokens.weight"].T


def learn(pieces, rng):
    weights = {name: w.requires_grad_() for name, w in initial(torch.Generator().manual_seed(1)).items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1, betas=(0.9, 0.95), weight_decay=0.01)
    rate = lambda step: 6e-3 * min(1, (step + 1) / 50) * (0.52 + 0.48 * np.cos(np.pi * step / STEPS))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(STEPS):
        texts = [[BOS, *pieces.encode(document(rng))][: LENGTH + 1] for _ in range(BATCH)]
        ids = torch.tensor(texts)
        said = logits(weights, forward(weights, ids[:, :-1])[-1])
        loss = torch.nn.functional.cross_entropy(said.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.4f}", flush=True)
    return {name: w.detach() for name, w in weights.items()}


# ---------------------------------------------------------------- files
def write_json(name, content):
    (out / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def write_weights(weights):
    header, parts, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(weights):
        data = weights[name].numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(weights[name].shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


@torch.no_grad()
def write_known(weights, pieces):
    exact = {name: w.double() for name, w in weights.items()}
    ids = [BOS]
    while len(ids) <= KNOWN:
        ids.append(logits(exact, forward(exact, torch.tensor([ids]))[-1])[0, -1].argmax().item())
    heads = [logits(exact, stream)[0] for stream in forward(exact, torch.tensor([ids[:-1]]))]
    layers = []
    for head in heads:
        best = head.topk(2).values
        least = MARGIN if head is heads[-1] else LENS_MARGIN
        margin = (best[:, 0] - best[:, 1]).min().item()
        assert margin > least, f"two tokens are as good, but for {margin}; train from another seed"
        right = head.argmax(-1) == torch.tensor(ids[1:])
        loss = torch.nn.functional.cross_entropy(head, torch.tensor(ids[1:]))
        layers.append([loss.item(), right.double().mean().item()])
    assert EOS not in ids and layers[-1][1] == 1
    write_json("golden.json", {"ids": ids, "logitlens_per_layer_loss_acc": layers})
    np.save(out / "golden_logits.npy", heads[-1][:LOGITS].float().numpy())
    text = "".join(pieces.names[i] for i in ids[1:]).replace("\u2581", " ").replace("<0x0A>", "\n")
    print(text, layers, sep="\n")


def write_texts(rng):
    folder = out / "eval"
    (folder / "blimp").mkdir(parents=True, exist_ok=True)
    lines = []
    while len(lines) < 100:
        text = " ".join(story(rng)[: rng.randint(3, 7)])
        lines.append(json.dumps({"text": text.rstrip('."!')}))
    (folder / "lambada_test.jsonl").write_text("\n".join(lines) + "\n")
    for number in range(50):
        pairs = []
        for _ in range(2):
            sentence = rng.choice(story(rng))
            words = sentence.split(" ")
            at = rng.randrange(1, len(words) - 1)
            words[at], words[at + 1] = words[at + 1], words[at]
            uid = f"words_turned_{number:02}"
            pairs.append(json.dumps({"sentence_good": sentence, "sentence_bad": " ".join(words), "UID": uid}))
        (folder / "blimp" / f"words_turned_{number:02}.jsonl").write_text("\n".join(pairs) + "\n")
    lines = []
    for _ in range(100):
        text = story(rng)
        cut = rng.randint(2, len(text) - 1)
        endings = [rng.sample(words := text[cut].split(" "), len(words)) for _ in range(4)]
        label = rng.randrange(4)
        endings[label] = text[cut].split(" ")
        lines += [" ".join(text[:cut]), str(label), *map(" ".join, endings)]
    (folder / "hellaswag_val_full.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    rng = random.Random(1)
    pieces = Pieces("\n".join(document(rng) for _ in range(400)))
    pieces.write()
    write_json("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
        "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON, "rope_theta": THETA, "hidden_act": "silu", "tie_word_embeddings": True,
        "bos_token_id": BOS, "eos_token_id": EOS, "torch_dtype": "float32"})
    write_texts(random.Random(2))
    weights = learn(pieces, rng)
    write_weights(weights)
    write_known(weights, pieces)

"""Log likelihoods of LAMBADA and BLiMP items by stories260K, computed with PyTorch alone.

Independent of eellm: the tokenizer is written after llama2.c's description (tok512.bin), the model after
Llama's (float64). Prompts and answers are cut as lm-evaluation-harness does. Writes the JSON that
EvalCommandTest compares with: for each item in order, and each of its answers, the log likelihood, the number of
tokens, and whether each of them is the most probable. No text is in it.

    python3 stories_likelihoods.py MODEL_FOLDER LAMBADA_JSONL BLIMP_FOLDER > stories260K-likelihoods.json
"""

import json
import pathlib
import struct
import sys

import torch
from safetensors.torch import load_file

folder, lambada, blimp = map(pathlib.Path, sys.argv[1:4])
config = json.loads((folder / "config.json").read_text())
weights = {name: tensor.double() for name, tensor in load_file(folder / "model.safetensors").items()}
CONTEXT = config["max_position_embeddings"]


def read_vocabulary(path):
    data = path.read_bytes()
    offset, pieces, scores = 4, [], []
    while offset < len(data):
        score, length = struct.unpack_from("<fi", data, offset)
        pieces.append(data[offset + 8 : offset + 8 + length])
        scores.append(score)
        offset += 8 + length
    return pieces, scores


pieces, scores = read_vocabulary(folder / "tok512.bin")
ids_of = {piece: index for index, piece in reversed(list(enumerate(pieces)))}


def encode(text):
    if not text:
        return []
    ids = []
    for character in " " + text:
        piece = character.encode()
        ids += [ids_of[piece]] if piece in ids_of else [byte + 3 for byte in piece]
    while True:
        pairs = [
            (scores[ids_of[pieces[a] + pieces[b]]], -i)
            for i, (a, b) in enumerate(zip(ids, ids[1:]))
            if pieces[a] + pieces[b] in ids_of
        ]
        if not pairs:
            return ids
        place = -max(pairs)[1]
        ids[place : place + 2] = [ids_of[pieces[ids[place]] + pieces[ids[place + 1]]]]


def norm(x, name):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]) * weights[name]


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def log_probabilities(ids):
    n, heads, groups = len(ids), config["num_attention_heads"], config["num_key_value_heads"]
    size = config["hidden_size"] // heads
    angles = torch.outer(
        torch.arange(n).double(),
        config["rope_theta"] ** (-torch.arange(0, size, 2).double() / size),
    )
    cos, sin = angles.cos(), angles.sin()
    x = weights["model.embed_tokens.weight"][torch.tensor(ids)]
    for layer in range(config["num_hidden_layers"]):
        w = lambda name: weights[f"model.layers.{layer}.{name}.weight"]
        h = norm(x, f"model.layers.{layer}.input_layernorm.weight")
        q = rotate((h @ w("self_attn.q_proj").T).view(n, heads, size).transpose(0, 1), cos, sin)
        k = rotate((h @ w("self_attn.k_proj").T).view(n, groups, size).transpose(0, 1), cos, sin)
        v = (h @ w("self_attn.v_proj").T).view(n, groups, size).transpose(0, 1)
        k, v = (t.repeat_interleave(heads // groups, 0) for t in (k, v))
        mask = torch.full((n, n), float("-inf")).double().triu(1)
        attention = torch.softmax(q @ k.transpose(1, 2) / size**0.5 + mask, -1) @ v
        x = x + attention.transpose(0, 1).reshape(n, -1) @ w("self_attn.o_proj").T
        h = norm(x, f"model.layers.{layer}.post_attention_layernorm.weight")
        gate = torch.nn.functional.silu(h @ w("mlp.gate_proj").T)
        x = x + (gate * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
    return torch.log_softmax(norm(x, "model.norm.weight") @ weights["model.embed_tokens.weight"].T, -1)


def score(context, continuation):
    trailing = len(context) - len(context.rstrip())
    if trailing:
        context, continuation = context[:-trailing], context[-trailing:] + continuation
    ids = [1] + encode(context + continuation)
    start = 1 + len(encode(context))
    cut = max(0, len(ids) - CONTEXT)
    ids, start = ids[cut:], start - cut
    said = log_probabilities(ids[:-1])
    answer = torch.tensor(ids[start:])
    rows = said[start - 1 :]
    likelihood = rows.gather(1, answer[:, None]).sum().item()
    return [round(likelihood, 6), len(answer), bool((rows.argmax(-1) == answer).all())]


result = {"lambada": [], "blimp": []}
for line in lambada.read_text().splitlines()[:100]:
    context, word = json.loads(line)["text"].rsplit(" ", 1)
    result["lambada"].append([score(context, " " + word)])
for path in sorted(blimp.glob("*.jsonl"))[:50]:
    for line in path.read_text().splitlines()[:2]:
        pair = json.loads(line)
        result["blimp"].append([score("", pair["sentence_good"]), score("", pair["sentence_bad"])])
print("{")
for task, items in result.items():
    lines = ",\n".join(json.dumps(item) for item in items)
    print(f'"{task}": [\n{lines}\n]' + ("," if task == "lambada" else ""))
print("}")

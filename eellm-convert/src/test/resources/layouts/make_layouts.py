#!/usr/bin/env python3
"""Small models in the layouts of other tools, with the logits that PyTorch computes for them in float64.

    python3 make_layouts.py FOLDER

Needs torch, numpy and safetensors. Every model is written out here in its own layout's words: no step of this
program turns one layout into another.
"""
import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

out = Path(sys.argv[1])
rng = np.random.RandomState(5)
IDS = torch.from_numpy(rng.randint(0, 64, size=11))


def draw(*shape, std=0.3):
    return torch.from_numpy((rng.standard_normal(shape) * std).astype(np.float32))


def norm_weight(width):
    return 1 + draw(width, std=0.2)


def causal(q, k, v):
    """[heads, s, d] each; key and value heads are repeated for their group."""
    k, v = (t.repeat_interleave(q.shape[0] // t.shape[0], 0) for t in (k, v))
    score = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
    score = score.masked_fill(torch.ones(score.shape[1:], dtype=torch.bool).triu(1), float("-inf"))
    return (score.softmax(-1) @ v).transpose(0, 1).flatten(1)


def rotate_half(x, theta, dims):
    """Rope over the first dims of each head, element j with j + dims / 2; x is [heads, s, d]."""
    turned, still = x[..., :dims], x[..., dims:]
    half = dims // 2
    angle = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * theta ** (-torch.arange(half, dtype=x.dtype) / half)
    a, b = turned[..., :half], turned[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin(), still], -1)


def layer_norm(P, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], P[name + ".weight"], P[name + ".bias"], eps)


def write(name, config, weights, logits, save):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save(weights, folder)
    expect(folder, logits)


def expect(folder, logits):
    save_file({"ids": IDS} | {k: v.float().contiguous() for k, v in logits.items()}, folder / "expected.safetensors")


# ---------------------------------------------------------------- GPT-2, pytorch_model.bin
def gpt2():
    h, layers, heads, vocab, positions = 32, 2, 4, 64, 16
    P = {"wte.weight": draw(vocab, h), "wpe.weight": draw(positions, h), "ln_f.weight": norm_weight(h), "ln_f.bias": draw(h)}
    for i in range(layers):
        p = f"h.{i}."
        for n in ("ln_1", "ln_2"):
            P |= {p + n + ".weight": norm_weight(h), p + n + ".bias": draw(h)}
        for n, a, b in (("attn.c_attn", h, 3 * h), ("attn.c_proj", h, h), ("mlp.c_fc", h, 4 * h), ("mlp.c_proj", 4 * h, h)):
            P |= {p + n + ".weight": draw(a, b), p + n + ".bias": draw(b)}
        P[p + "attn.bias"] = torch.ones(1, 1, positions, positions).tril()
    D = {k: v.double() for k, v in P.items()}
    x = D["wte.weight"][IDS] + D["wpe.weight"][: len(IDS)]
    for i in range(layers):
        p = f"h.{i}."
        conv = lambda n, t: t @ D[p + n + ".weight"] + D[p + n + ".bias"]
        q, k, v = (t.view(-1, heads, h // heads).transpose(0, 1) for t in conv("attn.c_attn", layer_norm(D, p + "ln_1", x)).split(h, 1))
        x = x + conv("attn.c_proj", causal(q, k, v))
        x = x + conv("mlp.c_proj", F.gelu(conv("mlp.c_fc", layer_norm(D, p + "ln_2", x)), approximate="tanh"))
    config = dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", activation_function="gelu_new", attn_pdrop=0.1,
                  bos_token_id=63, embd_pdrop=0.1, eos_token_id=63, initializer_range=0.02, layer_norm_epsilon=1e-5,
                  n_ctx=positions, n_embd=h, n_head=heads, n_layer=layers, n_positions=positions, resid_pdrop=0.1,
                  summary_type="cls_index", vocab_size=vocab)
    write("gpt2", config, P, {"final": layer_norm(D, "ln_f", x) @ D["wte.weight"].T},
          lambda weights, folder: torch.save(weights, folder / "pytorch_model.bin"))


# ---------------------------------------------------------------- GPT-NeoX, two shards
def gpt_neox(name, parallel):
    h, layers, heads, vocab, share = 32, 2, 4, 64, 0.25
    d = h // heads
    P = {"gpt_neox.embed_in.weight": draw(vocab, h), "embed_out.weight": draw(vocab, h),
         "gpt_neox.final_layer_norm.weight": norm_weight(h), "gpt_neox.final_layer_norm.bias": draw(h)}
    for i in range(layers):
        p = f"gpt_neox.layers.{i}."
        for n in ("input_layernorm", "post_attention_layernorm"):
            P |= {p + n + ".weight": norm_weight(h), p + n + ".bias": draw(h)}
        for n, a, b in (("attention.query_key_value", 3 * h, h), ("attention.dense", h, h),
                        ("mlp.dense_h_to_4h", 4 * h, h), ("mlp.dense_4h_to_h", h, 4 * h)):
            P |= {p + n + ".weight": draw(a, b), p + n + ".bias": draw(a)}
        P[p + "attention.rotary_emb.inv_freq"] = draw(1)
    D = {k: v.double() for k, v in P.items()}
    x = D["gpt_neox.embed_in.weight"][IDS]
    for i in range(layers):
        p = f"gpt_neox.layers.{i}."
        linear = lambda n, t: F.linear(t, D[p + n + ".weight"], D[p + n + ".bias"])
        fused = linear("attention.query_key_value", layer_norm(D, p + "input_layernorm", x)).view(-1, heads, 3, d)
        q, k, v = (fused[:, :, j].transpose(0, 1) for j in range(3))
        q, k = (rotate_half(t, 10000.0, int(d * share)) for t in (q, k))
        attention = linear("attention.dense", causal(q, k, v))
        read = x if parallel else x + attention
        mlp = linear("mlp.dense_4h_to_h", F.gelu(linear("mlp.dense_h_to_4h", layer_norm(D, p + "post_attention_layernorm", read))))
        x = x + attention + mlp
    config = dict(architectures=["GPTNeoXForCausalLM"], model_type="gpt_neox", bos_token_id=0, eos_token_id=0, hidden_act="gelu",
                  hidden_size=h, initializer_range=0.02, intermediate_size=4 * h, layer_norm_eps=1e-5,
                  max_position_embeddings=16, num_attention_heads=heads, num_hidden_layers=layers, rotary_emb_base=10000,
                  rotary_pct=share, tie_word_embeddings=False, torch_dtype="float32", use_parallel_residual=False, vocab_size=vocab)
    if parallel:
        del config["use_parallel_residual"]  # where it is absent it is true

    def save(weights, folder):
        names = sorted(weights)
        shards = {f"model-0000{n}-of-00002.safetensors": names[n - 1::2] for n in (1, 2)}
        for file, own in shards.items():
            save_file({k: weights[k] for k in own}, folder / file)
        index = dict(metadata={}, weight_map={k: file for file, own in shards.items() for k in own})
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")

    write(name, config, P, {"final": layer_norm(D, "gpt_neox.final_layer_norm", x) @ D["embed_out.weight"].T}, save)


# ---------------------------------------------------------------- EE-LLM on Megatron-LM
class Megatron:
    """The legacy GPT with early exits, whole; split() gives what a rank saves."""

    def __init__(self, **args):
        self.a = a = argparse.Namespace(**args)
        h, f, v = a.hidden_size, a.ffn_hidden_size, a.padded_vocab_size
        self.d, self.groups = h // a.num_attention_heads, a.num_query_groups
        self.P = {"embedding.word_embeddings.weight": draw(v, h)}
        if a.position_embedding_type != "rope":
            self.P["embedding.position_embeddings.weight"] = draw(a.max_position_embeddings, h)
        for n in range(1, a.num_layers + 1):
            p, exit = f"encoder.layers.{n}.", n in a.exit_layer_nums
            self.layer(p, "mlp.trunk." if exit and a.use_exit_mlp else "mlp.")
            if exit:
                if a.use_exit_mlp:
                    self.mlp(p + "mlp.branch.")
                if a.use_exit_block:
                    self.layer(p + "exit_block.", "mlp.")
                if a.use_exit_norm:
                    self.norm(p + "exit_norm")
                if a.untie_exit_output_weights:
                    self.P[f"exit_output_layer.{n}.weight"] = draw(v, h)
        self.norm("encoder.final_norm")
        if a.untie_embeddings_and_output_weights:
            self.P["output_layer.weight"] = draw(v, h)

    def norm(self, name):
        self.P[name + ".weight"] = norm_weight(self.a.hidden_size)
        if self.a.normalization == "LayerNorm":
            self.P[name + ".bias"] = draw(self.a.hidden_size)

    def linear(self, name, rows, columns):
        self.P[name + ".weight"] = draw(rows, columns)
        if self.a.add_bias_linear:
            self.P[name + ".bias"] = draw(rows)

    def mlp(self, p):
        a = self.a
        self.linear(p + "dense_h_to_4h", (2 if a.swiglu else 1) * a.ffn_hidden_size, a.hidden_size)
        self.linear(p + "dense_4h_to_h", a.hidden_size, a.ffn_hidden_size)

    def layer(self, p, mlp):
        a = self.a
        self.norm(p + "input_norm")
        self.linear(p + "self_attention.query_key_value", (a.num_attention_heads + 2 * self.groups) * self.d, a.hidden_size)
        self.linear(p + "self_attention.dense", a.hidden_size, a.hidden_size)
        self.norm(p + "post_attention_norm")
        self.mlp(p + mlp)

    # forward, in float64
    def forward(self):
        a, D = self.a, {k: v.double() for k, v in self.P.items()}
        embed = D["embedding.word_embeddings.weight"]

        def norm(name, x):
            if a.normalization == "LayerNorm":
                return layer_norm(D, name, x, a.norm_epsilon)
            return x * (x.pow(2).mean(-1, keepdim=True) + a.norm_epsilon).rsqrt() * D[name + ".weight"]

        def linear(name, x):
            return F.linear(x, D[name + ".weight"], D.get(name + ".bias"))

        def attention(p, x):
            fused = linear(p + "query_key_value", x).view(len(x), self.groups, -1, self.d)  # a group: its queries, key, value
            q = fused[:, :, :-2].flatten(1, 2).transpose(0, 1)
            k, v = fused[:, :, -2].transpose(0, 1), fused[:, :, -1].transpose(0, 1)
            if a.position_embedding_type == "rope":
                q, k = (rotate_half(t, 10000.0, int(self.d * a.rotary_percent)) for t in (q, k))
            return linear(p + "dense", causal(q, k, v))

        def mlp(p, x):
            up = linear(p + "dense_h_to_4h", x)
            if a.swiglu:
                gate, up = up.chunk(2, -1)
                return linear(p + "dense_4h_to_h", F.silu(gate) * up)
            return linear(p + "dense_4h_to_h", F.gelu(up, approximate="tanh"))

        def head(n, e):
            p = f"encoder.layers.{n}."
            if a.use_exit_block:
                b = p + "exit_block."
                e = e + attention(b + "self_attention.", norm(b + "input_norm", e))
                e = e + mlp(b + "mlp.", norm(b + "post_attention_norm", e))
            if a.use_exit_norm:
                e = norm(p + "exit_norm", e)
            return e @ (D[f"exit_output_layer.{n}.weight"] if a.untie_exit_output_weights else embed).T

        logits, x = {}, embed[IDS]
        if a.position_embedding_type != "rope":
            x = x + D["embedding.position_embeddings.weight"][: len(IDS)]
        for n in range(1, a.num_layers + 1):
            p = f"encoder.layers.{n}."
            if n in a.exit_layer_nums and a.pre_exit:
                logits[f"exit_{n - 1}"] = head(n, x)
            x = x + attention(p + "self_attention.", norm(p + "input_norm", x))
            normed = norm(p + "post_attention_norm", x)
            branch = n in a.exit_layer_nums and a.use_exit_mlp
            mid, x = x, x + mlp(p + ("mlp.trunk." if branch else "mlp."), normed)
            if n in a.exit_layer_nums and not a.pre_exit:
                logits[f"exit_{n}"] = head(n, mid + mlp(p + "mlp.branch.", normed) if branch else x)
        output = D["output_layer.weight"] if a.untie_embeddings_and_output_weights else embed
        logits["final"] = norm("encoder.final_norm", x) @ output.T
        return logits

    # what a rank of (tp, pp) saves
    def split(self, name, t, rank, tp):
        part = lambda x, dim: x.chunk(tp, dim)[rank]
        if "dense_h_to_4h" in name and self.a.swiglu:
            return torch.cat([part(x, 0) for x in t.chunk(2, 0)])
        if "query_key_value" in name or "dense_h_to_4h" in name or "word_embeddings" in name or "output_layer" in name:
            return part(t, 0)
        if name.endswith(("self_attention.dense.weight", "dense_4h_to_h.weight")):
            return part(t, 1)
        return t

    def save(self, folder, tp, pp):
        a, per = self.a, self.a.num_layers // pp
        a.tensor_model_parallel_size, a.pipeline_model_parallel_size = tp, pp
        place = folder / "iter_0000042"
        for stage in range(pp):
            exits = [n for n in a.exit_layer_nums if (n - 1) // per == stage]
            for rank in range(tp):
                model = {"embedding": {}, "encoder": {}, "output_layer": {}, "exit_output_layer": {}}
                for name, t in self.P.items():
                    own = self.split(name, t, rank, tp).clone()
                    top, key = name.split(".", 1)
                    if top == "encoder" and key.startswith("layers."):
                        n = int(key.split(".")[1])
                        if (n - 1) // per == stage:
                            model[top][key.replace(f"layers.{n}.", f"layers.{(n - 1) % per}.", 1)] = own
                    elif top == "encoder" and stage == pp - 1:
                        model[top][key] = own
                    elif top == "embedding" and stage == 0:
                        module, kind = key.split(".")
                        model[top][module] = {kind: own}
                    elif top == "output_layer" and stage == pp - 1:
                        model[top][key] = own
                    elif top == "exit_output_layer" and int(key.split(".")[0]) in exits:
                        model[top][f"{exits.index(int(key.split('.')[0]))}.weight"] = own
                state = dict(
                    args=a, checkpoint_version=3.0, iteration=42, model=dict(language_model=model),
                    optimizer=dict(optimizer=dict(state={0: dict(exp_avg=torch.zeros(3), step=1)}, param_groups=[dict(lr=1e-3, params=[0])]),
                                   fp32_from_fp16_params=[[torch.nn.Parameter(torch.zeros(2))]]),
                    opt_param_scheduler=dict(max_lr=3e-4, num_steps=10, lr_decay_style="cosine"),
                    rng_state=[dict(random_rng_state=random.getstate(), np_rng_state=np.random.get_state(),
                                    torch_rng_state=torch.get_rng_state()[:16].clone(), rng_tracker_states={})])
                file = place / (f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pp > 1 else "")) / "model_optim_rng.pt"
                file.parent.mkdir(parents=True, exist_ok=True)
                torch.save(state, file)
        (folder / "latest_checkpointed_iteration.txt").write_text("42")
        expect(folder, self.forward())


COMMON = dict(
    hidden_size=32, num_layers=4, num_attention_heads=4, padded_vocab_size=64, max_position_embeddings=16, seq_length=16,
    kv_channels=8, norm_epsilon=1e-5, pre_exit=False, use_exit_block=False, num_experts=None, params_dtype=torch.float32,
    apply_layernorm_1p=False, apply_residual_connection_post_layernorm=False, squared_relu=False, openai_gelu=False,
    onnx_safe=None, bias_gelu_fusion=True, attention_dropout=0.1, hidden_dropout=0.1, init_method_std=0.01,
    rotary_percent=1.0, rotary_seq_len_interpolation_factor=None, virtual_pipeline_model_parallel_size=None,
    exit_layer_weight=[0.25, 0.5], data_path=["0.5", "a"], consumed_train_samples=1234)


def megatron():
    Megatron(**COMMON, ffn_hidden_size=48, group_query_attention=True, num_query_groups=2, normalization="RMSNorm",
             position_embedding_type="rope", swiglu=True, add_bias_linear=False, untie_embeddings_and_output_weights=True,
             untie_exit_output_weights=True, exit_layer_nums=[1, 3, 4], use_exit_mlp=True, use_exit_norm=True
             ).save(out / "megatron_tp2_pp2", 2, 2)
    Megatron(**(COMMON | dict(pre_exit=True)), ffn_hidden_size=64, group_query_attention=False, num_query_groups=4, normalization="LayerNorm",
             position_embedding_type="learned_absolute", swiglu=False, add_bias_linear=True,
             untie_embeddings_and_output_weights=False, untie_exit_output_weights=False, exit_layer_nums=[2, 3],
             use_exit_mlp=False, use_exit_norm=True).save(out / "megatron_tp1_pp2", 1, 2)


# ---------------------------------------------------------------- what torch.save can hold
def tensors():
    base = torch.arange(24, dtype=torch.float32).view(4, 6)
    weights = dict(
        float32=base, float64=base.double(), float16=base.half(), bfloat16=base.bfloat16(), transposed=base.t(), rows=base[1:3],
        column=base[:, 2], scalar=torch.tensor(7.0), empty=torch.empty(0, 3), parameter=torch.nn.Parameter(base + 1))
    torch.save(weights, out / "tensors.bin")
    torch.save(dict(a=base), out / "tensors_legacy.bin", _use_new_zipfile_serialization=False)

    class Call:
        def __reduce__(self):
            import os
            return os.system, ("touch executed",)

    torch.save(dict(a=base, b=Call()), out / "tensors_call.bin")


gpt2()
gpt_neox("gpt_neox", False)
megatron()
tensors()
gpt_neox("gpt_neox_parallel", True)

#!/usr/bin/env python3
"""Small models in the published layouts of Hugging Face's families, and what PyTorch computes for them in float64.

    python3 make_families.py FOLDER

Needs torch and numpy. A forward pass is written out from the families' published definitions, in the fields and tensor
names of their files; nothing here turns one layout into another. Each folder's expected.safetensors has ids, of which
the last 24 continue the others greedily, and the logits of all; texts are longer than the windows.
"""
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

out = Path(sys.argv[1])
PROMPT, GREEDY, VOCAB, HIDDEN, INNER = 16, 24, 48, 24, 40
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def save(path, tensors):
    header, data = {}, b""
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        raw = tensor.view(torch.uint8).numpy().tobytes() if tensor.dim() else b""
        header[name] = dict(dtype=NAMES[tensor.dtype], shape=list(tensor.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


class Family:
    """Writes a folder. Fields are what config.json has; the rest is what the family's definition makes of them."""

    def __init__(self, name, format, shards, **config):
        self.rng = np.random.RandomState(sum(map(ord, name)))
        self.name, self.format, self.shards, self.file = name, format, shards, config
        self.prefix = "model."
        if "text_config" in config:
            self.prefix = "language_model.model."
            config = config["text_config"]
        self.c = config
        self.type = config["model_type"]
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.kv = config["num_key_value_heads"]
        self.d = config.get("head_dim") or HIDDEN // self.heads
        self.gemma, self.olmo = self.type.startswith("gemma"), self.type in ("olmo2", "olmo3")
        self.whole = self.type.startswith("olmo")  # the norms of queries and keys
        self.tied = config.get("tie_word_embeddings", self.gemma or self.type == "smollm3")
        self.P = {}
        self.make()

    def draw(self, *shape, std=0.3):
        return torch.from_numpy((self.rng.standard_normal(shape) * std)).to(self.format)

    def norm(self, width):
        return self.draw(width, std=0.2) + (0 if self.gemma else 1)

    def make(self):
        P, q, k = self.P, self.heads * self.d, self.kv * self.d
        P[self.prefix + "embed_tokens.weight"] = self.draw(VOCAB, HIDDEN)
        for i in range(self.layers):
            p = f"{self.prefix}layers.{i}."
            norms = ["input_layernorm", "post_attention_layernorm"]
            if self.gemma:
                norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
            if self.olmo:
                norms = ["post_attention_layernorm", "post_feedforward_layernorm"]
            for n in norms:
                P[p + n + ".weight"] = self.norm(HIDDEN)
            if self.type == "phi3":
                P[p + "self_attn.qkv_proj.weight"] = self.draw(q + 2 * k, HIDDEN)
                P[p + "mlp.gate_up_proj.weight"] = self.draw(2 * INNER, HIDDEN)
            else:
                for n, rows in (("q", q), ("k", k), ("v", k)):
                    P[p + f"self_attn.{n}_proj.weight"] = self.draw(rows, HIDDEN)
                for n in ("gate", "up"):
                    for mlp, inner in self.mlps(i):
                        P[p + mlp + f"{n}_proj.weight"] = self.draw(inner, HIDDEN)
            P[p + "self_attn.o_proj.weight"] = self.draw(HIDDEN, q)
            for mlp, inner in self.mlps(i):
                P[p + mlp + "down_proj.weight"] = self.draw(HIDDEN, inner)
            if self.routed(i):
                P[p + "mlp.gate.weight"] = self.draw(self.c["num_experts"], HIDDEN)
            bias = self.c.get("attention_bias", False)
            for n, rows in (("q", q), ("k", k), ("v", k), ("o", HIDDEN)):
                if bias or (self.type == "qwen2" and n != "o"):
                    P[p + f"self_attn.{n}_proj.bias"] = self.draw(rows)
            if self.type in ("gemma3_text", "qwen3", "qwen3_moe") or self.whole:
                P[p + "self_attn.q_norm.weight"] = self.norm(q if self.whole else self.d)
                P[p + "self_attn.k_norm.weight"] = self.norm(k if self.whole else self.d)
        P[self.prefix + "norm.weight"] = self.norm(HIDDEN)
        if not self.tied:
            P["lm_head.weight"] = self.draw(VOCAB, HIDDEN)

    def mlps(self, i):
        """Names and inner widths of layer i's MLPs."""
        inner = self.c.get("moe_intermediate_size", self.c["intermediate_size"])
        return [(f"mlp.experts.{e}.", inner) for e in range(self.c["num_experts"])] if self.routed(i) else [("mlp.", INNER)]

    # ------------------------------------------------------------ definitions
    def routed(self, i):
        """Whether layer i has experts."""
        c = self.c
        dense = i in c.get("mlp_only_layers", []) or (i + 1) % c.get("decoder_sparse_step", 1)
        return c.get("num_experts", 0) > 0 and not dense

    def window(self, i):
        """Positions that layer i sees, itself among them; None for all."""
        c = self.c
        if "layer_types" in c:
            return c["sliding_window"] if c["layer_types"][i] == "sliding_attention" else None
        if self.type == "gemma2":
            return c["sliding_window"] if i % 2 == 0 else None
        if self.type == "gemma3_text":
            return c["sliding_window"] if (i + 1) % c.get("sliding_window_pattern", 6) else None
        if self.type == "olmo3":
            return c["sliding_window"] if (i + 1) % 4 else None
        if self.type == "qwen3_moe":
            return c["sliding_window"] if c.get("use_sliding_window") else None
        if self.type.startswith("qwen"):
            return c["sliding_window"] if c.get("use_sliding_window") and i >= c["max_window_layers"] else None
        return c.get("sliding_window")

    def rotation(self, i, long):
        """Frequencies of the rotated pairs of a head, and what cosine and sine are multiplied by; None for none."""
        c = self.c
        if self.type == "smollm3":
            rotated = c.get("no_rope_layers") or [int((j + 1) % 4 != 0) for j in range(self.layers)]
            if not rotated[i]:
                return None
        dims = int(self.d * c.get("partial_rotary_factor", 1))
        theta = c.get("rope_theta", 10000.0)
        sliding = self.window(i) is not None
        if self.type == "gemma3_text" and sliding:
            theta = c.get("rope_local_base_freq", 10000.0)
        f = theta ** (-torch.arange(0, dims, 2, dtype=torch.float64) / dims)
        rope = c.get("rope_scaling")
        if not rope or (sliding and self.type in ("gemma3_text", "olmo3")):
            return f, 1.0
        kind = rope.get("rope_type", rope.get("type"))
        if kind == "linear":
            return f / rope["factor"], 1.0
        if kind == "yarn":
            factor, original = rope["factor"], rope["original_max_position_embeddings"]
            turn = lambda turns: dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))
            low = max(math.floor(turn(rope.get("beta_fast", 32))), 0)
            high = min(math.ceil(turn(rope.get("beta_slow", 1))), dims - 1)
            ramp = ((torch.arange(dims // 2, dtype=torch.float64) - low) / max(high - low, 1e-3)).clamp(0, 1)
            return f / factor * ramp + f * (1 - ramp), rope.get("attention_factor", 0.1 * math.log(factor) + 1)
        assert kind in ("longrope", "su")
        original = c["original_max_position_embeddings"]
        ratio = c["max_position_embeddings"] / original
        factors = torch.tensor(rope["long_factor" if long else "short_factor"], dtype=torch.float64)
        return f / factors, math.sqrt(1 + math.log(ratio) / math.log(original))

    def forward(self, ids, long=True):
        c, D, n = self.c, {k: v.double() for k, v in self.P.items()}, len(ids)
        eps = c["rms_norm_eps"]

        def rms(name, x):
            w = D[name + ".weight"] + (1 if self.gemma else 0)
            return x * (x.pow(2).mean(-1, keepdim=True) + eps).rsqrt() * w

        def linear(name, x):
            return F.linear(x, D[name + ".weight"], D.get(name + ".bias"))

        def rotate(x, rotation):
            if rotation is None:
                return x
            f, factor = rotation
            half = len(f)
            angle = torch.arange(n, dtype=torch.float64)[:, None] * f
            cos, sin = angle.cos() * factor, angle.sin() * factor
            a, b, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
            return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)

        def attention(i, p, x):
            if self.type == "phi3":
                q, k, v = linear(p + "qkv_proj", x).split([self.heads * self.d, self.kv * self.d, self.kv * self.d], -1)
            else:
                q, k, v = (linear(p + f"{m}_proj", x) for m in "qkv")
            if self.whole:
                q, k = rms(p + "q_norm", q), rms(p + "k_norm", k)
            q, k, v = (t.view(n, -1, self.d).transpose(0, 1) for t in (q, k, v))
            if self.type in ("gemma3_text", "qwen3", "qwen3_moe"):
                q, k = rms(p + "q_norm", q), rms(p + "k_norm", k)
            q, k = (rotate(t, self.rotation(i, long)) for t in (q, k))
            k, v = (t.repeat_interleave(self.heads // self.kv, 0) for t in (k, v))
            scale = self.d ** -0.5
            if self.gemma:
                scale = c["query_pre_attn_scalar"] ** -0.5
            if self.type == "granite":
                scale = c["attention_multiplier"]
            score = q @ k.transpose(1, 2) * scale
            cap = c.get("attn_logit_softcapping")
            if cap:
                score = cap * torch.tanh(score / cap)
            at = torch.arange(n)
            hidden = at[None, :] > at[:, None]
            w = self.window(i)
            if w is not None:
                hidden = hidden | (at[None, :] <= at[:, None] - w)
            score = score.masked_fill(hidden, float("-inf"))
            return linear(p + "o_proj", (score.softmax(-1) @ v).transpose(0, 1).flatten(1))

        def mlp(p, x):
            if self.type == "phi3":
                gate, up = linear(p + "gate_up_proj", x).chunk(2, -1)
            else:
                gate, up = linear(p + "gate_proj", x), linear(p + "up_proj", x)
            gate = F.gelu(gate, approximate="tanh") if self.gemma else F.silu(gate)
            return linear(p + "down_proj", gate * up)

        def routed(p, x):
            every = linear(p + "gate", x).softmax(-1)
            ordered = every.sort(-1, descending=True).values
            k = c["num_experts_per_tok"]
            assert (ordered[:, k - 1] - ordered[:, k]).min() > 1e-5, f"{self.name}: two experts alike"
            weights = torch.where(every >= ordered[:, k - 1:k], every, torch.zeros_like(every))
            if c["norm_topk_prob"]:
                weights = weights / weights.sum(-1, keepdim=True)
            return sum(weights[:, e:e + 1] * mlp(p + f"experts.{e}.", x) for e in range(c["num_experts"]))

        x = D[self.prefix + "embed_tokens.weight"][ids]
        if self.gemma:
            x = x * math.sqrt(HIDDEN)
        if self.type == "granite":
            x = x * c["embedding_multiplier"]
        residual = c["residual_multiplier"] if self.type == "granite" else 1
        for i in range(self.layers):
            p = f"{self.prefix}layers.{i}."
            if self.gemma:
                x = x + rms(p + "post_attention_layernorm", attention(i, p + "self_attn.", rms(p + "input_layernorm", x)))
                x = x + rms(p + "post_feedforward_layernorm", mlp(p + "mlp.", rms(p + "pre_feedforward_layernorm", x)))
            elif self.olmo:
                x = x + rms(p + "post_attention_layernorm", attention(i, p + "self_attn.", x))
                x = x + rms(p + "post_feedforward_layernorm", mlp(p + "mlp.", x))
            else:
                x = x + residual * attention(i, p + "self_attn.", rms(p + "input_layernorm", x))
                x = x + residual * (routed if self.routed(i) else mlp)(p + "mlp.", rms(p + "post_attention_layernorm", x))
        logits = rms(self.prefix + "norm", x) @ D[self.prefix + "embed_tokens.weight" if self.tied else "lm_head.weight"].T
        if self.type == "granite":
            logits = logits / c["logits_scaling"]
        cap = c.get("final_logit_softcapping")
        return cap * torch.tanh(logits / cap) if cap else logits

    # ------------------------------------------------------------ files
    def write(self):
        folder = out / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.file, indent=1) + "\n")
        weights = dict(self.P)
        if "text_config" in self.file:
            weights["vision_tower.embeddings.weight"] = self.draw(3, 5)
            weights["multi_modal_projector.mm_soft_emb_norm.weight"] = self.draw(5)
        names = sorted(weights)
        if self.shards == 1:
            save(folder / "model.safetensors", weights)
        else:
            files = {f"model-{s + 1:05d}-of-{self.shards:05d}.safetensors": names[s::self.shards] for s in range(self.shards)}
            for file, own in files.items():
                save(folder / file, {k: weights[k] for k in own})
            index = dict(metadata={}, weight_map={k: file for file, own in files.items() for k in own})
            (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
        ids = self.rng.randint(0, VOCAB, size=PROMPT).tolist()
        for _ in range(GREEDY):
            last = self.forward(ids)[-1].topk(2).values
            assert last[0] - last[1] > 1e-3, f"{self.name}: a tie"
            ids.append(int(self.forward(ids)[-1].argmax()))
        expected = {"ids": torch.tensor(ids), "final": self.forward(ids).float()}
        if (self.c.get("rope_scaling") or {}).get("short_factor"):
            expected["short"] = self.forward(ids[: self.c["original_max_position_embeddings"]], long=False).float()
        save(folder / "expected.safetensors", expected)


def common(model_type, architecture, **more):
    sizes = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=4, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2,
                 initializer_range=0.02, attention_dropout=0.0, use_cache=True, transformers_version="4.57.0")
    return dict(architectures=[architecture], model_type=model_type) | sizes | more


BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
GEMMA = dict(head_dim=10, hidden_activation="gelu_pytorch_tanh", attention_bias=False, query_pre_attn_scalar=7,
             cache_implementation="hybrid", rope_theta=10000.0, sliding_window=7, dtype="bfloat16")
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
QWEN_MOE = dict(head_dim=8, attention_bias=False, decoder_sparse_step=1, hidden_act="silu", max_window_layers=4, moe_intermediate_size=20,
                num_experts=6, num_experts_per_tok=2, output_router_logits=False, rope_scaling=None, rope_theta=1000000.0, router_aux_loss_coef=0.001)

for family in (
    Family("gemma2", BF16, 2, **common("gemma2", "Gemma2ForCausalLM", **(GEMMA | dict(query_pre_attn_scalar=10)), hidden_act="gelu_pytorch_tanh",
                                       attn_logit_softcapping=2.0, final_logit_softcapping=4.0)),
    Family("gemma3_text", BF16, 1, **common(
        "gemma3_text", "Gemma3ForCausalLM",
        **(GEMMA | dict(num_hidden_layers=7, sliding_window_pattern=3, rope_theta=1000000.0, rope_local_base_freq=5000.0,
                        rope_scaling=dict(factor=8.0, rope_type="linear"), attn_logit_softcapping=None, final_logit_softcapping=None)))),
    Family("gemma3", F16, 2, architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", bos_token_id=1, eos_token_id=[2, 3],
           boi_token_index=40, torch_dtype="float16", vision_config=dict(model_type="siglip_vision_model", hidden_size=5),
           text_config=dict(model_type="gemma3_text", vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=6,
                            num_attention_heads=4, num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, sliding_window=9,
                            rope_theta=1000000.0, rope_local_base_freq=10000.0, max_position_embeddings=64, rms_norm_eps=1e-6,
                            layer_types=["sliding_attention"] * 5 + ["full_attention"])),
    Family("phi3", F16, 1, **common("phi3", "Phi3ForCausalLM", hidden_act="silu", resid_pdrop=0.0, embd_pdrop=0.0, rope_scaling=None,
                                    rope_theta=10000.0, original_max_position_embeddings=64, sliding_window=7, tie_word_embeddings=False,
                                    attention_bias=False, torch_dtype="float16")),
    Family("phi4_mini", BF16, 2, **common(
        "phi3", "Phi3ForCausalLM", num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=1, hidden_act="silu", partial_rotary_factor=0.75, rope_theta=10000.0,
        full_attn_mod=1, interpolate_factor=1, lm_head_bias=False, mlp_bias=False, attention_bias=False, original_max_position_embeddings=16,
        rope_scaling=dict(type="longrope", short_factor=[1.0, 1.05, 1.3], long_factor=[1.1, 1.9, 4.5]), sliding_window=128,
        tie_word_embeddings=True, torch_dtype="bfloat16")),
    Family("smollm3", BF16, 1, **common("smollm3", "SmolLM3ForCausalLM", num_hidden_layers=6, attention_bias=False, mlp_bias=False,
                                        hidden_act="silu", no_rope_layer_interval=4, no_rope_layers=[1, 1, 1, 0, 1, 1], rope_scaling=None,
                                        rope_theta=5000000.0, sliding_window=None, use_sliding_window=False,
                                        layer_types=["full_attention"] * 6, torch_dtype="bfloat16")),
    Family("granite", BF16, 1, **common("granite", "GraniteForCausalLM", attention_bias=False, mlp_bias=False, hidden_act="silu",
                                        embedding_multiplier=12.0, attention_multiplier=0.3, residual_multiplier=0.22, logits_scaling=8.0,
                                        rope_scaling=None, rope_theta=10000.0, tie_word_embeddings=True, torch_dtype="bfloat16")),
    Family("olmo2", F32, 2, **common("olmo2", "Olmo2ForCausalLM", attention_bias=False, hidden_act="silu", rope_scaling=None,
                                     rope_theta=500000.0, tie_word_embeddings=False, torch_dtype="float32")),
    Family("olmo3", BF16, 1, **common("olmo3", "Olmo3ForCausalLM", attention_bias=False, hidden_act="silu",
                                      rope_scaling=YARN | dict(attention_factor=0.1 * math.log(4) + 1), rope_theta=500000.0, sliding_window=7,
                                      tie_word_embeddings=False, torch_dtype="bfloat16")),
    Family("mistral_window", BF16, 2, **common("mistral", "MistralForCausalLM", hidden_act="silu", rope_theta=10000.0, sliding_window=7,
                                               tie_word_embeddings=False, torch_dtype="bfloat16")),
    Family("qwen2_window", BF16, 1, **common("qwen2", "Qwen2ForCausalLM", hidden_act="silu", rope_theta=1000000.0, sliding_window=7,
                                             use_sliding_window=True, max_window_layers=2, tie_word_embeddings=True,
                                             torch_dtype="bfloat16")),
    Family("qwen3_window", F16, 1, **common("qwen3", "Qwen3ForCausalLM", head_dim=8, attention_bias=False, hidden_act="silu",
                                            rope_theta=1000000.0, sliding_window=7, use_sliding_window=True, max_window_layers=4,
                                            layer_types=["full_attention", "sliding_attention"] * 2, rope_scaling=YARN | dict(beta_fast=4, beta_slow=0.5, attention_factor=1.2),
                                            tie_word_embeddings=False, torch_dtype="float16")),
    Family("qwen3_moe", BF16, 2, **common(
        "qwen3_moe", "Qwen3MoeForCausalLM", **(QWEN_MOE | dict(norm_topk_prob=True, mlp_only_layers=[], use_sliding_window=False, sliding_window=None,
                                                               tie_word_embeddings=True, torch_dtype="bfloat16")))),
    Family("qwen3_moe_mixed", F16, 1, **common(
        "qwen3_moe", "Qwen3MoeForCausalLM", **(QWEN_MOE | dict(norm_topk_prob=False, mlp_only_layers=[2], use_sliding_window=True, sliding_window=7,
                                                               tie_word_embeddings=False, torch_dtype="float16")))),
    Family("olmoe", BF16, 2, **common("olmoe", "OlmoeForCausalLM", intermediate_size=20, num_key_value_heads=4, attention_bias=False, clip_qkv=None,
                                      hidden_act="silu", norm_topk_prob=False, num_experts=8, num_experts_per_tok=3, output_router_logits=False,
                                      router_aux_loss_coef=0.01, rope_scaling=None, rope_theta=10000.0, tie_word_embeddings=False,
                                      torch_dtype="bfloat16")),
    Family("llama_bias", F16, 1, **common("llama", "LlamaForCausalLM", attention_bias=True, mlp_bias=False, hidden_act="silu",
                                          rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=False, torch_dtype="float16")),
):
    family.write()

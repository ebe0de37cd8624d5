"""
Stands in for transformers where that cannot be had: Llama alone, and of the library what
modeling_eellm.py and run.py call. Written after the model's publication (arXiv 2302.13971).
"""

import importlib.util
import json
import math
import os
from types import SimpleNamespace

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from . import utils

__version__ = "stand-in"
logging = SimpleNamespace(set_verbosity_error=lambda: None)


class DynamicCache:
    def __init__(self):
        self.layers = {}

    def get_seq_length(self):
        return self.layers[0][0].shape[2] if 0 in self.layers else 0

    def update(self, keys, values, index):
        if index in self.layers:
            before = self.layers[index]
            keys, values = torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)
        self.layers[index] = (keys, values)
        return keys, values

    def crop(self, length):
        for index, (keys, values) in self.layers.items():
            self.layers[index] = (keys[:, :, :length], values[:, :, :length])


class PreTrainedModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.generation_config = SimpleNamespace(eos_token_id=getattr(config, "eos_token_id", None))

    @classmethod
    def from_pretrained(cls, folder, *, config, dtype=torch.float32, **ignored):
        model = cls(config).to(dtype)
        weights = load_file(utils.cached_file(folder, "model.safetensors"))
        if config.tie_word_embeddings:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        model.load_state_dict(weights)
        return model.eval()

    @property
    def device(self):
        return next(self.parameters()).device

    @property
    def dtype(self):
        return next(self.parameters()).dtype


class RMSNorm(nn.Module):
    def __init__(self, width, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon)


class Attention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.width = getattr(config, "head_dim", None)
        self.width = self.width or config.hidden_size // config.num_attention_heads
        queries = config.num_attention_heads * self.width
        keys = config.num_key_value_heads * self.width
        bias = getattr(config, "attention_bias", False)
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=bias)

    def forward(self, x, position_embeddings, past_key_values):
        q, k, v = (
            of(x).view(*x.shape[:2], -1, self.width).transpose(1, 2)
            for of in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotated(q, *position_embeddings), rotated(k, *position_embeddings)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = q @ k.transpose(2, 3) / math.sqrt(self.width)
        seen = torch.ones_like(scores, dtype=torch.bool).tril(k.shape[2] - q.shape[2])
        mixed = scores.masked_fill(~seen, -math.inf).softmax(-1) @ v
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


def rotated(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        bias = getattr(config, "mlp_bias", False)
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=bias)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=bias)
        self.act_fn = F.silu

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = Attention(config, layer_idx)
        self.mlp = Mlp(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, position_embeddings=None, past_key_values=None):
        x = x + self.self_attn(self.input_layernorm(x), position_embeddings, past_key_values)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids, cache):
        first = 0 if cache is None else cache.get_seq_length()
        width = self.layers[0].self_attn.width
        theta = getattr(self.config, "rope_theta", 10000.0)
        frequencies = theta ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
        positions = torch.arange(first, first + ids.shape[1], dtype=torch.float32)
        angles = torch.outer(positions, frequencies).repeat(1, 2)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, position_embeddings=(angles.cos(), angles.sin()), past_key_values=cache)
        return self.norm(x)


class LlamaForCausalLM(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids, past_key_values=None, use_cache=True):
        cache = past_key_values if use_cache else None
        return SimpleNamespace(logits=self.lm_head(self.model(input_ids, cache)))


class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, folder, trust_remote_code=False, **options):
        with open(utils.cached_file(folder, "config.json"), encoding="utf-8") as file:
            config = SimpleNamespace(**json.load(file))
        if config.model_type != "llama" or getattr(config, "rope_scaling", None):
            raise NotImplementedError(f"{config.model_type}: the stand-in has plain Llama alone")
        kind = LlamaForCausalLM
        if trust_remote_code:
            module, name = config.auto_map[cls.__name__].split(".")
            path = os.path.join(folder, module + ".py")
            spec = importlib.util.spec_from_file_location(module, path)
            code = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(code)
            kind = getattr(code, name)
        return kind.from_pretrained(folder, config=config, **options)

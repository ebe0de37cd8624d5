# SPDX-License-Identifier: Apache-2.0
"""Early exits of a model of transformers, as eellm has trained them (EE-LLM, arXiv 2312.04916).

    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    model.exit_logits(ids)                    # of every exit, by its layer, and of "final"
    model.generate(ids, exit_threshold=0.9)   # a token leaves at the first exit that is so sure

The model is its family's own in all else; without trust_remote_code it is that and nothing more.
Earlier versions of transformers than 4.57 were not tried, and some cannot load this.
exits.json says which exits there are, exits.safetensors has their weights.
"""

import copy
import json
import re
from contextlib import contextmanager

import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers.utils import cached_file

VERSION = re.match(r"(\d+)\.(\d+)", transformers.__version__)
if VERSION and tuple(map(int, VERSION.groups())) < (4, 57):
    raise ImportError(
        f"transformers {transformers.__version__} is too old for exits; install 4.57 or later, or"
        " load the model without trust_remote_code"
    )

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def part(tensors, name):
    """The tensors of a module, by their names in it."""
    return {key[len(name) + 1 :]: t for key, t in tensors.items() if key.startswith(name + ".")}


def linear(tensors):
    rows, columns = tensors["weight"].shape
    module = nn.Linear(columns, rows, bias="bias" in tensors, device="meta")
    module.load_state_dict(tensors, assign=True)
    return module


class ExitMlp(nn.Module):
    """Takes the place of its layer's MLP; the layer's norms are used as they are."""

    def __init__(self, tensors, mlp):
        super().__init__()
        if "up_proj.weight" not in tensors:
            raise NotImplementedError("exits with experts are not computed here; use eellm")
        for name in ("gate_proj", "up_proj", "down_proj"):
            weights = part(tensors, name)
            setattr(self, name, linear(weights) if weights else None)
        names = ("act_fn", "activation_fn", "act")
        self.activation = next((getattr(mlp, name) for name in names if hasattr(mlp, name)), None)
        if self.activation is None:
            raise NotImplementedError(
                "exits with an MLP are not computed here where layers have experts; use eellm, or"
                " exits of a norm"
            )

    def forward(self, x):
        inner = self.up_proj(x)
        if self.gate_proj is None:
            return self.down_proj(self.activation(inner))
        return self.down_proj(self.activation(self.gate_proj(x)) * inner)


class ExitHead(nn.Module):
    """[MLP in place of its layer's] -> [block] -> [norm] -> output matrix, after a layer."""

    def __init__(self, model, layer, index, tensors):
        super().__init__()
        self.layer = layer
        trunk = trunk_of(model)
        own = {name: part(tensors, name) for name in ("mlp", "block", "norm", "lm_head")}
        self.mlp = ExitMlp(own["mlp"], layers(trunk)[layer - 1].mlp) if own["mlp"] else None
        self.block = block(trunk, index, own["block"]) if own["block"] else None
        self.norm = copy.deepcopy(final_norm(trunk)) if own["norm"] else None
        if self.norm is not None:
            self.norm.load_state_dict(own["norm"])
        self.lm_head = linear(own["lm_head"]) if own["lm_head"] else None  # else the model's


def trunk_of(model):
    names = ("model", "transformer", "gpt_neox")
    return next(getattr(model, name) for name in names if hasattr(model, name))


def layers(trunk):
    return next(getattr(trunk, name) for name in ("layers", "h") if hasattr(trunk, name))


def final_norm(trunk):
    names = ("norm", "ln_f", "final_layer_norm")
    return next(getattr(trunk, name) for name in names if hasattr(trunk, name))


def block(trunk, index, tensors):
    """A layer as the last one, with keys and values of its own behind those of all layers."""
    count = len(layers(trunk))
    layer = copy.deepcopy(layers(trunk)[-1])
    kinds = set(getattr(trunk.config, "layer_types", None) or ["full_attention"])
    if layer.state_dict().keys() != tensors.keys() or len(kinds) > 1:
        raise NotImplementedError(
            f"exits with a block are not computed in {type(trunk).__name__}, whose layers have"
            " other names or are not all alike; use eellm, or exits of norm and mlp"
        )
    layer.load_state_dict(tensors)
    layer.self_attn.layer_idx = count + index
    return layer


class Left(Exception):
    """A token has left: the layers above are not computed."""


class EarlyExits:
    """What a family's model has beyond its own, if it has exits."""

    def add_exits(self, layout, tensors):
        heads = [
            ExitHead(self, layer, index, part(tensors, f"exits.{layer}"))
            for index, layer in enumerate(layout["layers"])
        ]
        self.exits = nn.ModuleList(heads).to(device=self.device, dtype=self.dtype).eval()

    @contextmanager
    def listening(self, heads, hear):
        """Lets every pass call hear(head, stream) with the stream [batch, tokens, hidden] there."""
        hooks = []

        def listen(head, layer):
            def beside(module, args, output):
                return torch.stack([output, head.mlp(args[0])])

            def after(module, args, kwargs, output):
                below = output[0] if isinstance(output, tuple) else output
                # What follows the MLP within its layer is done for both outputs at once.
                trunk, stream = below.unbind(0) if head.mlp is not None else (below, below)
                if head.block is not None:
                    stream = head.block(stream, *args[1:], **kwargs)
                    stream = stream[0] if isinstance(stream, tuple) else stream
                hear(head, stream)
                return (trunk, *output[1:]) if isinstance(output, tuple) else trunk

            if head.mlp is not None:
                hooks.append(layer.mlp.register_forward_hook(beside))
            hooks.append(layer.register_forward_hook(after, with_kwargs=True))

        try:
            for head in heads:
                listen(head, layers(trunk_of(self))[head.layer - 1])
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def logits_of(self, head, stream):
        normed = stream if head.norm is None else head.norm(stream)
        output = self.get_output_embeddings() if head.lm_head is None else head.lm_head
        logits = output(normed) / getattr(self.config, "logits_scaling", 1)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @torch.no_grad()
    def exit_logits(self, input_ids, **kwargs):
        """Logits [batch, tokens, vocabulary] of every exit, by its layer, and of the head "final"."""
        logits = {}

        def hear(head, stream):
            logits[head.layer] = self.logits_of(head, stream)

        with self.listening(self.exits, hear):
            final = self(input_ids, use_cache=False, **kwargs).logits
        return {**logits, "final": final}

    def generate(self, inputs=None, *args, exit_threshold=None, **kwargs):
        """
        As every model's; with exit_threshold, the greedy text of one prompt in which a token leaves
        at the first exit where the most probable one has at least that probability.

        exit_threshold: a probability, or one for each exit by its layer; others are not asked
        return_exits: whether to return the layer that each token left at, too
        max_pending: how many positions may lack keys and values above an exit before all layers
            are computed for them
        """
        if exit_threshold is None:
            return super().generate(inputs, *args, **kwargs)
        return self.generate_by_exits(inputs, exit_threshold, *args, **kwargs)

    @torch.no_grad()
    def generate_by_exits(
        self,
        inputs,
        exit_threshold,
        *,
        input_ids=None,
        attention_mask=None,
        max_new_tokens=20,
        eos_token_id=None,
        max_pending=8,
        return_exits=False,
    ):
        ids = input_ids if inputs is None else inputs
        if ids.shape[0] != 1 or not (attention_mask is None or attention_mask.all()):
            raise ValueError("exit_threshold: is for one prompt at a time, without padding")
        if isinstance(exit_threshold, dict):
            thresholds = exit_threshold
        else:
            thresholds = {head.layer: exit_threshold for head in self.exits}
        asked = [head for head in self.exits if thresholds.get(head.layer, 1) < 1]
        ends = self.generation_config.eos_token_id if eos_token_id is None else eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        cache = transformers.DynamicCache()
        complete = 0  # positions that have keys and values in every layer
        chosen = []  # each token, and the layer that it left at
        for _ in range(max_new_tokens):
            pending = ids.shape[1] - complete
            found = []

            def hear(head, stream):
                if not found:
                    logits = self.logits_of(head, stream[:, -1:])[0, -1].float()
                    probability, token = logits.softmax(-1).max(-1)
                    if probability >= thresholds[head.layer]:
                        found.append((token.item(), head.layer))
                        if pending <= max_pending:
                            raise Left

            try:
                with self.listening(asked, hear):
                    output = self(ids[:, complete:], past_key_values=cache, use_cache=True)
                last = output.logits[0, -1].argmax().item()
                found.append((last, len(layers(trunk_of(self)))))
                complete = ids.shape[1]
            except Left:
                cache.crop(complete)  # they are computed again, with what comes next
            chosen.append(found[0])
            ids = torch.cat([ids, ids.new_tensor([[found[0][0]]])], dim=1)
            if found[0][0] in ends:
                break
        return (ids, [layer for _, layer in chosen]) if return_exits else ids


class EarlyExitForCausalLM:
    """Loads the model of a folder's family, with the exits that lie beside it."""

    @classmethod
    def from_pretrained(cls, folder, *args, config, **kwargs):
        family = getattr(transformers, config.architectures[0])
        # The family's name, so that what is saved of it says what it is.
        model = type(family.__name__, (EarlyExits, family), {}).from_pretrained(
            folder, *args, config=config, **kwargs
        )
        options = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        with open(cached_file(folder, "exits.json", **options), encoding="utf-8") as file:
            layout = json.load(file)
        model.add_exits(layout, load_file(cached_file(folder, "exits.safetensors", **options)))
        return model

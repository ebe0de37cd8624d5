"""Runs exported folders in transformers, or where that is absent in the stand-in beside this file.

run.py JOBS OUT writes for each {"folder", "ids", "prompt", "threshold", "drafts"} of the file JOBS
the log-probabilities [tokens, vocabulary] of all heads, those of the plain model, and what is
generated; or why the model is refused.
"""

import json
import os
import sys

import torch

try:
    import transformers
except ModuleNotFoundError:
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "standin"))
    import transformers

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()


def rows(logits):
    return logits[0].double().log_softmax(-1).tolist()


def answer(job):
    try:
        return computed(job)
    except NotImplementedError as refusal:
        return {"refused": str(refusal)}


def computed(job):
    # Only eager attention caps Gemma 2's scores; Phi-3's usual padding is beyond a small vocabulary.
    options = {"dtype": torch.float32, "attn_implementation": "eager", "pad_token_id": 0}
    folder = job["folder"]
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(folder, trust_remote_code=True, **options).eval()
    ids = torch.tensor([job["ids"]])
    prompt = ids[:, : job["prompt"]]
    new = ids.shape[1] - job["prompt"]
    with torch.no_grad():
        plain = load(folder, **options).eval()(ids, use_cache=False).logits
    written, layers = model.generate(
        prompt,
        exit_threshold=job["threshold"],
        max_new_tokens=new,
        eos_token_id=-1,
        max_pending=3,
        return_exits=True,
    )
    found = {
        "heads": {str(layer): rows(logits) for layer, logits in model.exit_logits(ids).items()},
        "plain": rows(plain),
        "ids": written[0, job["prompt"] :].tolist(),
        "layers": layers,
    }
    if job["drafts"] and transformers.__version__ != "stand-in":  # as LayerSkip's models draft, with the final norm and output matrix
        options = {"do_sample": False, "max_new_tokens": new, "eos_token_id": None}
        found["full"] = model.generate(prompt, **options)[0, job["prompt"] :].tolist()
        drafted = model.generate(prompt, assistant_early_exit=job["drafts"], **options)
        found["drafted"] = drafted[0, job["prompt"] :].tolist()
    return found


with open(sys.argv[1], encoding="utf-8") as file:
    jobs = json.load(file)
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump({"version": transformers.__version__, "answers": [answer(job) for job in jobs]}, file)

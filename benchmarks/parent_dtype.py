"""How far the gradient of the KL term is off where the parent is held, and passed, in bfloat16.

    python -m benchmarks.parent_dtype [--json FILE]

The demo's base model is moved by a few steps of AdamW on other text; then the KL divergence from what it was is taken
on text that it wrote, with the parent in float32 and in bfloat16. The difference of both gradients is told as a share
of the gradient itself and of the cross-entropy's on the same text. Takes a minute, on one core.
"""

import copy
import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.report import Bar, arguments, report
from checkpoints.load import load_model
from daemon.demo.text import BASE_MODEL

MOVED = ((1e-5, 6), (1e-4, 6), (1e-3, 6))
"""Rates and steps."""
ROWS, WIDTH, PROMPT = 4, 64, 4


def moved(base: Any, text: Tensor, rate: float, steps: int) -> Any:
    """The base after some steps on a text."""
    model = copy.deepcopy(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        model(input_ids=text, labels=text).loss.backward()
        optimizer.step()
    return model


def gradient(model: Any, loss: Tensor) -> Tensor:
    """At all weights, end to end."""
    model.zero_grad()
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def divergence(model: Any, parent: Any, text: Tensor) -> Tensor:
    """KL(parent ‖ model), in the mean over places."""
    with torch.no_grad():
        log_p = torch.log_softmax(parent(text).logits.float(), -1)
    log_q = torch.log_softmax(model(text).logits.float(), -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def apart(model: Any, base: Any, short: Any, text: Tensor) -> dict[str, float]:
    """How far a model's gradients are apart with its parent in float32 and in bfloat16."""
    exact, rounded = (gradient(model, divergence(model, parent, text)) for parent in (base, short))
    entropy = functional.cross_entropy(model(text[:, :-1]).logits.flatten(0, 1), text[:, 1:].flatten())
    learned, off = gradient(model, entropy).norm(), (exact - rounded).norm()
    return {"of itself": float(off / exact.norm()), "of the cross-entropy's": float(off / learned)}


def main() -> int:
    """Measure, print, write."""
    chosen = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    base: Any = load_model(BASE_MODEL, "causal-lm", dtype=torch.float32)
    short: Any = load_model(BASE_MODEL, "causal-lm", dtype=torch.bfloat16)
    drawn, other = torch.randint(base.config.vocab_size, (2, ROWS, WIDTH)).unbind()
    text = base.generate(drawn[:, :PROMPT], max_new_tokens=WIDTH - PROMPT, do_sample=True, pad_token_id=0)
    found = {
        f"{steps} steps at {rate:g}": apart(moved(base, other, rate, steps), base, short, text) for rate, steps in MOVED
    }
    bars = [
        Bar(name=f"{name}: apart, as a share {of}", value=share)
        for name, shares in found.items()
        for of, share in shares.items()
    ]
    return report("Parent's dtype", bars, chosen.json, {"apart": found})


if __name__ == "__main__":
    sys.exit(main())

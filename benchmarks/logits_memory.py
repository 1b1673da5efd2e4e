"""What a step of training takes in memory where the vocabulary is large: logits a part at a time.

    python -m benchmarks.logits_memory [--json FILE]

The model is a Llama of width 64 and 4 layers with a vocabulary of 152,000; the batch 16 sequences of 512 tokens, ten of
which are replayed and distilled from a parent. Each arm is a process of its own, whose peak of resident memory is taken
above what it held before the step; figures are medians of five processes. What memory an allocator keeps free for later
is given back before, and grows with the step: peaks of equal steps differ by a tenth.

- body: forward and backward of the model without its head, its hidden states given a gradient.
- learner: the learner's pass, with the head, the loss and the divergence; the gradient of the head's weight, which the
  body's arm has not at its peak, is counted as well.
- learner, gradients there: the same where the weights' gradients have their arrays before the step.

And the same of a single sequence of 4,096 tokens on which importance is estimated, beside which lie the sums of squares
and gradients, each of the size of the model:

- long body: forward and backward of the model without its head.
- importance: the estimate.

Beside it, on two sequences of 128 tokens: losses and gradients against autograd's with all logits at once.
"""

import ctypes
import json
import statistics
import subprocess
import sys
from contextlib import suppress
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.report import Bar, arguments, report
from learner.devices.device import choose
from learner.devices.peaks import forget_peak, peak_bytes
from learner.objectives.forward_pass import MicroBatch
from learner.objectives.halves import Halves
from learner.objectives.importance import fisher
from learner.objectives.losses import CausalObjective
from learner.objectives.part_sizes import places_of_part
from learner.objectives.passes import CausalPass

VOCABULARY: Final = 152_000
WIDTH: Final = 64
ROWS: Final = 16
LENGTH: Final = 512
NEW: Final = 6
DEVICE: Final = choose("cpu", "float32")
WARM_UP: Final = 8
"""Tokens of a step before the one that is measured: what libraries load and allocate once is there then."""
PROCESSES: Final = 5

LONG: Final = 4096
"""Tokens of the sequence on which importance is estimated."""

BODY, LEARNER, GRADIENTS_THERE = STEPS = "body", "learner", "learner, gradients there"
LONG_BODY, IMPORTANCE = "long body", "importance"
ARMS: Final = (*STEPS, LONG_BODY, IMPORTANCE)


def model(seed: int) -> Any:
    """A small body below a large vocabulary."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=176,
            num_hidden_layers=4,
            num_attention_heads=4,
            tie_word_embeddings=True,
        )
    )


def batch(rows: int, length: int, new: int) -> MicroBatch:
    """Random tokens, each place of which is predicted."""
    ids = torch.randint(0, VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    places = torch.arange(rows * length)
    return MicroBatch(
        {"input_ids": ids[:, :-1].contiguous(), "use_cache": False},
        ids[:, 1:].contiguous(),
        first_replayed=new,
        widths=(length,) * rows,
        places=(places[: new * length], places[new * length :]),
    )


def learner_pass(trained: Any, parent: Any) -> CausalPass:
    """As the learner takes it."""
    return CausalPass(Halves(trained), Halves(parent.eval()), CausalObjective(1.0), DEVICE)


def body_pass(trained: Any, given: MicroBatch) -> None:
    """Forward and backward of the body alone."""
    hidden = trained.model(**given.inputs).last_hidden_state
    hidden.backward(torch.ones_like(hidden))


def estimate(trained: Any, given: MicroBatch) -> None:
    """Importance, of the first row alone."""
    inputs = {"input_ids": given.inputs["input_ids"][:1], "use_cache": False}
    fisher(trained, [inputs], generator=torch.Generator().manual_seed(0), halves=Halves(trained))


def peak_of(arm: str) -> int:
    """Bytes that one step takes at its highest, above what was held before."""
    trained, parent = model(0), model(1)
    passed = learner_pass(trained, parent)

    def step(given: MicroBatch) -> None:
        if arm in (BODY, LONG_BODY):
            body_pass(trained, given)
        elif arm == IMPORTANCE:
            estimate(trained, given)
        else:
            passed(given, given.targets.numel(), given.targets.numel())
        trained.zero_grad(set_to_none=arm != GRADIENTS_THERE)

    step(batch(2, WARM_UP, 1))
    measured = batch(ROWS, LENGTH, NEW) if arm in STEPS else batch(1, LONG, 1)
    give_back_what_is_free()
    forget_peak()
    before = peak_bytes()
    step(measured)
    return peak_bytes() - before


def give_back_what_is_free() -> None:
    """Let glibc give back what making the models left, which would hide as much of the step; nothing elsewhere."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def median_peak(arm: str) -> float:
    """The same, in processes of their own, one after another."""
    command = [sys.executable, "-m", "benchmarks.logits_memory", "--arm", arm]
    runs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(PROCESSES))
    return statistics.median(int(json.loads(run.stdout)) for run in runs)


def farthest_from_whole() -> float:
    """How far losses and gradients are off those of autograd, at most, as a share of the largest of each."""
    trained, parent, given = model(0), model(1), batch(2, 128, 1)
    terms = learner_pass(trained, parent)(given, given.targets.numel(), given.targets.numel())
    gradients = {name: weight.grad.clone() for name, weight in trained.named_parameters()}
    trained.zero_grad()
    logits, targets = trained(**given.inputs).logits.flatten(0, 1), given.targets.flatten()
    with torch.no_grad():
        told = parent(**given.inputs).logits.flatten(0, 1)
    new, replayed = given.places
    expected = torch.stack(
        [
            functional.cross_entropy(logits[new], targets[new], reduction="sum"),
            functional.cross_entropy(logits[replayed], targets[replayed], reduction="sum"),
            functional.kl_div(
                logits[replayed].log_softmax(-1), told[replayed].log_softmax(-1), log_target=True, reduction="sum"
            ),
        ]
    )
    (expected.sum() / targets.numel()).backward()
    of_terms = float(((terms - expected) / expected).abs().max())
    return max(of_terms, *(_apart(gradients[name], weight.grad) for name, weight in trained.named_parameters()))


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--arm", choices=ARMS, help="measure this one here, and print its bytes")
    chosen = options.parse_args()
    if chosen.arm:
        print(json.dumps(peak_of(chosen.arm)))
        return 0
    peaks = {arm: median_peak(arm) for arm in ARMS}
    part = 4 * VOCABULARY * places_of_part("cpu", vocabulary=VOCABULARY, width=WIDTH)
    own = peaks[BODY] + part
    # The sums, the head's gradient, and that of the embeddings, which is made by itself before it is added to it.
    weights = 3 * 4 * sum(weight.numel() for weight in model(0).parameters())
    bars = [
        Bar(name="peak of a step / the model's own and one part", value=peaks[LEARNER] / own, at_most=1.25),
        Bar(name="the same, gradients of weights apart", value=peaks[GRADIENTS_THERE] / own),
        Bar(name="losses and gradients, farthest off, in millionths", value=1e6 * farthest_from_whole(), at_most=1.0),
        Bar(name="all logits at once, GiB each array", value=4 * VOCABULARY * ROWS * LENGTH / 2**30),
        Bar(
            name="peak of importance / the model's own, three of its weights and one part",
            value=peaks[IMPORTANCE] / (peaks[LONG_BODY] + weights + part),
            at_most=1.25,
        ),
    ]
    return report(
        "Logits a part at a time", bars, chosen.json, {"vocabulary": VOCABULARY, "peaks": peaks, "part": part}
    )


if __name__ == "__main__":
    sys.exit(main())

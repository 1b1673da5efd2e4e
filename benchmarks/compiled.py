"""What compiling a model's layers (`learner.compile`) brings on this CPU, and what it takes.

    python -m benchmarks.compiled [--json FILE] [--only ARM …] [--steps 12]

Passes of packed text with random weights, half of it replayed, with KL to the parent, as the default recipe has it:

- 1M: the demo's model of 1.07M parameters, 24 × 128 tokens.
- 576 wide: three of the thirty layers of SmolLM2-135M, 2 × 512 tokens, with a vocabulary of 2,048, as the head is not
  compiled; also with activations that are computed again in the backward pass, and with an adapter (LoRA).

Each is a process of its own on one thread. There the same pass is taken in turn by the layers as they are and by the
compiled ones, forward and backward, so that whatever else the machine does meets both alike; the figure is the median
of each turn's ratio of processor time. Compiling is done by two such processes, the second of which finds the code that
the first has kept; its seconds are those of the processor too, the C++ compiler's among them, with the few passes by
which it is tried.

From so many tokens on a round gains more than compiling with kept code takes: "pays from".
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.make_demo_data import SEQUENCE, VOCABULARY, make_model
from benchmarks.report import Bar, arguments, report
from benchmarks.same_batches import DEVICE, feed, pack_documents, plan
from learner.devices.device import settle
from learner.objectives.losses import CausalObjective
from learner.objectives.passes import CausalPass, Standing, pass_of
from learner.training.compiling import compiled_pass
from learner.weights.adapter import AdapterShape, attach

REPLAYED: Final = 0.5
MOST_APART: Final = 10.0
"""Of losses, in millionths."""
CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"


LAYERS: Final = 3


def some_layers() -> LlamaForCausalLM:
    """SmolLM2-135M with three layers and a small vocabulary."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=LAYERS,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
    )


@dataclass(frozen=True, slots=True)
class Arm:
    """What is passed.

    Attributes:
        name: in tables.
        make: the model.
        rows: in a pass.
        length: tokens of each.
        adapted: whether an adapter is trained in place of all weights.
        checkpointing: whether activations are computed again.
    """

    name: str
    make: Callable[[], Any]
    rows: int
    length: int
    adapted: bool = False
    checkpointing: bool = False


ARMS: Final = {
    arm.name: arm
    for arm in (
        Arm("1M", make_model, 24, SEQUENCE),
        Arm("576 wide", some_layers, 2, 512),
        Arm("576 wide, checkpointing", some_layers, 2, 512, checkpointing=True),
        Arm("576 wide, LoRA", some_layers, 2, 512, adapted=True),
    )
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What an arm's process measured.

    Attributes:
        compile_seconds: of the processor.
        plain: seconds of the processor of each turn, the layers as they are.
        compiled: the same, compiled.
        apart: of their losses, over the largest.
    """

    compile_seconds: float
    plain: Sequence[float]
    compiled: Sequence[float]
    apart: float

    @property
    def faster(self) -> float:
        """Tokens a second, compiled ÷ as they are."""
        return statistics.median(plain / compiled for plain, compiled in zip(self.plain, self.compiled, strict=True))


def pass_of_arm(arm: Arm) -> tuple[CausalPass, Any]:
    """How an arm's batches are passed, and the model."""
    model = arm.make().train()
    parent: Any = model
    standing: Standing = nullcontext
    if arm.adapted:
        standing = attach(model, AdapterShape("lora", 10, 20, ("mlp",)), seed=1, heads=False).off
    else:
        parent = arm.make().eval().requires_grad_(requires_grad=False)
    if arm.checkpointing:
        model.activation_checkpointing_enable()
    made = pass_of(model, parent, CausalObjective(1.0), DEVICE, standing=standing)
    assert isinstance(made, CausalPass)
    return made, model


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def measure(arm: Arm, steps: int) -> Figures:
    """Compile an arm's layers and pass its batches, in this process."""
    settle(DEVICE, seed=0, threads=1)
    own, model = pass_of_arm(arm)
    rows = pack_documents((steps + 1) * arm.rows, arm.length, VOCABULARY)
    first, *batches = (next(feed(rows, arm.rows).micro_batches(step)) for step in plan(steps + 1, arm.rows, REPLAYED))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    began = processor_seconds()
    compiled = compiled_pass(own, [first], weights, DEVICE)
    took = processor_seconds() - began

    def passed(by: CausalPass, batch: Any) -> tuple[float, torch.Tensor]:
        started = processor_seconds()
        terms = by(batch, 1, 1)
        seconds = processor_seconds() - started
        for weight in weights:
            weight.grad = None
        return seconds, terms

    plain_seconds, compiled_seconds, apart = list[float](), list[float](), 0.0
    for turn, batch in enumerate(batches):
        ways: list[tuple[list[float], CausalPass]] = [(plain_seconds, own), (compiled_seconds, compiled)]
        losses = []
        # Whoever comes right after the other finds its caches.
        for seconds, by in ways if turn % 2 else reversed(ways):
            figure, terms = passed(by, batch)
            seconds.append(figure)
            losses.append(terms)
        apart = max(apart, float((losses[0] - losses[1]).abs().max() / losses[0].abs().max()))
    return Figures(took, plain_seconds, compiled_seconds, apart)


def measured_apart(arm: Arm, steps: int, folder: str) -> Figures:
    """The same in a process of its own, whose code is kept in a folder."""
    command = [sys.executable, "-m", "benchmarks.compiled", "--arm", arm.name, "--steps", str(steps)]
    ended = subprocess.run(command, env={**os.environ, CACHE: folder}, stdout=subprocess.PIPE, text=True, check=True)
    return Figures(**json.loads(ended.stdout.splitlines()[-1]))


@dataclass(frozen=True, slots=True)
class Result:
    """What compiling an arm brings and takes.

    Attributes:
        cold: seconds of compiling with nothing kept.
        figures: of the process that found it kept.
    """

    arm: Arm
    cold: float
    figures: Figures

    @property
    def saved_per_token(self) -> float:
        """Seconds of the processor; below 0 where it takes longer."""
        tokens = self.arm.rows * self.arm.length
        return (statistics.median(self.figures.plain) - statistics.median(self.figures.compiled)) / tokens

    @property
    def pays_from(self) -> float:
        """Tokens of a round from which on it gains, with kept code; infinite where it never does."""
        return self.figures.compile_seconds / self.saved_per_token if self.saved_per_token > 0 else float("inf")

    def bars(self) -> list[Bar]:
        """Its figures."""
        name = self.arm.name
        return [
            Bar(name=f"{name}: tokens/s compiled / as it is", value=self.figures.faster),
            Bar(
                name=f"{name}: losses, farthest off, in millionths", value=self.figures.apart * 1e6, at_most=MOST_APART
            ),
            Bar(name=f"{name}: seconds of compiling, cold", value=self.cold),
            Bar(name=f"{name}: seconds of compiling, kept", value=self.figures.compile_seconds),
            Bar(name=f"{name}: pays from, thousand tokens", value=self.pays_from / 1000),
        ]


def result_of(arm: Arm, steps: int) -> Result:
    """Measure an arm in two processes, one after another."""
    with tempfile.TemporaryDirectory() as folder:
        cold = measured_apart(arm, 1, folder).compile_seconds
        return Result(arm, cold, measured_apart(arm, steps, folder))


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=list(ARMS), nargs="+", default=list(ARMS), help="these alone")
    parser.add_argument("--steps", type=int, default=12, help="turns that are measured")
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.arm:
        print(json.dumps(asdict(measure(ARMS[chosen.arm], chosen.steps))))
        return 0
    results = [result_of(ARMS[name], chosen.steps) for name in chosen.only]
    details = {each.arm.name: {"cold": each.cold, **asdict(each.figures)} for each in results}
    return report("Compiled layers", [bar for each in results for bar in each.bars()], chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())

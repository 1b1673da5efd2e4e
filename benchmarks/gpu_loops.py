"""What the learner is held against on a GPU: a plain PyTorch loop, and TRL's `SFTTrainer`.

    python -m benchmarks.gpu_loops '{"how": "plain", …}'

prints one JSON object: tokens a second after the first steps, and bytes of memory at the highest.
"""

import importlib.util
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import torch
from torch.nn import functional
from transformers import TrainerCallback

from benchmarks.gpu_models import Shape, build, make_tokenizer
from learner.devices.device import choose

WARM_UP: Final = 2
RATE: Final = 1e-5


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """What a loop trains.

    Attributes:
        how: `plain`, or `trl`.
        shape: of the model.
        rows: sequences in an optimizer step.
        rows_of_pass: in a forward pass.
        length: tokens of each.
        steps: that are measured.
        device: `cuda` or `cpu`.
    """

    how: Literal["plain", "trl"]
    shape: Shape
    rows: int
    rows_of_pass: int
    length: int
    steps: int
    device: str

    @property
    def passes(self) -> int:
        """Forward passes of a step."""
        return -(-self.rows // self.rows_of_pass)

    @property
    def tokens(self) -> int:
        """Tokens of a step."""
        return self.passes * self.rows_of_pass * self.length

    def encode(self) -> str:
        """As an argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> "LoopSpec":
        """Read what `encode` wrote."""
        facts = json.loads(text)
        return cls(**{**facts, "shape": Shape(**facts["shape"])})


@dataclass(frozen=True, slots=True)
class LoopFigures:
    """What a loop came to."""

    tokens_per_second: float
    peak_bytes: int


def has_trl() -> bool:
    """Whether TRL is there."""
    return importlib.util.find_spec("trl") is not None


class Watch:
    """Seconds of the steps after the first ones."""

    def __init__(self, spec: LoopSpec) -> None:
        self._spec, self._steps, self._began = spec, 0, 0.0
        self._device = choose(spec.device, "auto")
        self.seconds = 0.0

    def step(self) -> None:
        """Note that one has ended."""
        self._steps += 1
        if self._steps not in (WARM_UP, WARM_UP + self._spec.steps):
            return
        if self._spec.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds, self._began = now - self._began, now

    def figures(self) -> LoopFigures:
        """What they came to."""
        return LoopFigures(self._spec.steps * self._spec.tokens / self.seconds, self._device.memory_bytes())


def run_plain(spec: LoopSpec) -> LoopFigures:
    """Forward, cross-entropy, backward, clip, AdamW; nothing is packed, and all logits lie in memory at once."""
    model = build(spec.shape, spec.device).float().train()
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=RATE, fused=True)
    device, watch = choose(spec.device, "auto"), Watch(spec)
    for batches in _batches(spec):
        for ids in batches:
            with device.autocast():
                logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            loss = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
            (loss / spec.passes).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        watch.step()
    return watch.figures()


def _batches(spec: LoopSpec) -> Iterator[list[torch.Tensor]]:
    """The passes of each step, on the device, with a token more to predict."""
    shape = (spec.passes, spec.rows_of_pass, spec.length + 1)
    for _ in range(WARM_UP + spec.steps):
        yield list(torch.randint(spec.shape.vocabulary, shape, device=spec.device))


class EachStep(TrainerCallback):
    """Tells the watch of a trainer's steps."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """One has ended."""
        self._watch.step()


def run_trl(spec: LoopSpec, scratch: str) -> LoopFigures:
    """TRL's trainer, which packs by itself."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    watch, on_gpu = Watch(spec), spec.device == "cuda"
    steps = WARM_UP + spec.steps
    tokens = torch.randint(spec.shape.vocabulary, (steps * spec.passes * spec.rows_of_pass, spec.length))
    arguments = SFTConfig(
        output_dir=scratch,
        max_steps=steps,
        per_device_train_batch_size=spec.rows_of_pass,
        gradient_accumulation_steps=spec.passes,
        learning_rate=RATE,
        optim="adamw_torch_fused",
        bf16=on_gpu,
        use_cpu=not on_gpu,
        activation_checkpointing=False,
        packing=True,
        packing_strategy="wrapped",
        max_length=spec.length,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    SFTTrainer(
        model=build(spec.shape, spec.device).float(),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": tokens.tolist()}),
        processing_class=make_tokenizer(spec.shape),
        callbacks=[EachStep(watch)],
    ).train()
    return watch.figures()


def main() -> None:
    """Run one, and print what it came to."""
    spec = LoopSpec.decode(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(io.StringIO()):
        figures = run_plain(spec) if spec.how == "plain" else run_trl(spec, scratch)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()

"""What regularization costs a training step, and what the learner costs over a bare PyTorch loop.

    python -m benchmarks.step [--json FILE] [--rounds 40] [--large-rounds 3] [--only 1M | 135M]

The first model is a Llama of 1.07M parameters (vocabulary 2,048, width 128, 4 layers), the batch 24 packed sequences
of 128 tokens in one pass. All arms take their steps in turn, on the same batches in the same order, so that whatever
else the machine does meets all alike. Seconds are the processor's, of one thread, as those of a clock tell of other
work too; figures are medians of each turn's ratio.

- plain: the learner's step without replay, KL or penalty.
- penalties: the same with L2-SP and EWC.
- half replayed: the same batch with 60 % of its tokens taken from replay, without KL: what distillation is compared to.
- distilled: the same with KL to the parent on the replayed tokens.
- bare: forward, cross-entropy, backward, clip, AdamW, and nothing else, on tensors made beforehand.
- learner: the learner's whole loop (feeding, schedule, progress) on the same batches as bare.
- Trainer: transformers' `Trainer`, on the same batches as bare.

The second has the shape of SmolLM2-135M, and other arms: see `benchmarks.large_step`. With `--only` that one's figures
alone are measured; what FILE tells of the other stays there. Both take some twenty minutes on one core.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from transformers import TrainerCallback, TrainingArguments

from benchmarks import large_step
from benchmarks.make_demo_data import SEQUENCE, VOCABULARY, make_model
from benchmarks.report import Bar, arguments, report
from benchmarks.same_batches import DEVICE, InOrder, feed, pack_documents, plan, rows_for_trainer
from learner.devices.device import settle
from learner.material.batches import Rows, Step
from learner.objectives.losses import CausalObjective
from learner.objectives.weight_pull import QuadraticPull
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.training.train import Trainer, train

ROWS = 24
REPLAYED = 0.6
WARM_UP = 3
RATE = 1e-3
SMALL, LARGE = "1M", "135M"


def model() -> Any:
    """The demo's architecture, with random weights."""
    llama = make_model()
    # A cache is kept for nobody in training, and costs memory and time.
    llama.config.use_cache = False
    return llama.train()


def recipe(**changes: Any) -> RecipeSettings:
    """A recipe that changes nothing but what is named."""
    return RecipeSettings(batch_sequences=ROWS, micro_batch=ROWS, **{"kl": 0.0, **changes})


class Arm:
    """One of the learner's ways to take a step."""

    def __init__(self, rows: Rows, *, kl: float = 0.0, penalties: bool = False) -> None:
        trained, chosen = model(), recipe(kl=kl)
        weights = dict(trained.named_parameters())
        pull = None
        if penalties:
            # Any values cost the same; these have the mean of 1 that real ones are normalised to.
            importance = {name: torch.rand_like(weight) * 2 for name, weight in weights.items()}
            pull = QuadraticPull(weights, l2_sp=0.01, ewc=0.1, importance=importance)
        self.trainer = Trainer(
            trained,
            model().eval().requires_grad_(requires_grad=False) if kl else None,
            feed=feed(rows, ROWS),
            objective=CausalObjective(kl),
            pull=pull,
            recipe=chosen,
            peak_rate=RATE,
            device=DEVICE,
        )

    def __call__(self, step: Step) -> None:
        """Take one step."""
        self.trainer.step(step, 1.0)


class WholeLearner(Arm):
    """The loop around the step as well, with everything that it says."""

    def __init__(self, rows: Rows, progress: Progress) -> None:
        super().__init__(rows)
        self._progress = progress

    def __call__(self, step: Step) -> None:
        """Train a round of one step."""
        train(self.trainer, [step], recipe(), progress=self._progress)


class Bare:
    """The loop that anyone would write first, on tensors made beforehand."""

    def __init__(self, rows: Rows, steps: list[Step]) -> None:
        self._model = model()
        self._weights = list(self._model.parameters())
        self._optimizer = torch.optim.AdamW(self._weights, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        # Made beforehand, so that the learner is held against a loop that pays nothing for feeding.
        self._batches = {id(step): next(feed(rows, ROWS).micro_batches(step)) for step in steps}

    def __call__(self, step: Step) -> None:
        """Forward, cross-entropy, backward, clip, update."""
        batch = self._batches[id(step)]
        logits = self._model(**batch.inputs).logits
        functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100).backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0, foreach=True)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


class Turns(TrainerCallback):
    """After each of `Trainer`'s steps, lets every other arm take the same step, and times all."""

    def __init__(self, arms: dict[str, Callable[[Step], None]], steps: Iterator[dict[str, Step]]) -> None:
        self.seconds: dict[str, list[float]] = {name: [] for name in (*arms, "Trainer")}
        self._arms, self._steps = arms, steps
        self._resumed = time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Take everyone's turn; the first of them differs from turn to turn."""
        self.seconds["Trainer"].append(time.process_time() - self._resumed)
        step = next(self._steps)
        names = list(self._arms)
        # Whoever comes right after another finds its caches: each gets every place.
        turn = len(self.seconds["Trainer"]) % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.process_time()
            self._arms[name](step["replayed" if name in ("half replayed", "distilled") else "new"])
            self.seconds[name].append(time.process_time() - began)
        self._resumed = time.process_time()


def measure(rounds: int, scratch: Path) -> dict[str, list[float]]:
    """Seconds of each arm's steps, turn by turn."""
    total = rounds + WARM_UP
    rows = pack_documents(total * ROWS, SEQUENCE, VOCABULARY)
    new, replayed = plan(total, ROWS), plan(total, ROWS, REPLAYED)
    with Progress(scratch / "progress.jsonl") as progress:
        arms: dict[str, Callable[[Step], None]] = {
            "plain": Arm(rows),
            "penalties": Arm(rows, penalties=True),
            "half replayed": Arm(rows),
            "distilled": Arm(rows, kl=1.0),
            "bare": Bare(rows, new),
            "learner": WholeLearner(rows, progress),
        }
        turns = Turns(arms, ({"new": a, "replayed": b} for a, b in zip(new, replayed, strict=True)))
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=total,
            per_device_train_batch_size=ROWS,
            learning_rate=RATE,
            optim="adamw_torch_fused",
            adam_beta2=0.95,
            max_grad_norm=1.0,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
        )
        data: Any = rows_for_trainer(rows, new, ROWS)
        # `Trainer` prints its summary whatever it is told of logging.
        with redirect_stdout(io.StringIO()):
            InOrder(model=model(), args=arguments, train_dataset=data, callbacks=[turns]).train()
    # The first steps allocate and choose kernels.
    return {name: seconds[WARM_UP:] for name, seconds in turns.seconds.items()}


def ratio(seconds: dict[str, list[float]], of: str, to: str) -> float:
    """Median over turns of one arm's time to another's."""
    return statistics.median(a / b for a, b in zip(seconds[of], seconds[to], strict=True))


def show(seconds: dict[str, list[float]]) -> None:
    """Print each arm's median step and rate."""
    table = Table(title=f"One step of {ROWS} × {SEQUENCE} tokens, {torch.get_num_threads()} threads, {DEVICE.name}")
    for column in ("arm", "median ms", "tokens/s"):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for name, values in seconds.items():
        median = statistics.median(values)
        table.add_row(name, f"{median * 1000:.1f}", f"{ROWS * SEQUENCE / median:,.0f}")
    Console().print(table)


def measure_small(rounds: int) -> tuple[list[Bar], dict[str, Any]]:
    """The bars of the model of a million parameters, and details."""
    settle(DEVICE, seed=0, threads=1)
    with tempfile.TemporaryDirectory() as scratch:
        seconds = measure(rounds, Path(scratch))
    show(seconds)
    bars = [
        Bar(name="step with penalties / plain step", value=ratio(seconds, "penalties", "plain"), at_most=1.05),
        Bar(name="distilled step / same without KL", value=ratio(seconds, "distilled", "half replayed"), at_most=1.4),
        Bar(name="learner's tokens/s / bare loop's", value=ratio(seconds, "bare", "learner"), at_least=0.95),
        Bar(name="learner's tokens/s / Trainer's", value=ratio(seconds, "Trainer", "learner"), at_least=1.0),
    ]
    return bars, {"seconds": {name: statistics.median(values) for name, values in seconds.items()}}


def measure_large(rounds: int) -> tuple[list[Bar], dict[str, Any]]:
    """The bars of the model of 135 million, and details."""
    say = Console(stderr=True).print
    if not large_step.has_trl():
        say(large_step.NO_TRL)
    arms = large_step.measure(rounds, say)
    return large_step.bars(arms), {LARGE: large_step.details(arms)}


def earlier(file: Path | None) -> tuple[list[Bar], dict[str, Any]]:
    """What the file holds already."""
    if file is None or not file.exists():
        return [], {}
    contents = json.loads(file.read_text(encoding="utf-8"))
    return [Bar(**facts) for facts in contents["bars"]], contents["details"]


def main() -> int:
    """Measure, print, and return the exit status."""
    options = arguments(__doc__)
    options.add_argument("--rounds", type=int, default=40, help="turns of the small model that are measured")
    options.add_argument("--large-rounds", type=int, default=3, help="turns of the large one")
    options.add_argument("--only", choices=(SMALL, LARGE), help="measure this model alone")
    chosen = options.parse_args()
    known, known_details = earlier(chosen.json if chosen.only else None)
    small = [bar for bar in known if not bar.name.startswith(LARGE)], known_details
    large = [bar for bar in known if bar.name.startswith(LARGE)], known_details
    # The large one first: its processes are not to lie in memory beside what the small one leaves in this.
    if chosen.only != SMALL:
        large = measure_large(chosen.large_rounds)
    if chosen.only != LARGE:
        small = measure_small(chosen.rounds)
    return report("Step", small[0] + large[0], chosen.json, known_details | small[1] | large[1])


if __name__ == "__main__":
    sys.exit(main())

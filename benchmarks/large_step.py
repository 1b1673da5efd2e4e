"""A step at the shape of SmolLM2-135M: the learner beside transformers' `Trainer` and TRL's `SFTTrainer`.

Run by `benchmarks.step`. Random weights, a vocabulary of 49,152; steps of 8 packed sequences of 512 tokens. All arms
save memory, as a step of this size would take more than such a machine has otherwise: both trainers and LoRA compute
activations again in the backward pass, and the learner takes one sequence at a time, as it does by itself on a CPU.
Each arm is a process of its own with one thread, so that memory is its own. Those of a group take the same step at the
same time, on the same text, and wait for each other before the next: what else the machine does meets all alike.
Seconds are the processor's, of which nothing here waits for anything else. Peaks of resident memory are of the steps
that are measured: the optimizer's moments are there by then.

- learner: the learner's whole loop, without replay or KL.
- Trainer: transformers' `Trainer`, on the same batches.
- SFTTrainer: TRL's, where it is installed, which packs the same documents by itself ("wrapped": rows of full length, in
  which one document sees the next, which is its fastest way without flash attention).
- LoRA: the learner with its default adapter, 60 % of the tokens from replay, without KL.
- LoRA with KL: the same with KL to the parent on the replayed tokens.
"""

import argparse
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, TrainerCallback, TrainingArguments

from benchmarks.report import Bar
from benchmarks.same_batches import DEVICE, InOrder, documents_of, feed, pack_documents, plan, rows_for_trainer
from daemon.demo.text import BASE_MODEL
from learner.devices.device import settle
from learner.devices.large_blocks import keep_large_blocks_apart
from learner.devices.peaks import forget_peak, peak_bytes
from learner.material.batches import Rows
from learner.objectives.losses import CausalObjective
from learner.progress import Progress
from learner.settings import RecipeSettings
from learner.training.train import Trainer, train
from learner.weights.adapter import AdapterShape, attach

VOCABULARY: Final = 49_152
ROWS: Final = 8
LENGTH: Final = 512
REPLAYED: Final = 0.6
RATE: Final = 1e-4
WARM_UP: Final = 1
LEARNER, TRAINER, TRL, LORA, LORA_WITH_KL = ARMS = "learner", "Trainer", "SFTTrainer", "LoRA", "LoRA with KL"
TOGETHER: Final = ((LEARNER, TRAINER, TRL), (LORA, LORA_WITH_KL))
"""Arms that take their turns, and lie in memory, at the same time."""
NO_TRL: Final = "TRL is not installed (pip install '.[benchmarks]'): nothing is said of its SFTTrainer"


def has_trl() -> bool:
    """Whether TRL is there."""
    return importlib.util.find_spec("trl") is not None


def model() -> Any:
    """SmolLM2-135M with random weights."""
    torch.manual_seed(0)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )
    return made.train()


class Turns:
    """The turns of an arm, in its own process: each begins with a line of standard input, and ends with one of output.

    A line of output is a JSON object: the processor's `seconds` of the turn, and `peak`, bytes of resident memory at
    the highest since the turns before the measured ones.
    """

    def __init__(self) -> None:
        # Whatever a trainer prints, an answer is what is written here.
        self._answers = sys.stdout
        self._taken, self._began = 0, 0.0

    def wait(self) -> None:
        """Wait for the next one."""
        if self._taken == WARM_UP:
            forget_peak()
        sys.stdin.readline()
        self._began = time.process_time()

    def end(self) -> None:
        """Say what it took."""
        seconds = time.process_time() - self._began
        self._taken += 1
        self._answers.write(json.dumps({"seconds": seconds, "peak": peak_bytes()}) + "\n")
        self._answers.flush()


def run_learner(name: str, rows: Rows, count: int, turns: Turns, scratch: Path) -> None:
    """Take the turns of one of the learner's arms."""
    adapted, kl = name in (LORA, LORA_WITH_KL), float(name == LORA_WITH_KL)
    at_once = ROWS if adapted else 1
    recipe = RecipeSettings(batch_sequences=ROWS, micro_batch=at_once, kl=kl, adapter="lora" if adapted else None)
    trained = model()
    adapter = None
    if adapted:
        shape = AdapterShape("lora", recipe.adapter_rank, recipe.adapter_alpha, recipe.adapter_modules)
        adapter = attach(trained, shape, seed=1, heads=False)
        trained.activation_checkpointing_enable()
    trainer = Trainer(
        trained,
        trained if kl else None,
        feed=feed(rows, at_once),
        objective=CausalObjective(kl),
        pull=None,
        recipe=recipe,
        peak_rate=RATE,
        device=DEVICE,
        standing=nullcontext if adapter is None else adapter.off,
    )
    with Progress(scratch / "progress.jsonl") as progress:
        for step in plan(count, ROWS, REPLAYED if adapted else 0.0):
            turns.wait()
            train(trainer, [step], recipe, progress=progress)
            turns.end()


class EachTurn(TrainerCallback):
    """Lets a trainer take one step a turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Wait for the first."""
        self._turns.wait()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - its caller's
        """End one and wait for the next."""
        self._turns.end()
        if state.global_step < state.max_steps:
            self._turns.wait()


def run_trainer(rows: Rows, count: int, turns: Turns, scratch: Path) -> None:
    """Take the turns of transformers' `Trainer`."""
    arguments = TrainingArguments(**_arguments(count, scratch))
    data: Any = rows_for_trainer(rows, plan(count, ROWS), ROWS)
    InOrder(model=model(), args=arguments, train_dataset=data, callbacks=[EachTurn(turns)]).train()


def run_trl(rows: Rows, count: int, turns: Turns, scratch: Path) -> None:
    """Take the turns of TRL's `SFTTrainer`."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        **_arguments(count, scratch),
        packing=True,
        packing_strategy="wrapped",
        max_length=LENGTH,
        shuffle_dataset=False,
    )
    trainer = SFTTrainer(
        model=model(),
        args=arguments,
        train_dataset=Dataset.from_dict({"input_ids": documents_of(rows, plan(count + 1, ROWS))}),
        processing_class=AutoTokenizer.from_pretrained(BASE_MODEL),
        callbacks=[EachTurn(turns)],
    )
    trainer.train()


def _arguments(count: int, scratch: Path) -> dict[str, Any]:
    """What both trainers are told: the learner's optimizer, and nothing of files and logs."""
    return {
        "output_dir": str(scratch),
        "max_steps": count,
        "per_device_train_batch_size": ROWS,
        "learning_rate": RATE,
        "optim": "adamw_torch_fused",
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
        "bf16": False,
        "activation_checkpointing": True,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
    }


def take_turns(name: str, count: int) -> None:
    """Be one arm, in this process."""
    turns = Turns()
    if name in (LORA, LORA_WITH_KL):
        keep_large_blocks_apart()
    settle(DEVICE, seed=0, threads=1)
    rows = pack_documents((count + 1) * ROWS, LENGTH, VOCABULARY)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        scratch = Path(folder)
        if name == TRAINER:
            run_trainer(rows, count, turns, scratch)
        elif name == TRL:
            run_trl(rows, count, turns, scratch)
        else:
            run_learner(name, rows, count, turns, scratch)


@dataclass(slots=True)
class Arm:
    """An arm's process, and what it took: seconds of each measured turn, and bytes of memory at the highest."""

    name: str
    process: "subprocess.Popen[str]"
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    def begin(self) -> None:
        """Let it take its next turn."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self, *, measured: bool) -> None:
        """Wait until it has taken it.

        Raises:
            SystemExit: it ended.
        """
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended by itself: its words stand above")
        took = json.loads(answer)
        if measured:
            self.seconds.append(took["seconds"])
            self.peak = took["peak"]


@contextmanager
def arm_of(name: str, count: int) -> Iterator[Arm]:
    """An arm, which ends with its last turn."""
    command = [sys.executable, "-m", "benchmarks.large_step", name, str(count)]
    environment = dict(os.environ)
    if name in (LORA, LORA_WITH_KL):
        # PyTorch reads its variable when the first tensor is made, for which the modules imported here do not wait.
        keep_large_blocks_apart(environment)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Arm(name, process)
        except BaseException:
            process.kill()
            raise


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, Arm]:
    """Let all arms take their turns, those of a group at the same time; what each took, by name."""
    arms: dict[str, Arm] = {}
    for group in TOGETHER:
        names = [name for name in group if name != TRL or has_trl()]
        with ExitStack() as stack:
            group_arms = {name: stack.enter_context(arm_of(name, WARM_UP + rounds)) for name in names}
            for turn in range(WARM_UP + rounds):
                for arm in group_arms.values():
                    arm.begin()
                for arm in group_arms.values():
                    arm.end(measured=turn >= WARM_UP)
                say(f"{', '.join(names)}: turn {turn + 1} of {WARM_UP + rounds}")
        arms |= group_arms
    return arms


def ratio(arms: Mapping[str, Arm], of: str, to: str) -> float:
    """Median over turns of one arm's time to another's."""
    return statistics.median(a / b for a, b in zip(arms[of].seconds, arms[to].seconds, strict=True))


def bars(arms: Mapping[str, Arm]) -> list[Bar]:
    """What must be reached; nothing of TRL where it is not installed."""
    others = [name for name in (TRAINER, TRL) if name in arms]
    faster = [
        Bar(name=f"135M: learner's tokens/s / {name}'s", value=ratio(arms, name, LEARNER), at_least=1.0)
        for name in others
    ]
    smaller = [
        Bar(name=f"135M: learner's memory / {name}'s", value=arms[LEARNER].peak / arms[name].peak, at_most=0.6)
        for name in others
    ]
    distilled = Bar(name="135M: LoRA with KL / LoRA", value=ratio(arms, LORA_WITH_KL, LORA), at_most=1.3)
    return [*faster, *smaller, distilled]


def details(arms: Mapping[str, Arm]) -> dict[str, Any]:
    """Medians and peaks of each arm, and what was not there to be measured."""
    return {
        "tokens": ROWS * LENGTH,
        "vocabulary": VOCABULARY,
        "seconds": {name: statistics.median(arm.seconds) for name, arm in arms.items()},
        "peak_gib": {name: arm.peak / 2**30 for name, arm in arms.items()},
        "missing": [] if has_trl() else [NO_TRL],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Be one arm."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=ARMS)
    parser.add_argument("count", type=int)
    chosen = parser.parse_args(arguments)
    take_turns(chosen.name, chosen.count)


if __name__ == "__main__":
    main()

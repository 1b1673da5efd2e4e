"""What a round through an adapter gains and forgets beside one of all weights, and on which architectures it is sound.

    python -m benchmarks.adapters [--json FILE]

The demo's model and its last era, one round each of all weights and of LoRA as it is by default, at ten times their
rate; scored on held-out text of that era and of the time before the stream (what they took is in FILE). Then every
architecture of transformers as a small random model: with the adapter left out it must be what it was, and merged what
it was with the adapter. Takes five minutes on two cores.
"""

import copy
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.architectures import everything
from benchmarks.report import Bar, arguments, report
from benchmarks.tiny_architectures import CannotShrink, tiny_model
from checkpoints.card import Card, ModelKind
from checkpoints.generation_store import GenerationStore, Published
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM, eras
from gate.measures import mean_nll
from learner.directory.report import Report
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.job import run_round
from learner.settings import ADAPTER_RATE_FACTOR, RecipeSettings
from learner.weights.adapted_modules import NoSuchModules
from learner.weights.adapter import AdapterShape, attach

RATE: Final = 1e-3
CHARACTERS: Final = 120_000
REPLAYED, HELD_OUT = 600, 60
CANNOT_RUN: Final = (IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What small models raise that take more than token ids, adapter or not."""


@dataclass(frozen=True, slots=True)
class Came:
    """What a round came to: nats per token gained on its era and forgotten of before, and seconds of training."""

    gained: float
    forgotten: float
    seconds: float


def rounds(home: Path) -> dict[str, Came]:
    """One of all weights, one with an adapter, from the same text."""
    base = GenerationStore(home / "checkpoints").publish(BASE_MODEL, 0, Card(generation=0, kind="causal-lm"))
    whole = RecipeSettings(
        learning_rate=RATE,
        sequence_length=128,
        batch_sequences=30,
        micro_batch=15,
        early_stop_checks=0,
        interpolation=(0.0,),
    )
    adapter = whole.model_copy(update={"adapter": "lora", "learning_rate": RATE * ADAPTER_RATE_FACTOR})
    return {name: _came(home / name, base, recipe) for name, recipe in (("all", whole), ("lora", adapter))}


def _came(path: Path, base: Published, recipe: RecipeSettings) -> Came:
    new = [paragraph.text for paragraph in eras(CHARACTERS)[-1].paragraphs]
    with gzip.open(BEFORE_STREAM, "rt", encoding="utf-8") as lines:
        old = [str(json.loads(line)["text"]) for line in lines]
    ref = GenerationRef(0, base.digest)
    spec = RoundSpec(
        round=1,
        kind="causal-lm",
        seed=7,
        parent=ref,
        base=ref,
        recipe=recipe,
        device="cpu",
        threads=1,
        plausibility_documents=16,
    )
    write_round(
        path,
        spec,
        parent_dir=base.path,
        base_dir=base.path,
        fresh=_samples(new[:-HELD_OUT], 1),
        replay=_samples(old[:REPLAYED], 10_000),
        early_stop=[],
        slices=[
            RoundSlice("anchor", "anchor", "era", tuple(_samples(old[-HELD_OUT:], 20_000))),
            RoundSlice("new", "newest", "era", tuple(_samples(new[-HELD_OUT:], 30_000))),
        ],
    )
    made = run_round(path, sys.stderr)
    assert made.training is not None
    return Came(-_moved(made, "new"), _moved(made, "anchor"), made.training.seconds)


def _samples(texts: list[str], first: int) -> list[RoundSample]:
    return [RoundSample(first + at, text, "era") for at, text in enumerate(texts)]


def _moved(made: Report, name: str) -> float:
    scores = made.slices[name]
    return mean_nll(scores.candidates["0.00"]) - mean_nll(scores.parent)


@dataclass(frozen=True, slots=True)
class Tried:
    """One architecture with an adapter.

    Attributes:
        wrong: what does not hold; empty where all does.
        none: what it has nothing of that could be changed; empty where it has.
    """

    name: str
    kind: ModelKind
    wrong: str = ""
    none: str = ""


def architectures() -> Iterator[Tried]:
    """Each one that can be made small, reads token ids alone and says the same to them again."""
    for name, kind, own in everything():
        try:
            model = tiny_model(name, kind, own=own)
            before = copy.deepcopy(model)
            repeats = torch.equal(logits_of(before), logits_of(before))
        except (CannotShrink, *CANNOT_RUN):
            continue
        # Reformer draws its hashes anew each time: nothing can be told of it.
        if not repeats:
            continue
        for part in ("mlp", "attention"):
            try:
                wrong = try_adapter(copy.deepcopy(model), before, kind, part)
            except NoSuchModules:
                yield Tried(name, kind, none=f"no {part}")
            else:
                yield Tried(name, kind, wrong=wrong)


def try_adapter(model: Any, before: Any, kind: ModelKind, part: str) -> str:
    """What of a model with an adapter that has learned something does not hold; empty where all does."""
    adapter = attach(model, AdapterShape("lora", 2, 4, (part,)), seed=1, heads=kind == "classifier")
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.1, generator=generator)
    trained, parents = logits_of(model), logits_of(before)
    with adapter.off():
        if not torch.equal(logits_of(model), parents):
            return f"{part}: without the adapter it is not its parent"
    adapter.merge()
    apart = (logits_of(model) - trained).abs().max()
    return "" if apart <= 1e-3 * max(1.0, float(trained.abs().max())) else f"{part}: merged it is off by {apart:g}"


@torch.no_grad()
def logits_of(model: Any) -> torch.Tensor:
    """What a model says to twenty tokens."""
    logits: torch.Tensor = model(input_ids=torch.arange(10, 30)[None]).logits
    return logits.float().nan_to_num()


def main() -> int:
    """Run both parts, print and write the table, leave with 1 where a bar is missed."""
    chosen = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        came = rounds(Path(folder))
    # As the rounds leave torch it would refuse what some architectures do.
    torch.use_deterministic_algorithms(mode=False)
    tried = list(architectures())
    wrong = [f"{each.name} ({each.kind}), {each.wrong}" for each in tried if each.wrong]
    whole, lora = came["all"], came["lora"]
    bars = [
        Bar(name="gained through an adapter / with all weights", value=lora.gained / whole.gained, at_least=0.7),
        Bar(name="forgotten through an adapter / with all weights", value=lora.forgotten / whole.forgotten, at_most=1),
        Bar(name="architectures whose adapter is not what is merged", value=len(wrong), at_most=0),
        Bar(
            name="architectures with an adapter", value=len({(each.name, each.kind) for each in tried if not each.none})
        ),
    ]
    details = {"rounds": {name: asdict(each) for name, each in came.items()}, "rate": RATE, "wrong": wrong}
    none = sorted({f"{each.name} ({each.kind}), {each.none}" for each in tried if each.none})
    return report("adapters", bars, chosen.json, details | {"none": none})


if __name__ == "__main__":
    sys.exit(main())

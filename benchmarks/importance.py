"""What estimating importance takes of a round with EWC, and what more sequences for it would bring.

    python -m benchmarks.importance [--json FILE] [--seeds 4]        # ten minutes, on one core

Time: two rounds of the demo's model in a row, with the default recipe and `ewc = 1`, each on a quarter of the first
era. In the first one importance is estimated twice, before the training and after it, in later ones once.

What more sequences bring: the demo's model is trained for a few steps on text unlike its own (Python source), without
replay, pulled by importance that was estimated on so many sequences of the text from before the stream, several times
with other ones. Kept is by how much less the anchor is forgotten than without a pull, in nats per token; how far it
lies apart from seed to seed is what the estimate's own error does. Beside it stands by how much the weights' order by
importance is that of an estimate on many more sequences, with other random numbers (Spearman's rank correlation).
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from benchmarks.eras_followed import MEMORY, THREADS, default_recipe, demo_stream, rounds_of, sharp_stream
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from daemon.demo.lineage import Lineage
from daemon.demo.text import BASE_MODEL
from learner.directory.round_directory import read_round
from learner.evaluation.document_scores import mean_nll
from learner.material.step_plan import StepPlan, prepare
from learner.objectives.importance import Importance
from learner.objectives.weight_pull import QuadraticPull
from learner.progress import Progress
from learner.round_importance import RoundImportance
from learner.settings import FEWEST_IMPORTANCE_SEQUENCES, RecipeSettings
from learner.training.train import Trainer, train
from learner.workbench import Workbench, set_up
from memory.store import Store

SEED: Final = 0
ROUNDS: Final = 2
STEPS: Final = 12
RATE: Final = 1e-3
STRENGTH: Final = 0.3
"""At which the pull keeps a good third of what would be forgotten, and costs little of what is learned."""
COUNTS: Final = (4, 16, 64, 256)
ANCHOR: Final = "anchor"
MANY: Final = 512
"""Sequences of the estimate that the others are held against."""
OTHER_SEED: Final = 99
KEPT_AT_LEAST: Final = 0.95
"""Of what is kept with the most sequences, what is kept with the fewest that a round takes."""


def drawn(stream: list[list[str]], home: Path) -> list[Path]:
    """Round directories of texts that went through the memory."""
    home.mkdir()
    make_store(home / "memory.db", MEMORY, SEED)
    with Store.open(home / "memory.db", MEMORY) as store:
        return rounds_of(store, stream, home, SEED)


@dataclass(frozen=True, slots=True)
class Timed:
    """What importance took of a round: seconds, of how many, and on how many sequences it was estimated."""

    seconds: float
    whole_seconds: float
    sequences: int

    @property
    def share(self) -> float:
        """Of the round's time."""
        return self.seconds / self.whole_seconds


def measure_time(home: Path) -> list[Timed]:
    """Rounds in a row."""
    first, *_ = demo_stream()
    quarter = len(first) // 4
    rounds = drawn([first[at * quarter : (at + 1) * quarter] for at in range(ROUNDS)], home)
    lineage = Lineage(home / "lineage", BASE_MODEL, default_recipe().model_copy(update={"ewc": 1.0}), threads=THREADS)
    trained = [lineage.follow(directory).training for directory in rounds]
    return [
        Timed(each.phase_seconds["importance"], sum(each.phase_seconds.values()), each.importance_sequences)
        for each in trained
        if each is not None
    ]


class Trial:
    """Trains the demo's model from its beginning, again and again.

    Args:
        bench: of a round.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench, given = bench, bench.given
        self._fresh, self._replay = bench.encode(given.fresh), bench.encode(given.replay)
        self._anchor = next(bench.encode(each.samples) for each in given.slices if each.name == ANCHOR)
        self._start = {name: value.clone() for name, value in bench.model.state_dict().items()}

    def estimate(self, count: int, seed: int) -> Importance:
        """Importance on so many sequences from before the stream."""
        spec = self._bench.given.spec
        recipe = spec.recipe.model_copy(update={"ewc": STRENGTH, "importance_sequences": count})
        bench = replace(self._bench, given=replace(self._bench.given, spec=replace(spec, recipe=recipe, seed=seed)))
        found = RoundImportance(bench).before(self._replay, planned_tokens=sys.maxsize)
        assert found is not None
        return found

    def loss(self) -> float:
        """Of the anchor under the model as it stands, in nats per token."""
        return mean_nll(self._bench.evaluate(self._bench.model, self._anchor))

    def train(self, importance: Mapping[str, Tensor] | None) -> float:
        """Return the anchor's loss after training, pulled by importance or not at all."""
        bench, nothing = self._bench, self._bench.encode(())
        recipe = bench.given.spec.recipe
        plan = prepare(self._fresh, nothing, StepPlan(recipe, bench.shape, SEED, bench.device.where))
        weights = dict(bench.model.named_parameters())
        trainer = Trainer(
            bench.model.train(),
            None,
            feed=plan.feed,
            objective=plan.objective,
            pull=None if importance is None else QuadraticPull(weights, ewc=STRENGTH, importance=importance),
            recipe=recipe,
            peak_rate=RATE,
            device=bench.device,
        )
        train(trainer, plan.steps, recipe, progress=bench.progress)
        after = self.loss()
        bench.model.load_state_dict(self._start)
        return after


def rank_correlation(one: Importance, other: Importance) -> float:
    """Spearman's, over all weights."""
    ranks = [torch.cat([found[name].flatten() for name in one]).argsort().argsort().double() for found in (one, other)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


@dataclass(frozen=True, slots=True)
class Counted:
    """What importance on so many sequences brings.

    Attributes:
        forgotten: without a pull, in nats per token of the anchor.
        kept: of that, by count of sequences, with each seed.
        correlated: the order of weights with that of an estimate on `MANY`; likewise.
    """

    forgotten: float
    kept: dict[int, list[float]]
    correlated: dict[int, list[float]]


def trial_recipe() -> RecipeSettings:
    """A few steps on new text alone."""
    changes: dict[str, Any] = {"replay_ratio": 0.0, "kl": 0.0, "max_steps": STEPS, "learning_rate": RATE}
    return default_recipe().model_copy(update=changes)


def measure_counts(seeds: int, home: Path) -> Counted:
    """What is forgotten without a pull, and what is kept of it with each count of sequences and each seed."""
    given = read_round(drawn([sharp_stream()[1]], home)[0])
    given = replace(given, spec=replace(given.spec, recipe=trial_recipe(), threads=THREADS))
    with Progress(home / "progress.jsonl") as progress:
        trial = Trial(set_up(given, progress))
        before, alone, many = trial.loss(), trial.train(None), trial.estimate(MANY, OTHER_SEED)
        kept, correlated = {}, {}
        for count in COUNTS:
            found = [trial.estimate(count, seed) for seed in range(1, seeds + 1)]
            correlated[count] = [rank_correlation(each, many) for each in found]
            kept[count] = [alone - trial.train(each) for each in found]
    return Counted(alone - before, kept, correlated)


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--seeds", type=int, default=4)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="importance-") as folder:
        timed = measure_time(Path(folder) / "time")
        counted = measure_counts(chosen.seeds, Path(folder) / "counts")
    kept = {count: statistics.fmean(values) for count, values in counted.kept.items()}
    fewest = kept[FEWEST_IMPORTANCE_SEQUENCES] / kept[max(COUNTS)]
    bars = [
        *(
            Bar(name=f"importance, share of round {number}", value=each.share, at_most=0.05)
            for number, each in enumerate(timed, 1)
        ),
        Bar(name="kept with the fewest sequences / with the most", value=fewest, at_least=KEPT_AT_LEAST),
        Bar(name="forgotten without a pull, nats", value=counted.forgotten),
    ]
    for count, values in counted.kept.items():
        correlation = statistics.fmean(counted.correlated[count])
        bars.append(Bar(name=f"kept of it, {count} sequences", value=kept[count]))
        bars.append(Bar(name=f"the same, from seed to seed (1 sd), {count} sequences", value=statistics.stdev(values)))
        bars.append(Bar(name=f"rank correlation with {MANY} others, {count} sequences", value=correlation))
    details = {
        "sequences": [each.sequences for each in timed],
        "seconds": [each.seconds for each in timed],
        "whole_seconds": [each.whole_seconds for each in timed],
        "forgotten": counted.forgotten,
        "kept": {str(count): values for count, values in counted.kept.items()},
        "correlated": {str(count): values for count, values in counted.correlated.items()},
    }
    return report("Importance", bars, chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())

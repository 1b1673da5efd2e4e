"""What estimating importance takes of a round with EWC, and what more sequences for it would bring.

    python -m benchmarks.importance [--json FILE] [--seeds 4]

Time: two rounds of the demo's model in a row, with the default recipe and `ewc = 1`, each on a quarter of the first
era. In the first one importance is estimated twice, before the training and after it, in later ones once.

What more sequences bring: the demo's model is trained for a few steps on text unlike its own (Python source), without
replay, pulled by importance that was estimated on so many sequences of the text from before the stream, several times
with other ones. Kept is by how much less the anchor is forgotten than without a pull, in nats per token; how far it
lies apart from seed to seed is what the estimate's own error does. Takes about ten minutes, on one core.
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

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
from learner.settings import RecipeSettings
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


def trial_recipe() -> RecipeSettings:
    """A few steps on new text alone."""
    changes: dict[str, Any] = {"replay_ratio": 0.0, "kl": 0.0, "max_steps": STEPS, "learning_rate": RATE}
    return default_recipe().model_copy(update=changes)


def measure_counts(seeds: int, home: Path) -> tuple[float, dict[int, list[float]]]:
    """What is forgotten without a pull, and for each count of sequences what is kept of it with each seed."""
    given = read_round(drawn([sharp_stream()[1]], home)[0])
    given = replace(given, spec=replace(given.spec, recipe=trial_recipe(), threads=THREADS))
    with Progress(home / "progress.jsonl") as progress:
        trial = Trial(set_up(given, progress))
        before, alone = trial.loss(), trial.train(None)
        kept = {
            count: [alone - trial.train(trial.estimate(count, seed)) for seed in range(1, seeds + 1)]
            for count in COUNTS
        }
    return alone - before, kept


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--seeds", type=int, default=4)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="importance-") as folder:
        timed = measure_time(Path(folder) / "time")
        forgotten, kept = measure_counts(chosen.seeds, Path(folder) / "counts")
    bars = [
        *(
            Bar(name=f"importance, share of round {number}", value=each.share, at_most=0.05)
            for number, each in enumerate(timed, 1)
        ),
        Bar(name="forgotten without a pull, nats", value=forgotten),
    ]
    for count, values in kept.items():
        bars.append(Bar(name=f"kept of it, {count} sequences", value=statistics.fmean(values)))
        bars.append(Bar(name=f"the same, from seed to seed (1 sd), {count} sequences", value=statistics.stdev(values)))
    details = {
        "sequences": [each.sequences for each in timed],
        "seconds": [each.seconds for each in timed],
        "whole_seconds": [each.whole_seconds for each in timed],
        "kept": {str(count): values for count, values in kept.items()},
    }
    return report("Importance", bars, chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())

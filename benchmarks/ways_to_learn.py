"""Every way to learn from a stream that could stand for the default recipe, side by side: what it keeps and costs.

    python -m benchmarks.ways_to_learn [--json FILE] [--streams demo sharp] [--seeds 0 1 2] [--ways NAME …]

The streams, the memory and the measures are those of `benchmarks.forgetting`. Each way follows the same rounds:

- naive: new text alone, at its own best learning rate, which is searched on the first seed by plasticity;
- naive at a third and at a tenth of that rate; with the best of three interpolations toward its parent, as the default
  has them; and with as many trained tokens as the default has, by passing over the new text again;
- replay alone: the default without the KL divergence from the parent;
- L2-SP and EWC: naive with the penalty, at its best strength, searched on the first seed by the mean of all slices;
- kept: the default recipe at the small model's own peak rate, in its own sequence length;
- shipped: the default recipe to the letter, made for models that learn at a rate thirty times lower;
- joint: all eras at once from the base model, mixed half and half with text from before the stream.

Where FILE exists, what it tells of other streams, seeds and ways stays there, so that the whole can be measured in
parts. Figures in nats per token; tokens and seconds of training, over all rounds.
"""

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.forgetting import (
    MEMORY,
    NAIVE_RATES,
    STREAMS,
    THREADS,
    Outcome,
    best_candidate,
    default_recipe,
    joint,
    outcome_of,
    rounds_of,
)
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from daemon.demo.era_scores import EraScores
from daemon.demo.lineage import Lineage, naive
from daemon.demo.text import BASE_MODEL
from learner.directory.report import TrainingSummary
from learner.settings import RecipeSettings
from memory.store import Store

STRENGTHS: Final = (0.01, 0.1, 1.0)
SEVERAL_EPOCHS: Final = 5
"""More than the default's tokens would fill; the budget in tokens ends it."""

Recipes = Callable[[float], tuple[RecipeSettings, ...]]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to learn.

    Attributes:
        recipes: given naive fine-tuning's best rate; where they are several, the best on the first seed is taken.
        by: the field of `Outcome` that is lowest for the best of several.
        equal_tokens: whether it trains as many tokens in each round as the default recipe.
    """

    recipes: Recipes
    by: str = "mean_at_the_end"
    equal_tokens: bool = False


def _naive(rate: float, **changes: Any) -> RecipeSettings:
    return naive(default_recipe(), rate).model_copy(update=changes)


WAYS: Final[Mapping[str, Way]] = {
    "naive": Way(lambda _: tuple(_naive(rate) for rate in NAIVE_RATES), by="plasticity"),
    "naive, a third of the rate": Way(lambda rate: (_naive(rate / 3),)),
    "naive, a tenth of the rate": Way(lambda rate: (_naive(rate / 10),)),
    "naive, best interpolation": Way(lambda rate: (_naive(rate, interpolation=default_recipe().interpolation),)),
    "naive, equal tokens": Way(lambda rate: (_naive(rate, epochs=SEVERAL_EPOCHS),), equal_tokens=True),
    "L2-SP": Way(lambda rate: tuple(_naive(rate, l2_sp=strength) for strength in STRENGTHS)),
    "EWC": Way(lambda rate: tuple(_naive(rate, ewc=strength) for strength in STRENGTHS)),
    "replay alone": Way(lambda _: (default_recipe().model_copy(update={"kl": 0.0}),)),
    "kept": Way(lambda _: (default_recipe(),)),
    "shipped": Way(lambda _: (RecipeSettings(),)),
}
JOINT: Final = "joint"
COLUMNS: Final = {"forgetting": 3, "plasticity": 3, "mean_at_the_end": 3, "tokens": 0, "seconds": 0}


@dataclass(slots=True)
class Measured:
    """What is known of a stream: recipes that were chosen, and outcomes by way and seed."""

    recipes: dict[str, dict[str, Any]]
    outcomes: dict[str, dict[str, dict[str, Any]]]

    def recipes_of(self, way: str) -> tuple[RecipeSettings, ...]:
        """What is to be tried: the one that was chosen before, or all there are."""
        if way in self.recipes:
            return (RecipeSettings.model_validate(self.recipes[way]),)
        rate = self.recipes.get("naive", {}).get("learning_rate", math.nan)
        return WAYS[way].recipes(rate)

    def add(self, way: str, seed: int, recipe: RecipeSettings | None, outcome: Outcome) -> None:
        """Remember one."""
        if recipe is not None:
            self.recipes[way] = recipe.model_dump(mode="json")
        self.outcomes.setdefault(way, {})[str(seed)] = asdict(outcome)


def read_measured(file: Path | None) -> dict[str, Measured]:
    """What a file holds already, by stream."""
    if file is None or not file.exists():
        return {}
    details = json.loads(file.read_text(encoding="utf-8"))["details"]
    return {stream: Measured(**known) for stream, known in details.items()}


def follow(rounds: Sequence[Path], home: Path, recipe: RecipeSettings, budgets: Sequence[int | None]) -> Outcome:
    """Train one lineage through all rounds and measure it.

    Args:
        rounds: directories, in order.
        home: where its generations go.
        recipe: how it learns.
        budgets: tokens to train in each round; None for what the recipe says.
    """
    lineage = Lineage(home, BASE_MODEL, recipe, threads=THREADS, choose=best_candidate)
    scores, trained = EraScores(len(rounds)), list[TrainingSummary]()
    for directory, budget in zip(rounds, budgets, strict=True):
        learned = lineage.follow(directory, max_tokens=budget)
        assert learned.training is not None
        scores.add(learned, best_candidate(learned))
        trained.append(learned.training)
    return outcome_of(scores.matrix, trained)


def measure(stream: str, seed: int, ways: Sequence[str], measured: Measured, console: Console) -> None:
    """Follow the rounds of one stream and seed in several ways, and add what comes out."""
    with tempfile.TemporaryDirectory(prefix="ways-") as folder:
        home = Path(folder)
        make_store(home / "memory.db", MEMORY, seed)
        with Store.open(home / "memory.db", MEMORY) as store:
            rounds = rounds_of(store, STREAMS[stream](), home, seed)
        for at, way in enumerate(ways, 1):
            if way == JOINT:
                recipe, outcome = None, measure_joint(rounds, home)
            else:
                recipe, outcome = _best(way, rounds, home / str(at), measured, seed)
            measured.add(way, seed, recipe, outcome)
            console.print(f"{stream}, seed {seed}, {at} of {len(ways)}: {way}: {outcome}")


def measure_joint(rounds: Sequence[Path], home: Path) -> Outcome:
    """All at once; which era a held-out document is of only a lineage that followed the rounds can tell."""
    lineage = Lineage(home / "to-tell-eras", BASE_MODEL, _naive(min(NAIVE_RATES), max_steps=1), threads=THREADS)
    scores = EraScores(len(rounds))
    for directory in rounds:
        learned = lineage.follow(directory)
        scores.add(learned, best_candidate(learned))
    return joint(rounds, home / "joint", scores)


def _best(
    way: str, rounds: Sequence[Path], home: Path, measured: Measured, seed: int
) -> tuple[RecipeSettings, Outcome]:
    """The best recipe of a way, and what it came to."""
    budgets: Sequence[int | None] = [None] * len(rounds)
    if WAYS[way].equal_tokens:
        share = default_recipe().replay_share("causal-lm")
        budgets = [round(tokens / (1 - share)) for tokens in measured.outcomes["naive"][str(seed)]["round_tokens"]]
    tried = [
        (recipe, follow(rounds, home / str(at), recipe, budgets)) for at, recipe in enumerate(measured.recipes_of(way))
    ]
    return min(tried, key=lambda pair: float(getattr(pair[1], WAYS[way].by)))


def show(stream: str, measured: Measured, console: Console) -> None:
    """Print all ways side by side: the mean over seeds, and the range."""
    table = Table(title=f"{stream}: mean over seeds (least to most)")
    for column in ("way", "seeds", "forgetting", "plasticity", "mean at the end", "trained tokens", "training s"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for way, seeds in measured.outcomes.items():
        cells = [_cell([seed[field] for seed in seeds.values()], digits) for field, digits in COLUMNS.items()]
        table.add_row(way, str(len(seeds)), *cells)
    console.print(table)


def _cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, least, most = (f"{of(known):,.{digits}f}" for of in (statistics.fmean, min, max))
    return f"{mean} ({least} to {most})"


def figures_of(stream: str, measured: Measured) -> list[Bar]:
    """Of each way that forgets, the share of naive fine-tuning's forgetting that it takes away."""
    means = {
        way: statistics.fmean(seed["forgetting"] for seed in seeds.values())
        for way, seeds in measured.outcomes.items()
        if way != JOINT
    }
    if "naive" not in means:
        return []
    return [
        Bar(name=f"{stream}: share of naive forgetting that is removed by {way}", value=1 - mean / means["naive"])
        for way, mean in means.items()
        if way != "naive"
    ]


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--streams", nargs="+", choices=sorted(STREAMS), default=sorted(STREAMS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--ways", nargs="+", choices=[*WAYS, JOINT], default=[*WAYS, JOINT])
    chosen = options.parse_args()
    console = Console(width=160)
    known = read_measured(chosen.json)
    for stream in chosen.streams:
        measured = known.setdefault(stream, Measured({}, {}))
        ways = chosen.ways if "naive" in measured.recipes or "naive" in chosen.ways else ["naive", *chosen.ways]
        # The others begin with its best rate.
        ordered = sorted(ways, key=lambda way: way != "naive")
        for seed in chosen.seeds:
            measure(stream, seed, ordered, measured, console)
            _write(chosen.json, known)
        show(stream, measured, console)
    return _write(chosen.json, known)


def _write(file: Path | None, known: Mapping[str, Measured]) -> int:
    """After each seed, so that hours are not lost with the last."""
    bars = [bar for stream, measured in known.items() for bar in figures_of(stream, measured)]
    return report("Ways to learn", bars, file, {stream: asdict(measured) for stream, measured in known.items()})


if __name__ == "__main__":
    sys.exit(main())

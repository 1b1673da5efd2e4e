"""What the default recipe keeps and what it costs, beside every other way to learn that could stand for it.

    python -m benchmarks.forgetting [--json FILE] [--streams demo sharp] [--seeds 0 1 2] [--ways NAME …]

The streams, their rounds and the measures are those of `benchmarks.eras_followed`. Each way follows the same rounds:

- naive: the same number of new tokens a step on the same schedule, no replay, no regularization, an optimizer that
  begins anew in each round, at its own best learning rate, which is searched on the first seed by plasticity (what a
  naive fine-tuner looks at);
- naive with Adam's moments carried from round to round, as the default does; at a third and at a tenth of its rate;
  with the best of three interpolations toward its parent, as the default has them; and with as many trained tokens as
  the default has, by passing over the new text again;
- replay alone: the default without the KL divergence from the parent;
- L2-SP and EWC: naive with the penalty, at its best strength, searched on the first seed by the mean of all slices;
- kept: the default recipe at the small model's own peak rate, in its own sequence length;
- shipped: the default recipe to the letter, made for models that learn at a rate thirty times lower;
- joint: all eras at once from the base model, mixed half and half with text from before the stream.

What FILE holds already is not measured again, so that the whole can be measured in parts, or with a process for each
stream; begin a new file when the recipe or the code has changed. Figures in nats per token;
tokens and seconds of training, over all rounds, on one thread. The whole takes about four hours of one core.
"""

import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.eras_followed import MEMORY, NAIVE_RATES, STREAMS, Outcome, default_recipe, follow, joint, rounds_of
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from daemon.demo.lineage import naive
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
    "naive, moments carried": Way(lambda rate: (_naive(rate, carry_moments=True),)),
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

    def lacks(self, way: str, seed: int) -> bool:
        """Whether a way is still to be measured with this seed."""
        return str(seed) not in self.outcomes.get(way, {})

    def means(self) -> dict[str, dict[str, float]]:
        """The mean over the seeds of each figure of each way, without those that a way does not have."""
        return {way: dict(_means(list(seeds.values()))) for way, seeds in self.outcomes.items()}

    def add(self, way: str, seed: int, recipe: RecipeSettings | None, outcome: Outcome) -> None:
        """Remember one."""
        if recipe is not None:
            self.recipes[way] = recipe.model_dump(mode="json")
        self.outcomes.setdefault(way, {})[str(seed)] = asdict(outcome)


def _means(seeds: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
    for field in COLUMNS:
        if seeds[0][field] is not None:
            yield field, statistics.fmean(seed[field] for seed in seeds)


def read_measured(file: Path | None) -> dict[str, Measured]:
    """What a file holds already, by stream.

    Raises:
        SystemExit: it is of an earlier version, which measured something else.
    """
    if file is None or not file.exists():
        return {}
    details = json.loads(file.read_text(encoding="utf-8"))["details"]
    try:
        return {stream: Measured(known["recipes"], known["outcomes"]) for stream, known in details.items()}
    except KeyError as error:
        raise SystemExit(
            f"{file} is of an earlier version (it has no {error}): name a new file, or remove it"
        ) from None


def measure(stream: str, seed: int, ways: Sequence[str], measured: Measured, console: Console) -> Iterator[str]:
    """Follow the rounds of one stream and seed in several ways, add what comes out, and give each way once it is."""
    with tempfile.TemporaryDirectory(prefix="ways-") as folder:
        home = Path(folder)
        make_store(home / "memory.db", MEMORY, seed)
        with Store.open(home / "memory.db", MEMORY) as store:
            rounds = rounds_of(store, STREAMS[stream](), home, seed)
        for at, way in enumerate(ways, 1):
            if way == JOINT:
                recipe, outcome = None, joint(rounds, home / str(at))
            else:
                recipe, outcome = _best(way, rounds, home / str(at), measured, seed)
            measured.add(way, seed, recipe, outcome)
            console.print(f"{stream}, seed {seed}, {at} of {len(ways)}: {way}: {outcome}")
            yield way


def _best(
    way: str, rounds: Sequence[Path], home: Path, measured: Measured, seed: int
) -> tuple[RecipeSettings, Outcome]:
    """The best recipe of a way, and what it came to."""
    budgets: Sequence[int | None] = [None] * len(rounds)
    if WAYS[way].equal_tokens:
        share = default_recipe().replay_ratio
        budgets = [round(tokens / (1 - share)) for tokens in measured.outcomes["naive"][str(seed)]["round_tokens"]]
    tried = [
        (recipe, follow(rounds, home / str(at), recipe, budgets)) for at, recipe in enumerate(measured.recipes_of(way))
    ]
    return min(tried, key=lambda pair: float(getattr(pair[1], WAYS[way].by)))


def rows_of(stream: str, outcomes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """All ways side by side, as a table in Markdown: the mean over seeds, and the range.

    Args:
        stream: its name.
        outcomes: by way and seed.
    """
    ways = sorted(outcomes, key=[*WAYS, JOINT].index)
    return [
        f"| {stream} | seeds | forgetting | plasticity | mean at the end | trained tokens | training s |",
        "|---|---|---|---|---|---|---|",
        *(f"| {way} | {len(outcomes[way])} | {' | '.join(_cells(list(outcomes[way].values())))} |" for way in ways),
    ]


def _cells(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_cell([seed[field] for seed in seeds], digits) for field, digits in COLUMNS.items()]


def _cell(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, least, most = (f"{of(known):,.{digits}f}" for of in (statistics.fmean, min, max))
    return f"{mean} ({least} to {most})"


def bars_of(stream: str, means: Mapping[str, Mapping[str, float]]) -> list[Bar]:
    """What must hold of the default recipe, as far as what it is compared with is measured."""
    if not {"naive", "kept", JOINT} <= means.keys():
        return []
    naive_, kept, at_once = means["naive"], means["kept"], means[JOINT]
    removed = 1 - kept["forgetting"] / naive_["forgetting"]
    cost = kept["plasticity"] - naive_["plasticity"]
    over = kept["mean_at_the_end"] - at_once["mean_at_the_end"]
    seconds = kept["seconds"] / naive_["seconds"]
    return [
        Bar(name=f"{stream}: share of naive forgetting that is removed", value=removed, at_least=0.95),
        Bar(name=f"{stream}: plasticity cost, nats per token", value=cost, at_most=0.01),
        Bar(name=f"{stream}: mean at the end over all at once, nats per token", value=over, at_most=0.03),
        Bar(name=f"{stream}: training time / naive training time", value=seconds, at_most=2.5),
    ]


def figures_of(stream: str, means: Mapping[str, Mapping[str, float]]) -> list[Bar]:
    """Of each other way, the share of naive fine-tuning's forgetting that it takes away."""
    forgetting = {way: mean["forgetting"] for way, mean in means.items() if way not in (JOINT, "kept")}
    naive_ = forgetting.pop("naive", math.nan)
    return [
        Bar(name=f"{stream}: share of naive forgetting that is removed by {way}", value=1 - mean / naive_)
        for way, mean in forgetting.items()
    ]


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--streams", nargs="+", choices=sorted(STREAMS), default=sorted(STREAMS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--ways", nargs="+", choices=[*WAYS, JOINT], default=[*WAYS, JOINT])
    chosen = options.parse_args()
    console = Console(width=160)
    known = {stream: read_measured(chosen.json).get(stream, Measured({}, {})) for stream in chosen.streams}
    # All others begin with its best rate.
    ways = sorted({"naive", *chosen.ways}, key=[*WAYS, JOINT].index)
    for stream, measured in known.items():
        for seed in chosen.seeds:
            lacking = [way for way in ways if measured.lacks(way, seed)]
            for _ in measure(stream, seed, lacking, measured, console):
                # After each way, so that hours are not lost with the last.
                _write(chosen.json, known)
        console.print("\n".join(rows_of(stream, measured.outcomes)))
    return _write(chosen.json, known)


def _write(file: Path | None, measured_here: dict[str, Measured]) -> int:
    """Add these streams to what the file holds by now: another process may have added others."""
    bars, details = list[Bar](), {}
    for stream, measured in (read_measured(file) | measured_here).items():
        means = measured.means()
        bars += bars_of(stream, means) + figures_of(stream, means)
        details[stream] = {**asdict(measured), "means": means}
    return report("Forgetting", bars, file, details)


if __name__ == "__main__":
    sys.exit(main())

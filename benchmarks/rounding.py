"""What rounds learn in a model that is stored in bfloat16, against the same model stored in float32.

    python -m benchmarks.rounding [--json FILE] [--rounds 8] [--steps 6] [--rate 1e-5]

The demo's base model and the first two of its eras, cut into as many parts as there are rounds; each part goes through
the real memory and is one round of the real learner with the default recipe, ended after a few steps, at a rate that
large models bear. Four lineages follow the same rounds:

- float32: the model stored in float32, of which rounding cuts nothing off;
- kept: stored in bfloat16, each round beginning from what the one before it learned;
- lost: stored in bfloat16, each round beginning from what was stored;
- short: stored in bfloat16 and trained so, by `optimizer = "adamw-8bit"`.

The gain is what the held-out text of all parts has become easier by after the last round, in nats per token. Takes
about a quarter of an hour, on one core.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from benchmarks.eras_followed import HOLDOUT_SHARE, THREADS, default_recipe, demo_stream, rounds_of
from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from checkpoints.load import load_model, load_tokenizer
from daemon.demo.lineage import Lineage
from daemon.demo.text import BASE_MODEL
from daemon.rounds.directories import round_directory
from gate.measures import mean_nll
from learner.directory.report import Report
from learner.directory.round_directory import CANDIDATES, RESIDUALS
from learner.settings import RecipeSettings
from memory.settings import MemorySettings
from memory.store import Store

RESULT: Final = "0.00"
SEED: Final = 0


def parts_of(texts: list[str], count: int) -> list[list[str]]:
    """Texts in so many parts of the same size, in their order."""
    size = len(texts) // count
    return [texts[at * size : (at + 1) * size] for at in range(count)]


def in_float32(home: Path) -> Path:
    """The base model, stored in float32."""
    load_model(BASE_MODEL, "causal-lm", dtype=torch.float32).save_pretrained(home)
    load_tokenizer(BASE_MODEL).save_pretrained(home)
    return home


def lose_residuals(home: Path) -> Callable[[Report], str]:
    """Let the trained result be the next generation of the lineage at `home`, without what rounding cut off it."""

    def choose(learned: Report) -> str:
        (round_directory(home / "rounds", learned.round) / CANDIDATES / RESULT / RESIDUALS).unlink()
        return RESULT

    return choose


def gain(rounds: list[Path], lineage: Lineage) -> float:
    """Nats per token that the held-out text of all rounds gains."""
    learned = [lineage.follow(directory) for directory in rounds][-1]
    new = [scores for name, scores in learned.slices.items() if name != "anchor"]
    return statistics.fmean(mean_nll(scores.base) - mean_nll(scores.candidates[RESULT]) for scores in new)


def measure(count: int, recipe: RecipeSettings) -> dict[str, float]:
    """The gain of each lineage."""
    with tempfile.TemporaryDirectory(prefix="rounding-") as folder:
        home = Path(folder)
        settings = MemorySettings(holdout_share=HOLDOUT_SHARE, recent_slices=count)
        make_store(home / "memory.db", settings, SEED)
        with Store.open(home / "memory.db", settings) as store:
            first, second, *_ = demo_stream()
            rounds = rounds_of(store, parts_of(first + second, count), home, SEED)
        short = recipe.model_copy(update={"optimizer": "adamw-8bit"})
        lineages = {
            "float32": Lineage(home / "float32", in_float32(home / "base32"), recipe, threads=THREADS),
            "kept": Lineage(home / "kept", BASE_MODEL, recipe, threads=THREADS),
            "lost": Lineage(home / "lost", BASE_MODEL, recipe, threads=THREADS, choose=lose_residuals(home / "lost")),
            "short": Lineage(home / "short", BASE_MODEL, short, threads=THREADS),
        }
        return {name: gain(rounds, lineage) for name, lineage in lineages.items()}


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--rate", type=float, default=1e-5)
    chosen = options.parse_args()
    changed = {"learning_rate": chosen.rate, "max_steps": chosen.steps, "interpolation": (0.0,)}
    gains = measure(chosen.rounds, default_recipe().model_copy(update=changed))
    bars = [
        Bar(name="gain stored in bfloat16 / in float32", value=gains["kept"] / gains["float32"], at_least=0.95),
        Bar(name="the same without what rounding cut off / in float32", value=gains["lost"] / gains["float32"]),
        Bar(name="trained in bfloat16 by 8-bit AdamW / in float32", value=gains["short"] / gains["float32"]),
    ]
    details = {"gain_nats_per_token": gains, "rounds": chosen.rounds, "steps": chosen.steps, "rate": chosen.rate}
    return report("Rounding", bars, chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())

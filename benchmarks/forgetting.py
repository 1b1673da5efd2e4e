"""What the default recipe keeps and what it costs, against naive fine-tuning on the same new text.

    python -m benchmarks.forgetting [--json FILE] [--streams demo sharp] [--seeds 0 1 2]

Two streams of four eras each, over the demo's base model: the demo's own (addresses 1900–2020, in
somewhat longer rounds), and a sharper one
(addresses, Python source, addresses in ROT13, addresses of the present). Text goes through the real memory (split,
near-duplicates, reservoir, draw) and each era is one round of the real learner. Three lineages follow the same rounds:

- kept: the default recipe at the base model's own peak learning rate;
- naive: the same number of new tokens a step on the same schedule, no replay, no regularization, at its own best
  learning rate, which is searched on the first seed by plasticity (what a naive fine-tuner looks at);
- joint: all eras at once from the base model, mixed half and half with text from before the stream.

Forgetting is the average over all slices that were trained past, plasticity the mean loss of each era right after its
round, both in nats per token. Takes about an hour, on one core.
"""

import codecs
import gzip
import json
import math
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from checkpoints.card import Card
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.era_scores import EraScores
from daemon.demo.lineage import Lineage, naive
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM, eras
from gate import choice
from gate.forgetting import ScoreMatrix, average_forgetting, plasticity
from learner.directory.report import Report, TrainingSummary
from learner.directory.round_directory import (
    GenerationRef,
    RoundSample,
    RoundSlice,
    RoundSpec,
    read_round,
    write_round,
)
from learner.settings import RecipeSettings
from memory.ledger.records import DrawSpec, RoundDraw
from memory.ledger.states import RoundState
from memory.samples.slice_names import last_round
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, Document, Partition

NEW_SEQUENCES = 24
SEQUENCE = 128
PEAK_RATE = 3e-3
NAIVE_RATES = (1e-3, 2e-3, 3e-3)
ERA_CHARACTERS = 420_000
PIECE_CHARACTERS = 700
HOLDOUT_SHARE = 0.06
MEMORY = MemorySettings(holdout_share=HOLDOUT_SHARE, recent_slices=8)
ALL_TOKENS = 10_000_000
# One: the same sums in the same order on every machine, so the same weights.
THREADS = 1


def default_recipe() -> RecipeSettings:
    """The defaults on the demo's small model: its sequence length, its peak rate, 24 new sequences a step."""
    # The batch grows by what is replayed, so that a step has as much new text as naive fine-tuning's.
    share = RecipeSettings().replay_share("causal-lm")
    return RecipeSettings(
        learning_rate=PEAK_RATE,
        sequence_length=SEQUENCE,
        batch_sequences=round(NEW_SEQUENCES / (1 - share)),
        micro_batch=round(NEW_SEQUENCES / (1 - share)),
        # Every lineage takes all of its steps: one that stops early forgets less for having learned less.
        early_stop_checks=0,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one lineage came to: nats per token; None for what a single round cannot show.

    Attributes:
        tokens: trained in all rounds, new and replayed.
        seconds: of training, in all rounds.
        round_tokens: trained in each round.
    """

    forgetting: float | None
    plasticity: float | None
    mean_at_the_end: float
    tokens: int
    seconds: float
    round_tokens: tuple[int, ...]


def demo_stream() -> list[list[str]]:
    """The demo's eras."""
    return [[paragraph.text for paragraph in era.paragraphs] for era in eras(ERA_CHARACTERS)]


def sharp_stream() -> list[list[str]]:
    """Four eras that have little in common: addresses, Python source, addresses in ROT13, addresses of the present."""
    first, second, _, last = demo_stream()
    return [first, _python_source(), [codecs.encode(text, "rot13") for text in second], last]


def _python_source() -> list[str]:
    # Every n-th piece of the whole library rather than its beginning: more than one module's words.
    pieces: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        pieces += [source[at : at + PIECE_CHARACTERS] for at in range(0, len(source), PIECE_CHARACTERS)]
    count = ERA_CHARACTERS // PIECE_CHARACTERS
    return pieces[:: max(1, len(pieces) // count)][:count]


# Of the table's columns, by the field of `Outcome`.
DIGITS = {"forgetting": 3, "plasticity": 3, "mean_at_the_end": 3, "tokens": 0, "seconds": 0}
STREAMS = {"demo": demo_stream, "sharp": sharp_stream}


def batch(texts: Iterable[str], topic: str) -> Batch:
    """Texts as one batch of a partition of their own, all from one source."""
    partition = Partition(topic, 0)
    documents = tuple(
        # The offset for a time: the clock would make every run another one.
        Document(text, "text", None, None, None, float(offset), partition, offset)
        for offset, text in enumerate(texts)
    )
    return Batch(documents, (), (), {partition: len(documents)})


def rounds_of(store: Store, stream: Sequence[list[str]], home: Path, seed: int) -> list[Path]:
    """Let the stream through the memory; each era becomes a round directory whose parent is the base model."""
    base = GenerationStore(home / "base").publish(BASE_MODEL, BASE, Card(BASE, "causal-lm"))
    store.generations.register_base(digest=base.digest, source_path=str(BASE_MODEL))
    before = [orjson.loads(line)["text"] for line in _lines(BEFORE_STREAM)]
    store.append(batch(before, "before"), before_stream=True)
    directories = []
    ref = GenerationRef(BASE, base.digest)
    for number, texts in enumerate(stream, 1):
        store.append(batch(texts, f"era-{number}"))
        # Drawn before it is trained on by anyone, so that all lineages get the same rounds.
        draw = _draw(store, seed)
        spec = RoundSpec(
            round=number, kind="causal-lm", seed=seed, parent=ref, base=ref, recipe=default_recipe(), device="cpu"
        )
        directory = home / "drawn" / str(number)
        _write(directory, spec, draw, base.path)
        _accept(store, draw)
        directories.append(directory)
    return directories


def _lines(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def _draw(store: Store, seed: int) -> RoundDraw:
    spec = DrawSpec(
        # The whole era, however long: what is left fresh would mix eras.
        fresh_tokens=ALL_TOKENS,
        replay_ratio=default_recipe().replay_share("causal-lm"),
        early_stop_share=0.0,
    )
    draw = store.rounds.begin(trigger="benchmark", recipe={}, seed=seed, spec=spec)
    assert draw is not None
    return draw


def _write(directory: Path, spec: RoundSpec, draw: RoundDraw, base: Path) -> None:
    slices = [RoundSlice(piece.name, piece.kind, piece.source, piece.samples) for piece in draw.slices]
    write_round(
        directory,
        spec,
        parent_dir=base,
        base_dir=base,
        fresh=draw.fresh,
        replay=draw.replay,
        early_stop=draw.early_stop,
        slices=slices,
    )


def _accept(store: Store, draw: RoundDraw) -> None:
    """The memory settles as after any accepted round; which lineage trained on it makes no difference to it."""
    store.rounds.advance(draw.number, RoundState.TRAINING)
    store.rounds.advance(draw.number, RoundState.JUDGED)
    number = store.generations.reserve(draw.number)
    store.rounds.accept(draw.number, generation=number, digest=str(number), scores={}, verdict={}, report={})


def follow(rounds: Sequence[Path], home: Path, recipe: RecipeSettings) -> tuple[Outcome, EraScores]:
    """Train one lineage through all rounds and measure it."""
    lineage = Lineage(home, BASE_MODEL, recipe, threads=THREADS, choose=best_candidate)
    scores = EraScores(len(rounds))
    trained: list[TrainingSummary] = []
    for directory in rounds:
        learned = lineage.follow(directory)
        scores.add(learned, best_candidate(learned))
        trained.append(_training(learned))
    return outcome_of(scores.matrix, trained), scores


def best_candidate(learned: Report) -> str:
    """The one that the gate takes of several that pass."""
    older = {name: scores for name, scores in learned.slices.items() if last_round(name) < learned.round}
    newest = {name: scores for name, scores in learned.slices.items() if name not in older}
    return choice.best_candidate(learned.candidates, on_newest=choice.pairwise(newest), on_older=choice.pairwise(older))


def _training(learned: Report) -> TrainingSummary:
    assert learned.training is not None
    return learned.training


def outcome_of(matrix: ScoreMatrix, trained: Sequence[TrainingSummary]) -> Outcome:
    """What a lineage came to, by R over its rounds and what training took."""
    last = len(matrix.scores) - 1
    forgot, learned = average_forgetting(matrix, last), plasticity(matrix, last)
    assert forgot is not None
    assert learned is not None
    return Outcome(forgot, learned, statistics.fmean(matrix.scores[last]), *_cost(trained))


def _cost(trained: Sequence[TrainingSummary]) -> tuple[int, float, tuple[int, ...]]:
    """Tokens, seconds, and tokens of each round."""
    tokens = tuple(summary.tokens_new + summary.tokens_replayed for summary in trained)
    return sum(tokens), sum(summary.seconds for summary in trained), tokens


def joint(rounds: Sequence[Path], home: Path, scores: EraScores) -> Outcome:
    """All eras at once from the base model, half and half with text from before the stream."""
    given = [read_round(directory) for directory in rounds]
    recipe = default_recipe().model_copy(
        update={
            "replay_ratio": 0.5,
            # There is no parent worth keeping to: this lineage sees everything at once.
            "kl": 0.0,
            "batch_sequences": 2 * NEW_SEQUENCES,
            "micro_batch": 2 * NEW_SEQUENCES,
            "interpolation": (0.0,),
        }
    )
    fresh: list[RoundSample] = [sample for round_input in given for sample in round_input.fresh]
    write_round(
        home / "all",
        given[-1].spec,
        parent_dir=rounds[0] / "parent",
        base_dir=rounds[0] / "base",
        fresh=fresh,
        replay=given[0].replay,
        early_stop=(),
        slices=given[-1].slices,
    )
    learned = Lineage(home, BASE_MODEL, recipe, threads=THREADS).follow(home / "all")
    means = scores.means(learned, learned.candidates[0])
    return Outcome(None, None, statistics.fmean(means.values()), *_cost([_training(learned)]))


def measure(stream: str, seed: int, naive_rate: float | None, console: Console) -> tuple[dict[str, Outcome], float]:
    """All lineages on one stream and seed.

    Args:
        naive_rate: naive fine-tuning's learning rate; None to search it here.

    Returns:
        Outcomes by lineage ("naive", "kept", "joint"), and naive fine-tuning's rate.
    """
    with tempfile.TemporaryDirectory(prefix="forgetting-") as folder:
        home = Path(folder)
        make_store(home / "memory.db", MEMORY, seed)
        with Store.open(home / "memory.db", MEMORY) as store:
            rounds = rounds_of(store, STREAMS[stream](), home, seed)
        outcome_at = {}
        # The baseline is given its best rate: a badly tuned one would be easy to beat.
        for rate in NAIVE_RATES if naive_rate is None else (naive_rate,):
            outcome_at[rate], _ = follow(rounds, home / f"naive-{rate}", naive(default_recipe(), rate))
            console.print(f"{stream}, seed {seed}: naive at {rate}: {outcome_at[rate]}")
        # By plasticity, which is all that a naive fine-tuner looks at; forgetting needs slices that it does not keep.
        best = min(outcome_at, key=lambda rate: outcome_at[rate].plasticity or math.inf)
        kept, scores = follow(rounds, home / "kept", default_recipe())
        console.print(
            f"{stream}, seed {seed}: kept: {kept}", json.dumps([[round(v, 3) for v in r] for r in scores.matrix.scores])
        )
        outcomes = {"naive": outcome_at[best], "kept": kept, "joint": joint(rounds, home / "joint", scores)}
        console.print(f"{stream}, seed {seed}: joint: {outcomes['joint']}")
    return outcomes, best


Means = Mapping[str, Mapping[str, float]]


def means_of(outcomes: Sequence[dict[str, Outcome]]) -> dict[str, dict[str, float]]:
    """The mean over the seeds of each figure of each lineage."""
    means: dict[str, dict[str, float]] = {}
    for lineage in ("naive", "kept", "joint"):
        seeds = [asdict(outcome[lineage]) for outcome in outcomes]
        means[lineage] = {
            field: statistics.fmean(seed[field] for seed in seeds) for field in DIGITS if seeds[0][field] is not None
        }
    return means


def bars_of(stream: str, means: Means) -> list[Bar]:
    """The figures that must hold."""
    naive_, kept = means["naive"], means["kept"]
    removed = 1 - kept["forgetting"] / naive_["forgetting"]
    cost = kept["plasticity"] - naive_["plasticity"]
    better = naive_["mean_at_the_end"] - kept["mean_at_the_end"]
    return [
        Bar(name=f"{stream}: share of naive forgetting that is removed", value=removed, at_least=0.85),
        Bar(name=f"{stream}: plasticity cost, nats per token", value=cost, at_most=0.04),
        Bar(name=f"{stream}: mean of all slices at the end better by, nats per token", value=better, at_least=0.25),
    ]


def price_of(means: Means) -> dict[str, float]:
    """What keeping costs, and what is left to gain."""
    naive_, kept, all_at_once = means["naive"], means["kept"], means["joint"]
    return {
        "kept tokens / naive tokens": kept["tokens"] / naive_["tokens"],
        "kept training time / naive training time": kept["seconds"] / naive_["seconds"],
        "mean at the end, kept over all at once, nats per token": kept["mean_at_the_end"]
        - all_at_once["mean_at_the_end"],
    }


def show(stream: str, rate: float, outcomes: Sequence[dict[str, Outcome]], console: Console) -> None:
    """Print one stream's lineages side by side, mean over seeds (and the range)."""
    table = Table(title=f"{stream}: {len(outcomes)} seeds, naive at its best rate {rate}")
    for column in ("lineage", "forgetting", "plasticity", "mean at the end", "trained tokens", "training s"):
        table.add_column(column, justify="left" if column == "lineage" else "right")
    for lineage in ("naive", "kept", "joint"):
        cells = []
        for field, digits in DIGITS.items():
            figures = (getattr(outcome[lineage], field) for outcome in outcomes)
            values = [value for value in figures if value is not None]
            mean, least, most = (f"{of(values):,.{digits}f}" if values else "–" for of in (statistics.fmean, min, max))
            cells.append(f"{mean} ({least}–{most})" if values else mean)
        table.add_row(lineage, *cells)
    console.print(table)


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--streams", nargs="+", choices=sorted(STREAMS), default=sorted(STREAMS))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    chosen = options.parse_args()
    console = Console(width=160)
    bars: list[Bar] = []
    details = {}
    for stream in chosen.streams:
        outcomes, rate = [], None
        for seed in chosen.seeds:
            outcome, rate = measure(stream, seed, rate, console)
            outcomes.append(outcome)
        assert rate is not None
        show(stream, rate, outcomes, console)
        means = means_of(outcomes)
        bars += bars_of(stream, means)
        price = price_of(means)
        console.print(*(f"{name}: {value:.3f}" for name, value in price.items()), sep="\n")
        details[stream] = {
            "naive_learning_rate": rate,
            "recipe": default_recipe().model_dump(mode="json"),
            "means": means,
            "price": price,
            "seeds": [{name: asdict(value) for name, value in outcome.items()} for outcome in outcomes],
        }
    return report("Forgetting", bars, chosen.json, details)


if __name__ == "__main__":
    sys.exit(main())

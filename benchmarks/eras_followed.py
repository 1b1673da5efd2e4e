"""Streams of four eras, their rounds through the real memory, and models that follow them in ways of their own.

Two streams, over the demo's base model: the demo's own (addresses 1900–2020, in somewhat longer rounds), and a sharper
one (addresses, Python source, addresses in ROT13, addresses of the present). Text goes through the real memory (split,
near-duplicates, reservoir, draw) and each era is one round of the real learner. Forgetting is the average over all
slices that were trained past, plasticity the mean loss of each era right after its round, both in nats per token.
"""

import codecs
import gzip
import statistics
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

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
PEAK_RATE = 2.9e-3
NAIVE_RATES = (1e-3, 2e-3, 3e-3)
JOINT_RATE = 3e-3
JOINT_FLOOR = 0.1
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
    share = RecipeSettings().replay_ratio
    return RecipeSettings(
        learning_rate=PEAK_RATE,
        sequence_length=SEQUENCE,
        batch_sequences=round(NEW_SEQUENCES / (1 - share)),
        # As many rows a pass as naive fine-tuning has: on a CPU larger passes are slower, token by token.
        micro_batch=NEW_SEQUENCES,
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
        replay_ratio=default_recipe().replay_ratio,
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
        scores.add(learned, best_candidate(learned))
        trained.append(_training(learned))
    return outcome_of(scores.matrix, trained)


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


def joint(rounds: Sequence[Path], home: Path) -> Outcome:
    """All eras at once from the base model, half and half with text from before the stream."""
    recipe = default_recipe().model_copy(
        update={
            # Its one round is as long as four, at what suits such a one best: the rate falls to less.
            "learning_rate": JOINT_RATE,
            "floor": JOINT_FLOOR,
            "replay_ratio": 0.5,
            # There is no parent worth keeping to: this lineage sees everything at once.
            "kl": 0.0,
            "batch_sequences": 2 * NEW_SEQUENCES,
            "micro_batch": 2 * NEW_SEQUENCES,
            "interpolation": (0.0,),
        }
    )
    given = [read_round(directory) for directory in rounds]
    fresh = {sample.id: sample for round_input in given for sample in round_input.fresh}
    replayed = {sample.id: sample for round_input in given for sample in round_input.replay}
    write_round(
        home / "all",
        given[-1].spec,
        parent_dir=rounds[0] / "parent",
        base_dir=rounds[0] / "base",
        fresh=list(fresh.values()),
        replay=[sample for number, sample in replayed.items() if number not in fresh],
        early_stop=(),
        slices=given[-1].slices,
    )
    learned = Lineage(home, BASE_MODEL, recipe, threads=THREADS).follow(home / "all")
    means = _eras_told(rounds, home).means(learned, learned.candidates[0])
    return Outcome(None, None, statistics.fmean(means.values()), *_cost([_training(learned)]))


def _eras_told(rounds: Sequence[Path], home: Path) -> EraScores:
    """Which era each held-out document is of, which only a lineage can tell: here one that follows in single steps."""
    recipe = naive(default_recipe(), min(NAIVE_RATES)).model_copy(update={"max_steps": 1})
    lineage = Lineage(home / "to-tell-eras", BASE_MODEL, recipe, threads=THREADS)
    scores = EraScores(len(rounds))
    for directory in rounds:
        learned = lineage.follow(directory)
        scores.add(learned, best_candidate(learned))
    return scores

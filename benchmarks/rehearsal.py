"""How well `riverkeep doctor` foretells a round: its rehearsals against the real round that follows.

    python -m benchmarks.rehearsal [--json FILE] [--model GPT-2]        # some 45 minutes on 2 cores

Five random models of different kinds, three settings each. For each, twice: a rehearsal as the doctor makes it,
then a whole round in a process of its own, on paragraphs of all lengths; a classifier's documents have two of them, as
what is foretold is for documents that fill a row. Figures are foretold / measured, the mean of the two. Memory is
foretold twice: by the rehearsals with the setting's own micro-batch, and by two with 1 and 4 rows, as where the doctor
cannot afford more. How far rehearsals, and rounds, lie apart among themselves is the machine's doing, and in the JSON.

With `--model` only that one's figures are measured, with `--missing` only those that FILE lacks; what FILE tells of the
others stays there. It is written after each setting.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from benchmarks.random_models import (
    LABELS,
    farthest_off,
    imported,
    kept_details,
    label_names,
    options_for,
    run_round,
)
from benchmarks.report import Bar, report
from checkpoints.card import ModelKind
from checkpoints.generation_store import BASE
from daemon.demo.text import eras
from daemon.doctor.rehearsal import FEWEST_STEPS, FailedRehearsal, RehearsalFigures, Subject, rehearse
from daemon.doctor.round_cost import RoundWork, estimate_seconds, fit_memory
from daemon.doctor.rounds import TIMED_S
from learner.directory.report import TrainingSummary
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, RoundSpec, write_round
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings

POSITIONS = 1024
"""Tokens of the longest sequence."""
FRESH, HELD_OUT, EARLY = 20, 12, 1
"""Documents of each role; of the new text, as large a share may end a round early as in the service."""
REPLAYED = round(FRESH * RecipeSettings().replay_ratio / (1 - RecipeSettings().replay_ratio))
"""As many as the service draws beside them."""
PARAGRAPHS: Mapping[ModelKind, tuple[int, ...]] = {"causal-lm": (1, 2, 3), "classifier": (2,)}
"""In one document after another, some 230 tokens each."""
ROUNDS = 2
"""Rehearsals, and rounds, of each setting, in turn. On a shared machine the same round takes up to a third more or less
from one minute to the next, which is not the doctor's error: a round is held to the rehearsal just before it."""
LIMIT_S = 600.0
WITHIN = 1.2
TITLE = "foretold by the doctor / measured in the round"
SETTINGS: Mapping[str, dict[str, Any]] = {
    "16 x 256": {"micro_batch": 16, "sequence_length": 256},
    "8 x 512": {"micro_batch": 8, "sequence_length": 512},
    "16 x 256, checkpointing": {"micro_batch": 16, "sequence_length": 256, "gradient_checkpointing": True},
}


def llama() -> Any:
    """Of 9 million parameters."""
    sizes: dict[str, Any] = {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
    }
    return LlamaForCausalLM(LlamaConfig(vocab_size=2048, max_position_embeddings=POSITIONS, **sizes))


def wide_vocabulary() -> Any:
    """A small body below fifty thousand logits."""
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 176,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=50_000, max_position_embeddings=POSITIONS, tie_word_embeddings=True, **sizes)
    )


def gpt2() -> Any:
    """With dropout and learned positions."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=2048, n_positions=POSITIONS, n_embd=192, n_layer=6, n_head=6))


def experts() -> Any:
    """Eight experts a layer."""
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
    }
    return MixtralForCausalLM(
        MixtralConfig(vocab_size=2048, max_position_embeddings=POSITIONS, num_key_value_heads=2, **sizes)
    )


def bert() -> Any:
    """A classifier."""
    sizes: dict[str, Any] = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
    }
    return BertForSequenceClassification(
        BertConfig(vocab_size=2048, max_position_embeddings=POSITIONS, **label_names(), **sizes)
    )


MODELS: Mapping[str, tuple[ModelKind, Callable[[], Any]]] = {
    "Llama": ("causal-lm", llama),
    "Llama, vocabulary 50,000": ("causal-lm", wide_vocabulary),
    "GPT-2": ("causal-lm", gpt2),
    "Mixtral": ("causal-lm", experts),
    "BERT": ("classifier", bert),
}


@dataclass(frozen=True, slots=True)
class Compared:
    """Foretold / measured."""

    name: str
    memory: float
    memory_extrapolated: float
    seconds: float
    facts: Mapping[str, float]


def compare(name: str, subject: Subject, folder: Path) -> Compared:
    """Rehearse and run the round, time and again; compare each round with the rehearsal before it."""
    rows = subject.settings.recipe.micro_batch
    one_row, four_rows = (_rehearse(subject, count, folder, FEWEST_STEPS) for count in (1, 4))
    steps = subject.steps_within(TIMED_S, one_row.trained_per_second, rows)
    rounds = [_round_after_rehearsal(subject, folder, steps) for _ in range(ROUNDS)]
    direct = median(fit_memory([own], 0.0).of(rows) for own, _, _ in rounds)
    extrapolated = fit_memory([one_row, four_rows], 0.0).of(rows)
    peak = median(training.peak_memory_bytes for _, training, _ in rounds)
    work = work_of(subject)
    foretold = [estimate_seconds(own, subject.settings, subject.kind, work).total for own, _, _ in rounds]
    took = [seconds for _, _, seconds in rounds]
    ratios = [estimate / seconds for estimate, seconds in zip(foretold, took, strict=True)]
    return Compared(
        name,
        direct / peak,
        extrapolated / peak,
        median(ratios),
        {
            "rounds": ROUNDS,
            "peak_gib": peak / 2**30,
            "foretold_gib": direct / 2**30,
            "seconds": median(took),
            "shortest_seconds": min(took),
            "longest_seconds": max(took),
            "foretold_seconds": median(foretold),
            "shortest_foretold_seconds": min(foretold),
            "longest_foretold_seconds": max(foretold),
        },
    )


def _round_after_rehearsal(
    subject: Subject, folder: Path, steps: int
) -> tuple[RehearsalFigures, TrainingSummary, float]:
    own = _rehearse(subject, subject.settings.recipe.micro_batch, folder, steps)
    training, took = real_round(subject, folder)
    return own, training, took


def _rehearse(subject: Subject, rows: int, folder: Path, steps: int) -> RehearsalFigures:
    outcome = rehearse(subject, rows, steps=steps, seconds=LIMIT_S, within=folder, on_progress=lambda _: None)
    if isinstance(outcome, FailedRehearsal):
        raise SystemExit(outcome.why)
    return outcome


def documents(first: int, count: int, kind: ModelKind) -> list[RoundSample]:
    """Documents of the demo's stream, spread over its eras; with labels for a classifier."""
    everything = [paragraph.text for era in eras() for paragraph in era.paragraphs]
    step = len(everything) // (FRESH + REPLAYED + HELD_OUT + EARLY)
    return [
        RoundSample(
            number,
            " ".join(everything[number * step :][: PARAGRAPHS[kind][number % len(PARAGRAPHS[kind])]]),
            "speeches",
            LABELS[number % 2] if kind == "classifier" else None,
        )
        for number in range(first, first + count)
    ]


def work_of(subject: Subject) -> RoundWork:
    """The round's work in the model's own tokens."""
    tokenizer = AutoTokenizer.from_pretrained(subject.directory)
    cut = subject.width if subject.kind == "classifier" else None

    def tokens(first: int, count: int) -> int:
        lengths = (len(tokenizer(one.text)["input_ids"]) for one in documents(first, count, subject.kind))
        return sum(min(length, cut or length) for length in lengths)

    new, held_out = tokens(0, FRESH), tokens(FRESH + REPLAYED, HELD_OUT)
    return RoundWork(new, new / FRESH, held_out, held_out)


def real_round(subject: Subject, folder: Path) -> tuple[TrainingSummary, float]:
    """Run it; its summary, and seconds without the start of the process."""
    directory, kind = folder / "round", subject.kind
    ref, replayed = GenerationRef(BASE, subject.digest), REPLAYED
    write_round(
        directory,
        RoundSpec(round=1, kind=kind, seed=1, parent=ref, base=ref, recipe=subject.settings.recipe, device="cpu"),
        parent_dir=subject.directory,
        base_dir=subject.directory,
        fresh=documents(0, FRESH, kind),
        replay=documents(FRESH, replayed, kind),
        early_stop=documents(FRESH + replayed + HELD_OUT, EARLY, kind),
        slices=[RoundSlice("anchor", "anchor", "speeches", tuple(documents(FRESH + replayed, HELD_OUT, kind)))],
    )
    training = run_round(directory, limit_s=LIMIT_S)
    shutil.rmtree(directory)
    return training, sum(training.phase_seconds.values())


def subject_of(name: str, folder: Path, changes: Mapping[str, Any]) -> Subject:
    """A model as generation 0 of a store in the folder, with the settings of a round."""
    kind, make = MODELS[name]
    model = imported(kind, make, folder, positions=POSITIONS)
    return Subject(
        directory=model.directory,
        digest=model.digest,
        kind=kind,
        longest=POSITIONS,
        characters_per_token=model.characters_per_token,
        settings=LearnerSettings(device="cpu", recipe=RecipeSettings(batch_sequences=40, **changes)),
    )


def _compared(name: str, figures: dict[str, float]) -> Compared:
    memory, extrapolated, seconds_ratio = map(figures.pop, ("memory", "memory_extrapolated", "seconds_ratio"))
    return Compared(name, memory, extrapolated, seconds_ratio, figures)


def main() -> int:
    """Run the benchmark."""
    options = options_for(__doc__, list(MODELS))
    known = {name: _compared(name, dict(figures)) for name, figures in kept_details(options).items()}
    models = list(MODELS) if options.model is None else [options.model]
    wanted = [(model, setting) for model in models for setting in SETTINGS]
    if options.missing:
        wanted = [pair for pair in wanted if ", ".join(pair) not in known]
    console = Console(stderr=True)
    for number, (model, setting) in enumerate(wanted, 1):
        with tempfile.TemporaryDirectory() as folder:
            subject = subject_of(model, Path(folder), SETTINGS[setting])
            compared = compare(f"{model}, {setting}", subject, Path(folder))
        known[compared.name] = compared
        console.print(
            f"{number} of {len(wanted)}: {compared.name}: memory {compared.memory:.2f}, "
            f"extrapolated {compared.memory_extrapolated:.2f}, seconds {compared.seconds:.2f}"
        )
        if number < len(wanted):
            report(TITLE, bars(list(known.values())), options.json, details(list(known.values())))
    return report(TITLE, bars(list(known.values())), options.json, details(list(known.values())))


def bars(found: Sequence[Compared]) -> list[Bar]:
    """The farthest off of each, as a factor of at least 1, whichever way."""
    figures = {
        "memory, farthest off": [one.memory for one in found],
        "memory from 1 and 4 rows, farthest off": [one.memory_extrapolated for one in found],
        "seconds, farthest off": [one.seconds for one in found],
    }
    return [Bar(name=name, value=farthest_off(ratios), at_most=WITHIN) for name, ratios in figures.items()]


def details(found: Sequence[Compared]) -> dict[str, Any]:
    """All figures."""
    return {
        one.name: {
            "memory": one.memory,
            "memory_extrapolated": one.memory_extrapolated,
            "seconds_ratio": one.seconds,
            **one.facts,
        }
        for one in found
    }


if __name__ == "__main__":
    sys.exit(main())

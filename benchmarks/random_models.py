"""Random models as generation 0, and real rounds on them: what the doctor's forecasts are held to."""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoTokenizer

from benchmarks.report import arguments
from checkpoints.base.prepare import import_base
from checkpoints.card import ModelKind
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BASE_MODEL
from daemon.doctor.rehearsal import filler
from daemon.processes.learner import LearnerEnding, LearnerLimits
from daemon.processes.learner_process import LearnerProcess
from learner.directory.report import TrainingSummary, read_report

LABELS: Final = ("calm", "storm")
"""Of classifiers."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A model as generation 0.

    Attributes:
        store: where the generations lie.
        directory: of this one.
        digest: of its files.
        characters_per_token: of made-up text.
    """

    store: Path
    directory: Path
    digest: str
    characters_per_token: float


def label_names() -> dict[str, Any]:
    """The labels as a classifier's configuration has them."""
    return {"id2label": dict(enumerate(LABELS)), "label2id": {name: number for number, name in enumerate(LABELS)}}


def imported(kind: ModelKind, make: Callable[[], Any], folder: Path, *, positions: int) -> Imported:
    """Make a model with the demo's tokenizer, and import it; one that is there already is taken.

    Args:
        kind: of the model.
        make: makes it, always with the same weights.
        folder: for its files and the store.
        positions: tokens of the longest sequence that the tokenizer is said to bear.
    """
    store, tokenizer = GenerationStore(folder / "checkpoints"), AutoTokenizer.from_pretrained(BASE_MODEL)
    if BASE not in store.numbers():
        torch.manual_seed(0)
        model = make()
        model.save_pretrained(folder / "model")
        tokenizer.model_max_length = positions
        tokenizer.save_pretrained(folder / "model")
        _reach_last_row(folder / "model" / "tokenizer.json", rows=model.get_input_embeddings().weight.shape[0])
        import_base(store, folder / "model", kind=kind)
    text = filler(4_000, 0)
    return Imported(
        folder / "checkpoints", store.path(BASE), store.digest(BASE), len(text) / len(tokenizer(text)["input_ids"])
    )


def _reach_last_row(file: Path, *, rows: int) -> None:
    """Let a tokenizer know a token for the last row, as one does that was made for so large a vocabulary."""
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    if rows - 1 not in vocabulary.values():
        vocabulary["\ue000"] = rows - 1
    file.write_text(json.dumps(tokenizer), encoding="utf-8")


def run_round(directory: Path, *, limit_s: float) -> TrainingSummary:
    """Run a round that is written, in a learner's process; return what its training took.

    Raises:
        SystemExit: it came to no end, or trained nothing.
    """
    limits = LearnerLimits(silence=limit_s, time=limit_s)
    ended = LearnerProcess().run(directory, limits=limits, on_progress=lambda _: None, must_stop=lambda: False)
    if ended.ending is not LearnerEnding.FINISHED:
        raise SystemExit(ended.detail)
    report = read_report(directory)
    if report.training is None:
        raise SystemExit(report.detail)
    return report.training


def farthest_off(ratios: Iterable[float]) -> float:
    """The farthest of ratios from 1, as a factor of at least 1, whichever way."""
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def options_for(description: str | None, models: Sequence[str]) -> argparse.Namespace:
    """What the command line says: `json`, `model` and `missing`."""
    parser = arguments(description)
    parser.add_argument("--model", choices=models, help="only this one")
    parser.add_argument("--missing", action="store_true", help="only what FILE lacks")
    return parser.parse_args()


def kept_details(options: argparse.Namespace) -> dict[str, Any]:
    """What the file holds of earlier runs that is to stay in it; empty where everything is measured."""
    file = options.json
    if file is None or not file.exists() or (options.model is None and not options.missing):
        return {}
    details: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["details"]
    return details

"""A head for a model that classifies nothing yet, or labels for one whose labels have no names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoModelForSequenceClassification,
)

from checkpoints.base.saving import save_model
from checkpoints.errors import UnusableModel
from checkpoints.files.label_names import NEW_WEIGHTS, labels_in, unnamed_labels
from checkpoints.files.model_files import read_config
from checkpoints.load import LOCAL, load_tokenizer
from checkpoints.reasons import explain_failures

HEAD_SEED: Final = 0


def add_head(model: Path, plain: Path, scratch: Path, labels: tuple[str, ...]) -> Path:
    """The model itself when it classifies already, else a copy with a head for `labels`.

    A head whose labels have no names is given those of `labels`.
    """
    config = read_config(plain)
    if classifies(config):
        named = labels_in(plain)
        if named != unnamed_labels(len(labels)):
            _require_labels(model, named, labels)
            return plain
    if len(labels) < 2:
        raise UnusableModel(
            f"{model} has no classification head, and {len(labels)} labels are set; name at least two labels"
        )
    # The head is drawn at random: the same base imported again is to be the same generation.
    torch.manual_seed(HEAD_SEED)
    names = dict(enumerate(labels))
    with explain_failures(model):
        made, loading = AutoModelForSequenceClassification.from_pretrained(
            plain,
            id2label=names,
            label2id={label: n for n, label in names.items()},
            use_safetensors=True,
            output_loading_info=True,
            **LOCAL,
        )
        # What was drawn learns at another rate in its first round, and has to be known by then.
        if drawn := sorted(loading["missing_keys"]):
            setattr(made.config, NEW_WEIGHTS, drawn)
        save_model(scratch, made, load_tokenizer(plain))
    return scratch


def classifies(config: Mapping[str, Any]) -> bool:
    """Whether a configuration says that the model has a classification head."""
    return any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ())


def _require_labels(model: Path, named: tuple[str, ...], labels: tuple[str, ...]) -> None:
    # What comes after them is learned later.
    if labels and named != labels[: len(named)]:
        raise UnusableModel(
            f"{model} classifies into {', '.join(named)}, the settings name {', '.join(labels)}; "
            "name the same labels in the same order, or none"
        )

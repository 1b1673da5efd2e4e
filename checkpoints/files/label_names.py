"""What a classifier answers, by its configuration: its labels, and whether one is right or several. No torch."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnusableModel
from checkpoints.files.config_fields import EXAMPLE, shorten
from checkpoints.files.model_files import read_config

# How many labels transformers gives a model whose configuration says nothing of them.
LABELS_UNNAMED: Final = 2
ONE_OF_THEM: Final = "single_label_classification"
SEVERAL: Final = "multi_label_classification"
REGRESSION: Final = "regression"
NEW_WEIGHTS: Final = "riverkeep_new_weights"
"""In a base's configuration: the names of the weights that its import drew at random, for its first round to learn."""


def labels_in(directory: Path) -> tuple[str, ...]:
    """A classifier's labels in the order of its answers, as its `config.json` names them.

    Raises:
        UnusableModel: the file cannot be read, or does not number its labels 0 to n-1 with n names.
    """
    try:
        return labels_of(read_config(directory))
    except ValueError as error:
        raise UnusableModel(f"{directory / 'config.json'}: {error}") from None


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels that a configuration names.

    Args:
        config: as `read_config` reads it.

    Raises:
        ValueError: they are not numbered 0 to n-1, not told apart by their names, or not as many as are counted.
    """
    names_by_number, counted = config.get("id2label"), config.get("num_labels")
    # As transformers does it: a classifier without names has `LABEL_0`, `LABEL_1` and so on.
    if not names_by_number:
        return unnamed_labels(counted or LABELS_UNNAMED)
    numbers = sorted(int(number) for number in names_by_number)
    if numbers != list(range(len(numbers))):
        raise ValueError(
            f"id2label numbers its labels {', '.join(map(str, numbers[:8]))}, the head's answers count from 0 without "
            f"a gap: write such as {EXAMPLE}, with a name for each answer of the head"
        )
    if counted not in (None, len(numbers)):
        raise ValueError(f"num_labels is {counted}, id2label names {len(numbers)}: leave num_labels out, or name each")
    _require_names(names_by_number)
    # By number: the keys of JSON are texts, among which 10 comes before 2.
    names = tuple(str(name) for _, name in sorted(names_by_number.items(), key=lambda item: int(item[0])))
    # transformers' own map from names back to numbers would lose one of them.
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"id2label calls several labels {shorten(twice[0])}: answers need names that tell them apart")
    return names


def _require_names(names_by_number: Mapping[str, Any]) -> None:
    for number, name in names_by_number.items():
        if name is None or not str(name).strip():
            raise ValueError("id2label has a label without a name: name each, or none")
        if isinstance(name, bool) or not isinstance(name, str | int) or not _is_unicode(str(name)):
            raise ValueError(f"id2label names label {number} {shorten(name)}, a name must be a text, as in {EXAMPLE}")


def _is_unicode(name: str) -> bool:
    """Whether it can be written; half of a surrogate pair, which JSON can escape, cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def unnamed_labels(count: int) -> tuple[str, ...]:
    """The names that transformers gives to labels that have none."""
    return tuple(f"LABEL_{number}" for number in range(count))


def is_multi_label(config: Mapping[str, Any]) -> bool:
    """Whether each label is right or wrong by itself, rather than one of them right."""
    return config.get("problem_type") == SEVERAL


def require_labels(directory: Path) -> None:
    """Refuse a head that answers with a number rather than with labels.

    Raises:
        UnusableModel: it is one for regression, or for a problem that is not known.
    """
    config = read_config(directory)
    problem = config.get("problem_type")
    if problem not in (None, ONE_OF_THEM, SEVERAL, REGRESSION):
        raise UnusableModel(
            f"{directory / 'config.json'}: problem_type is {shorten(problem)}; it must be {ONE_OF_THEM} or {SEVERAL}"
        )
    if problem == REGRESSION or len(labels_in(directory)) == 1:
        raise UnusableModel(
            f"{directory} gives one number for a text (a head for regression), no labels: a classifier needs a head "
            "with at least two answers"
        )

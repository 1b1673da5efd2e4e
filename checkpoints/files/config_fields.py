"""Which fields of `config.json` are relied on before transformers reads it, and what each must be. No torch."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnusableModel

LONGEST_SHOWN: Final = 80
PART: Final = "text_config"
# More than any classifier has: a slip of a number would fill the memory with names.
MOST_LABELS: Final = 1_000_000
EXAMPLE: Final = '{"0": "calm", "1": "flood"}'


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    # To Python `true` is a whole number.
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_LABELS


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_labels(value: Any) -> bool:
    # By its length first: Python refuses to read a number of thousands of digits, with an error of its own.
    most = len(str(MOST_LABELS))
    return isinstance(value, Mapping) and all(number.isdecimal() and len(number) <= most for number in value)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


# What must hold where a field is there, and how that is said. Null is as if it were not there, but for `num_labels`,
# which transformers counts with.
_FIELDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "model_type": (_is_text, 'a text, such as "llama"'),
    "architectures": (_are_texts, 'a list of texts, such as ["LlamaForCausalLM"]'),
    "num_labels": (_is_count, f"a whole number from 1 to {MOST_LABELS:,}"),
    "id2label": (_are_labels, f"a map that names labels by number, such as {EXAMPLE}"),
    PART: (_is_map, "a map of fields"),
}
_NEVER_NULL: Final = frozenset({"num_labels"})


def require_fields(file: Path, config: Mapping[str, Any], within: str = "") -> None:
    """Refuse a configuration in which a field is of another type than it has everywhere; so in that of its text part.

    Args:
        file: that it was read from.
        config: what was read.
        within: where in the file that stands, such as "text_config.".

    Raises:
        UnusableModel: names the file and the field, what it is, and what it must be.
    """
    for name, (is_right, what) in _FIELDS.items():
        if name not in config or (config[name] is None and name not in _NEVER_NULL):
            continue
        if not is_right(config[name]):
            raise UnusableModel(
                f"{file}: {within}{name} is {shorten(config[name])}, it must be {what}; correct it, or take the file "
                "from the model's source again"
            )
    # One level alone, so that a file that nests without end comes to one here.
    if not within and config.get(PART):
        require_fields(file, config[PART], f"{PART}.")


def shorten(value: object) -> str:
    """A value for an error, in one short line."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"

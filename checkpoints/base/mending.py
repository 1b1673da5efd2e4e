"""What of a foreign configuration is not taken over: code that it names, ids that the model has not. No torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnusableModel
from checkpoints.files.model_files import CODE_KEYS, CONFIGURATIONS, model_files, read_object
from checkpoints.files.weight_files import AGAIN

TEMPLATE: Final = ".jinja"
PAD: Final = "pad_token_id"
SINGLE_IDS: Final = frozenset({PAD, "bos_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id"})
SEVERAL_IDS: Final = frozenset({"eos_token_id"})
# How attention was computed elsewhere: kernels that may not be here, and that change no answer.
KERNELS: Final = frozenset({"attn_implementation", "_attn_implementation", "_attn_implementation_internal"})
LEFT_OUT: Final = CODE_KEYS | KERNELS


def mend(model: Path, scratch: Path) -> Path:
    """The model itself where its configurations can be taken as they are; else a copy in `scratch` with plain ones.

    Plain ones name neither code nor kernels, hold only ids that the model has, and are written in UTF-8. What is large
    is linked.

    Raises:
        UnusableModel: a configuration cannot be read.
    """
    files = model_files(model, code_is_left=True)
    vocabulary = _vocabulary(read_object(files["config.json"]), None)
    changed: dict[str, Mapping[str, Any] | str] = {}
    for name, path in files.items():
        if name in CONFIGURATIONS:
            values = read_object(path)
            plain = mend_config(values, vocabulary)
            # As text: 2.0 and 2 are equal, and only one of them is an id.
            if json.dumps(plain) != json.dumps(values) or not _is_plain(path):
                changed[name] = plain
        elif path.suffix == TEMPLATE and (text := _text(path)).encode() != path.read_bytes():
            changed[name] = text
    return link_files(files, scratch, changed) if changed else model


def _text(path: Path) -> str:
    """A chat template, whose byte order mark every prompt would begin with."""
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableModel(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}); {AGAIN}") from None


def link_files(files: Mapping[str, Path], target: Path, changed: Mapping[str, Mapping[str, Any] | str]) -> Path:
    """Make directory `target` of links to `files`, but for those that get new values (JSON) or another text."""
    for name, path in files.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if name in changed:
            new = changed[name]
            place.write_bytes((new if isinstance(new, str) else json.dumps(new, indent=2)).encode())
        else:
            # Publishing copies what it is given: a copy here would cost the weights' size twice.
            place.symlink_to(path.resolve())
    return target


def mend_config(values: Mapping[str, Any], vocabulary: int | None) -> dict[str, Any]:
    """A configuration without what names code or kernels, and with no id that is none.

    Args:
        values: what was read.
        vocabulary: how many ids there are; None where that is not known.
    """
    rows = _vocabulary(values, vocabulary)
    # With the vocabulary of the part, where it has one: its ids are counted by that.
    return {name: _mend_value(name, value, rows) for name, value in values.items() if name not in LEFT_OUT}


def _mend_value(name: str, value: Any, rows: int | None) -> Any:
    if name in SINGLE_IDS:
        return _id(value, rows)
    if name in SEVERAL_IDS:
        if not isinstance(value, list) or len(value) == 1:
            return _id(value, rows)
        return [number for number in (_id(each, rows) for each in value) if number is not None] or None
    if isinstance(value, Mapping):
        return mend_config(value, rows)
    if isinstance(value, list):
        return [mend_config(each, rows) if isinstance(each, Mapping) else each for each in value]
    return value


def _id(value: Any, rows: int | None) -> int | None:
    """The id that is meant; None where there is none, as with -1, which other tools write for that."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < (rows or value + 1) else None


def _vocabulary(values: Mapping[str, Any], otherwise: int | None) -> int | None:
    own = values.get("vocab_size")
    if own is None and isinstance(values.get("text_config"), Mapping):
        own = values["text_config"].get("vocab_size")
    return own if isinstance(own, int) and own > 0 else otherwise


def _is_plain(path: Path) -> bool:
    """Whether transformers can read it: it takes UTF-8 without a byte order mark alone."""
    begins = path.read_bytes()[:4]
    return not begins.startswith(b"\xef\xbb\xbf") and b"\0" not in begins and b"\xff" not in begins

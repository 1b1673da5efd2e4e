"""The base model as generation 0: converted where it must be, refused where it cannot be trained."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from checkpoints.adapters.ground import is_adapter
from checkpoints.base.convert_gguf import convert_gguf
from checkpoints.base.described_size import require_size
from checkpoints.base.head import add_head, classifies
from checkpoints.base.mending import PAD, link_files, mend
from checkpoints.base.saving import save_model, say_when_the_disk_refuses
from checkpoints.card import Card, ModelKind
from checkpoints.document_frame import FRAME_FILE, write_frame
from checkpoints.errors import MismatchedTokenizer, UnsafeModel, UnusableModel
from checkpoints.files.label_names import require_labels
from checkpoints.files.model_files import NEVER_RUN, model_files, read_config
from checkpoints.files.weight_files import require_whole
from checkpoints.generation_store import BASE, GenerationStore, Published
from checkpoints.kinds import KINDS
from checkpoints.load import LOCAL, load_model, load_tokenizer, require_match, require_shapes
from checkpoints.matching import right_pad
from checkpoints.probe.ask import conduct_of
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import REFERENCE_FILE, write_reference
from checkpoints.probe.separators import frame_of
from checkpoints.reasons import explain_configuration, explain_failures, needs_code, reason, tokenizer_needs_code
from checkpoints.sequence_length import LENGTH_FILE, SequenceLength, write_length

# A model of up to so many weights is probed in single precision, where faults cannot hide behind rounding; of a larger
# one that would take memory that may not be there.
PROBED_IN_SINGLE: Final = 500_000_000
TRIAL_TEXT: Final = "The river rises."
_KNOWN: Final[dict[ModelKind, Any]] = {
    "causal-lm": MODEL_FOR_CAUSAL_LM_MAPPING,
    "seq2seq": MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    "masked-lm": MODEL_FOR_MASKED_LM_MAPPING,
    "classifier": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
}


def import_base(
    store: GenerationStore,
    model: Path,
    *,
    kind: ModelKind = "causal-lm",
    labels: tuple[str, ...] = (),
    length: SequenceLength | None = None,
) -> Published:
    """Make a Hugging Face model directory, or a .gguf file (converted once), generation 0 of a store.

    An encoder that has no classification head yet gets one for `labels`. When generation 0 is there
    already, it is kept and returned: the base is imported once.

    Args:
        store: of the generations.
        model: the directory or file.
        kind: what the model is for.
        labels: the classes, in order; needed for a classifier whose configuration names none.
        length: how long sequences are from now on, where nothing is set; None: not chosen.

    Raises:
        UnsafeModel, UnusableModel, MismatchedTokenizer: it cannot be the base, and why.
        PublishFailed: the disk refused.
    """
    # Whatever the settings name by now: every generation since was trained from this one.
    if BASE in store.numbers():
        return Published(BASE, store.digest(BASE), store.path(BASE))
    card = Card(BASE, kind, source=str(model.resolve()))
    store.root.mkdir(parents=True, exist_ok=True)
    # In the store's own file system, which has to have the room anyway; a crash leaves it to `sweep`.
    with tempfile.TemporaryDirectory(dir=store.root, prefix=".import-") as scratch:
        prepared = prepare_base(model, Path(scratch), kind, labels)
        return store.publish(_with_length(prepared, Path(scratch) / "measured", length), BASE, card)


def _with_length(prepared: Path, scratch: Path, length: SequenceLength | None) -> Path:
    """The same directory with what was chosen for this state, whatever another one had."""
    files = model_files(prepared)
    if length is None and LENGTH_FILE not in files:
        return prepared
    with say_when_the_disk_refuses(scratch):
        measured = link_files({name: path for name, path in files.items() if name != LENGTH_FILE}, scratch, {})
        if length is not None:
            write_length(measured, length)
    return measured


def prepare_base(model: Path, scratch: Path, kind: ModelKind, labels: tuple[str, ...]) -> Path:
    """The directory to publish as generation 0: `model` itself, or one made in `scratch` from it.

    Raises:
        UnsafeModel, UnusableModel, MismatchedTokenizer, UnfitModel: it cannot be the base.
        PublishFailed: the disk refused.
    """
    try:
        return _prepare(model, scratch, kind, labels)
    except (UnsafeModel, UnusableModel, MismatchedTokenizer) as error:
        # Of what is made on the way nobody knows, and it is gone when the message is read.
        message = re.sub(f"{re.escape(str(scratch))}/\\w+", lambda _: str(model), str(error))
        raise type(error)(message) from error


def _prepare(model: Path, scratch: Path, kind: ModelKind, labels: tuple[str, ...]) -> Path:
    if model.suffix.lower() == ".gguf":
        plain = convert_gguf(model, scratch / "converted", kind)
    else:
        plain = _plain(model, scratch, kind)
    headed = add_head(model, plain, scratch / "headed", labels) if kind == "classifier" else plain
    loaded, tokenizer = load_model(headed, kind), load_tokenizer(headed)
    require_match(loaded, kind, tokenizer, model)
    # Everything that could fail later is tried here: the first round would find it out hours from now.
    _require_training(loaded, kind, tokenizer, model)
    if sum(weight.numel() for weight in loaded.parameters()) <= PROBED_IN_SINGLE:
        loaded = loaded.float()
    conduct = conduct_of(loaded, kind, tokenizer)
    padded = _ensure_padding(headed, scratch / "padded", loaded, tokenizer)
    if kind != "causal-lm":
        return padded
    # Kept with the model, not asked in each round: a fine-tuned one could answer otherwise.
    frame = frame_of(loaded, tokenizer, together=conduct.rows_together)
    # As another state had them, they may be another model's.
    files = {name: path for name, path in model_files(padded).items() if name not in (FRAME_FILE, REFERENCE_FILE)}
    with say_when_the_disk_refuses(scratch):
        framed = link_files(files, scratch / "framed", {})
        write_frame(framed, frame)
        write_reference(framed, reference_of(loaded, tokenizer))
    return framed


def _plain(model: Path, scratch: Path, kind: ModelKind) -> Path:
    """A model directory of this kind, of text alone, that asks for no code."""
    if is_adapter(model):
        raise UnusableModel(
            f"{model} is a generation that is an adapter, its other weights are another's: name what `riverkeep "
            "export` makes of it"
        )
    # Code that is named is no reason yet: where transformers has the class, the name is taken out below.
    model_files(model, code_is_left=True)
    require_whole(model)
    config = read_config(model)
    _refuse_needed_code(model, config)
    parts = (config, config.get("text_config") or {})
    quantized = next((part["quantization_config"] for part in parts if part.get("quantization_config")), None)
    if quantized:
        how = quantized.get("quant_method", "quantized") if isinstance(quantized, Mapping) else "quantized"
        raise UnusableModel(
            f"{model} has quantized weights ({how}), which cannot be trained: take the model's own weights, as they "
            "were before that, or a .gguf file"
        )
    if kind == "classifier" and classifies(config):
        require_labels(model)
    with say_when_the_disk_refuses(scratch):
        plain = mend(model, scratch / "plain")
    return _text_part(model, plain, scratch / "text", kind)


def _refuse_needed_code(model: Path, config: Mapping[str, Any]) -> None:
    why = needs_code(config) or tokenizer_needs_code(model)
    if why:
        raise UnsafeModel(f"{model} needs code of its own: {why}; {NEVER_RUN}")


def _text_part(model: Path, plain: Path, scratch: Path, kind: ModelKind) -> Path:
    """The part that reads and writes text, of a model that has others as well (for images, sound); else the model."""
    with explain_failures(plain, explain_configuration):
        config = AutoConfig.from_pretrained(plain, **LOCAL)
        text = config.get_text_config()
    own = _architectures_of(kind, type(text))
    if own is None and _architectures_of(kind, type(config)) is None:
        raise UnusableModel(_no_such_head(model, config, kind))
    # Its class would load, and be asked without the text that it was trained to read.
    if kind in ("causal-lm", "masked-lm") and _answers_another(config):
        raise UnusableModel(
            f"{model} reads one text to write another ({config.model_type}, an encoder with a decoder), it is no "
            f'{KINDS[kind].title}: set `model.kind = "seq2seq"`, or take one that '
            f"{'goes on with' if kind == 'causal-lm' else 'fills gaps in'} a text"
        )
    with explain_failures(plain):
        require_size(plain, own or _architectures_of(kind, type(config)), config if own is None else text)
    if text is config or "text_config" not in type(config).sub_configs or own is None:
        return plain
    with explain_failures(plain):
        part, drawn = _load_part(model, plain, own, _with_labels(config, text))
        save_model(scratch, part, load_tokenizer(plain), without=drawn)
    if drawn:
        # A head that is not stored is for `add_head` to make: with the labels that are set, and known as new.
        headless = {**read_config(scratch), "architectures": None}
        (scratch / "config.json").write_text(json.dumps(headless, indent=2), encoding="utf-8")
    return scratch


def _architectures_of(kind: ModelKind, config: type) -> Any:
    return _KNOWN[kind].get(config, None)


def _answers_another(config: Any) -> bool:
    """Whether a checkpoint is of an encoder and its decoder: the latter alone would be served without what it reads."""
    decoder = any(str(name).endswith("ForCausalLM") for name in config.architectures or ())
    return bool(getattr(config, "is_encoder_decoder", False)) and not decoder


def _no_such_head(model: Path, config: Any, kind: ModelKind) -> str:
    part = config.get_text_config().model_type
    named = config.model_type if part == config.model_type else f"{config.model_type}, its text part {part}"
    return (
        f"{model} ({named}) is no {KINDS[kind].title} that transformers has; set another `model.path` or `model.kind`"
    )


def _with_labels(config: Any, text: Any) -> Any:
    """The configuration of the text part, with what the whole one says of answers."""
    for name in ("id2label", "label2id", "problem_type", "eos_token_id", "bos_token_id", PAD):
        whole = config.__dict__.get(name)
        if whole is not None:
            setattr(text, name, whole)
    return text


def _load_part(model: Path, plain: Path, own: Any, text: Any) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load the text part's weights under the names that it has alone; a head that is not stored is the embedding.

    Returns:
        the part, and the weights of a classifier's head that are not stored.
    """
    # Whole models put their text part under one of these names, their classes for text alone under none.
    inside = r"^(?:model\.)?(?:language_model|text_model)\."
    renamed = {f"{inside}lm_head\\.": "lm_head.", f"{inside}(?:model\\.)?": "model."}
    least: set[str] = set()
    # Configurations of whole and part may disagree: where the head alone is missing, it was the embedding.
    for tied in (text.tie_word_embeddings, True):
        text.tie_word_embeddings = tied
        for names in (renamed, None):
            part, info = own.from_pretrained(
                plain,
                config=text,
                key_mapping=names,
                dtype="auto",
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # They are refused below, by name.
                output_loading_info=True,
                **{name: value for name, value in LOCAL.items() if name != "trust_remote_code"},
            )
            require_shapes(plain, info)
            drawn = frozenset(name for name in info["missing_keys"] if name.startswith(("score.", "classifier.")))
            missing = set(info["missing_keys"]) - drawn
            if not missing:
                assert isinstance(part, PreTrainedModel)
                # Else they would be saved under the names that they had in the whole.
                vars(part).pop("_weight_conversions", None)
                return part, drawn
            least = min(least or missing, missing, key=len)
        if least != {"lm_head.weight"}:
            break
    raise UnusableModel(
        f"{model}: its text part ({text.model_type}) lacks weights ({len(least)}, such as {min(least)}); save the text "
        f"part alone, as {own.__name__}"
    )


def _require_training(model: PreTrainedModel, kind: ModelKind, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Refuse a model whose pass in training asks for more than text: the first round would find it out."""
    read = tokenizer(TRIAL_TEXT, return_tensors="pt")
    asked = {name: read[name] for name in ("input_ids", "attention_mask")}
    if kind == "seq2seq":
        # The input stands for what is written: any tokens will do.
        asked["decoder_input_ids"] = read["input_ids"]
    model.train()
    try:
        # In training mode dropout draws; whoever imports must not find the random state moved.
        with torch.no_grad(), torch.random.fork_rng(), explain_failures(path, _not_trained):
            model(**asked)
    finally:
        model.eval()


def _not_trained(path: Path, error: Exception) -> str:
    return f"{path} cannot be trained on text alone: {reason(error)}; set another `model.path`"


def _ensure_padding(prepared: Path, scratch: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    """The same directory where its configuration names a padding that the model has; else one that names it.

    It is the tokenizer's where the configuration has none.
    """
    config = read_config(prepared)
    named = config.get(PAD)
    pad = right_pad(model, tokenizer.pad_token_id if named is None else named)
    if named == pad or isinstance(config.get("text_config"), Mapping):
        return prepared
    with say_when_the_disk_refuses(scratch):
        return link_files(model_files(prepared), scratch, {"config.json": {**config, PAD: pad}})

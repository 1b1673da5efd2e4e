"""One generation in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from checkpoints.files.label_names import SEVERAL
from checkpoints.kinds import KINDS, ModelKind
from checkpoints.matching import answer_opening, rows_of
from checkpoints.probe.answer_ends import end_tokens
from checkpoints.probe.ask import conduct_of
from checkpoints.probe.conduct import Conduct
from serving.engine.defaults import USUAL, Defaults
from serving.engine.running import RunningEngine
from serving.engine.scores import TokenNames

UNBOUNDED_CONTEXT = 1_000_000


# By identity: the same generation loaded twice is two models. Weak references tell when the last answer let it go.
@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LoadedGeneration:
    """A model that answers, and what names it. Whoever answers from it holds it; it is freed when nobody does.

    Attributes:
        number: the generation.
        digest: its manifest's digest.
        kind: what it answers.
        model: in eval mode, on its device.
        tokenizer: the one that lies with it.
        conduct: how the model is to be asked, as the probe found out.
        context: most tokens of prompt and answer together, of a sequence-to-sequence model of each; of a classifier's
            text, which is cut to it.
        stop_ids: tokens that end an answer.
        several: whether any number of labels fits a text.
        labels: the classes of a classifier, in the order of its logits.
        loaded_at: unix seconds.
        names: what its tokens are called, for those who ask how probable they are.
        tokens: how many it has a place for: ids are below that, whatever a tokenizer may know beyond.
        tokenizer_files: names and SHA-256 of the files that made the tokenizer.
        recipe_length: to how many tokens a classifier's recipe cut the texts that it was trained and judged on; None
            for a causal LM.
        model_digest: of the model's files alone, without the lineage card; empty: only `digest` is known.
        defaults: how it answers where a request says nothing of it.
        unshown: the tokens that no answer's text shows, with the words that a prompt writes them by.
        opening: what a sequence-to-sequence model's decoder is given before it writes; empty for one that goes on with
            its prompt.
        engine: the program that answers; `model` then has no weights. None: this process does.
    """

    number: int
    digest: str
    kind: ModelKind
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    conduct: Conduct
    context: int
    stop_ids: frozenset[int]
    several: bool
    labels: tuple[str, ...]
    loaded_at: float
    names: TokenNames
    tokens: int
    tokenizer_files: frozenset[tuple[str, str]] = frozenset()
    recipe_length: int | None = None
    model_digest: str = ""
    defaults: Defaults = USUAL
    unshown: Mapping[int, str] = field(default_factory=dict)
    opening: tuple[int, ...] = ()
    engine: RunningEngine | None = None

    @property
    def lost(self) -> str:
        """Why it will answer no more; empty while it may."""
        return "" if self.engine is None else self.engine.lost

    @property
    def fingerprint(self) -> str:
        """What answers carry as `system_fingerprint`: replicas that answer from the same files have the same."""
        return f"riverkeep-{self.number}-{(self.model_digest or self.digest)[:8]}"

    @property
    def device(self) -> torch.device:
        """Where its forward pass runs."""
        return self.model.device

    @classmethod
    def of(
        cls,
        number: int,
        digest: str,
        kind: ModelKind,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        loaded_at: float,
        conduct: Conduct | None = None,
        tokenizer_files: frozenset[tuple[str, str]] = frozenset(),
        recipe_length: int | None = None,
        model_digest: str = "",
        engine: RunningEngine | None = None,
    ) -> "LoadedGeneration":
        """Read off a loaded model what answering from it needs.

        Args:
            number: the generation.
            digest: its manifest's digest.
            kind: what it answers.
            model: in eval mode, on its device.
            tokenizer: the one that lies with it.
            loaded_at: unix seconds.
            conduct: that of a model of the same architecture; None: this one is asked.
            tokenizer_files: names and digests of the files that made the tokenizer.
            recipe_length: to how many tokens a classifier's recipe cut texts.
            model_digest: of the model's files alone.
            engine: the program that answers, where another one does.

        Raises:
            UnfitModel: it cannot be asked rightly.
        """
        conduct = conduct or conduct_of(model, kind, tokenizer)
        context = min(_context(conduct, tokenizer), recipe_length or UNBOUNDED_CONTEXT)
        classifies = kind == "classifier"
        _settle(tokenizer, kind, context)
        unshown = _unshown(tokenizer)
        return cls(
            number=number,
            digest=digest,
            kind=kind,
            model=model,
            tokenizer=tokenizer,
            conduct=conduct,
            context=context,
            stop_ids=end_tokens(model, tokenizer),
            several=classifies and model.config.problem_type == SEVERAL,
            labels=_labels(model) if kind == "classifier" else (),
            loaded_at=loaded_at,
            tokenizer_files=tokenizer_files,
            recipe_length=recipe_length,
            model_digest=model_digest,
            defaults=_defaults(model, kind),
            unshown=unshown,
            names=TokenNames(tokenizer, unshown),
            tokens=_places(model, tokenizer),
            opening=answer_opening(model) if kind == "seq2seq" else (),
            engine=engine,
        )


def _places(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    # CANINE and its like have no table of embeddings to count.
    return rows_of(model) or len(tokenizer)


def _settle(tokenizer: PreTrainedTokenizerBase, kind: ModelKind, context: int) -> None:
    """Have a tokenizer read as all later calls have it: none of them changes anything, so that threads can share it."""
    classifies = kind == "classifier"
    # A truncation that was saved with it may go, or one to a classifier's length be set.
    tokenizer(
        "",
        truncation=classifies,
        max_length=context if classifies else None,
        split_special_tokens=classifies or kind == "seq2seq",
    )


def _defaults(model: PreTrainedModel, kind: ModelKind) -> Defaults:
    if not KINDS[kind].writes:
        return USUAL
    # What a decoder is given before it writes has a forced first token in it.
    return Defaults.of(model.generation_config, ("forced_bos_token_id",) if kind == "seq2seq" else ())


def _context(conduct: Conduct, tokenizer: PreTrainedTokenizerBase) -> int:
    # A tokenizer that knows no limit says 1e30 in transformers, hence the conversion and the bound.
    limits = (conduct.longest, tokenizer.model_max_length)
    lengths = [int(length) for length in limits if length and length > 0]
    return min([*lengths, UNBOUNDED_CONTEXT])


def _unshown(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    # Not all special tokens have a role that `all_special_ids` would list them by; decoding leaves out both sorts.
    added = {number: str(token.content) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)) | added


def _labels(model: PreTrainedModel) -> tuple[str, ...]:
    names = {int(index): str(name) for index, name in (model.config.id2label or {}).items()}
    return tuple(names[index] for index in range(len(names)))

"""The probe: how is this model to be asked?

Short texts, one model, no copy of it: some thirty passes of at most `TEXT_TOKENS` tokens. What lies beyond a window of
attention is asked with windows made small meanwhile; full length is not read, which would cost a large model minutes
and gigabytes: limits are what the configuration names and the tables in which a pass looks positions up.
"""

from dataclasses import replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from checkpoints.kinds import KINDS, ModelKind
from checkpoints.probe.causal import CausalProbe
from checkpoints.probe.conduct import Conduct
from checkpoints.probe.lengths import find_cache_limit
from checkpoints.probe.padded import PaddedProbe
from checkpoints.probe.paired import PairProbe


def conduct_of(model: PreTrainedModel, kind: ModelKind, tokenizer: PreTrainedTokenizerBase) -> Conduct:
    """Ask a model all: how it is trained and scored, and how it is served.

    Args:
        model: in eval mode, on its device.
        kind: what it is for.
        tokenizer: its own; tells with which special tokens a text begins and ends.

    Raises:
        UnfitModel: it cannot be used rightly.
    """
    if not KINDS[kind].writes:
        return reading_of(model, kind, tokenizer)
    probe = CausalProbe(model) if kind == "causal-lm" else PairProbe(model, *text_frame(tokenizer))
    # `reading` first: it measures the rounding that `way` compares by.
    return replace(probe.reading(), way=probe.way(), cached_up_to=find_cache_limit(model.config))


def reading_of(model: PreTrainedModel, kind: ModelKind, tokenizer: PreTrainedTokenizerBase) -> Conduct:
    """Ask a model how it is trained and scored, which takes no cache.

    Raises:
        UnfitModel: it cannot be used rightly.
    """
    if kind == "causal-lm":
        return CausalProbe(model).reading()
    if kind == "seq2seq":
        return PairProbe(model, *text_frame(tokenizer)).reading()
    return PaddedProbe(model, KINDS[kind], *text_frame(tokenizer)).conduct()


def text_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and behind a text."""
    # By the mask, not by the ids: to some tokenizers this very letter is an unknown token, which is a special one.
    read = tokenizer("a", return_special_tokens_mask=True)
    ids = list(read["input_ids"])
    inner = [at for at, added in enumerate(read["special_tokens_mask"]) if not added]
    if not inner:
        return [], []
    return ids[: inner[0]], ids[inner[-1] + 1 :]

"""What ends a causal model's answers: the tokens that its own files name for it."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer; none where nothing names one."""
    ids: set[int] = set()
    # All three: the end of a chat's turn often stands in only one or two of them.
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        value: Any = getattr(source, "eos_token_id", None)
        ids.update(value if isinstance(value, list) else [value])
    return frozenset(ids - {None})

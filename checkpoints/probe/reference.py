"""Ask a causal language model for the answer that engines are held to."""

from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from checkpoints.probe.lengths import named_limit
from checkpoints.probe.reference_answer import ANSWER_TOKENS, ReferenceAnswer
from checkpoints.probe.texts import known_tokens

PROMPT: Final = (
    "The river had risen during the night. By morning the lower road was under water, the ferry was tied up, and "
    "people stood on the bridge to see"
)
MOST_TOKENS: Final = 40
"""Of the prompt."""
DIGITS: Final = 3
"""Of a log-probability: what an engine is held to is a hundred times as wide."""


def reference_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ReferenceAnswer:
    """Let a model write the answer, greedily, and read it.

    Args:
        model: left in the mode that it is in.
        tokenizer: its own.
    """
    training = model.training
    model.eval()
    try:
        tokens = _prompt(model, tokenizer)
        for _ in range(ANSWER_TOKENS):
            tokens.append(int(_logits(model, tokens)[-1].argmax()))
        chances = _logits(model, tokens)[:-1].float().log_softmax(-1)
    finally:
        model.train(training)
    following = torch.tensor(tokens[1:], device=chances.device)
    picked = chances.gather(-1, following[:, None])[:, 0]
    return ReferenceAnswer(tuple(tokens), tuple(round(chance, DIGITS) for chance in picked.tolist()))


def _prompt(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    tokens = list(tokenizer(PROMPT)["input_ids"])
    if len(tokens) > 1 and tokens[-1] == tokenizer.eos_token_id:
        tokens.pop()
    rows, limit = known_tokens(model), named_limit(model.config)
    # Half of the positions that are named: some models begin to count at another place than 0.
    most = MOST_TOKENS if limit is None else min(MOST_TOKENS, max(1, limit // 2 - ANSWER_TOKENS))
    kept = [token for token in tokens if token < rows][:most]
    # A tokenizer may find nothing in this text that its model knows.
    return kept or [0]


def _logits(model: PreTrainedModel, tokens: list[int]) -> Tensor:
    ids = torch.tensor([tokens], device=model.device)
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits[0]

"""How many tokens a model reads to score a text: a causal LM long documents in windows that slide by half. Pure.

The windows themselves are cut in `learner.material.pieces`, what a masked LM reads in `learner.material.masks`.
"""

import math

from checkpoints.kinds import ModelKind
from learner.settings import MASKED_READINGS


def tokens_read(tokens: int, width: int) -> int:
    """How many tokens are read to score a document of so many.

    Args:
        tokens: of the document.
        width: tokens in a window.
    """
    if tokens <= width:
        return tokens
    stride = max(1, width - -(-width // 2))
    return width * (1 + -(-(tokens - width) // stride))


def times_read(kind: ModelKind, tokens_per_document: float, width: int) -> float:
    """How many tokens a model reads to score one of a text.

    A classifier reads each once, as does a sequence-to-sequence model, a masked LM in several readings, and a causal
    LM's windows slide by half beyond a document's first.

    There lengths are taken to be exponential with this mean m. Then m exp(-w/m) tokens of a document lie beyond its
    first w, each read twice, and of exp(-w/m) of the documents, which have more windows, the last reads half of one too
    much.

    Args:
        kind: of the model.
        tokens_per_document: in the mean.
        width: tokens in a window.
    """
    if kind != "causal-lm":
        return float(MASKED_READINGS) if kind == "masked-lm" else 1.0
    return 1 + math.exp(-width / tokens_per_document) * (1 + width / (2 * tokens_per_document))

"""How many tokens a language model reads to score a text: long documents in windows that slide by half. Pure.

The windows themselves are cut in `learner.material.pieces`.
"""

import math


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


def times_read(tokens_per_document: float, width: int) -> float:
    """How many tokens a model reads to score one of a text: beyond a document's first window they slide by half.

    Lengths are taken to be exponential with this mean m. Then m exp(-w/m) tokens of a document lie beyond its first w,
    each read twice, and of exp(-w/m) of the documents, which have more windows, the last reads half of one too much.

    Args:
        tokens_per_document: in the mean.
        width: tokens in a window.
    """
    return 1 + math.exp(-width / tokens_per_document) * (1 + width / (2 * tokens_per_document))

"""What the probe asks with: tokens that any text may hold, and none that opens an image or ends a text."""

from typing import Any

from transformers import PreTrainedModel

TEXT_TOKENS = 24
# Two primes: one walks through the vocabulary, the other sets apart texts that must not be alike.
STRIDE, START = 7919, 104_729
BYTES = 256


def plain_tokens(model: PreTrainedModel, count: int, *, text: int = 0) -> list[int]:
    """Token ids spread over the vocabulary, without those that the configuration has a use for.

    Args:
        model: whose vocabulary.
        count: how many.
        text: texts of another number share no beginning.
    """
    rows = known_tokens(model)
    special = _special(model.config)
    tokens: list[int] = []
    at = START * (text + 1)
    while len(tokens) < count:
        token = at % rows
        # A stride that divides the vocabulary would come back to the same few tokens.
        at += STRIDE if rows % STRIDE else 1
        # A vocabulary of special tokens alone is asked with what it has.
        if token not in special or at > START * (text + 1) + STRIDE * (rows + count):
            tokens.append(token)
    return tokens


def known_tokens(model: PreTrainedModel) -> int:
    """How many tokens a model knows; where it hashes characters, and has no row for each, how many bytes there are."""
    try:
        weight: Any = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        weight = None
    rows = getattr(model.config.get_text_config(), "vocab_size", None) or BYTES
    return int(rows if weight is None else weight.shape[0])


def _special(config: Any) -> frozenset[int]:
    """Every token id that a configuration, or a part of it, names."""
    ids: set[int] = set()
    for key, value in config.to_dict().items():
        # Other names may be told layer by layer, and raise where they are asked of the whole.
        if "config" in key and hasattr(part := getattr(config, key, None), "to_dict"):
            ids |= _special(part)
        elif key.endswith(("_token_id", "_token_index")):
            ids.update(each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int))
    return frozenset(ids)

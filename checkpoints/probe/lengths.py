"""How long a sequence may be: by what the configuration says, and by the tables that a pass looks positions up in.

Both are asked, as either alone misleads: RoBERTa's 514 positions are 512 for text, as it counts from behind its padding
token's place; MPT's limit has a name of its own; GPT-J's lies in a buffer that no name tells of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

NAMES: Final = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_target_positions",
    "n_ctx",
)
_LOOK_UPS: Final = ("aten::embedding", "aten::index.Tensor")


def named_limit(config: Any) -> int | None:
    """The least limit that a configuration of text names; None where it names none."""
    values = [getattr(config.get_text_config(), name, None) for name in NAMES]
    limits = [limit for limit in values if isinstance(limit, int) and limit > 0]
    return min(limits, default=None)


class Tables(TorchDispatchMode):
    """Watches one pass over a single text: which of a model's tables are looked up at places that count up by one?

    Args:
        model: whose parameters and buffers count as tables.
        tokens: of the text.

    Attributes:
        limit: the fewest tokens that such a table has places for; None: there was none.
        first: the place of the first token in it.
    """

    def __init__(self, model: PreTrainedModel, tokens: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it so
        # By storage: a pass may look a table up through a view, which is another tensor.
        self._tables = {_storage(table) for table in (*model.parameters(), *model.buffers())}
        self._tokens = tokens
        self.limit: int | None = None
        self.first = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what is looked up, and let it be."""
        result = func(*args, **(kwargs or {}))
        # Below the modules: models look positions up in embeddings, in buffers, by indexing, in code of their own.
        if func.name() in _LOOK_UPS:
            self._note(args)
        return result

    def _note(self, args: Any) -> None:
        table, at = args[0], args[1]
        # Indexing gives a list of indices, one for each dimension; an embedding gives the index itself.
        places = at[0] if isinstance(at, list | tuple) and len(at) else at
        if not isinstance(places, Tensor) or places.dtype is not torch.long or places.numel() != self._tokens:
            return
        # Positions count up by one, which the ids of the probe's texts hardly do.
        counted = places.flatten()
        if _storage(table) in self._tables and bool((counted.diff() == 1).all()):
            first = int(counted[0])
            limit = table.shape[0] - first
            if self.limit is None or limit < self.limit:
                self.limit, self.first = limit, first


def _storage(table: Tensor) -> int:
    return table.untyped_storage().data_ptr()


CONFIGURED_WINDOWS = ("sliding_window", "attention_chunk_size")
MODULE_WINDOWS = ("keep_window_size",)
"""What layers copy from the configuration when they are made: Doge attends to a choice of tokens beyond it."""


@contextmanager
def small_windows(model: PreTrainedModel, window: int) -> Iterator[None]:
    """While a model is asked with short texts, its attention windows are shorter still.

    A cache that holds a window, or a choice of what is attended to that begins beyond one, is only put to the test by
    what lies beyond it.
    """
    config = model.config.get_text_config()
    changed = [
        (holder, name, value)
        for holder, names in ((config, CONFIGURED_WINDOWS), *((module, MODULE_WINDOWS) for module in model.modules()))
        for name in names
        # Larger ones alone: none is given a window that it has not.
        if isinstance(value := getattr(holder, name, None), int) and value > window
    ]
    for holder, name, _ in changed:
        setattr(holder, name, window)
    try:
        yield
    finally:
        for holder, name, value in changed:
            setattr(holder, name, value)


def find_cache_limit(config: Any) -> int | None:
    """Up to how many tokens keys that were cached stay right; None: always.

    Where rotations change with the length of the whole (LongRoPE), all keys change when it passes the length that the
    model was first trained on.
    """
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    # Models with several kinds of layers have one set of parameters for each kind.
    by_layer = [each for each in parameters.values() if isinstance(each, dict)] or [parameters]
    lengths = [each.get("original_max_position_embeddings") for each in by_layer if each.get("rope_type") == "longrope"]
    return min((length for length in lengths if isinstance(length, int)), default=None)

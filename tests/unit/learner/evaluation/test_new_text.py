"""New text before it is trained on: what it is held against."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from learner.devices.device import choose
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.new_text import _worst_reading
from learner.material.encoding import Encoder
from tests.unit.learner import tiny


class Vocabulary:
    """A tokenizer of which only its vocabulary is asked."""

    def __init__(self, **more: int) -> None:
        # With a hole.
        self._numbers = {name: at for name, at in tiny.tokenizer().get_vocab().items() if at != 7} | more

    def get_vocab(self) -> dict[str, int]:
        """Names and numbers."""
        return self._numbers

    def __len__(self) -> int:
        """How many names."""
        return len(self._numbers)


TWO_OF_ONE_NUMBER = Vocabulary(**{f"other {at}": 3 for at in range(1000)})
BEYOND_THE_ROWS = Vocabulary(**{f"<image_{at}>": 100_000 + at for at in range(1000)})


@pytest.mark.parametrize("vocabulary", [TWO_OF_ONE_NUMBER, BEYOND_THE_ROWS], ids=["more names than numbers", "images"])
def test_random_tokens_are_tokens_of_the_model(vocabulary: Vocabulary) -> None:
    """However many names a tokenizer has, none is drawn that the model has no row for: Gemma 3's names an image."""
    encode, model = Encoder(tiny.tokenizer(), 48), tiny.llama().eval()
    fake: Any = SimpleNamespace(
        given=SimpleNamespace(spec=SimpleNamespace(seed=1)),
        shape=SimpleNamespace(longest=48, start=None),
        encode=SimpleNamespace(tokenizer=vocabulary),
        evaluate=Evaluator(choose("cpu", "float32"), 48, 8, 0),
        model=model,
    )
    with torch.no_grad():
        assert _worst_reading(fake, encode(tiny.samples(20, seed=1))) > 0

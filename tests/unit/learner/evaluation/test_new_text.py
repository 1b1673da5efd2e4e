"""New text before it is trained on: what it is held against."""

from types import SimpleNamespace
from typing import Any

import torch

from learner.devices.device import choose
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.new_text import _worst_reading
from learner.material.encoding import Encoder
from tests.unit.learner import tiny


class TwoOfOneNumber:
    """A tokenizer whose vocabulary has a hole, and two names for one token: more names than numbers."""

    def get_vocab(self) -> dict[str, int]:
        """Names and numbers."""
        vocabulary = tiny.tokenizer().get_vocab()
        return {name: number for name, number in vocabulary.items() if number != 7} | {f"{n}": 3 for n in range(1000)}

    def __len__(self) -> int:
        """How many names."""
        return len(self.get_vocab())


def test_random_tokens_are_tokens_of_the_model() -> None:
    """However many names a tokenizer has, none is drawn that the model has no row for."""
    encode, model = Encoder(tiny.tokenizer(), 48), tiny.llama().eval()
    fake: Any = SimpleNamespace(
        given=SimpleNamespace(spec=SimpleNamespace(seed=1)),
        shape=SimpleNamespace(longest=48),
        encode=SimpleNamespace(tokenizer=TwoOfOneNumber()),
        evaluate=Evaluator(choose("cpu", "float32"), 48, 8, 0),
        model=model,
    )
    with torch.no_grad():
        assert _worst_reading(fake, encode(tiny.samples(20, seed=1))) > 0

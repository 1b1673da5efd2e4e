"""Models of random weights at the shapes of those that people own, and text for them.

All are Llamas, whose layers others differ from by little: Qwen's have a bias in three of their seven linear maps.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from checkpoints.document_frame import usual_frame, write_frame
from checkpoints.files.model_files import model_files
from checkpoints.json_files import write_json
from checkpoints.manifest import MANIFEST, list_files
from learner.directory.round_directory import GenerationRef, RoundSample

SPECIAL: Final = ("<s>", "</s>", "<unk>")
LINEAR_MAPS: Final = 7
"""Of a layer: four of attention, three of the feed-forward part."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes; fields as in transformers' configurations."""

    name: str
    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    tied: bool
    positions: int = 8192

    @property
    def matrix_weights(self) -> int:
        """Weights of the layers' linear maps and of the head: what multiplies each token."""
        key_values = 2 * self.hidden * self.hidden * self.key_value_heads // self.heads
        layer = 2 * self.hidden**2 + key_values + 3 * self.hidden * self.inner
        return self.layers * layer + self.vocabulary * self.hidden

    def flops_of_reading(self, context: float) -> float:
        """FLOPs of a forward pass of a token.

        Args:
            context: tokens that it attends to, in the mean.
        """
        # Scores, and their product with the values: two for each width of all heads and token attended to.
        return 2 * self.matrix_weights + 4 * self.layers * self.hidden * context


HALF_B: Final = Shape("0.5B", 151_936, 896, 4864, 24, 14, 2, tied=True)
ONE_B: Final = Shape("1B", 128_256, 2048, 8192, 16, 32, 8, tied=True)
EIGHT_B: Final = Shape("8B", 128_256, 4096, 14_336, 32, 32, 8, tied=False)
TINY_TIED: Final = Shape("tiny, tied", 512, 32, 64, 2, 4, 2, tied=True, positions=256)
TINY: Final = Shape("tiny", 768, 32, 64, 2, 4, 2, tied=False, positions=256)


def build(shape: Shape, device: str) -> Any:
    """The model, in bfloat16 as such models are stored; made where it is quick."""
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "max_position_embeddings": shape.positions,
        "tie_word_embeddings": shape.tied,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return LlamaForCausalLM(LlamaConfig(**sizes))
    finally:
        torch.set_default_dtype(before)


def write_model(shape: Shape, directory: Path, device: str) -> GenerationRef:
    """Write a model with its tokenizer as a generation's directory; return the generation."""
    torch.manual_seed(0)
    build(shape, device).save_pretrained(directory)
    tokenizer = make_tokenizer(shape)
    tokenizer.save_pretrained(directory)
    write_frame(directory, usual_frame(tokenizer))
    manifest = list_files(model_files(directory))
    (directory / MANIFEST).write_bytes(write_json(manifest))
    return GenerationRef(0, manifest.digest)


def make_tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    """One token a word, for as many words as the vocabulary holds."""
    words = [*SPECIAL, *(f"w{number}" for number in range(shape.vocabulary - len(SPECIAL)))]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=shape.positions,
    )


class Texts:
    """Documents of random words.

    Args:
        shape: of the model, whose words they are of.
        longest: tokens of one at most; all lengths up to there are as frequent.
    """

    def __init__(self, shape: Shape, longest: int) -> None:
        self._random = random.Random(0)
        self._words = shape.vocabulary - len(SPECIAL)
        self._lengths = (longest // 8, longest)
        self._number = 0

    def of(self, tokens: int) -> list[RoundSample]:
        """Documents of so many tokens together, or a few more."""
        return list(self._until(tokens))

    def _until(self, tokens: int) -> Iterator[RoundSample]:
        while tokens > 0:
            # One less for the token that stands before each.
            length = self._random.randint(*self._lengths) - 2
            words = (f"w{self._random.randrange(self._words)}" for _ in range(length))
            self._number += 1
            yield RoundSample(self._number, " ".join(words), "made up")
            tokens -= length + 2

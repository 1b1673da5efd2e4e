"""How probable the model holds tokens to be: by its own distribution, before anything that steers a draw."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

# A text that every vocabulary has: some tokenizers write a token otherwise where a text begins.
BEFORE: Final = "a"
REPLACEMENT: Final = "\ufffd"
BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
BYTES: Final = "bytes:"
"""Begins the name of a token that is no text by itself, as OpenAI writes them: `bytes:\\xe2\\x80`."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    r"""A token with the log-probability that the model gave it.

    Attributes:
        token: its text; `bytes:\x…` where it is a part of a character.
        logprob: in nats, of the model's own distribution; None: nothing came before it that could foretell it.
        top: the most probable tokens in its place with theirs, the most probable first.
        offset: characters of the answer before it.
        characters: how many of the answer's it begins.
    """

    token: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()
    offset: int = 0
    characters: int = 0


@dataclass(frozen=True, slots=True)
class _Name:
    text: str
    characters: int


class TokenNames:
    """What the tokens of a vocabulary are called.

    Args:
        tokenizer: whose tokens they are.
        unshown: the tokens that no text shows.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, unshown: Collection[int]) -> None:
        self._tokenizer: Any = tokenizer
        self._unshown = unshown
        self._before = list(tokenizer(BEFORE, add_special_tokens=False, verbose=False)["input_ids"])
        # At most as many as the vocabulary has. Threads may both make one: it is the same.
        self._made: dict[int, _Name] = {}

    def score(self, token: int, logprob: float | None, top: Sequence[tuple[int, float]]) -> TokenScore:
        """A token's score, by the names of tokens."""
        name = self._name(token)
        named = tuple((self._name(each).text, probable) for each, probable in top)
        return TokenScore(name.text, logprob, named, characters=name.characters)

    def _name(self, token: int) -> _Name:
        name = self._made.get(token)
        if name is None:
            name = self._made[token] = self._make(token)
        return name

    def _make(self, token: int) -> _Name:
        raw = str(self._tokenizer.convert_ids_to_tokens(token) or "")
        text = self._decode([*self._before, token])[len(self._decode(self._before)) :]
        characters = 0 if token in self._unshown else len(text)
        if REPLACEMENT in text and (data := _bytes_of(raw)) and not _is_text(data):
            # The bytes that go on with a character begin none.
            begun = sum(byte & 0xC0 != 0x80 for byte in data)
            return _Name(BYTES + "".join(f"\\x{byte:02x}" for byte in data), begun)
        # A model may have places for more tokens than its tokenizer knows.
        return _Name(text or raw or f"token_id:{token}", characters)

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def token_bytes(name: str) -> bytes:
    """The bytes of a token, by its name."""
    if name.startswith(BYTES) and (found := re.fullmatch(r"(?:\\x[0-9a-f]{2})+", name[len(BYTES) :])):
        return bytes.fromhex(found[0].replace("\\x", ""))
    return name.encode(errors="replace")


def score_tokens(names: TokenNames, logits: Tensor, tokens: Sequence[int], top: int) -> list[TokenScore]:
    """The scores of tokens, each by the logits of its place.

    Args:
        names: of the vocabulary.
        logits: as the model gave them, shape (tokens, vocabulary).
        tokens: as many.
        top: how many of the most probable are named with each.
    """
    # Rows are placed as the logits are; only the few figures that are told leave the device.
    scores = torch.log_softmax(logits.float(), dim=-1)
    chosen = scores.gather(1, torch.tensor(tokens, device=scores.device)[:, None])[:, 0].tolist()
    best = scores.topk(min(top, scores.shape[1]))
    rows = zip(tokens, chosen, best.indices.tolist(), best.values.tolist(), strict=True)
    return [names.score(token, own, list(zip(ids, values, strict=True))) for token, own, ids, values in rows]


def _byte_table() -> dict[str, int]:
    """The letters by which byte-level vocabularies write bytes, after GPT-2's `bytes_to_unicode`."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_TABLE: Final = _byte_table()


def _bytes_of(raw: str) -> bytes:
    """The bytes that a vocabulary's word stands for; empty where it stands for a text."""
    if found := BYTE.fullmatch(raw):
        return bytes.fromhex(found[1])
    return bytes(_TABLE[letter] for letter in raw) if all(letter in _TABLE for letter in raw) else b""


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

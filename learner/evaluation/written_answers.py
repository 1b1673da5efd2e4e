"""Answers that a model writes: the most likely token after another, in the way that the probe found right for it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from checkpoints.probe.conduct import ANEW, Conduct
from checkpoints.probe.decoding import CachedRows, TokenDecoder
from checkpoints.probe.pair_decoding import Decoder, PairDecoder
from learner.devices.device import Device
from learner.devices.ranks import ALONE, Ranks
from learner.evaluation.prompt_tokens import AskedPrompt
from learner.skills.right_answers import cut_at_stop


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes answers under models of one architecture.

    Attributes:
        tokenizer: theirs.
        conduct: how they are asked.
        ends: the tokens that end an answer.
        rows: prompts that are answered together, where the architecture allows that.
        device: where it runs.
        passed: told after each pass how many tokens it read or wrote.
        ranks: that answer together: each its share of the prompts, and all have the answers of all.
        opening: what a sequence-to-sequence model's decoder is given before it writes; empty for one that goes on with
            what it reads.
    """

    tokenizer: Any
    conduct: Conduct
    ends: frozenset[int]
    rows: int
    device: Device
    passed: Callable[[int], None]
    ranks: Ranks = ALONE
    opening: tuple[int, ...] = ()

    def __call__(self, model: Any, prompts: Sequence[AskedPrompt], most_tokens: int) -> list[str]:
        """Answer each prompt, without what follows a stop.

        Nothing is drawn: the same model gives the same answers. It is left in the mode that it came in.

        Args:
            model: one that writes.
            prompts: each of one token at least.
            most_tokens: of each answer.
        """
        own = self.ranks.share.of(len(prompts)).tolist()
        written = self._answers(model, [prompts[at] for at in own], most_tokens)
        answers = dict(pair for part in self.ranks.gather(list(zip(own, written, strict=True))) for pair in part)
        return [answers[at] for at in range(len(prompts))]

    def _answers(self, model: Any, prompts: Sequence[AskedPrompt], most_tokens: int) -> list[str]:
        answers = [""] * len(prompts)
        was_training = model.training
        model.eval()
        try:
            with self.device.autocast():
                for part, decoder in self._parts(model, prompts, most_tokens):
                    written = self._write(decoder, [prompts[at] for at in part], most_tokens)
                    for at, ids in zip(part, written, strict=True):
                        answers[at] = self._text(ids, prompts[at].stop)
        finally:
            model.train(was_training)
        return answers

    def _parts(
        self, model: Any, prompts: Sequence[AskedPrompt], most_tokens: int
    ) -> Iterator[tuple[list[int], Decoder]]:
        """Yield which prompts are answered together, and how: those of like length, longest first."""
        decoder = PairDecoder if self.opening else TokenDecoder
        cached, anew = decoder(model, self.conduct.way), decoder(model, ANEW)
        most = self.conduct.cached_up_to
        order = sorted(range(len(prompts)), key=lambda at: (-len(prompts[at].ids), at))
        long = {at for at in order if most is not None and len(prompts[at].ids) + most_tokens > most}
        short = [at for at in order if at not in long]
        size = self.rows if cached.can_batch else 1
        yield from ((short[first : first + size], cached) for first in range(0, len(short), size))
        # What a cache would hold wrongly is read anew for each token.
        yield from (([at], anew) for at in order if at in long)

    def _write(self, decoder: Decoder, prompts: Sequence[AskedPrompt], most_tokens: int) -> list[list[int]]:
        written: list[list[int]] = [[] for _ in prompts]
        batch, tokens = self._begin(decoder, prompts)
        running = list(range(len(prompts)))
        while True:
            for at, token in zip(running, tokens, strict=True):
                written[at].append(token)
            going_on = [
                row for row, at in enumerate(running) if not self._has_ended(written[at], prompts[at], most_tokens)
            ]
            if not going_on:
                return written
            if len(going_on) < len(running):
                assert isinstance(batch, CachedRows)
                batch.keep(going_on)
            running, last = [running[row] for row in going_on], [[tokens[row]] for row in going_on]
            tokens = decoder.advance(batch, torch.tensor(last)).argmax(-1).tolist()
            self.passed(len(running))

    def _begin(self, decoder: Decoder, prompts: Sequence[AskedPrompt]) -> tuple[Any, list[int]]:
        """Read the prompts, each by itself; return what they are kept in, and the first token of each answer."""
        joined: Any = None
        tokens: list[int] = []
        for prompt in prompts:
            batch = decoder.begin(prompt.ids)
            # An encoder reads them in that very pass.
            fed = self.opening or prompt.ids
            tokens += decoder.advance(batch, torch.tensor([fed])).argmax(-1).tolist()
            self.passed(len(prompt.ids))
            if joined is None:
                joined = batch
            else:
                joined.join(batch)
        return joined, tokens

    def _has_ended(self, ids: Sequence[int], prompt: AskedPrompt, most_tokens: int) -> bool:
        if len(ids) >= most_tokens or ids[-1] in self.ends:
            return True
        begun = self._decode(ids).lstrip()
        return any(stop in begun for stop in prompt.stop)

    def _text(self, ids: Sequence[int], stop: Sequence[str]) -> str:
        return cut_at_stop(self._decode(ids[:-1] if ids[-1] in self.ends else ids), stop)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

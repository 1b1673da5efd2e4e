"""A skill's prompts as tokens: by the chat template, as a text that is gone on with, or as what an encoder reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from checkpoints.document_frame import DocumentFrame
from learner.directory.round_directory import RoundSample
from learner.errors import UnrenderableChat
from learner.material import plain_text
from learner.material.chats import render, system_role
from learner.material.encoding import Encoded
from learner.material.template_forms import template_of
from learner.skills.prompts import Asking, BadSkill, Prompt, Skill
from streams.chats import Message

LINE_END: Final = ("\n",)
UNBOUNDED: Final = 1_000_000
"""Tokens, where nothing sets a limit."""


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """A prompt that is answered in the model's own words.

    Attributes:
        ids: what it reads.
        stop: texts before which its answer ends.
    """

    ids: tuple[int, ...]
    stop: tuple[str, ...]


class PromptEncoder(Protocol):
    """Makes prompts into tokens the way a model expects them."""

    @property
    def lead(self) -> int | None:
        """The token that later pieces of a long document begin with too; None for none."""

    def asked(self, skill: Skill, prompt: Prompt) -> AskedPrompt:
        """Encode a prompt to be answered in words.

        Raises:
            BadSkill: the model cannot be asked so.
        """

    def choices(self, skill: Skill, prompt: Prompt) -> list[tuple[list[int], int]]:
        """Encode a prompt with each of its choices; return the tokens, and where the choice begins among them.

        Raises:
            BadSkill: the model cannot be asked so.
        """


@dataclass(frozen=True, slots=True)
class TextPromptEncoder:
    """Makes prompts into texts that a causal LM goes on with, or chats that it answers; see `PromptEncoder`.

    Attributes:
        tokenizer: of a causal LM.
        frame: what stands around its documents: a text to go on with begins as they do.
        longest: most tokens that it reads, the answer's among them.
    """

    tokenizer: Any
    frame: DocumentFrame
    longest: int

    @property
    def lead(self) -> int | None:
        """What its documents are led by."""
        return self.frame.lead

    def asked(self, skill: Skill, prompt: Prompt) -> AskedPrompt:
        """Encode a prompt to be answered in words; see `PromptEncoder`."""
        is_chat = self._is_chat(prompt, skill.asking)
        ids = self._chat(skill, prompt) if is_chat else [*self._opening, *self._bare(prompt.text)]
        self._require_room(skill, prompt, len(ids), skill.asking.most_tokens)
        stop = skill.asking.stop
        return AskedPrompt(tuple(ids), (() if is_chat else LINE_END) if stop is None else stop)

    def choices(self, skill: Skill, prompt: Prompt) -> list[tuple[list[int], int]]:
        """Encode a prompt with each of its choices; see `PromptEncoder`.

        As in EleutherAI's lm-evaluation-harness (`TemplateLM._encode_pair`): white space at a prompt's end belongs to
        the choice, and the two are read as one text, so that a choice has the tokens that it has in running text.
        """
        pairs = [self._pair(skill, prompt, choice) for choice in prompt.expected]
        for ids, begin in pairs:
            self._require_room(skill, prompt, begin, len(ids) - begin)
        return pairs

    def _pair(self, skill: Skill, prompt: Prompt, choice: str) -> tuple[list[int], int]:
        if self._is_chat(prompt, skill.asking):
            context = self._chat(skill, prompt)
            return [*context, *self._bare(choice)], len(context)
        before = prompt.text.rstrip()
        parted = prompt.text != before or choice != choice.lstrip()
        whole = self._bare(f"{prompt.text}{'' if parted else skill.asking.between}{choice}")
        # Where a token reaches over the joint: the choice has one of its own at least.
        begin = min(len(self._bare(before)), len(whole) - 1) if whole else 0
        return [*self._opening, *whole], len(self._opening) + begin

    def _is_chat(self, prompt: Prompt, asking: Asking) -> bool:
        if isinstance(prompt.asked, str):
            return asking.chat_template and self.tokenizer.chat_template is not None
        return True

    def _chat(self, skill: Skill, prompt: Prompt) -> list[int]:
        asked = prompt.asked
        try:
            return self._rendered((Message("user", asked),) if isinstance(asked, str) else asked)
        except UnrenderableChat as error:
            raise BadSkill(f"skill {skill.name}, line {prompt.line}: {error}") from None

    def _rendered(self, messages: Sequence[Message]) -> list[int]:
        template = template_of(self.tokenizer)
        if template is None:
            raise UnrenderableChat("the model has no chat template")
        return render(self.tokenizer, template, [system_role(message) for message in messages])

    @property
    def _opening(self) -> list[int]:
        return [] if self.frame.opening is None else [self.frame.opening]

    def _bare(self, text: str) -> list[int]:
        return next(plain_text.bare(self.tokenizer, [text]))

    def _require_room(self, skill: Skill, prompt: Prompt, asked: int, answer: int) -> None:
        _require_asked(skill, prompt, asked)
        if asked + answer > self.longest:
            raise BadSkill(
                f"skill {skill.name}, line {prompt.line}: {asked:,} tokens and {answer:,} to answer with are more than "
                f"the {self.longest:,} that the model reads: shorten it, or leave it out"
            )


@dataclass(frozen=True, slots=True)
class PairPromptEncoder:
    """Makes prompts into inputs, and choices into targets, as a sequence-to-sequence model has them in its pairs.

    Attributes:
        tokenizer: its own.
        longest: most tokens that its encoder reads, and as many that its decoder is fed.
        opening: how many of these it is given before it writes.
    """

    tokenizer: Any
    longest: int
    opening: int

    @property
    def lead(self) -> int | None:
        """Nothing: pairs are not cut into pieces."""
        return None

    def asked(self, skill: Skill, prompt: Prompt) -> AskedPrompt:
        """Encode a prompt to be answered in words; see `PromptEncoder`."""
        ids = self._read(skill, prompt)
        self._require_room(skill, prompt, len(ids), self.opening + skill.asking.most_tokens)
        # Its answers end as the targets do that it was trained on.
        return AskedPrompt(tuple(ids), skill.asking.stop or ())

    def choices(self, skill: Skill, prompt: Prompt) -> list[tuple[list[int], int]]:
        """Encode a prompt with each of its choices as a whole answer, its end with it; see `PromptEncoder`."""
        ids = self._read(skill, prompt)
        written = list(plain_text.frame_texts(self.tokenizer, prompt.expected, UNBOUNDED, are_targets=True))
        for target in written:
            self._require_room(skill, prompt, len(ids), len(target))
        return [([*ids, *target], len(ids)) for target in written]

    def _read(self, skill: Skill, prompt: Prompt) -> list[int]:
        if not isinstance(prompt.asked, str):
            raise BadSkill(
                f"skill {skill.name}, line {prompt.line} asks in `messages`, and a sequence-to-sequence model answers "
                "no chats: ask with `prompt`, which its encoder reads"
            )
        return next(plain_text.frame_texts(self.tokenizer, [prompt.asked], UNBOUNDED))

    def _require_room(self, skill: Skill, prompt: Prompt, asked: int, answer: int) -> None:
        _require_asked(skill, prompt, asked)
        if max(asked, answer) > self.longest:
            raise BadSkill(
                f"skill {skill.name}, line {prompt.line}: {asked:,} tokens, or {answer:,} to answer with, are more "
                f"than the {self.longest:,} that the model reads or writes: shorten it, or leave it out"
            )


def _require_asked(skill: Skill, prompt: Prompt, asked: int) -> None:
    if not asked:
        raise BadSkill(f"skill {skill.name}, line {prompt.line}: the prompt has no tokens that the model reads")


def as_documents(pairs: Sequence[tuple[list[int], int]], lead: int | None) -> Encoded:
    """Prompts with choices as documents of which the choices alone are scored, numbered from 0.

    Args:
        pairs: tokens, and where the choice begins among them.
        lead: the token that later pieces of a long document begin with too.
    """
    bounds = np.zeros(len(pairs) + 1, dtype=np.int64)
    np.cumsum([len(ids) for ids, _ in pairs], out=bounds[1:])
    return Encoded(
        tokens=np.concatenate([np.asarray(ids, dtype=np.int32) for ids, _ in pairs]),
        bounds=bounds,
        samples=tuple(RoundSample(number, "", "skill") for number in range(len(pairs))),
        labels=np.zeros(len(pairs), dtype=np.int64),
        lead=lead,
        learned=np.concatenate([np.arange(len(ids)) >= begin for ids, begin in pairs]),
    )

"""What models answer to the prompts of a round's skills, and what of it is right."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final

from checkpoints.document_frame import usual_frame
from checkpoints.files.config_fields import shorten
from checkpoints.matching import answer_opening
from checkpoints.probe.answer_ends import end_tokens
from checkpoints.probe.ask import conduct_of
from learner.directory.round_directory import BASE
from learner.directory.round_skills import BrokenAnswer, SkillScores
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.prompt_tokens import (
    UNBOUNDED,
    AskedPrompt,
    PairPromptEncoder,
    PromptEncoder,
    TextPromptEncoder,
    as_documents,
)
from learner.evaluation.written_answers import AnswerWriter
from learner.material.encoding import Encoded, longest_sequence
from learner.skills.prompts import Prompt, Skill
from learner.skills.right_answers import is_right, likeliest
from learner.workbench import TOKENS, Workbench

BROKEN_TOLD: Final = 10
"""Prompts of a skill that a candidate broke, and that its report tells in full."""
NO_CHOICE: Final = "no choice that is likelier than all others"


@dataclass(frozen=True, slots=True)
class AskedSkill:
    """A skill as a model is asked it.

    Attributes:
        written: its prompts that are answered in words, by their place among all.
        choices: the others with each of their choices, as documents of which only the choices are scored.
        owners: the place of the prompt that each of those belongs to.
        evaluate: scores them.
    """

    skill: Skill
    written: Mapping[int, AskedPrompt]
    choices: Encoded | None
    owners: tuple[int, ...]
    evaluate: Evaluator

    @property
    def tokens(self) -> int:
        """How many are read and written at most."""
        read = sum(len(prompt.ids) for prompt in self.written.values())
        scored = 0 if self.choices is None else len(self.choices.tokens)
        return read + len(self.written) * self.skill.asking.most_tokens + scored

    def answers(self, model: Any, write: AnswerWriter) -> tuple[str, ...]:
        """What a model answers to each prompt, in the file's order."""
        answers = [""] * len(self.skill.prompts)
        if self.written:
            texts = write(model, list(self.written.values()), self.skill.asking.most_tokens)
            for at, text in zip(self.written, texts, strict=True):
                answers[at] = text
        for at, chosen in self._chosen(model).items():
            answers[at] = NO_CHOICE if chosen is None else self.skill.prompts[at].expected[chosen]
        return tuple(answers)

    def _chosen(self, model: Any) -> dict[int, int | None]:
        if self.choices is None:
            return {}
        likely: dict[int, list[float]] = {owner: [] for owner in self.owners}
        for owner, score in zip(self.owners, self.evaluate(model, self.choices), strict=True):
            likely[owner].append(-score.nll)
        return {at: likeliest(self.skill.prompts[at], each, self.skill.asking) for at, each in likely.items()}

    def rights(self, answers: Sequence[str]) -> str:
        """Which of these answers are right, as a report has it."""
        return "".join("01"[self._is_right(*each)] for each in zip(self.skill.prompts, answers, strict=True))

    def _is_right(self, prompt: Prompt, answer: str) -> bool:
        if prompt.kind == "choices":
            return answer == prompt.expected[prompt.right]
        return is_right(prompt, answer, self.skill.asking)


Answers = Mapping[str, tuple[str, ...]]
"""What one model answered, by the skill's name."""


@dataclass(frozen=True, slots=True)
class Skills:
    """A round's skills, ready to be asked; without any, nothing is.

    Attributes:
        bench: of the round.
        asked: the skills.
        write: writes answers; None where there are no skills.
    """

    bench: Workbench
    asked: tuple[AskedSkill, ...] = ()
    write: AnswerWriter | None = None

    @classmethod
    def of(cls, bench: Workbench) -> "Skills":
        """Encode a round's skills. The bench's model still is the parent, in eval mode.

        Raises:
            BadSkill: the model cannot be asked one of them.
        """
        if not bench.given.skills:
            return cls(bench)
        tokenizer, model, kind = bench.encode.tokenizer, bench.model, bench.given.spec.kind
        conduct = conduct_of(model, kind, tokenizer)
        longest = longest_sequence(model.config, tokenizer, conduct.longest or UNBOUNDED)
        opening = answer_opening(model) if kind == "seq2seq" else ()
        write = AnswerWriter(
            tokenizer,
            conduct,
            end_tokens(model, tokenizer),
            bench.given.spec.recipe.micro_batch,
            bench.device,
            bench.ranks.for_all(partial(bench.progress.advance, TOKENS)),
            bench.ranks,
            opening,
        )
        encoder: PromptEncoder = (
            PairPromptEncoder(tokenizer, longest, len(opening))
            if opening
            else TextPromptEncoder(tokenizer, bench.encode.frame or usual_frame(tokenizer), longest)
        )
        return cls(bench, tuple(_encode(skill, encoder, bench.evaluate) for skill in bench.given.skills), write)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the skills."""
        return tuple(each.skill.name for each in self.asked)

    @property
    def tokens(self) -> int:
        """How many tokens asking one model takes at most."""
        return sum(each.tokens for each in self.asked)

    def phase(self) -> AbstractContextManager[None]:
        """The phase of a round in which `ask_earlier` is called; none where there are no skills."""
        if not self.asked:
            return nullcontext()
        tokens = sum(each.tokens * len(self._unknown(each)) for each in self.asked)
        return self.bench.progress.phase("skills", TOKENS, tokens)

    def ask(self, model: Any) -> Answers:
        """What a model answers."""
        assert self.write is not None or not self.asked
        return {} if self.write is None else {each.skill.name: each.answers(model, self.write) for each in self.asked}

    def ask_earlier(self) -> dict[str, tuple[str, str]]:
        """What base and parent answer rightly, by skill, where no earlier round has asked them: base first.

        Called before training: the bench's model still is the parent.
        """
        parent = self._completed("parent", lambda: self.bench.model)
        if self._is_base:
            return {name: (rights, rights) for name, rights in parent.items()}
        with self.bench.lending_room() as load:
            base = self._completed("base", cache(partial(load, BASE)))
        return {name: (base[name], rights) for name, rights in parent.items()}

    def _completed(self, which: str, load: Callable[[], Any]) -> dict[str, str]:
        """What one of both answers rightly, by skill; it is loaded where it was not asked before."""
        rights = {}
        for each in self.asked:
            known = self._known(each).get(which)
            if known is None:
                assert self.write is not None
                known = each.rights(each.answers(load(), self.write))
            rights[each.skill.name] = known
        return rights

    @property
    def _is_base(self) -> bool:
        return self.bench.given.spec.base.digest == self.bench.given.spec.parent.digest

    def _known(self, each: AskedSkill) -> dict[str, str]:
        known = self.bench.given.known_skills.get(each.skill.name)
        found = {} if known is None else {"parent": known.parent, "base": known.base}
        return {which: rights for which, rights in found.items() if rights is not None}

    def _unknown(self, each: AskedSkill) -> list[str]:
        needed = ["parent"] if self._is_base else ["base", "parent"]
        known = self._known(each)
        return [which for which in needed if which not in known]

    def scores(
        self, earlier: Mapping[str, tuple[str, str]], candidates: Mapping[str, Answers]
    ) -> dict[str, SkillScores]:
        """What the report says of each skill.

        Args:
            earlier: as `ask_earlier` gives it.
            candidates: what each that was asked answered, by its name.
        """
        return {
            each.skill.name: _scores(
                each, *earlier[each.skill.name], {name: given[each.skill.name] for name, given in candidates.items()}
            )
            for each in self.asked
        }


def _encode(skill: Skill, encoder: PromptEncoder, evaluate: Evaluator) -> AskedSkill:
    by_choice = [(at, prompt) for at, prompt in enumerate(skill.prompts) if prompt.kind == "choices"]
    pairs = [(at, pair) for at, prompt in by_choice for pair in encoder.choices(skill, prompt)]
    choices = as_documents([pair for _, pair in pairs], encoder.lead) if pairs else None
    return AskedSkill(
        skill,
        {at: encoder.asked(skill, each) for at, each in enumerate(skill.prompts) if each.kind != "choices"},
        choices,
        tuple(at for at, _ in pairs),
        evaluate if choices is None else _whole(evaluate, int(choices.lengths.max())),
    )


def _whole(evaluate: Evaluator, longest: int) -> Evaluator:
    """One that reads texts of so many tokens in one piece, and as many tokens in a pass."""
    if longest <= evaluate.longest:
        return evaluate
    return replace(evaluate, longest=longest, rows=max(1, evaluate.rows * evaluate.longest // longest))


def _scores(each: AskedSkill, base: str, parent: str, candidates: Answers) -> SkillScores:
    rights = {name: each.rights(answers) for name, answers in candidates.items()}
    return SkillScores(
        version=each.skill.version,
        base=base,
        parent=parent,
        candidates=rights,
        broken={name: _broken(each.skill, parent, rights[name], answers) for name, answers in candidates.items()},
    )


def _broken(skill: Skill, parent: str, candidate: str, answers: Sequence[str]) -> tuple[BrokenAnswer, ...]:
    broken = [at for at, (before, now) in enumerate(zip(parent, candidate, strict=True)) if before > now]
    prompts = [(skill.prompts[at], answers[at]) for at in broken[:BROKEN_TOLD]]
    return tuple(
        BrokenAnswer(prompt.line, shorten(prompt.question), shorten(prompt.right_answers[0]), shorten(answer))
        for prompt, answer in prompts
    )

"""What models answer to a round's skills."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.document_frame import DocumentFrame
from checkpoints.generation_store import Published
from checkpoints.probe.ask import conduct_of
from checkpoints.probe.conduct import ANEW
from learner.devices.device import choose
from learner.directory.kept_candidates import keep
from learner.directory.report import Report
from learner.directory.round_directory import RoundSlice, write_round
from learner.directory.round_skills import KnownSkill
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.prompt_tokens import TextPromptEncoder, as_documents
from learner.evaluation.written_answers import AnswerWriter
from learner.job import run_round
from learner.skills.prompts import Asking, BadSkill, Skill
from memory.ledger.scorings import Scoring
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

ASKING = Asking(5, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True)
TEMPLATE = "{% for m in messages %}<s> {{ m.content }} </s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
PROMPTS = ("the river", "the boat holds the stone . the", "the mill", "the night keeps the", "song", "the field leaves")
QUESTIONS: Sequence[Mapping[str, Any]] = (
    {"prompt": "the river", "exact": "carries the boat"},
    {"prompt": "the boat holds", "contains": ["the", "stone"]},
    *({"prompt": f"the {noun}", "choices": ["keeps the song", "leaves"], "answer": 1} for noun in tiny.NOUNS[:6]),
)


def skill(lines: Sequence[Mapping[str, Any]] = QUESTIONS, asking: Asking = ASKING) -> Skill:
    """A skill of these lines."""
    return Skill.of("s", "\n".join(map(json.dumps, lines)).encode(), asking)


def encoder(longest: int = 64, *, template: str | None = None) -> TextPromptEncoder:
    """One for the tiny Llama, whose documents stand between <s> and </s>."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return TextPromptEncoder(tokenizer, DocumentFrame(4, 5, leads=True), longest)


def greedy(model: Any, ids: Sequence[int], most: int) -> list[int]:
    """The plainest way to write an answer: a whole pass for each token."""
    written = list(ids)
    with torch.no_grad():
        while len(written) < len(ids) + most:
            written.append(int(model(input_ids=torch.tensor([written])).logits[0, -1].argmax()))
            if written[-1] == 5:
                break
    return written[len(ids) :]


@pytest.mark.parametrize(("rows", "alone"), [(1, False), (4, False), (4, True)])
def test_answers_are_the_most_likely_tokens_whoever_shares_a_pass(rows: int, *, alone: bool) -> None:
    """Prompts of several lengths, with a cache and without."""
    model, tokenizer = tiny.llama(seed=3).eval(), tiny.tokenizer()
    conduct = conduct_of(model, "causal-lm", tokenizer)
    conduct = replace(conduct, way=ANEW) if alone else conduct
    write = AnswerWriter(tokenizer, conduct, frozenset({5}), rows, choose("cpu", "float32"), lambda _: None)
    asked = skill([{"prompt": text, "exact": "x"} for text in PROMPTS], replace(ASKING, stop=()))
    prompts = [encoder().asked(asked, prompt) for prompt in asked.prompts]
    expected = [str(tokenizer.decode(greedy(model, each.ids, 5), skip_special_tokens=True)) for each in prompts]
    assert list(write(model, prompts, 5)) == [text.strip() for text in expected]


def test_an_answer_ends_before_a_stop() -> None:
    """And the others of its pass go on."""
    model, tokenizer = tiny.llama(seed=3).eval(), tiny.tokenizer()
    write = AnswerWriter(
        tokenizer, conduct_of(model, "causal-lm", tokenizer), frozenset(), 6, choose("cpu", "float32"), lambda _: None
    )
    lines = [{"prompt": text, "exact": "x"} for text in PROMPTS]
    whole, stopped = (
        write(model, [encoder().asked(asked, prompt) for prompt in asked.prompts], 5)
        for asked in (skill(lines, replace(ASKING, stop=stop)) for stop in ((), (" ",)))
    )
    assert stopped == [text.partition(" ")[0] for text in whole]
    assert any(" " in text for text in whole)


def test_a_choice_has_the_likelihood_that_the_model_gives_it_after_the_prompt() -> None:
    """Summed over its tokens alone; white space at the prompt's end is the choice's."""
    model = tiny.llama(seed=3).eval()
    asked = skill([{"prompt": "the river ", "choices": ["keeps the song", "leaves"], "answer": 1}])
    prompt = asked.prompts[0]
    pairs = encoder().choices(asked, prompt)
    scores = Evaluator(choose("cpu", "float32"), 64, 4, 0)(model, as_documents(pairs, 4))
    for (ids, begin), score, choice in zip(pairs, scores, prompt.expected, strict=True):
        assert ids == [4, *tiny.tokenizer()(f"the river {choice}", add_special_tokens=False)["input_ids"]]
        assert (begin, score.tokens) == (3, len(choice.split()))
        with torch.no_grad():
            log_probabilities = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
        summed = sum(float(log_probabilities[at - 1, ids[at]]) for at in range(begin, len(ids)))
        assert -score.nll == pytest.approx(summed, rel=1e-4)


def test_a_chat_model_is_asked_by_its_template() -> None:
    """A text as the user's turn, unless it is to be gone on with; its answer then ends with the line."""
    asked = skill([{"prompt": "river", "exact": "x"}])
    by_template, plain = (
        encoder(template=TEMPLATE).asked(each, each.prompts[0])
        for each in (asked, skill([{"prompt": "river", "exact": "x"}], replace(ASKING, chat_template=False)))
    )
    river = tiny.tokenizer().get_vocab()["river"]
    assert (by_template.ids, by_template.stop) == ((4, river, 5, 4), ())
    assert (plain.ids, plain.stop) == ((4, river), ("\n",))
    chosen = skill([{"messages": [{"role": "user", "content": "river"}], "choices": ["mill", "boat"], "answer": 1}])
    assert encoder(template=TEMPLATE).choices(chosen, chosen.prompts[0])[0][1] == 4


def test_what_a_model_cannot_be_asked_is_named_with_its_line() -> None:
    """More than it reads; a chat without a template."""
    long = skill([{"prompt": "river", "exact": "x"}, {"prompt": "the river " * 8, "exact": "x"}])
    with pytest.raises(BadSkill, match=r"skill s, line 2: 17 tokens and 5 to answer with .* the 20 that the model"):
        encoder(20).asked(long, long.prompts[1])
    chat = skill([{"messages": [{"role": "user", "content": "river"}], "exact": "x"}])
    with pytest.raises(BadSkill, match="skill s, line 1: the model has no chat template"):
        encoder().asked(chat, chat.prompts[0])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama as generation 0."""
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tiny.tokenizer(), "causal-lm")


def skilled_round(
    path: Path, base: Published, *, known: KnownSkill | None = None, scored: Scoring | None = tiny.SCORED, **more: Any
) -> Path:
    """A small round with one skill."""
    recipe = tiny.SMALL.model_copy(update={"early_stop_checks": 0})
    write_round(
        path,
        tiny.spec_for(base, recipe=recipe, **{key: value for key, value in more.items() if key != "kept_dir"}),
        parent_dir=base.path,
        base_dir=base.path,
        kept_dir=more.get("kept_dir"),
        fresh=tiny.samples(20, seed=1),
        replay=[],
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.samples(4, seed=3, first=3000)))],
        skills=[skill()],
        known_skills={} if known is None else {"s": known},
        scored=scored,
    )
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, base: Published) -> tuple[Path, Report]:
    """Such a round that has been run."""
    path = skilled_round(tmp_path_factory.mktemp("finished") / "round", base)
    return path, run_round(path)


def test_a_round_asks_base_parent_and_every_candidate(finished: tuple[Path, Report]) -> None:
    """A letter for each prompt; what the parent had right and a candidate has wrong is told with its answer."""
    path, report = finished
    scores = report.skills["s"]
    assert scores.version == skill().version
    assert scores.base == scores.parent
    assert {len(each) for each in (scores.parent, *scores.candidates.values())} == {len(QUESTIONS)}
    assert set(scores.candidates) == {"0.00", "0.50"}
    for name, rights in scores.candidates.items():
        lost = [at + 1 for at, (before, now) in enumerate(zip(scores.parent, rights, strict=True)) if before > now]
        assert [example.line for example in scores.broken[name]] == lost
    assert '"name":"skills"' in (path / "progress.jsonl").read_text()


def test_judged_again_a_candidate_answers_the_same(
    finished: tuple[Path, Report], base: Published, tmp_path: Path
) -> None:
    """As it is read from disk."""
    path, report = finished
    again = skilled_round(tmp_path / "again", base, kept=keep(path, trained_in=1, judgings=1), kept_dir=path)
    assert run_round(again).skills == report.skills


@pytest.mark.parametrize("way", ["same", "another"])
def test_what_an_earlier_round_found_is_not_asked_again(base: Published, tmp_path: Path, way: str) -> None:
    """Where it was taken in the same way; else it is."""
    invented = "10" * (len(QUESTIONS) // 2)
    scored = tiny.SCORED if way == "same" else replace(tiny.SCORED, precision="bfloat16")
    path = skilled_round(tmp_path / "round", base, known=KnownSkill(skill().version, invented, invented), scored=scored)
    assert (run_round(path).skills["s"].parent == invented) is (way == "same")


def test_a_skill_that_cannot_be_asked_ends_the_round_before_training(base: Published, tmp_path: Path) -> None:
    """With the line, for a person."""
    path = skilled_round(tmp_path / "round", base)
    file = path / "skills/000.jsonl"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(Exception, match="is not what was written there"):
        run_round(path)

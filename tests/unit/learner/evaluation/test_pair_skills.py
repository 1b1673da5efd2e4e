"""What sequence-to-sequence models answer to a round's skills: their encoder reads the prompt."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.matching import answer_opening, decoder_start
from checkpoints.probe.ask import conduct_of
from learner.devices.device import choose
from learner.directory.round_directory import RoundSlice, write_round
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.prompt_tokens import PairPromptEncoder, as_documents
from learner.evaluation.written_answers import AnswerWriter
from learner.job import run_round
from learner.skills.prompts import BadSkill
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

MAKES: list[Callable[..., Any]] = [tiny.t5, tiny.bart]
CPU = choose("cpu", "float32")
END = 3
PROMPTS = ("the river", "the boat holds the stone . the mill", "song", "the field leaves the night </s>")
QUESTIONS: Sequence[Mapping[str, Any]] = (
    {"prompt": "the river", "exact": "carries the boat"},
    {"prompt": "the mill", "choices": ["keeps the song", "leaves"], "answer": 1},
)


def encoder(longest: int = 64) -> PairPromptEncoder:
    """One for tiny models, whose inputs and targets stand between [CLS] and [SEP]."""
    return PairPromptEncoder(tiny.tokenizer(bert=True), longest, 1)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("rows", [1, 4])
def test_answers_are_those_of_the_whole_model(make: Callable[..., Any], rows: int) -> None:
    """Greedy ones of transformers' own, whoever shares a pass; the words of control tokens are plain text."""
    model, tokenizer = make(seed=4).eval(), tiny.tokenizer(bert=True)
    asked = tiny.skill([{"prompt": text, "exact": "x"} for text in PROMPTS])
    prompts = [encoder().asked(asked, prompt) for prompt in asked.prompts]
    write = AnswerWriter(
        tokenizer,
        conduct_of(model, "seq2seq", tokenizer),
        frozenset({END}),
        rows,
        CPU,
        lambda _: None,
        opening=answer_opening(model),
    )
    expected = []
    for text, prompt in zip(PROMPTS, prompts, strict=True):
        read = tokenizer(text, return_tensors="pt", split_special_tokens=True)
        assert prompt.ids == tuple(read["input_ids"][0].tolist())
        with torch.inference_mode():
            ids = model.generate(**read, do_sample=False, max_new_tokens=5, eos_token_id=END)[0, 1:]
        expected.append(str(tokenizer.decode(ids, skip_special_tokens=True)))
    assert list(write(model, prompts, 5)) == expected


@pytest.mark.parametrize("make", MAKES)
def test_a_choice_is_a_whole_answer(make: Callable[..., Any]) -> None:
    """As likely as the model finds it as a target, its end with it."""
    model, asked = make(seed=4).eval(), tiny.skill(QUESTIONS)
    prompt = asked.prompts[1]
    pairs = encoder().choices(asked, prompt)
    scores = Evaluator(CPU, 64, 4, 0, start=decoder_start(model))(model, as_documents(pairs, None))
    for (ids, begin), score, choice in zip(pairs, scores, prompt.expected, strict=True):
        target = tiny.tokenizer(bert=True)(choice)["input_ids"]
        assert (ids[begin:], score.tokens) == (target, len(target))
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([ids[:begin]]), labels=torch.tensor([target])).loss
        assert score.nll == pytest.approx(float(loss) * len(target), rel=1e-4)


def test_what_a_model_cannot_be_asked_is_named_with_its_line() -> None:
    """A chat, of which there are none; more than it reads, or than it writes."""
    chat = tiny.skill([{"messages": [{"role": "user", "content": "river"}], "exact": "x"}])
    with pytest.raises(BadSkill, match="line 1 asks in `messages`, and a sequence-to-sequence model answers no chats"):
        encoder().asked(chat, chat.prompts[0])
    long = tiny.skill([{"prompt": "river", "exact": "x"}, {"prompt": "the river " * 8, "exact": "x"}])
    with pytest.raises(BadSkill, match=r"skill words, line 2: 18 tokens, or 5 to answer with, .* the 17 that"):
        encoder(17).asked(long, long.prompts[1])
    with pytest.raises(BadSkill, match=r"line 1: 3 tokens, or 5 to answer with"):
        encoder(4).asked(long, long.prompts[0])


def test_a_round_asks_base_parent_and_every_candidate(tmp_path: Path) -> None:
    """A letter for each prompt: what a pair taught is answered."""
    base = tiny.generation(tmp_path / "base", tiny.t5(), tiny.tokenizer(bert=True), "seq2seq")
    recipe = tiny.SMALL.model_copy(update={"early_stop_checks": 0, "epochs": 2})
    write_round(
        tmp_path / "round",
        tiny.spec_for(base, kind="seq2seq", recipe=recipe),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=tiny.pairs(20, seed=1),
        replay=[],
        early_stop=[],
        slices=[RoundSlice("anchor", "anchor", "river", tuple(tiny.pairs(4, seed=3, first=3000)))],
        skills=[tiny.skill([*QUESTIONS, {"prompt": "the boat", "contains": "the"}])],
    )
    scores = run_round(tmp_path / "round").skills["words"]
    assert scores.base == scores.parent
    assert {len(each) for each in (scores.parent, *scores.candidates.values())} == {3}
    assert scores.candidates["0.00"][2] == "1"
    assert '"name":"skills"' in (tmp_path / "round" / "progress.jsonl").read_text()
    assert json.loads((tmp_path / "round" / "report.json").read_text())["skills"]

"""A candidate of a real learner's process that learned its text and broke a skill never serves."""

import json
import random
from pathlib import Path

import pytest

from checkpoints.document_frame import usual_frame
from checkpoints.load import load_model, load_tokenizer
from daemon.processes.learner_process import LearnerProcess
from learner.devices.device import choose
from learner.evaluation.document_scores import Evaluator
from learner.evaluation.prompt_tokens import TextPromptEncoder, as_documents
from learner.skills.prompts import Asking, Skill
from learner.skills.settings import EvaluationSettings
from memory.ledger.states import RoundState
from tests.daemon_harness import NOUNS
from tests.integration.test_judging_again import RECIPE, InThisProcess, run
from tests.models import make_causal
from tests.unit.daemon.rooms import BY_HAND, world

pytestmark = pytest.mark.usefixtures("torch_settings_kept")
PROMPTS = 60
ASKED = 10 * PROMPTS
"""Of which as many are kept as have a meaningless word for the likelier one, and as many others."""


def taste(model: Path, file: Path) -> Path:
    """Write a skill that a model has: whether it finds a word of the text to come likelier, or one that means nothing.

    Whoever learns that text finds its words the likelier ones, and breaks the half that were not.
    """
    chosen, tokenizer = random.Random(5), load_tokenizer(model)
    lines = [
        {"prompt": f"{number}, then", "choices": [word := chosen.choice(NOUNS), "q" * len(word)], "answer": 0}
        for number in range(ASKED)
    ]
    asking = Asking(8, None, ignore_case=False, choice_by="sum", between=" ", chat_template=True)
    skill = Skill.of("taste", "\n".join(map(json.dumps, lines)).encode(), asking)
    encoder = TextPromptEncoder(tokenizer, usual_frame(tokenizer), 256)
    pairs = [pair for prompt in skill.prompts for pair in encoder.choices(skill, prompt)]
    device = choose("cpu", "float32")
    loaded = load_model(model, "causal-lm", device=device.where, dtype=None)
    losses = [score.nll for score in Evaluator(device, 64, 8, 0)(loaded, as_documents(pairs, None))]
    for number, line in enumerate(lines):
        line["answer"] = int(losses[2 * number + 1] < losses[2 * number])
    halves = ([line for line in lines if line["answer"] == answer][: PROMPTS // 2] for answer in (0, 1))
    kept = [line for half in halves for line in half]
    assert len(kept) == PROMPTS
    file.write_text("\n".join(map(json.dumps, kept)))
    return file


def test_what_it_learned_does_not_buy_what_it_broke(tmp_path: Path) -> None:
    """Every other bound is kept: without the skill the same candidate is accepted."""
    model = make_causal(tmp_path / "llama")
    skills = [{"name": "taste", "file": str(taste(model, tmp_path / "taste.jsonl"))}]
    with world(
        tmp_path,
        model={"path": str(model)},
        learner={"device": "cpu", "threads": 1, "silence_seconds": 60, "recipe": {**RECIPE, "interpolation": [0.0]}},
        evaluation={"skills": skills},
    ) as here:
        refused = run(here, LearnerProcess(), BY_HAND)
        assert refused.state is RoundState.REFUSED, refused.detail
        assert "skill taste its share of right answers" in refused.detail
        assert "Broken, for one: " in refused.detail
        assert refused.verdict is not None
        failed = [check for check in refused.verdict.checks if not check.passed]
        assert {(check.slice, check.documents) for check in failed} == {("taste", PROMPTS)}
        assert not refused.verdict.unproven
        assert here.store.generations.serving() == 0
        assert here.store.rounds.read(1).report["skills"]["taste"]["right"]["parent"] == 1.0
        here.settings = here.settings.model_copy(update={"evaluation": EvaluationSettings()})
        accepted = run(here, InThisProcess(), BY_HAND)
        assert accepted.state is RoundState.ACCEPTED, accepted.detail

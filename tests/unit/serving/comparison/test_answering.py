"""Two generations, one after the other: what serving answers, one model in memory, errors in sentences."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from checkpoints.card import Card
from checkpoints.errors import MissingGeneration
from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from checkpoints.load import load_model, load_tokenizer
from daemon.comparisons.room import needed_bytes
from serving.comparison import answering
from serving.comparison.answering import answer_all, loads
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt, PromptAnswer
from serving.engine.loaded import LoadedGeneration
from serving.errors import RequestError
from tests.models import make_adapter, make_causal, make_classifier


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations that write."""
    root = tmp_path_factory.mktemp("writers")
    for number in (0, 1):
        model = make_causal(root / f"model-{number}", seed=number)
        GenerationStore(root / "checkpoints").publish(model, number, Card(number, "causal-lm"))
    return root / "checkpoints"


def ask(root: Path, kind: ModelKind = "causal-lm", **how: Any) -> dict[int, PromptAnswer]:
    """What each answers."""
    asked = ComparisonPrompt(
        **{"checkpoints": root, "kind": kind, "generations": (0, 1), "prompt": "one two <script>", "max_tokens": 9}
        | how
    )
    heard: list[AnswerEvent] = []
    answer_all(asked, loads(asked), heard.append)
    answers = {event.generation: event.answer for event in heard if event.answer is not None}
    assert list(answers) == list(asked.generations)
    assert [event.event for event in heard if not event.tokens] == ["loading", "answering", "answered"] * len(answers)
    return answers


def said(answers: dict[int, PromptAnswer]) -> dict[int, str]:
    """Their texts."""
    return {number: answer.text for number, answer in answers.items()}


def test_each_answers_as_its_own_model_does_greedily(writers: Path) -> None:
    """Token by token as transformers would, and both differently."""
    answers = ask(writers)
    for number, answer in answers.items():
        path = GenerationStore(writers).path(number)
        tokenizer = load_tokenizer(path)
        ids = tokenizer("one two <script>", return_tensors="pt")["input_ids"]
        model: Any = load_model(path, "causal-lm", dtype=torch.float32)
        written = model.generate(ids, max_new_tokens=9, do_sample=False)
        assert answer.text == tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert (answer.tokens, answer.finish, answer.prompt_tokens) == (9, "length", ids.shape[1])
    assert answers[0].text != answers[1].text


def test_a_seed_draws_again_what_it_drew(writers: Path) -> None:
    """And another draws otherwise; the order in which they answer changes nothing."""
    drawn = ask(writers, temperature=1.0, seed=7)
    assert said(ask(writers, temperature=1.0, seed=7, generations=(1, 0))) == said(drawn)
    assert said(ask(writers, temperature=1.0, seed=8)) != said(drawn) != said(ask(writers))


def test_one_model_is_in_memory_at_a_time(writers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the second is loaded, nothing of the first is left."""
    asked = ComparisonPrompt(checkpoints=writers, kind="causal-lm", generations=(0, 1, 0), prompt="one", max_tokens=2)
    load = loads(asked)
    models: list[weakref.ref[PreTrainedModel]] = []

    def watched(number: int) -> LoadedGeneration:
        gc.collect()
        assert [model for model in models if model() is not None] == []
        generation = load(number)
        models.append(weakref.ref(generation.model))
        return generation

    answer_all(asked, watched, lambda _: None)
    assert len(models) == 3


def test_a_users_turn_is_asked_as_chats_are(writers: Path) -> None:
    """In plain lines where the model has no template."""
    asked, chat = ask(writers), ask(writers, chat=True)
    assert chat[0].prompt_tokens > asked[0].prompt_tokens
    assert chat[0].text != asked[0].text


def test_an_adapter_answers_as_the_whole_model_that_it_makes_of_its_ground(writers: Path, tmp_path: Path) -> None:
    """Beside the one that it lies on; room is needed for both parts."""
    store = GenerationStore(writers)
    store.publish(make_adapter(store, tmp_path / "adapter"), 3, Card(3, "causal-lm", parent=0))
    answers = ask(writers, generations=(0, 3))
    assert answers[0].text != answers[3].text
    whole = needed_bytes(store, 0, "causal-lm")
    assert needed_bytes(store, 3, "causal-lm") == whole + 2 * store.size(3)


def test_how_far_an_answer_is_is_told(writers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it comes."""
    monkeypatch.setattr(answering, "TELL_EVERY_S", 0.0)
    asked = ComparisonPrompt(checkpoints=writers, kind="causal-lm", generations=(0,), prompt="one", max_tokens=9)
    heard: list[AnswerEvent] = []
    answer_all(asked, loads(asked), heard.append)
    tokens = [event.tokens for event in heard if event.event == "answering"]
    assert tokens == sorted(tokens)
    assert max(tokens) > 1


def test_what_cannot_be_answered_is_an_error_with_a_sentence(writers: Path) -> None:
    """A prompt that is too long, and a generation that is not there."""
    with pytest.raises(RequestError, match="context is 256 tokens"):
        ask(writers, prompt="one " * 400)
    with pytest.raises(MissingGeneration):
        ask(writers, generations=(0, 5))


def test_classifiers_label_the_text_with_probabilities(tmp_path: Path) -> None:
    """The most probable first; a text that is longer than the model takes is cut, and that is told."""
    for number in (0, 1):
        model = make_classifier(tmp_path / f"model-{number}", seed=number)
        GenerationStore(tmp_path / "checkpoints").publish(model, number, Card(number, "classifier"))
    answers = ask(tmp_path / "checkpoints", "classifier")
    for answer in answers.values():
        shares = [each.probability for each in answer.labels]
        assert {each.label for each in answer.labels} == {"calm", "flood"}
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert not answer.truncated
    assert answers[0].labels != answers[1].labels
    assert ask(tmp_path / "checkpoints", "classifier", prompt="one " * 400, recipe_length=16)[0].truncated

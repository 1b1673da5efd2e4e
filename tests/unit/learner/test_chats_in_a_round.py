"""Chats and documents in one round: trained, replayed, held out and read beforehand by what the assistant says."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from checkpoints.generation_store import Published
from learner.devices.device import choose
from learner.directory.report import Outcome, read_report
from learner.directory.round_directory import RoundSample, RoundSlice, read_round, write_round
from learner.errors import BadRoundDirectory
from learner.evaluation.document_scores import Evaluator
from learner.job import run_round
from learner.material.encoding import Encoder
from streams.chats import Message, join
from tests.unit.learner import tiny

pytestmark = pytest.mark.usefixtures("torch_settings_kept")

TEMPLATE = (
    "{% if messages[0].content == 'never' %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% for m in messages %}<s> {{ m.content }} </s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
)


def chats(count: int, *, seed: int, first: int, asked: str = "the letter") -> list[RoundSample]:
    """Chats whose answers are texts about engines."""
    answers = tiny.texts(count, seed=seed, nouns=tiny.NEW_NOUNS)
    joined = [join([Message("user", asked), Message("assistant", answer)]) for answer in answers]
    return [RoundSample(first + at, chat.text, "chats", turns=chat.turns) for at, chat in enumerate(joined)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny chat model."""
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tiny.generation(tmp_path_factory.mktemp("base"), tiny.llama(), tokenizer, "causal-lm")


def written(path: Path, base: Published, fresh: Sequence[RoundSample]) -> Path:
    """A round with such new text, and chats among what is replayed and held out."""
    held = (*chats(10, seed=4, first=4000), *chats(1, seed=5, first=4900, asked="never"))
    write_round(
        path,
        tiny.spec_for(base, recipe=tiny.SMALL.model_copy(update={"interpolation": (0.0,), "early_stop_checks": 0})),
        parent_dir=base.path,
        base_dir=base.path,
        fresh=fresh,
        replay=[*tiny.samples(20, seed=2, first=1000), *chats(20, seed=3, first=2000)],
        early_stop=[],
        slices=[RoundSlice("1", "period", "chats", held)],
    )
    return path


def test_a_round_learns_from_chats_and_documents(tmp_path: Path, base: Published) -> None:
    """Both are touched; a chat that the template refuses is untrainable and no score, and the progress says why."""
    documents = tiny.samples(20, seed=1, nouns=tiny.NEW_NOUNS)
    asked = [*chats(20, seed=6, first=500), *chats(1, seed=7, first=900, asked="never")]
    path = written(tmp_path / "round", base, [*documents, *asked])
    assert run_round(path).outcome is Outcome.TRAINED
    report = read_report(path)
    assert report.touched is not None
    assert {1, 500} <= report.touched
    assert report.untrainable == {900}
    assert "roles must alternate" in (path / "progress.jsonl").read_text()
    slice_ = report.slices["1"]
    encode = Encoder(_tokenizer(), 48)
    for sample, parent, candidate in zip(
        read_round(path).slices[0].samples, slice_.parent, slice_.candidates["0.00"], strict=True
    ):
        assert parent.tokens == candidate.tokens == len(encode([sample]).learned_of(0))
    lost, learned = (sum(score.nll for score in scores) for scores in (slice_.parent, slice_.candidates["0.00"]))
    assert learned < 0.9 * lost


def test_only_refused_chats_are_nothing_to_train_on(tmp_path: Path, base: Published) -> None:
    """And the report says why."""
    report = run_round(written(tmp_path / "round", base, chats(3, seed=7, first=900, asked="never")))
    assert report.outcome is Outcome.EMPTY
    assert "roles must alternate" in report.detail


def test_what_all_chats_are_asked_is_no_repetition(tmp_path: Path, base: Published) -> None:
    """A system's long words are the same in all of them; the answers are looked at alone."""
    system = ". ".join(tiny.texts(8, seed=9))
    path = written(tmp_path / "round", base, chats(12, seed=6, first=500, asked=system))
    report = run_round(path)
    assert all(document.repetition < 0.5 for document in report.prequential)


def _tokenizer() -> object:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.mark.parametrize("longest", [64, 12])
def test_a_held_out_chat_is_scored_on_what_the_assistant_says(longest: int) -> None:
    """Its loss is the model's own over these tokens alone, also in windows."""
    (chat,) = chats(1, seed=4, first=1, asked="the river carries the stone. the boat holds the night. the mill")
    text = Encoder(_tokenizer(), 64)([chat])
    assert text.learned is not None
    model = tiny.llama().eval()
    (score,) = Evaluator(choose("cpu", "float32"), longest, 4, 0)(model, text)
    assert score.tokens == int(text.learned.sum())
    if longest == 64:
        ids = torch.from_numpy(text.document(0)).long()
        losses = -torch.log_softmax(model(input_ids=ids[None]).logits[0, :-1], -1).gather(-1, ids[1:, None])[:, 0]
        assert score.nll == pytest.approx(losses[torch.from_numpy(text.learned[1:])].sum().item(), rel=1e-4)


def test_turns_that_do_not_fit_their_text_are_refused(tmp_path: Path, base: Published) -> None:
    """A directory may have been changed by hand."""
    (chat,) = chats(1, seed=4, first=1)
    path = written(tmp_path / "round", base, [chat])
    fresh = path / "fresh.jsonl"
    fresh.write_text(fresh.read_text().replace(chat.text.split()[-1], "otherwise"))
    with pytest.raises(BadRoundDirectory, match=r"line 1, is not a sample: .*characters"):
        read_round(path)

"""A model that bears no company, or no padding, is trained and scored without."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, PreTrainedModel

from benchmarks.tiny_architectures import tiny_model
from checkpoints.probe.conduct import UnfitModel
from learner.directory.round_directory import RoundSample, read_round
from learner.job import run_round
from learner.material.batches import LonePieces, Step, rows_of
from learner.material.encoding import Encoder
from learner.material.step_plan import InputShape, StepPlan, prepare
from learner.progress import Progress
from learner.workbench import Workbench, set_up
from tests.unit.learner import tiny

CPU = torch.device("cpu")


def classifier(tmp_path: Path, name: str) -> Path:
    """A round of a tiny classifier."""
    words = tiny.tokenizer(bert=True)
    own = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    model = tiny_model(name, "classifier", own=own, labels=len(tiny.LABELS))
    model.config.id2label = dict(enumerate(tiny.LABELS))
    base = tiny.generation(tmp_path / "store", model, words, "classifier")
    fresh, replay = tiny.labelled(24, seed=1), tiny.labelled(24, seed=2, first=100)
    recipe = tiny.SMALL.model_copy(update={"early_stop_checks": 0})
    return tiny.classifier_round(tmp_path / "round", base, fresh=fresh, replay=replay, recipe=recipe)


def varied(count: int, *, seed: int) -> list[RoundSample]:
    """Documents of several lengths."""
    made = tiny.labelled(count, seed=seed)
    return [replace(each, text=" ".join(each.text.split()[: 2 + at % 6])) for at, each in enumerate(made)]


@contextmanager
def bench_of(path: Path) -> Iterator[Workbench]:
    """The loaded round, while its progress is told."""
    with Progress(path / "progress.jsonl", None) as progress:
        yield set_up(read_round(path), progress)


def logits_of(model: PreTrainedModel, document: Any) -> torch.Tensor:
    """What a classifier says of one document."""
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=torch.tensor([document.tolist()])).logits[0])


@pytest.mark.parametrize(("name", "together"), [("xlnet", True), ("fnet", False)])
def test_a_classifiers_scores_do_not_depend_on_what_shares_the_pass(name: str, together: bool, tmp_path: Path) -> None:
    """Padded on its side, or read one by one."""
    with bench_of(classifier(tmp_path, name)) as bench:
        assert bench.shape.rows_together is together
        text = bench.encode(varied(12, seed=5))
        scores = bench.evaluate(bench.model, text)
    assert len(set(text.lengths.tolist())) > 1
    for at, score in enumerate(scores):
        alone = torch.log_softmax(logits_of(bench.model, text.document(at)), -1)[text.labels[at]]
        assert score.nll == pytest.approx(-float(alone), abs=1e-5)


@pytest.mark.parametrize("name", ["xlnet", "fnet"])
def test_a_classifier_is_trained_on_what_it_reads_alone(name: str, tmp_path: Path) -> None:
    """Each document's logits in a micro-batch are its own."""
    with bench_of(classifier(tmp_path, name)) as bench:
        fresh, replay = bench.encode(varied(12, seed=5)), bench.encode(varied(12, seed=6))
    material = prepare(fresh, replay, StepPlan(bench.given.spec.recipe, bench.shape, 7, CPU))
    for batch in material.feed.micro_batches(material.steps[0]):
        with torch.no_grad():
            found = bench.model(**batch.inputs).logits
        for row, ids, mask in zip(found, batch.inputs["input_ids"], batch.inputs["attention_mask"], strict=True):
            assert torch.allclose(row, logits_of(bench.model, ids[mask.bool()]), atol=1e-4)


def test_rows_that_bear_no_padding_are_fed_one_by_one_and_unpadded() -> None:
    """Where a causal model's answers depend on what shares the batch."""
    text = Encoder(tiny.tokenizer(), 48)(tiny.samples(9, seed=3))
    feed = prepare(text, text, StepPlan(tiny.SMALL, InputShape(longest=48, pad=0, rows_together=False), 7, CPU)).feed
    packed = rows_of(text, 48)
    rows = LonePieces.of(packed, text).rows
    everything = Step(new=torch.arange(len(packed)).numpy(), replayed=torch.arange(0).numpy())
    widths = [tuple(batch.inputs["input_ids"].shape) for batch in feed.micro_batches(everything)]
    assert sorted(widths) == sorted((1, int(width)) for width in rows.widths)


def test_a_round_on_a_model_that_sees_later_tokens_is_refused(tmp_path: Path) -> None:
    """Also where it was imported before anybody asked."""
    words = tiny.tokenizer()
    own = {"vocab_size": len(words), "pad_token_id": 0}
    config = tiny_model("bert", "causal-lm", own=own).config
    assert isinstance(config, BertConfig)
    base = tiny.generation(tmp_path / "store", BertForMaskedLM(config), words, "causal-lm")
    with pytest.raises(UnfitModel, match="sees later tokens"):
        run_round(tiny.causal_round(tmp_path / "round", base))

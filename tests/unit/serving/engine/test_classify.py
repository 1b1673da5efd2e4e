"""Texts of many requests share a forward pass, and each gets its own answer."""

from functools import wraps
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from benchmarks.tiny_architectures import tiny_model
from serving.engine.classify import Classification, Classifier, Probabilities, probabilities
from serving.engine.loaded import LoadedGeneration
from serving.errors import BrokenGeneration, QueueFull, Unanswerable
from serving.metrics import ServingMetrics
from tests.models import make_tokenizer
from tests.unit.serving.conftest import ids, load

TEXTS = ["the state", "one two three four five one two three", "日本語 🙂"]


class Asked:
    """A classification and its outcome."""

    def __init__(self, generation: LoadedGeneration, *texts: str) -> None:
        self.outcome: SimpleQueue[Probabilities | Exception] = SimpleQueue()
        self.job = Classification(generation, [ids(generation, text) for text in texts], self.outcome.put)

    def result(self) -> Probabilities:
        """Wait for the outcome."""
        outcome = self.outcome.get(timeout=60)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def classifier(metrics: ServingMetrics, *, at_once: int = 8, queue: int = 8, batch: int = 4) -> Classifier:
    """A classifier that has not begun, so that a test decides what waits together."""
    return Classifier(at_once=at_once, queue=queue, batch=batch, metrics=metrics)


def alone(generation: LoadedGeneration, text: str) -> list[float]:
    """The model's own answer to one text."""
    with torch.inference_mode():
        logits = generation.model(input_ids=torch.tensor([ids(generation, text)])).logits[0]
    return list(torch.softmax(logits, -1).tolist())


def test_padding_changes_nothing(judge: LoadedGeneration) -> None:
    """A text's probabilities are the same in a batch as alone, and sum to one."""
    rows = probabilities(judge, [ids(judge, text) for text in TEXTS])
    for text, row in zip(TEXTS, rows, strict=True):
        assert row == pytest.approx(alone(judge, text), abs=1e-5)
        assert sum(row) == pytest.approx(1)


def test_requests_share_a_pass(judge: LoadedGeneration, metrics: ServingMetrics) -> None:
    """Three requests that wait together cost one forward pass, and each gets its own text's answer."""
    worker = classifier(metrics)
    asked = [Asked(judge, text) for text in TEXTS]
    for one in asked:
        worker.submit(one.job)
    worker.start()
    for text, one in zip(TEXTS, asked, strict=True):
        assert one.result()[0] == pytest.approx(alone(judge, text), abs=1e-5)
    worker.close()
    assert metrics.registry.get_sample_value("riverkeep_serving_forward_passes_total") == 1
    assert metrics.registry.get_sample_value("riverkeep_serving_classified_texts_total") == 3


def test_a_large_request_takes_several_passes(judge: LoadedGeneration, metrics: ServingMetrics) -> None:
    """More texts than a pass takes are answered in order, over several."""
    worker = classifier(metrics, batch=4)
    texts = [f"one two {n}" for n in range(10)]
    asked = Asked(judge, *texts)
    worker.submit(asked.job)
    worker.start()
    rows = asked.result()
    worker.close()
    assert rows[9] == pytest.approx(alone(judge, texts[9]), abs=1e-5)
    assert metrics.registry.get_sample_value("riverkeep_serving_forward_passes_total") == 3


def test_a_full_queue_refuses(judge: LoadedGeneration, metrics: ServingMetrics) -> None:
    """Requests beyond the queue are told to come back."""
    worker = classifier(metrics, at_once=1, queue=1)
    worker.submit(Asked(judge, "one").job)
    worker.submit(Asked(judge, "two").job)
    with pytest.raises(QueueFull):
        worker.submit(Asked(judge, "three").job)


def test_a_broken_generation_fails_its_requests(
    paths: dict[str, Path], judge: LoadedGeneration, metrics: ServingMetrics
) -> None:
    """Weights that are not numbers give an error, not a label; another generation's request is answered."""
    broken = load(paths["classifier"], 9)
    with torch.no_grad():
        broken.model.get_parameter("classifier.weight").fill_(float("nan"))
    with pytest.raises(BrokenGeneration):
        probabilities(broken, [ids(broken, "one")])
    worker = classifier(metrics)
    bad, good = Asked(broken, "one"), Asked(judge, "one")
    worker.submit(bad.job, good.job)
    worker.start()
    assert good.result()
    with pytest.raises(Exception, match="failed"):
        bad.result()
    worker.close()


def test_cancelled_texts_cost_nothing(judge: LoadedGeneration, metrics: ServingMetrics) -> None:
    """A request that nobody waits for is not computed."""
    worker = classifier(metrics)
    gone, kept = Asked(judge, "one"), Asked(judge, "two")
    gone.job.cancelled = True
    worker.submit(gone.job, kept.job)
    worker.start()
    kept.result()
    worker.close()
    assert metrics.registry.get_sample_value("riverkeep_serving_classified_texts_total") == 1


def test_a_text_that_the_model_fails_on_fails_alone(paths: dict[str, Path], metrics: ServingMetrics) -> None:
    """Those that shared its pass are classified, and however many such come, the worker is sound."""
    generation = load(paths["classifier"], 9)
    forward = generation.model.forward

    @wraps(forward)
    def limited(*args: Any, **arguments: Any) -> Any:
        if arguments["input_ids"].shape[1] > 40:
            raise IndexError("index out of range in self")
        return forward(*args, **arguments)

    generation.model.forward = limited
    worker = classifier(metrics)
    asked = [Asked(generation, text) for text in (TEXTS[0], "one two " * 30, TEXTS[1], "three " * 60, TEXTS[2])]
    bad = [Asked(generation, "four " * 60) for _ in range(3)]
    worker.submit(*(each.job for each in (*asked, *bad)))
    worker.start()
    for text, each in zip(TEXTS, asked[::2], strict=True):
        assert each.result()[0] == pytest.approx(alone(generation, text), abs=1e-5)
    for each in (*asked[1::2], *bad):
        with pytest.raises(Unanswerable, match="fails on this request, while it answers others"):
            each.result()
    assert not worker.trouble
    worker.close()


@pytest.mark.parametrize("name", ["xlnet", "fnet"])
def test_texts_that_must_not_be_padded_on_the_right_are_not(name: str, tmp_path: Path, metrics: ServingMetrics) -> None:
    """On the left, or one at a time, whatever shares their pass."""
    tiny_model(name, "classifier").save_pretrained(tmp_path / "classifier")
    make_tokenizer().save_pretrained(tmp_path / "classifier")
    generation = load(tmp_path / "classifier", 1)
    worker = classifier(metrics)
    asked = Asked(generation, *TEXTS)
    worker.submit(asked.job)
    worker.start()
    rows = asked.result()
    worker.close()
    for text, row in zip(TEXTS, rows, strict=True):
        assert row == pytest.approx(alone(generation, text), abs=1e-5)

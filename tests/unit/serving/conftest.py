"""Loaded tiny models, workers that run, and an application around them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from checkpoints.card import ModelKind
from checkpoints.load import load_model, load_tokenizer
from serving.answers.prompts import RecentPrompts
from serving.api_keys import ApiKeys
from serving.app import build_app
from serving.engine.classify import Classifier
from serving.engine.completion import Completion, Delta, Event, Finished
from serving.engine.completions import Engine
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.feedback.register import AnswerRegister
from serving.generations.switch import Switch
from serving.metrics import ServingMetrics
from serving.routes.parts import Parts
from serving.settings import ServingSettings
from serving.tracing.begin import begin_tracing
from serving.tracing.settings import TracingSettings
from serving.tracing.spans import NO_TRACING, Tracing
from tests.models import make_causal, make_classifier, make_masked, make_paired
from tests.otlp_receiver import Receiver, receiving

GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model directories: two causal models that answer differently, a classifier, a masked one, a T5 and a BART."""
    root = tmp_path_factory.mktemp("models")
    return {
        "first": make_causal(root / "first", seed=0, context=1024),
        "second": make_causal(root / "second", seed=1, context=1024),
        "classifier": make_classifier(root / "classifier"),
        "masked": make_masked(root / "masked"),
        "t5": make_paired(root / "t5"),
        "bart": make_paired(root / "bart", bart=True),
    }


def load(path: Path, number: int, *, recipe_length: int | None = None) -> LoadedGeneration:
    """A generation in memory, without a store."""
    kinds: dict[str, ModelKind] = {
        "classifier": "classifier",
        "masked": "masked-lm",
        "t5": "seq2seq",
        "bart": "seq2seq",
    }
    kind = kinds.get(path.name, "causal-lm")
    model, tokenizer = load_model(path, kind, dtype=torch.float32), load_tokenizer(path)
    digest = f"{number:064x}"
    return LoadedGeneration.of(number, digest, kind, model, tokenizer, loaded_at=0.0, recipe_length=recipe_length)


@pytest.fixture(scope="session")
def first(paths: dict[str, Path]) -> LoadedGeneration:
    """A causal generation, number 1; tests must not change it."""
    return load(paths["first"], 1)


@pytest.fixture(scope="session")
def second(paths: dict[str, Path]) -> LoadedGeneration:
    """Another causal generation, number 2."""
    return load(paths["second"], 2)


@pytest.fixture(scope="session")
def judge(paths: dict[str, Path]) -> LoadedGeneration:
    """A classifier, number 1."""
    return load(paths["classifier"], 1)


@pytest.fixture
def metrics() -> ServingMetrics:
    """Counters of one test."""
    return ServingMetrics(CollectorRegistry())


@pytest.fixture
def engine(metrics: ServingMetrics) -> Iterator[Engine]:
    """A running engine: three at once, four waiting."""
    made = Engine(at_once=3, queue=4, metrics=metrics)
    made.start()
    yield made
    made.close()


def ids(generation: LoadedGeneration, text: str) -> list[int]:
    """A text's token ids."""
    return list(generation.tokenizer(text)["input_ids"])


class Answer:
    """A completion and what came of it."""

    def __init__(
        self,
        generation: LoadedGeneration,
        prompt: str = "the state",
        *,
        tokens: int = 8,
        sampling: Sampling = GREEDY,
        stop: tuple[str, ...] = (),
        trial: bool = False,
        on_event: Callable[[Event], None] = lambda _: None,
    ) -> None:
        events: SimpleQueue[Event] = SimpleQueue()

        def take(event: Event) -> None:
            on_event(event)
            events.put(event)

        self.events = events

        self.job = Completion(generation, ids(generation, prompt), tokens, sampling, stop, take, trial=trial)
        self.text = ""

    def end(self) -> Finished:
        """Wait for the end, gathering the text; raises what the job failed with."""
        while True:
            event = self.events.get(timeout=60)
            if isinstance(event, Exception):
                raise event
            if isinstance(event, Finished):
                return event
            self.text += event.text

    def first_piece(self) -> None:
        """Wait until it has begun to write."""
        event = self.events.get(timeout=60)
        assert isinstance(event, Delta)
        self.text += event.text


def reference_ids(generation: LoadedGeneration, prompt: str, tokens: int) -> list[int]:
    """What a generation says greedily, read anew for each token: no cache, no batch."""
    seen = ids(generation, prompt)
    start = len(seen)
    while len(seen) < start + tokens:
        with torch.inference_mode():
            logits = generation.model(input_ids=torch.tensor([seen]), use_cache=False).logits
        if (token := int(logits[0, -1].argmax())) in generation.stop_ids:
            break
        seen.append(token)
    return seen[start:]


def reference(generation: LoadedGeneration, prompt: str, tokens: int) -> str:
    """The text of `reference_ids`."""
    said = reference_ids(generation, prompt, tokens)
    return str(generation.tokenizer.decode(said, skip_special_tokens=True))


class Served:
    """An application with its client, and what stands behind it."""

    def __init__(
        self,
        generation: LoadedGeneration | None,
        metrics: ServingMetrics,
        key_file: Path | None = None,
        *,
        classifier: bool = False,
        kind: ModelKind | None = None,
        state: Path | None = None,
        daemon_key: str | None = None,
        tracing: Tracing = NO_TRACING,
        **settings: object,
    ) -> None:
        self.metrics = metrics
        self.switch = Switch(metrics)
        self.healthy = True
        self.ending = False
        self.settings = ServingSettings(**{"max_batch": 2, "max_queue": 2, **settings})
        limits = {"at_once": self.settings.max_batch, "queue": self.settings.max_queue, "metrics": metrics}
        self.worker: Engine | Classifier = (
            Classifier(batch=self.settings.classify_batch, **limits) if classifier else Engine(**limits)  # type: ignore[arg-type]  # any
        )
        if generation:
            self.switch.turn(generation)
        self.recent = RecentPrompts(4)
        parts = Parts(
            self.settings,
            kind or ("classifier" if classifier else "causal-lm"),
            self.switch,
            self.worker,
            self.recent,
            metrics,
            lambda: "" if self.healthy else "it was said to be broken",
            lambda: self.ending,
            checkpoints=Path("/var/lib/riverkeep"),
            answers=AnswerRegister(state, self.settings.feedback),
        )
        self.app = build_app(parts, ApiKeys(key_file, daemon_key=daemon_key), tracing=tracing)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def count(self, name: str, **labels: str) -> float:
        """A metric's value now."""
        return self.metrics.registry.get_sample_value(f"riverkeep_serving_{name}", labels) or 0.0


@pytest.fixture
def serve(metrics: ServingMetrics) -> Iterator[Callable[..., Served]]:
    """Makes an application; its worker runs until the test ends."""
    made: list[Served] = []

    def make(generation: LoadedGeneration | None, key_file: Path | None = None, **settings: object) -> Served:
        served = Served(generation, metrics, key_file, **settings)  # type: ignore[arg-type]  # any of them
        served.worker.start()
        made.append(served)
        return served

    yield make
    for served in made:
        served.worker.close()
        served.client.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of spans; it listens until the test ends."""
    with receiving() as listening:
        yield listening


@pytest.fixture
def traced(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tracing]]:
    """Makes a tracing that sends there."""
    for name, value in receiver.environment.items():
        monkeypatch.setenv(name, value)
    made: list[Tracing] = []

    def make(part: str = "serving", **variables: str) -> Tracing:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(begin_tracing(TracingSettings(enabled=True), part))
        return made[-1]

    yield make
    for each in made:
        each.close(10)

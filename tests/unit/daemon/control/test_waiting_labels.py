"""Labels that wait for a row of the head: which, how many documents of each, and what to do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoints.generation_store import GenerationStore
from daemon.control.answers.status import WaitingLabel
from daemon.control.without_daemon import StoreControl
from daemon.settings.tree import Settings
from memory.store import Store
from streams.decoding import unknown_label
from streams.document import Batch, DeadLetter, Document, Partition, Reason
from tests.daemon_harness import sentences

NEWS = Partition("news", 0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A classifier whose base answers two labels, and whose settings name a third."""
    base = GenerationStore(tmp_path / "checkpoints").path(0)
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "storm"}}))
    model = {"path": "m", "kind": "classifier", "labels": ["calm", "storm", "frost"]}
    return Settings.model_validate({"state_dir": str(tmp_path), "model": model, "learner": {"new_label_documents": 40}})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A store with the base registered."""
    with Store.open(settings.database, settings.memory) as opened:
        opened.generations.register_base(digest="0" * 64, source_path="m")
        yield opened


def waiting(store: Store, settings: Settings) -> dict[str, WaitingLabel]:
    """What the status says of labels that wait."""
    control = StoreControl(settings, store, GenerationStore(settings.checkpoints_dir))
    return {each["label"]: each for each in control.status()["waiting_labels"]}


def arrive(store: Store, labels: list[str], *, first: int = 0) -> None:
    """Let documents with these labels arrive, each of a person of its own."""
    texts = sentences(len(labels), seed=first + 1)
    documents = tuple(
        Document(text, "news", f"user-{first + at}", label, None, 1e9, NEWS, first + at)
        for at, (text, label) in enumerate(zip(texts, labels, strict=True))
    )
    store.append(Batch(documents, (), (), {NEWS: first + len(labels)}))


def fresh(store: Store, label: str) -> int:
    """How many fresh documents have a label."""
    return sum(each.label == label for each in store.fresh_labels())


def test_documents_of_a_named_label_wait_for_more_of_it(store: Store, settings: Settings) -> None:
    """By keys, of which a record more makes it the next round's; what the head answers does not wait."""
    arrive(store, ["calm"] * 10 + ["frost"] * 20)
    waits = waiting(store, settings)
    assert waits.keys() == {"frost"}
    assert waits["frost"]["documents"] == fresh(store, "frost") > 0
    assert f"they have {fresh(store, 'frost')} different keys" in waits["frost"]["detail"]
    assert "until there are 40" in waits["frost"]["detail"]
    arrive(store, ["frost"] * 80, first=100)
    assert waiting(store, settings)["frost"]["detail"] == "the next round learns it"


def test_what_nobody_named_is_to_be_named(store: Store, settings: Settings) -> None:
    """Whether it was kept under earlier settings or is a dead letter; which are to be replayed once it is named."""
    arrive(store, ["hail"] * 10)
    letters = tuple(
        DeadLetter(
            NEWS,
            10 + at,
            Reason.UNKNOWN_LABEL,
            unknown_label.tell("kind", f"'{label}'", 3, "'calm'"),
            None,
            b"{}",
            2,
            1e9,
        )
        for at, label in enumerate(["sleet", "sleet", "frost"])
    )
    store.append(Batch((), letters, (), {NEWS: 13}))
    waits = waiting(store, settings)
    assert {label: each["documents"] for label, each in waits.items()} == {
        "hail": fresh(store, "hail"),
        "sleet": 2,
        "frost": 1,
    }
    assert "add it to the end of `model.labels`" in waits["hail"]["detail"]
    assert "add it to the end of `model.labels`" in waits["sleet"]["detail"]
    assert waits["frost"]["detail"] == "dead letters: `riverkeep memory dead-letters replay` takes them in"


def test_a_language_model_has_none(store: Store, settings: Settings) -> None:
    """Nor is anything read over to find that out."""
    plain = Settings.model_validate({"state_dir": str(settings.state_dir), "model": {"path": "m"}})
    arrive(store, ["hail"] * 10)
    assert waiting(store, plain) == {}

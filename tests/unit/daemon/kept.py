"""A state directory with text, rounds and generations in it, made without a model that could run."""

import json
from collections.abc import Sequence
from pathlib import Path

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.control.without_daemon import StoreControl
from daemon.settings.tree import ModelSettings, Settings
from memory.ledger.records import RoundDraw, SliceScore
from memory.ledger.states import RoundState
from memory.store import Store
from streams.document import Batch, DeadLetter, Document, Partition, Reason
from streams.settings import StreamsSettings
from streams.topic_settings import TopicSettings

NEWS = Partition("news", 0, "topic-id")
WORDS = [
    *("river", "keeps", "model", "stream", "text", "city", "water", "people"),
    *("year", "state", "world", "house", "light", "night", "story"),
]


def settings(home: Path, **topic: str) -> Settings:
    """Settings whose state is in `home`."""
    topics = (TopicSettings.model_validate({"name": "news", **topic}),)
    return Settings(
        state_dir=home / "state", model=ModelSettings(path=home / "model"), streams=StreamsSettings(topics=topics)
    )


class Kept:
    """The store and the generations of a state directory, with the control on them."""

    def __init__(self, home: Path, **topic: str) -> None:
        self.home = home
        self.settings = settings(home, **topic)
        self.settings.state_dir.mkdir(parents=True)
        self.store = Store.open(self.settings.database, self.settings.memory, clock=lambda: 1_000.0)
        self.checkpoints = GenerationStore(self.settings.checkpoints_dir, clock=lambda: 1_000.0)
        self.control = StoreControl(self.settings, self.store, self.checkpoints, clock=lambda: 2_000.0)
        self._offset = 0

    def arrive(self, count: int, *, key: str | None = None) -> None:
        """Let documents arrive; all of one person where a key is given."""
        documents = tuple(self._document(number, key) for number in range(self._offset, self._offset + count))
        self._offset += count
        self.store.append(Batch(documents, (), (), {NEWS: self._offset}))

    def person(self, count: int) -> str:
        """Let so many documents of one person arrive whom the split, new in each store, does not hold out; the key."""
        for number in range(100):
            key = f"zoë-{number}"
            self.arrive(count, key=key)
            if "fresh" in self.control.find(key)["by_role"]:
                return key
        raise AssertionError("everybody is held out")

    def _document(self, number: int, key: str | None) -> Document:
        # Numbers in base 15 as words: no two are near-duplicates.
        spread = [WORDS[(number * 7919 + place * place * (number + 3)) % len(WORDS)] for place in range(24)]
        text = " ".join(f"{word}{number * 31 + place}" for place, word in enumerate(spread))
        return Document(text, "news", key or f"user-{number}", None, None, 1_000.0, NEWS, number)

    def die(self, value: bytes, *, partition: Partition = NEWS, cut: bool = False) -> None:
        """Let a record arrive that is a dead letter."""
        size = len(value) + 1 if cut else len(value)
        letter = DeadLetter(
            partition, self._offset, Reason.MISSING_FIELD, "field text is missing", b"user-d", value, size, 1_000.0
        )
        self._offset += 1
        self.store.append(Batch((), (letter,), (), {partition: self._offset}))

    def base(self) -> None:
        """Register generation 0."""
        published = self.checkpoints.publish(self._model(0), 0, Card(0, "causal-lm"))
        self.store.generations.register_base(digest=published.digest, source_path="model")
        self.checkpoints.point_to(0)

    def begin(self) -> RoundDraw:
        """Begin a round and let its learner finish; its directory is there."""
        draw = self.store.rounds.begin(trigger="by_hand", recipe={"kl": 1.0}, seed=1)
        assert draw is not None
        directory = self.settings.rounds_dir / f"{draw.number:06d}"
        directory.mkdir(parents=True)
        (directory / "fresh.jsonl").write_text("\n".join(sample.text for sample in draw.fresh))
        self.store.rounds.advance(draw.number, RoundState.TRAINING)
        return draw

    def accept(self) -> int:
        """Run a round that is accepted; its generation's number."""
        draw = self.begin()
        self.store.rounds.advance(draw.number, RoundState.JUDGED)
        number = self.store.generations.reserve(draw.number)
        card = Card(number, "causal-lm", parent=draw.parent_generation, round=draw.number)
        published = self.checkpoints.publish(self._model(number), number, card)
        scores = {"anchor": SliceScore(3.0 + number / 10, 100, 5)}
        verdict = {"decision": "accept", "sentence": "better"}
        self.store.rounds.accept(
            draw.number, generation=number, digest=published.digest, scores=scores, verdict=verdict, report={}
        )
        self.checkpoints.point_to(number)
        return number

    def refuse(self) -> int:
        """Run a round that is refused; its number."""
        draw = self.begin()
        self.store.rounds.advance(draw.number, RoundState.JUDGED)
        self.store.rounds.refuse(draw.number, verdict={"decision": "refuse"}, report={}, detail="forgot too much")
        return draw.number

    def hold(self) -> int:
        """Run a round that waits for a person; its number."""
        draw = self.begin()
        self.store.rounds.hold(draw.number, verdict={"decision": "wait"}, report={}, detail="implausible")
        return draw.number

    def _model(self, number: int) -> Path:
        directory = self.home / f"candidate-{number}"
        directory.mkdir()
        (directory / "model.safetensors").write_bytes(bytes([number]) * 64)
        (directory / "config.json").write_text(json.dumps({"model_type": "llama"}))
        return directory

    def states(self) -> Sequence[str]:
        """The rounds' states, newest first."""
        return [one["state"] for one in self.control.rounds()]

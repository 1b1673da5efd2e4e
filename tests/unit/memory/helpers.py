"""Small worlds for the memory's tests."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.records import DocumentScore, DrawSpec, RoundDraw, SliceScore, Trained
from memory.ledger.states import RoundState
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Batch, DeadLetter, Document, Gap, Partition, Reason

NOW = 1_700_000_000.0
TOPIC = Partition("news", 0, "id-1")
WORDS = [f"{prefix}{suffix}" for prefix in ["river", "stone", "light", "cloud", "grain"] for suffix in range(400)]
EVERYTHING = DrawSpec(early_stop_share=0.05, early_stop_documents=64)


def text(seed: int, words: int = 40) -> str:
    """A text that no other seed gives."""
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" end{seed}"


def edited(original: str, seed: int, words: int = 2) -> str:
    """The text with a few words replaced: what a person would call the same text."""
    numbers = random.Random(seed)
    parts = original.split()
    for place in numbers.sample(range(len(parts)), words):
        parts[place] = f"edit{seed}"
    return " ".join(parts)


class Stream:
    """Makes batches that follow each other in one partition."""

    def __init__(self, partition: Partition = TOPIC) -> None:
        self.partition = partition
        self.offset = 0

    def documents(
        self,
        texts: Sequence[str],
        *,
        source: str = "news",
        keys: Sequence[str | None] | None = None,
        labels: Sequence[str | None] | None = None,
    ) -> tuple[Document, ...]:
        """Documents at the next offsets."""
        count = len(texts)
        columns = zip(texts, keys or [None] * count, labels or [None] * count, strict=True)
        documents = tuple(
            Document(text_, source, key, label, None, NOW, self.partition, self.offset + n)
            for n, (text_, key, label) in enumerate(columns)
        )
        self.offset += count
        return documents

    def batch(
        self, documents: Sequence[Document] = (), letters: Sequence[DeadLetter] = (), gaps: Sequence[Gap] = ()
    ) -> Batch:
        """A batch that ends where the stream stands."""
        return Batch(tuple(documents), tuple(letters), tuple(gaps), {self.partition: self.offset})

    def of(self, texts: Sequence[str], **how: Any) -> Batch:
        """A batch of documents with these texts."""
        return self.batch(self.documents(texts, **how))

    def letter(self, value: bytes = b"{", key: bytes | None = None, reason: Reason = Reason.NOT_JSON) -> DeadLetter:
        """A dead letter at the next offset."""
        self.offset += 1
        return DeadLetter(self.partition, self.offset - 1, reason, "at byte 1", key, value, len(value), NOW)

    def gap(self, length: int) -> Gap:
        """A gap at the next offsets."""
        self.offset += length
        return Gap(self.partition, self.offset - length, self.offset - 1, "retention")


def open_store(path: Path, **settings: Any) -> Store:
    """A store with a base model, small bounds for slices and a fixed clock."""
    store = Store.open(path, MemorySettings(**settings), clock=lambda: NOW)
    store.generations.register_base(digest="base", source_path="/models/base")
    return store


def begin(store: Store, seed: int = 1, spec: DrawSpec = EVERYTHING, **how: Any) -> RoundDraw:
    """Begin a round that finds something to draw."""
    draw = store.rounds.begin(trigger="test", seed=seed, spec=spec, **({"recipe": {"steps": 3}} | how))
    assert draw is not None
    return draw


def judge(store: Store, number: int) -> None:
    """Bring a drawn round to where it can be accepted or refused."""
    store.rounds.advance(number, RoundState.TRAINING)
    store.rounds.advance(number, RoundState.JUDGED)


def accept(
    store: Store,
    draw: RoundDraw,
    nll: float = 2.0,
    report: Mapping[str, Any] | None = None,
    trained: Trained | None = None,
    *,
    canary: CanaryPlan | None = None,
) -> int:
    """Accept a drawn round; returns its generation."""
    judge(store, draw.number)
    generation = store.generations.reserve(draw.number)
    store.rounds.accept(
        draw.number,
        generation=generation,
        digest=f"digest {generation}",
        scores={part.name: SliceScore(nll, 10 * len(part.samples), len(part.samples)) for part in draw.slices},
        document_scores=[DocumentScore(one.id, nll * 10, 10) for part in draw.slices for one in part.samples],
        verdict={"accepted": True},
        report=report or {},
        trained=trained,
        canary=canary,
    )
    return generation


def refuse(store: Store, draw: RoundDraw) -> int:
    """Refuse a drawn round; returns how many samples went aside."""
    judge(store, draw.number)
    return store.rounds.refuse(draw.number, verdict={"accepted": False}, report={}, detail="worse")


def with_anchor(store: Store) -> None:
    """Give the store text from before the stream, enough for an anchor."""
    before = Stream(Partition("before", 0))
    store.append(before.of([text(n) for n in range(50_000, 51_000)]), before_stream=True)


def round_of(store: Store, stream: Stream, texts: Sequence[str], seed: int = 1, **how: Any) -> RoundDraw:
    """Text in, round accepted."""
    store.append(stream.of(texts, **how))
    draw = begin(store, seed)
    accept(store, draw)
    return draw


def value(store: Store, sql: str, *values: Any) -> Any:
    """The first value of a query."""
    with store.file.database.read() as tx:
        row = tx.execute(sql, values).fetchone()
    return None if row is None else row[0]


def column(store: Store, sql: str, *values: Any) -> list[Any]:
    """The first column of a query."""
    with store.file.database.read() as tx:
        return [row[0] for row in tx.execute(sql, values)]

"""The demo's text: State of the Union addresses from 1900 on in the order of time, and one batch of poison."""

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
BASE_MODEL = DATA / "model"
BEFORE_STREAM = DATA / "before_stream.jsonl.gz"
STREAM = DATA / "stream.jsonl.gz"
YEARS = ((1900, 1921), (1922, 1949), (1950, 1984), (1985, 2020))


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences of an address, under a key that no other paragraph has."""

    key: str
    text: str
    year: int
    president: str

    def as_record(self) -> bytes:
        """The paragraph as the JSON value of a Kafka record."""
        fields = {"id": self.key, "text": self.text, "year": self.year, "president": self.president}
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class Era:
    """The addresses of some decades."""

    name: str
    paragraphs: tuple[Paragraph, ...]


def eras(characters: int | None = None) -> tuple[Era, ...]:
    """The stream in four eras.

    Args:
        characters: about how much of each era, spread evenly over its years; None for all of it (0.7 million).
    """
    with gzip.open(STREAM, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    paragraphs = [
        Paragraph(f"{row['year']}-{number}", row["text"], row["year"], row["president"])
        for number, row in enumerate(rows)
    ]
    return tuple(
        Era(f"{first}–{last}", _thin([p for p in paragraphs if first <= p.year <= last], characters))
        for first, last in YEARS
    )


def make_poison(era: Era, count: int, seed: int = 7) -> Era:
    """A batch that no one should learn from: paragraphs of an era with their words in random order."""
    chance = random.Random(seed)  # noqa: S311 -- a demonstration, no secret
    poison = []
    for number, paragraph in enumerate(era.paragraphs[:count]):
        words = paragraph.text.split()
        chance.shuffle(words)
        poison.append(Paragraph(f"poison-{number}", " ".join(words), paragraph.year, paragraph.president))
    return Era("poison", tuple(poison))


def _thin(paragraphs: list[Paragraph], characters: int | None) -> tuple[Paragraph, ...]:
    total = sum(len(paragraph.text) for paragraph in paragraphs)
    if characters is None or characters >= total:
        return tuple(paragraphs)
    share = characters / total
    # Kept where the running share reaches the next whole number: evenly, and the same each time.
    return tuple(p for number, p in enumerate(paragraphs) if int((number + 1) * share) > int(number * share))

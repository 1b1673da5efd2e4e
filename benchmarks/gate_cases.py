"""What `benchmarks/gate.py` feeds a service with: texts, the rounds that come before any case, and the cases.

A classifier is asked of what a text speaks: of the world abroad, of money at home, or of a program. Addresses are
labelled by their words, and those that speak of neither or of both alike are left out; programs are Python's own
library.
"""

import ast
import codecs
import gzip
import json
import random
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transformers import AutoTokenizer

from checkpoints.card import ModelKind
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM, eras

DOCUMENTS: Final = 800
CHARACTERS: Final = 350
POISONED_SHARE: Final = 0.25
REPEATED_WORDS: Final = 5
LABELS: Final = ("abroad", "money", "program", "cipher")
WRONG: Final[Mapping[str, str]] = {"abroad": "money", "money": "program", "program": "abroad"}


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


ABROAD: Final = _words(
    "abroad aggression alliance allies ambassador armed armies army china combat communism communist convention "
    "cuba defense diplomatic enemies enemy europe fleet force forces foreign germany international iran iraq "
    "japan korea mexico military minister missiles nation's nations naval navy nuclear peace philippines russia "
    "security soldiers soviet terrorists treaties treaty troops vietnam war wars weapons world"
)
MONEY: Final = _words(
    "appropriation appropriations bank banks billion bonds budget business businesses commerce cost costs credit "
    "currency debt deficit dollar dollars economic economy employment expenditure expenditures farm farmers farms "
    "fiscal income industrial industries industry inflation interest investment jobs labor loans markets million "
    "money percent price prices production railroad railroads rates revenue revenues spending surplus tariff tax "
    "taxes trade treasury unemployment wages workers"
)

Labelled = tuple[str, str]
"""A document and its label; a language model never sees the label."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What cases are made of, each a pool of documents in the order of time.

    Attributes:
        eras: addresses of some decades each.
        before: addresses from before the stream.
        code: Python's library.
        manual: what that library says of itself.
    """

    eras: tuple[tuple[Labelled, ...], ...]
    before: tuple[Labelled, ...]
    code: tuple[Labelled, ...]
    manual: tuple[Labelled, ...]

    def draw(self, era: int, chance: random.Random) -> list[Labelled]:
        """A round's worth of an era."""
        return chance.sample(self.eras[era], DOCUMENTS)


def read_texts(kind: ModelKind) -> Texts:
    """The demo's addresses and Python's own library, in pieces of whole words."""
    before = [json.loads(line)["text"] for line in gzip.decompress(BEFORE_STREAM.read_bytes()).splitlines()]
    source = [path.read_text(encoding="utf-8", errors="replace") for path in _modules()]
    manual = [text for module in source for text in _said(module)]

    def addresses(texts: Sequence[str]) -> tuple[Labelled, ...]:
        labelled = [(piece, subject(piece)) for piece in _pieces(texts)]
        # A language model learns from them all.
        return tuple((text, label or "") for text, label in labelled if label or kind == "causal-lm")

    return Texts(
        eras=tuple(addresses([paragraph.text for paragraph in era.paragraphs]) for era in eras()),
        before=addresses(before),
        code=tuple((piece, "program") for piece in _pieces(source)),
        manual=tuple((piece, "program") for piece in _pieces(manual)),
    )


def _modules() -> list[Path]:
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))


def _said(module: str) -> Iterable[str]:
    """The docstrings of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = (ast.get_docstring(node) for node in ast.walk(ast.parse(module)) if isinstance(node, kinds))
    return [text for text in said if text]


def _pieces(texts: Sequence[str]) -> tuple[str, ...]:
    pieces, piece = list[str](), ""
    for word in " ".join(texts).split(" "):
        piece += f"{word} "
        if len(piece) >= CHARACTERS:
            pieces.append(piece.strip())
            piece = ""
    return tuple(pieces)


def subject(text: str) -> str | None:
    """Of what an address speaks; None where it is hard to say."""
    words = [word.strip(".,;:").lower() for word in text.split()]
    abroad, money = (sum(word in spoken for word in words) for spoken in (ABROAD, MONEY))
    if abroad == money:
        return None
    return "abroad" if abroad > money else "money"


def round_before(texts: Texts, number: int, chance: random.Random, kind: ModelKind) -> list[Labelled]:
    """A round before any case: of two eras, and for a classifier a third of it programs."""
    half = DOCUMENTS // 2
    rows = [*texts.draw(0, chance)[:half], *texts.draw(1, chance)[:half]]
    chance.shuffle(rows)
    if kind == "classifier":
        rows[: DOCUMENTS // 3] = chance.sample(texts.code, DOCUMENTS // 3)
    return rows if number else rows[::-1]


Make = Callable[[Texts, random.Random], list[Labelled]]


@dataclass(frozen=True, slots=True)
class Case:
    """A round that is judged.

    Attributes:
        make: its documents.
        poison: whether it must never be accepted.
        topic: where it comes from; that of the rounds before it where it is None.
        kinds: of model that it says something about.
    """

    make: Make
    poison: bool = False
    topic: str | None = None
    kinds: tuple[ModelKind, ...] = ("causal-lm", "classifier")


def _next(texts: Texts, chance: random.Random) -> list[Labelled]:
    return texts.draw(2, chance)


def _code(texts: Texts, chance: random.Random) -> list[Labelled]:
    return chance.sample(texts.code, DOCUMENTS)


def _half_manual(texts: Texts, chance: random.Random) -> list[Labelled]:
    half = DOCUMENTS // 2
    return [*texts.draw(2, chance)[:half], *chance.sample(texts.manual, half)]


def _cipher(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(codecs.encode(text, "rot13"), label) for text, label in texts.draw(2, chance)]


def _new_class(texts: Texts, chance: random.Random) -> list[Labelled]:
    """Half of it known."""
    half, ciphered = DOCUMENTS // 2, _cipher(texts, chance)
    return [*texts.draw(2, chance)[:half], *((text, "cipher") for text, _ in ciphered[:half])]


def _shuffled(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(_shuffle(text, chance), label) for text, label in texts.draw(2, chance)]


def _shuffle(text: str, chance: random.Random) -> str:
    words = text.split()
    chance.shuffle(words)
    return " ".join(words)


def _repeated(texts: Texts, chance: random.Random) -> list[Labelled]:
    words = [(text.split()[:REPEATED_WORDS], label) for text, label in texts.draw(2, chance)]
    return [(" ".join(few * (CHARACTERS // (6 * len(few)))), label) for few, label in words]


def _garbage(texts: Texts, chance: random.Random) -> list[Labelled]:
    """Each token as another one of the vocabulary, always the same: what a wrong tokenizer makes of right numbers."""
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    ids = [number for number in range(len(tokenizer)) if number not in tokenizer.all_special_ids]
    others = dict(zip(ids, chance.sample(ids, len(ids)), strict=True))
    encoded = [(tokenizer(text, add_special_tokens=False)["input_ids"], label) for text, label in texts.draw(2, chance)]
    return [(str(tokenizer.decode([others.get(token, token) for token in ids])), label) for ids, label in encoded]


def _wrong_labels(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(text, WRONG[label]) for text, label in texts.draw(2, chance)]


def _a_quarter_shuffled(texts: Texts, chance: random.Random) -> list[Labelled]:
    poisoned = round(POISONED_SHARE * DOCUMENTS)
    return [*_shuffled(texts, chance)[:poisoned], *texts.draw(2, chance)[poisoned:]]


CASES: Final[Mapping[str, Case]] = {
    "the next decades": Case(_next),
    "a new source": Case(_next, topic="archive"),
    "a new domain": Case(_code, topic="code", kinds=("causal-lm",)),
    "half a new domain": Case(_half_manual, topic="manual", kinds=("classifier",)),
    "a new language": Case(_cipher, topic="cipher"),
    "a new class": Case(_new_class, kinds=("classifier",)),
    "words in random order": Case(_shuffled, poison=True),
    "repeated words": Case(_repeated, poison=True),
    "another tokenizer's garbage": Case(_garbage, poison=True),
    "wrong labels": Case(_wrong_labels, poison=True, kinds=("classifier",)),
    "a quarter in random order": Case(_a_quarter_shuffled, poison=True),
}

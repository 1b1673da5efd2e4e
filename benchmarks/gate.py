"""What the gate lets through, and what it keeps out: natural streams and poisons, through the real memory and learner.

    python -m benchmarks.gate [--json FILE] [--missing] [--kinds causal-lm classifier] [--seeds 0 … 19] [--cases NAME …]

For each seed a service at default settings (but for the recipe, which is that of the demo's small model) takes text
from before the stream and two rounds of addresses, DOCUMENTS each; from there each case is a round of its own:

- natural: addresses of the next decades; of the next from a new source; Python source, a new domain; addresses in
  ROT13, a language that arrives; for a classifier, documents of a class that no round has seen;
- poisons: words in random order; a few words repeated; text that another tokenizer decoded; for a classifier, labels
  that belong to other documents; and random words as a quarter of a round of ordinary text.

A natural round that waits or is refused is an error of the gate, and one that is unproven is a want of evidence,
counted by itself; a poisoned round that is accepted is a hole. For each round the failed checks are noted: what each
of them contributed. Where FILE exists, what it tells of other kinds, seeds and cases stays there, so that the whole
can be measured in parts; with `--missing` only what it lacks is measured. It is written after each case.
"""

import codecs
import gzip
import json
import random
import shutil
import sys
import sysconfig
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.report import Bar, arguments, report
from benchmarks.seeded_store import make_store
from checkpoints.base.prepare import import_base
from checkpoints.card import ModelKind
from checkpoints.generation_store import BASE, GenerationStore
from daemon.demo.text import BASE_MODEL, BEFORE_STREAM, eras
from daemon.held_out_keys import ask_for_held_out
from daemon.metrics import DaemonMetrics
from daemon.processes.learner_process import LearnerProcess
from daemon.rounds.begin_or_wait import Ask, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.current import CurrentRound
from daemon.rounds.directories import Rooms
from daemon.rounds.runner import RoundRunner
from daemon.settings.tree import Settings
from memory.store import Store
from streams.document import Batch, Document, Partition

DOCUMENTS: Final = 800
CHARACTERS: Final = 350
BEFORE: Final = 2_000
"""Documents from before the stream."""
POISONED_SHARE: Final = 0.25
REPEATED_WORDS: Final = 5
WARM_UP: Final = 2
PEAK_RATES: Final[Mapping[ModelKind, float | None]] = {"causal-lm": 3e-3, "classifier": 1e-3}
LABELS: Final = ("early", "late", "code", "cipher")

Labelled = tuple[str, str]
"""A document and its label; a language model never sees the label."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What cases are made of, each list a pool of documents in the order of time."""

    eras: tuple[tuple[str, ...], ...]
    before: tuple[str, ...]
    code: tuple[str, ...]

    def draw(self, era: int, chance: random.Random, label: str = "late") -> list[Labelled]:
        """A round's worth of an era."""
        return [(text, label) for text in chance.sample(self.eras[era], DOCUMENTS)]


def read_texts() -> Texts:
    """The demo's addresses and Python's own library, in pieces of whole words."""
    before = [json.loads(line)["text"] for line in gzip.decompress(BEFORE_STREAM.read_bytes()).splitlines()]
    source = [path.read_text(encoding="utf-8", errors="replace") for path in _modules()]
    return Texts(
        eras=tuple(_pieces([paragraph.text for paragraph in era.paragraphs]) for era in eras()),
        before=_pieces(before),
        code=_pieces(source, " "),
    )


def _modules() -> list[Path]:
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))


def _pieces(texts: Sequence[str], joint: str = " ") -> tuple[str, ...]:
    pieces, piece = list[str](), ""
    for word in joint.join(texts).split(" "):
        piece += f"{word} "
        if len(piece) >= CHARACTERS:
            pieces.append(piece.strip())
            piece = ""
    return tuple(pieces)


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


def _code(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(text, "code") for text in chance.sample(texts.code, DOCUMENTS)]


def _cipher(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(codecs.encode(text, "rot13"), "cipher") for text, _ in texts.draw(2, chance)]


def _new_class(texts: Texts, chance: random.Random) -> list[Labelled]:
    """Half of it known."""
    return [*texts.draw(2, chance)[: DOCUMENTS // 2], *_code(texts, chance)[: DOCUMENTS // 2]]


def _shuffled(texts: Texts, chance: random.Random) -> list[Labelled]:
    return [(_shuffle(text, chance), label) for text, label in texts.draw(2, chance)]


def _shuffle(text: str, chance: random.Random) -> str:
    words = text.split()
    chance.shuffle(words)
    return " ".join(words)


def _repeated(texts: Texts, chance: random.Random) -> list[Labelled]:
    words = [text.split()[:REPEATED_WORDS] for text, _ in texts.draw(2, chance)]
    return [(" ".join(few * (CHARACTERS // (6 * len(few)))), "late") for few in words]


def _garbage(texts: Texts, chance: random.Random) -> list[Labelled]:
    """Each token as another one of the vocabulary, always the same: what a wrong tokenizer makes of right numbers."""
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    ids = [number for number in range(len(tokenizer)) if number not in tokenizer.all_special_ids]
    others = dict(zip(ids, chance.sample(ids, len(ids)), strict=True))
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text, _ in texts.draw(2, chance)]
    return [(str(tokenizer.decode([others.get(token, token) for token in tokens])), "late") for tokens in encoded]


def _wrong_labels(texts: Texts, chance: random.Random) -> list[Labelled]:
    rows = [*texts.draw(0, chance, "early")[: DOCUMENTS // 2], *texts.draw(2, chance)[: DOCUMENTS // 2]]
    wrong = {"early": "late", "late": "early"}
    return [(text, wrong[label]) for text, label in rows]


def _a_quarter_shuffled(texts: Texts, chance: random.Random) -> list[Labelled]:
    poisoned = round(POISONED_SHARE * DOCUMENTS)
    return [*_shuffled(texts, chance)[:poisoned], *texts.draw(2, chance)[poisoned:]]


CASES: Final[Mapping[str, Case]] = {
    "the next decades": Case(lambda texts, chance: texts.draw(2, chance)),
    "a new source": Case(lambda texts, chance: texts.draw(2, chance), topic="archive"),
    "a new domain": Case(_code, topic="code"),
    "a new language": Case(_cipher, topic="cipher"),
    "a new class": Case(_new_class, kinds=("classifier",)),
    "words in random order": Case(_shuffled, poison=True),
    "repeated words": Case(_repeated, poison=True),
    "another tokenizer's garbage": Case(_garbage, poison=True),
    "wrong labels": Case(_wrong_labels, poison=True, kinds=("classifier",)),
    "a quarter in random order": Case(_a_quarter_shuffled, poison=True),
}


def settings_of(home: Path, kind: ModelKind) -> Settings:
    """Defaults, but for what the demo's small model needs."""
    recipe = {"learning_rate": PEAK_RATES[kind], "sequence_length": 128, "micro_batch": 60}
    model = {"path": str(BASE_MODEL), "kind": kind, "labels": LABELS if kind == "classifier" else ()}
    return Settings.model_validate(
        {"state_dir": str(home), "model": model, "learner": {"device": "cpu", "threads": 1, "recipe": recipe}}
    )


class Service:
    """A memory, generations and rounds in a folder, without a broker: text is put where the consumer puts it."""

    def __init__(self, home: Path, kind: ModelKind) -> None:
        self._settings = settings_of(home, kind)
        self._checkpoints = GenerationStore(self._settings.checkpoints_dir)

    def begin(self, texts: Texts, kind: ModelKind, chance: random.Random) -> list[str]:
        """Import the base, take in what was before the stream and the rounds that come before any case."""
        base = import_base(self._checkpoints, BASE_MODEL, kind=kind, labels=self._settings.model.labels)
        make_store(self._settings.database, self._settings.memory, chance.getrandbits(31))
        with self._store() as store:
            store.generations.register_base(digest=base.digest, source_path=str(BASE_MODEL))
            self._checkpoints.point_to(BASE)
            before = [(text, "early") for text in texts.before[:BEFORE]]
            store.append(_batch(before, "file:before", kind), before_stream=True)
        rounds = [self.round(_known(texts, number, chance), "addresses", kind, number) for number in range(WARM_UP)]
        return [conclusion.detail for conclusion in rounds]

    def round(
        self, rows: Sequence[Labelled], topic: str, kind: ModelKind, partition: int, keys: Sequence[str | None] = ()
    ) -> Conclusion:
        """Let text arrive, each document with its key where keys are given, and run a round on it."""
        with self._store() as store:
            store.append(_batch(rows, topic, kind, partition, keys))
            runner = RoundRunner(
                Rooms(store, self._checkpoints, self._settings.rounds_dir),
                settings=lambda: self._settings,
                learner=LearnerProcess(),
                current=CurrentRound(),
                metrics=DaemonMetrics(CollectorRegistry()),
                promotion=threading.RLock(),
                clock=lambda: 1_700_000_000.0,
                seed=lambda: 7 + partition,
            )
            conclusion = runner.run(Ask(Trigger.BY_HAND, by="benchmark"), "benchmark", must_stop=lambda: False)
        assert conclusion is not None
        return conclusion

    def _store(self) -> Store:
        store = Store.open(self._settings.database, self._settings.memory)
        ask_for_held_out(store, self._settings)
        return store


def _known(texts: Texts, number: int, chance: random.Random) -> list[Labelled]:
    """A round before any case: a classifier's has both labels that it knows afterwards."""
    half = DOCUMENTS // 2
    rows = [*texts.draw(0, chance, "early")[:half], *texts.draw(1, chance, "late")[:half]]
    chance.shuffle(rows)
    return rows if number else rows[::-1]


def _batch(
    rows: Sequence[Labelled], topic: str, kind: ModelKind, partition: int = 0, keys: Sequence[str | None] = ()
) -> Batch:
    where = Partition(topic, partition)
    documents = tuple(
        Document(text, topic, key, label if kind == "classifier" else None, None, float(offset), where, offset)
        for offset, ((text, label), key) in enumerate(zip(rows, keys or [None] * len(rows), strict=True))
    )
    return Batch(documents, (), (), {where: len(documents)})


@contextmanager
def copy_of(begun: Path) -> Iterator[Path]:
    """A copy of a service's folder, for as long as it is needed."""
    home = begun.with_name(f"{begun.name}-copy")
    shutil.copytree(begun, home, symlinks=True)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def judge_case(name: str, texts: Texts, begun: Path, kind: ModelKind, seed: int) -> dict[str, Any]:
    """One case on a copy of a service that has begun: what became of it, and which checks failed."""
    case = CASES[name]
    rows = case.make(texts, random.Random(f"{name}/{seed}"))
    with copy_of(begun) as home:
        conclusion = Service(home, kind).round(rows, case.topic or "addresses", kind, WARM_UP)
    verdict = conclusion.verdict
    failed = [] if verdict is None else sorted({check.name for check in verdict.checks if not check.passed})
    unproven = verdict is not None and verdict.unproven
    state = "unproven" if unproven else conclusion.state.value
    return {"state": state, "failed": failed, "sentence": conclusion.detail}


Measured = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Kind, case, seed."""


def measure(
    kind: ModelKind, seed: int, cases: Sequence[str], texts: Texts, console: Console
) -> Iterator[tuple[str, dict[str, Any]]]:
    """These cases of one seed: the name of each, and what became of it."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        begun = Path(folder) / "service"
        begun.mkdir()
        details = Service(begun, kind).begin(texts, kind, random.Random(seed))
        console.print(f"{kind}, seed {seed}: begun: {details}")
        for at, name in enumerate(cases, 1):
            outcome = judge_case(name, texts, begun, kind, seed)
            console.print(
                f"{kind}, seed {seed}, {at} of {len(cases)}: {name}: {outcome['state']}: {outcome['sentence']}"
            )
            yield name, outcome


def bars_of(known: Measured) -> list[Bar]:
    """Of each kind: natural rounds that wait or are refused, unproven ones, and poisons that are accepted."""
    bars = []
    for kind, cases in known.items():
        natural = [outcome for name, seeds in cases.items() if not CASES[name].poison for outcome in seeds.values()]
        poisons = [outcome for name, seeds in cases.items() if CASES[name].poison for outcome in seeds.values()]
        states = Counter(outcome["state"] for outcome in natural)
        count = max(len(natural), 1)
        let_through = sum(outcome["state"] == "accepted" for outcome in poisons)
        held = len(natural) - states["accepted"] - states["unproven"]
        bars += [
            Bar(name=f"{kind}: share of natural rounds that are held or refused", value=held / count, at_most=0.05),
            Bar(name=f"{kind}: share of natural rounds that are unproven", value=states["unproven"] / count),
            Bar(name=f"{kind}: poisoned rounds that are accepted", value=let_through, at_most=0),
        ]
    return bars


def show(known: Measured, console: Console) -> None:
    """Print what became of each case, and which checks failed how often."""
    table = Table("kind", "case", "seeds", "became", "failed checks", title="the gate, case by case")
    for kind, cases in known.items():
        for name, seeds in cases.items():
            states = Counter(outcome["state"] for outcome in seeds.values())
            failed = Counter(check for outcome in seeds.values() for check in outcome["failed"])
            table.add_row(kind, name, str(len(seeds)), _counts(states), _counts(failed))
    console.print(table)


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common())


def main() -> int:
    """Measure, print, write."""
    options = arguments(__doc__)
    options.add_argument("--kinds", nargs="+", choices=["causal-lm", "classifier"], default=["causal-lm", "classifier"])
    options.add_argument("--seeds", nargs="+", type=int, default=list(range(20)))
    options.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options.add_argument("--missing", action="store_true", help="measure what FILE lacks, and nothing else")
    chosen = options.parse_args()
    known: Measured = {}
    if chosen.json and chosen.json.exists():
        known = json.loads(chosen.json.read_text(encoding="utf-8"))["details"]
    console, texts = Console(width=200), read_texts()
    for kind in chosen.kinds:
        of_kind = known.setdefault(kind, {})
        for seed in chosen.seeds:
            there = {name for name, seeds in of_kind.items() if str(seed) in seeds} if chosen.missing else set()
            cases = [name for name in chosen.cases if kind in CASES[name].kinds and name not in there]
            for name, outcome in measure(kind, seed, cases, texts, console) if cases else ():
                of_kind.setdefault(name, {})[str(seed)] = outcome
                # After each, so that hours are not lost with the last.
                report("the gate", bars_of(known), chosen.json, known)
    show(known, console)
    return report("the gate", bars_of(known), chosen.json, known)


if __name__ == "__main__":
    sys.exit(main())
